//! wip
pub mod id;
pub mod rng;
pub mod units;
