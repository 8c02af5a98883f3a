//! The one clock and the one order of events.
//!
//! Kernels of several streams of a device share it: `beside` keeps how far each one is.
//! At equal times the network goes first, then kernels, then arrivals; among kernels, the older operation. The engine has
//! never heard of TOML or of language models: it knows operations, streams, a network and a kernel model.

mod beside;
mod events;
mod flows;
mod record;
mod residency;
mod run;

pub use residency::{Mark, Residency};
pub use run::{Limits, run, run_within};
