//! GPUs that send in place of others of their node: what they hold for them is bounded.
//!
//! A GPU that cannot reach a destination by its own NIC sends over the scale-up domain into the memory of a GPU that can, and that
//! one sends on (NCCL calls this PXN). Communication software has a buffer of a given size for this, so that a packet leaves its
//! source only when the GPU that is to relay it has room. A flow without room waits for it at that GPU, first come first served.
//! Without such a bound the faster scale-up domain would move all data into the relays' memory, where no other way, and no link that
//! comes back, is of use to it.

use super::PacketModel;
use super::flows::Status;
use crate::id::{CableId, DeviceId};
use crate::topology::DeviceKind;
use std::collections::{BTreeMap, VecDeque};

/// The buffers of all GPUs for what they relay.
pub(super) struct Relays {
    /// What each holds at most.
    room: u64,
    /// Per device: data in its buffer, and on its way there.
    held: Vec<u64>,
    /// Per device: flows that wait for room.
    waiting: Vec<VecDeque<u32>>,
    /// Per device and flow: packets in its buffer and on their way there, and how much the flow counts where it leaves.
    flows: BTreeMap<(u32, u32), (u32, u32)>,
    /// Per device: how much all flows that it relays count together.
    weights: Vec<u32>,
    /// Per device: what it owes them of its port.
    owed: Vec<u32>,
}

/// How much a flow counts that goes one way. One that splits over several counts as much in all.
const WHOLE: u32 = 5040;

impl Relays {
    pub(super) fn new(n_devices: usize, room: u64) -> Relays {
        Relays {
            room,
            held: vec![0; n_devices],
            waiting: vec![VecDeque::new(); n_devices],
            flows: BTreeMap::new(),
            weights: vec![0; n_devices],
            owed: vec![0; n_devices],
        }
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

    /// A packet of a flow, which splits over so many ways, is to be relayed.
    pub(super) fn take(&mut self, Relayed { by, ways }: Relayed, flow: u32, bytes: u64) {
        self.held[by as usize] += bytes;
        let (packets, weight) = self.flows.entry((by, flow)).or_insert((0, WHOLE / ways));
        if *packets == 0 {
            self.weights[by as usize] += *weight;
        }
        *packets += 1;
    }

    /// A packet of a flow has been sent on, or is lost.
    fn give(&mut self, by: u32, flow: u32, bytes: u64) {
        self.held[by as usize] -= bytes;
        let (packets, weight) = self.flows.get_mut(&(by, flow)).expect("a packet that is relayed was counted");
        *packets -= 1;
        if *packets == 0 {
            self.weights[by as usize] -= *weight;
            self.flows.remove(&(by, flow));
        }
    }

    /// Whether it is the turn of what a device relays, beside `own` flows of its own; nothing where there is no choice.
    fn turn(&mut self, device: DeviceId, own: u32) -> Option<bool> {
        let relayed = self.weights[device.index()];
        if relayed == 0 || own == 0 {
            return None;
        }
        let owed = &mut self.owed[device.index()];
        let all = own.saturating_mul(WHOLE).saturating_add(relayed);
        *owed = owed.saturating_add(relayed);
        let is_due = *owed >= all;
        if is_due {
            *owed -= all;
        }
        Some(is_due)
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

/// The lanes of a GPU's own data, and of what it relays, which has turned once.
const OWN: u8 = 0;
const RELAYED: u8 = 1;

/// The GPU that relays a packet, and over how many its flow splits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relayed {
    pub(super) by: u32,
    pub(super) ways: u32,
}

/// Whether a packet may leave its source.
pub(super) enum Passage {
    /// It needs no relay.
    Direct,
    /// It goes by this GPU, which has room.
    By(Relayed),
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
        let (to, group, key, bytes) = (flow.to, flow.group(), self.next_key(id), flow.left.min(u64::from(flow.unit)));
        let mut at = DeviceId::new(self.ports.all[port as usize].to as usize);
        let mut ways = 1;
        while self.topology.device(at).kind == DeviceKind::NvSwitch {
            let next = self.ways.towards_relay(group, (at, to), key, bytes, &self.relays);
            let Some((next, among)) = next else { return Passage::Direct };
            (at, ways) = (next, (ways * among).min(WHOLE));
        }
        if at == to || self.topology.device(at).kind != DeviceKind::Gpu {
            return Passage::Direct;
        }
        if !self.relays.has_room(at, bytes) {
            return Passage::Full(at);
        }
        self.ways.next.prepare(group, at);
        Passage::By(Relayed { by: at.index() as u32, ways })
    }

    /// A flow waits until `relay` has room.
    pub(super) fn wait_for_room(&mut self, id: u32, relay: DeviceId) {
        self.flows[id as usize].waits_for_room = true;
        self.relays.waiting[relay.index()].push_back(id);
    }

    /// Lets the flows that a GPU relays take turns with its own at the port to its NIC, one as often as another, as connections of a NIC
    /// do: they are on a lane of their own, which would have half of the turns however few they are.
    pub(super) fn take_turns(&mut self, at: u32) {
        let port = &self.ports.all[at as usize];
        if self.relays.flows.is_empty() || self.topology.device(DeviceId::new(port.to as usize)).kind != DeviceKind::Nic
        {
            return;
        }
        let from = self.ways.next.cables().get(CableId::new(at as usize)).from;
        if let Some(is_relayed) = self.relays.turn(from, self.rings.len(at)) {
            self.ports.serve_next(at, if is_relayed { RELAYED } else { OWN });
        }
    }

    /// A packet of `bytes` is no longer in the buffer of its relay: who waits for room is next, and all are where nothing is left in it.
    pub(super) fn release(&mut self, relay: u32, (flow, bytes): (u32, u32), now: u64) {
        self.relays.give(relay, flow, u64::from(bytes));
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
