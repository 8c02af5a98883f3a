//! Holds the files of a repository to what they promise and to what they did before: the regression check of a pull request.
//!
//! Topologies are measured, scenarios run, and every figure is compared with a baseline. This module must not know what a topology
//! or a workload is made of.

mod baseline;
mod compare;
mod deadlock;
mod fabric;
mod find;
mod inspect;

pub use baseline::{BaselineSpec, FileSpec};
pub use compare::compare;
pub use find::{Found, Kind, find};
pub use inspect::{Inspected, inspect_all};
