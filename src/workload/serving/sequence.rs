//! A request as a worker sees it, and what a step of a worker brings about.

use super::requests::Request;
use crate::units::{Duration, Time};

/// A request on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Which request, in order of arrival.
    pub request: usize,
    /// Positions of its prompt; after a preemption, with the tokens that it had yielded.
    pub input: u32,
    /// Those of them that are computed.
    pub computed: u32,
    /// Tokens that it is to yield.
    pub output: u32,
    /// The tensor-parallel group that computes it; the worker that takes it says which.
    pub group: usize,
}

impl Sequence {
    /// The sequence of a request that has just arrived.
    pub fn of(index: usize, request: &Request) -> Sequence {
        let Request { input, computed, output, .. } = *request;
        Sequence { request: index, input, computed, output, group: 0 }
    }

    /// Positions that it has in the end.
    pub fn positions(&self) -> u64 {
        u64::from(self.input) + u64::from(self.output)
    }
}

/// What a step works on, in the tensor-parallel group that has most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepLoad {
    /// Decoding requests.
    pub requests: f64,
    /// Their mean context, in positions.
    pub context: f64,
    /// Positions of prompts.
    pub prompts: f64,
    /// Positions before the piece of the prompt to which each of those belongs, on average.
    pub cached: f64,
    /// What all groups have together, as a part of what they would have if each had as much.
    pub filled: f64,
}

/// What a step has brought about.
#[derive(Clone, Debug, Default)]
pub struct StepEnd {
    /// Prompts whose first token is there.
    pub prompted: Vec<Sequence>,
    /// Requests that have all their tokens.
    pub finished: Vec<Sequence>,
    /// Requests that came from another worker and yielded their first token here.
    pub begun: Vec<Sequence>,
    /// Decoding requests that gained tokens, and how long after their last ones.
    pub gained: Option<(Duration, u64)>,
    /// When the step started.
    pub start: Time,
    /// Tokens that requests which decode here yield at its end.
    pub emitted: f64,
}
