//! GPUs that send in place of others of their node: what they hold for them is bounded.
//!
//! A GPU that cannot reach a destination by its own NIC sends over the scale-up domain into the memory of a GPU that can, and that
//! one sends on (NCCL calls this PXN). Communication software has a buffer of a given size for this, so that a packet leaves its
//! source only when the GPU that is to relay it has room. A flow without room waits for it at that GPU, first come first served.
//! Without such a bound the faster scale-up domain would move all data into the relays' memory, where no other way, and no link that
//! comes back, is of use to it.

use super::PacketModel;
use super::flows::Status;
use crate::id::DeviceId;
use crate::topology::DeviceKind;
use std::collections::VecDeque;

/// The buffers of all GPUs for what they relay.
pub(super) struct Relays {
    /// What each holds at most.
    room: u64,
    /// Per device: data in its buffer, and on its way there.
    held: Vec<u64>,
    /// Per device: flows that wait for room.
    waiting: Vec<VecDeque<u32>>,
}

impl Relays {
    pub(super) fn new(n_devices: usize, room: u64) -> Relays {
        Relays { room, held: vec![0; n_devices], waiting: vec![VecDeque::new(); n_devices] }
    }

    /// Data that a device holds for others.
    pub(super) fn held(&self, device: DeviceId) -> u64 {
        self.held[device.index()]
    }

    /// Whether a device can take `bytes` more. An empty buffer takes a packet of any size.
    pub(super) fn has_room(&self, device: DeviceId, bytes: u64) -> bool {
        let held = self.held[device.index()];
        held == 0 || held + bytes <= self.room
    }

    pub(super) fn take(&mut self, device: u32, bytes: u64) {
        self.held[device as usize] += bytes;
    }

    /// Lets nobody wait any more: ways have changed, and every flow looks for its own anew.
    pub(super) fn forget_waiting(&mut self) {
        self.waiting.iter_mut().for_each(VecDeque::clear);
    }

    /// Whether nothing is held.
    pub(super) fn are_empty(&self) -> bool {
        self.held.iter().all(|&held| held == 0)
    }
}

/// Whether a packet may leave its source.
pub(super) enum Passage {
    /// It needs no relay.
    Direct,
    /// It goes by this GPU, which has room.
    By(u32),
    /// It would go by this GPU, which has none.
    Full(DeviceId),
}

impl PacketModel<'_> {
    /// Whether the next packet of a flow may leave by `port`.
    pub(super) fn passage(&mut self, id: u32, port: u32) -> Passage {
        let flow = &self.flows[id as usize];
        if !flow.relayed {
            return Passage::Direct;
        }
        let (to, key, bytes) = (flow.to, self.next_key(id), flow.left.min(u64::from(flow.unit)));
        let mut at = DeviceId::new(self.ports.all[port as usize].to as usize);
        while self.topology.device(at).kind == DeviceKind::NvSwitch {
            let Some(next) = self.ways.towards_relay(at, to, key, bytes, &self.relays) else { return Passage::Direct };
            at = next;
        }
        if at == to || self.topology.device(at).kind != DeviceKind::Gpu {
            return Passage::Direct;
        }
        if !self.relays.has_room(at, bytes) {
            return Passage::Full(at);
        }
        self.ways.next.prepare(at);
        Passage::By(at.index() as u32)
    }

    /// A flow waits until `relay` has room.
    pub(super) fn wait_for_room(&mut self, id: u32, relay: DeviceId) {
        self.flows[id as usize].waits_for_room = true;
        self.relays.waiting[relay.index()].push_back(id);
    }

    /// A packet of `bytes` is no longer in the buffer of its relay: who waits for room is next, and all are where nothing is left in it.
    pub(super) fn release(&mut self, relay: u32, bytes: u32, now: u64) {
        self.relays.held[relay as usize] -= u64::from(bytes);
        let is_empty = self.relays.held[relay as usize] == 0;
        while let Some(id) = self.relays.waiting[relay as usize].pop_front() {
            let flow = &self.flows[id as usize];
            if flow.waits_for_room && flow.status == Status::Open && flow.rings == 0 && flow.has_more() {
                self.line_up(id, now);
                if !is_empty {
                    return;
                }
            }
        }
    }
}
