//! The event queue: when something changes for what runs on streams, in the one total order (time, operation).

use crate::id::OpId;
use crate::units::Time;
use std::collections::BTreeSet;

/// Changes to come: completions, and moments at which kernels beside each other get other shares.
#[derive(Default)]
pub(super) struct Events(BTreeSet<(Time, OpId)>);

impl Events {
    /// Plans a change for `op`; never, if that is in the far future.
    pub(super) fn push(&mut self, at: Time, op: OpId) {
        if at != Time::FAR_FUTURE {
            self.0.insert((at, op));
        }
    }

    /// Takes back what was planned for `op`.
    pub(super) fn withdraw(&mut self, at: Time, op: OpId) {
        self.0.remove(&(at, op));
    }

    /// When the next change is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|&(at, _)| at)
    }

    /// Takes the operation of the next change if that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<OpId> {
        let due = self.next()? <= now;
        due.then(|| self.0.pop_first().map(|(_, op)| op)).flatten()
    }
}
