//! Which worker of a pool takes a request: on arrival, and when its keys and values are handed over.
//!
//! To add one: a file beside `router/least_loaded.rs` that implements [`Router`], and a line where `experiment/serving` makes the fleet.

mod least_loaded;

pub use least_loaded::LeastLoaded;

use super::sequence::Sequence;
use std::fmt;

/// What a worker of a pool has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerLoad {
    /// Sequences that decode there, wait to, or are on their way.
    pub requests: u64,
    /// Positions of prompts that are still to be computed there.
    pub queued: u64,
}

/// Sends requests to workers.
pub trait Router: fmt::Debug {
    /// The place in `workers` of the one that takes `sequence`; there is at least one.
    fn route(&mut self, sequence: &Sequence, workers: &mut dyn ExactSizeIterator<Item = WorkerLoad>) -> usize;
}
