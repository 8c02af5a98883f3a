//! What arithmetic in few bits does to numbers: formats, and the accumulators of matrix units.
//!
//! Everything is exact integer arithmetic on mantissas, or a series whose terms are the same on every machine. This module must
//! not know how fast any of it is.

mod accumulate;
mod e4m3;
mod logarithm;

pub use accumulate::{Accumulator, dot, worst_error};
pub use e4m3::E4M3;
pub use logarithm::{exponential, logarithm};
