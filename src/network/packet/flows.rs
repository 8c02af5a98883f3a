//! Flows: what is left to send of each, and the rings in which they take turns at a port.

use super::pool::NONE;
use crate::id::{DeviceId, FlowId, LinkId};
use crate::network::{Arrived, Flow};
use crate::routing::{PortGroup, PortGroups};
use crate::units::Time;
use std::collections::VecDeque;

/// One flow, from start to arrival: two lines of the cache, of which packets need only the first.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct FlowState {
    /// Data that has yet to leave, and data that has yet to arrive.
    pub(super) left: u64,
    pub(super) missing: u64,
    /// When it was ready to leave, when its first packet left, and when its last had left.
    pub(super) ready: u64,
    pub(super) start: u64,
    pub(super) injected: u64,
    pub(super) to: DeviceId,
    /// What the hash sees of its first queue pair, and the queue pair whose turn it is.
    pub(super) key: u32,
    pub(super) queue_pair: u32,
    /// Data of a full packet.
    pub(super) unit: u32,
    /// The flow that held its port when it wanted to start.
    pub(super) waited_for: u32,
    /// Rings that it is in.
    pub(super) rings: u16,
    pub(super) status: Status,
    pub(super) bytes: u64,
    /// Latency of its way without load, in ps.
    pub(super) latency: u64,
    /// Time that its data takes on the narrowest link, in ps.
    pub(super) transfer: u64,
    /// Since when it has had no way, where it has none.
    pub(super) stranded: u64,
    pub(super) from: DeviceId,
    /// The link on which it leaves its node.
    pub(super) entry: LinkId,
    /// The ports of NICs over which it is shared out, a queue pair for each.
    pub(super) groups: PortGroups,
}

/// How far a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Its message waits for the NIC, or it waits for its turn.
    Open,
    /// It has no way at present.
    Stranded,
    /// All of it has arrived.
    Done,
}

impl FlowState {
    pub(super) fn new(now: Time, flow: Flow) -> FlowState {
        FlowState {
            from: flow.from,
            to: flow.to,
            bytes: flow.bytes.get(),
            left: flow.bytes.get(),
            missing: flow.bytes.get(),
            ready: now.as_ps(),
            start: u64::MAX,
            injected: 0,
            latency: 0,
            transfer: 0,
            entry: LinkId::new(0),
            groups: PortGroups::ANY,
            key: 0,
            queue_pair: 0,
            unit: 0,
            waited_for: NONE,
            stranded: 0,
            rings: 0,
            status: Status::Open,
        }
    }

    /// The ports that its next packet may use.
    pub(super) fn group(&self) -> PortGroup {
        self.groups.in_turn(self.queue_pair)
    }

    /// Whether something of it has yet to leave. A flow without data sends one packet.
    pub(super) fn has_more(&self) -> bool {
        self.left > 0 || (self.bytes == 0 && self.start == u64::MAX)
    }

    /// What is known of it once it has arrived.
    pub(super) fn arrived(&self, id: u32, now: u64) -> Arrived {
        Arrived {
            flow: FlowId::new(id as usize),
            port: self.entry,
            start: Time::from_ps(self.start),
            injected: Time::from_ps(self.injected),
            end: Time::from_ps(now),
            waited_for: (self.waited_for != NONE).then(|| FlowId::new(self.waited_for as usize)),
            latency_bound: self.latency > self.transfer,
        }
    }
}

/// For each port, the flows that take turns at it.
#[derive(Default)]
pub(super) struct Rings {
    rings: Vec<VecDeque<u32>>,
    /// The flow that was served last.
    last: Vec<u32>,
}

impl Rings {
    pub(super) fn new(ports: usize) -> Rings {
        Rings { rings: vec![VecDeque::new(); ports], last: vec![NONE; ports] }
    }

    pub(super) fn push(&mut self, port: u32, flow: u32) {
        self.rings[port as usize].push_back(flow);
    }

    /// The flow whose turn it is, and the one that was served before.
    pub(super) fn pop(&mut self, port: u32) -> Option<(u32, u32)> {
        let flow = self.rings[port as usize].pop_front()?;
        Some((flow, std::mem::replace(&mut self.last[port as usize], flow)))
    }

    /// The flow whose turn it is.
    pub(super) fn first(&self, port: u32) -> Option<u32> {
        self.rings[port as usize].front().copied()
    }

    pub(super) fn is_empty(&self, port: u32) -> bool {
        self.rings[port as usize].is_empty()
    }

    /// Takes every flow out of every ring.
    pub(super) fn clear(&mut self) {
        self.rings.iter_mut().for_each(VecDeque::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::FlowState;
    use std::mem::offset_of;

    #[test]
    fn packets_need_one_line_of_a_flow() {
        assert_eq!((size_of::<FlowState>(), offset_of!(FlowState, bytes)), (128, 64));
    }
}
