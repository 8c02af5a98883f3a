//! Events to come, those of one instant in one: flows that are alike start, move and arrive together and cost one event.

use crate::id::FlowId;
use crate::units::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A set of flows with something to come at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchId(u32);

/// Batches in order of time, and of age at one instant.
#[derive(Default)]
pub(super) struct Batches {
    queue: BinaryHeap<Reverse<(Time, u64, BatchId)>>,
    made: u64,
    flows: Vec<Vec<FlowId>>,
    free: Vec<BatchId>,
}

impl Batches {
    /// A batch without flows at the instant `at`.
    pub(super) fn open(&mut self, at: Time) -> BatchId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.flows.push(Vec::new());
            BatchId(self.flows.len() as u32 - 1)
        });
        self.queue.push(Reverse((at, self.made, id)));
        self.made += 1;
        id
    }

    /// Adds a flow to a batch that is still to come.
    pub(super) fn add(&mut self, batch: BatchId, flow: FlowId) {
        self.flows[batch.0 as usize].push(flow);
    }

    /// When the next batch is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.queue.peek().map(|&Reverse((at, _, _))| at)
    }

    /// Takes the next batch if it is due at `now`. The flows are to be handed back with [`Batches::close`].
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(BatchId, Vec<FlowId>)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, _, id)) = self.queue.pop()?;
        Some((id, std::mem::take(&mut self.flows[id.0 as usize])))
    }

    /// Takes the memory of a batch back for others; what only few would need is given up.
    pub(super) fn close(&mut self, batch: BatchId, mut flows: Vec<FlowId>) {
        const KEPT_MAX: usize = 1 << 12;
        if flows.capacity() <= KEPT_MAX {
            flows.clear();
            self.flows[batch.0 as usize] = flows;
        }
        self.free.push(batch);
    }
}
