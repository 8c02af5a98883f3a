//! The event queue: completions of what runs on streams, in the one total order (time, operation).

use crate::id::OpId;
use crate::units::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Completions to come.
#[derive(Default)]
pub(super) struct Events(BinaryHeap<Reverse<(Time, OpId)>>);

impl Events {
    /// Plans the completion of `op`.
    pub(super) fn push(&mut self, at: Time, op: OpId) {
        self.0.push(Reverse((at, op)));
    }

    /// When the next completion is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.peek().map(|&Reverse((at, _))| at)
    }

    /// Takes the next completion if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<OpId> {
        let due = self.next()? <= now;
        due.then(|| self.0.pop().map(|Reverse((_, op))| op)).flatten()
    }
}
