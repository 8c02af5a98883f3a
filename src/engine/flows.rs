//! Transfers in the network, and the operations that they are.
//!
//! Which operation a transfer was is known for ever, in four bytes, because a network model may name any of them as what another one waited
//! for. What else is known is given up when it arrives.

use crate::id::{FlowId, OpId};
use crate::retiring::Retiring;
use crate::units::Time;

const NO_CAUSE: u32 = u32::MAX;

/// All transfers.
#[derive(Default)]
pub(super) struct Flows {
    ops: Vec<OpId>,
    under_way: Retiring<UnderWay>,
}

/// A transfer that has not arrived.
struct UnderWay {
    /// When it set out, in halves.
    ready: [u32; 2],
    /// The operation whose end let it set out, by its place.
    cause: u32,
}

/// Memory of a transfer that has not arrived, in bytes.
#[cfg(test)]
pub(super) const FLOW_BYTES: usize = size_of::<UnderWay>() + size_of::<OpId>();

impl Flows {
    /// Adds the transfer of `op`, which set out at `ready` because `by` ended.
    pub(super) fn start(&mut self, op: OpId, ready: Time, by: Option<OpId>) -> FlowId {
        self.under_way.push(UnderWay { ready: ready.halves(), cause: by.map_or(NO_CAUSE, |by| by.index() as u32) });
        self.ops.push(op);
        FlowId::new(self.ops.len() - 1)
    }

    /// The operation that a transfer is or was.
    pub(super) fn op(&self, flow: FlowId) -> OpId {
        self.ops[flow.index()]
    }

    /// Gives up what is known of a transfer that arrives: when it set out, and the operation whose end let it.
    pub(super) fn arrive(&mut self, flow: FlowId) -> (Time, Option<OpId>) {
        let UnderWay { ready, cause } = self.under_way[flow.index()];
        self.under_way.retire(flow.index());
        (Time::from_halves(ready), (cause != NO_CAUSE).then(|| OpId::new(cause as usize)))
    }
}
