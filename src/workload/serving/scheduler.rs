//! What a worker computes in its next step: the scheduler of a serving engine.
//!
//! To add one: a file beside `scheduler/fcfs.rs` that implements [`Scheduler`], and a line where `experiment/serving` makes workers.

mod fcfs;

pub use fcfs::{Fcfs, FcfsLimits, Gather};

use super::kv_cache::KvCache;
use super::queues::RequestQueues;
use super::sequence::Sequence;
use std::fmt;

/// Whose turn it is.
pub trait Scheduler: fmt::Debug {
    /// Admits sequences of `queues` for which `cache` has room, and picks what the next step computes; nothing where nothing can be. It is asked when a
    /// step has ended and, while the worker idles, when something has arrived.
    fn schedule(&mut self, queues: &mut RequestQueues, cache: &mut dyn KvCache) -> ScheduledBatch;

    /// Takes the place of one decoding sequence after a step, if the cache holds more than it has room for. Returns by how many tokens
    /// what that one has yielded is rounded; it is asked again until nobody is preempted.
    fn preempt(&mut self, queues: &mut RequestQueues, cache: &mut dyn KvCache) -> Option<f64>;
}

/// What a step computes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScheduledBatch {
    /// Sequences whose prompts end in it.
    pub prompted: Vec<Sequence>,
    /// Positions of prompts.
    pub tokens: u64,
    /// Positions of the prompt that has most.
    pub largest: u64,
    /// Positions before the chunks that are taken, added up over all positions of these.
    pub before: f64,
    /// Decoding sequences: all of them, or none.
    pub decoding: u64,
}

impl ScheduledBatch {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0 && self.decoding == 0
    }

    /// Adds the next `part` positions of the admitted prompt at `place` of `queues`. Whether these are its last.
    pub fn add_chunk(&mut self, queues: &mut RequestQueues, place: usize, part: u64) -> bool {
        let Some(prompt) = queues.prompt(place) else { return false };
        let before = f64::from(prompt.sequence.input - prompt.left);
        self.tokens += part;
        self.largest = self.largest.max(part);
        self.before += part as f64 * before;
        let ended = queues.take_chunk(place, part);
        self.prompted.extend(ended);
        ended.is_some()
    }
}
