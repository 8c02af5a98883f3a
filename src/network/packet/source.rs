//! Where packets begin: messages are posted, wait for the NIC, and take turns at the port by which they leave.

use super::dcqcn::Limiter;
use super::events::Class;
use super::flows::{FlowState, Status};
use super::pool::{NONE, Packet};
use super::{PacketModel, port_of};
use crate::id::{CableId, DeviceId, LinkId};
use crate::network::Flow;
use crate::routing::Connection;
use crate::topology::LinkKind;
use crate::units::{Bytes, Time};

impl PacketModel<'_> {
    /// Takes a new flow: posts it, and lets it take its turn once the NIC has it.
    pub(super) fn admit(&mut self, now: Time, flow: Flow) {
        assert_ne!(flow.from, flow.to, "a flow leads somewhere else");
        let id = self.flows.len() as u32;
        let mut state = FlowState::new(now, flow);
        state.key = self.key(flow.from, flow.to, 0);
        self.open_flows += 1;
        state.groups = self.ways.prepare(flow.from, flow.to);
        if state.groups.len() > 1 {
            let turns = &mut self.turns[flow.from.index()];
            state.queue_pair = *turns % state.groups.len();
            *turns = turns.wrapping_add(flow.bytes.get().div_ceil(self.params.fabric.payload.get()).max(1) as u32);
        }
        if !self.follow(&mut state, flow.bytes) {
            (state.status, state.stranded) = (Status::Stranded, now.as_ps());
        }
        if self.params.congestion.is_some() {
            let line = self.topology.link(state.entry).bandwidth.get() as f64;
            self.limiters.push(Limiter::new(line * f64::from(state.groups.len().max(1))));
        }
        let ready = if state.status == Status::Open { self.post(&state, now.as_ps()) } else { now.as_ps() };
        state.ready = ready;
        self.flows.push(state);
        match state.status {
            Status::Open if ready > now.as_ps() => self.events.push(ready, Class::Flow, id),
            Status::Open => self.line_up(id, ready),
            _ => {}
        }
    }

    /// What the hash of a switch sees of a queue pair.
    fn key(&self, from: DeviceId, to: DeviceId, queue_pair: u32) -> u32 {
        self.ways.chooser.key(Connection { from, to, queue_pair })
    }

    /// Works out what the way of a flow without load amounts to; there may be none.
    pub(super) fn follow(&self, flow: &mut FlowState, bytes: Bytes) -> bool {
        let next = &self.ways.next;
        let (mut at, mut latency, mut transfer) = (flow.from, 0, 0);
        let mut entry: Option<LinkId> = None;
        flow.unit = self.params.fabric.payload.get() as u32;
        if flow.groups.is_empty() {
            return false;
        }
        let group = flow.groups.in_turn(0);
        let bytes = Bytes::new(bytes.get() / u64::from(flow.groups.len()));
        while at != flow.to {
            let Some(&hop) = self.ways.exits(group, (at, flow.to), flow.key).first() else { return false };
            let cable = next.cables().get(hop);
            let link = self.topology.link(cable.link);
            latency += link.latency.as_ps();
            transfer = transfer.max((bytes / link.achievable).as_ps());
            if entry.is_none() {
                entry = Some(cable.link);
                // What leaves over the scale-up domain moves in its units.
                if link.kind == LinkKind::ScaleUp {
                    flow.unit = self.params.scale_up_unit.get() as u32;
                }
            }
            if link.kind == LinkKind::Endpoint
                && self.topology.link(entry.expect("set above")).kind != LinkKind::Endpoint
            {
                entry = Some(cable.link);
                flow.unit = self.params.fabric.payload.get() as u32;
            }
            at = cable.to;
        }
        flow.entry = entry.expect("a flow leads somewhere else");
        (flow.latency, flow.transfer) = (latency, transfer);
        true
    }

    /// When the NIC has the message of a flow: GPUs hand over one after the other, and NICs take one after the other. Inside
    /// a scale-up domain nothing is posted.
    fn post(&mut self, flow: &FlowState, now: u64) -> u64 {
        let ends = (flow.from, flow.to);
        let Some(&exit) = self.ways.exits(flow.group(), ends, flow.key).first() else { return now };
        let cable = self.ways.next.cables().get(exit);
        let (poster, nic) = match self.topology.link(cable.link).kind {
            LinkKind::Host => (Some(cable.from), cable.to),
            LinkKind::Endpoint => (None, cable.from),
            LinkKind::ScaleUp | LinkKind::Fabric => return now,
        };
        let mut turn = |device: DeviceId, at: u64, interval: u64| {
            let free = &mut self.posts[device.index()];
            let begins = at.max(*free);
            *free = begins + interval;
            begins
        };
        let posted = poster.map_or(now, |gpu| turn(gpu, now, self.params.post_interval.as_ps()));
        turn(nic, posted, self.params.message_interval.as_ps())
    }

    /// A flow may go on: its message is with the NIC, or its rate lets it send again.
    pub(super) fn resume(&mut self, id: u32, now: u64) {
        if id >= NOTICE {
            let limits = self.params.congestion.as_ref().expect("only congestion control sends notices");
            return self.limiters[(id - NOTICE) as usize].fall(now, limits);
        }
        let flow = &self.flows[id as usize];
        if flow.status != Status::Done && flow.rings == 0 && flow.has_more() && self.find_way(id, now) {
            self.line_up(id, now);
        }
    }

    /// Puts a flow into the ring of each port by which it may leave next.
    pub(super) fn line_up(&mut self, id: u32, now: u64) {
        let flow = &self.flows[id as usize];
        let exits: &[CableId] = self.exits(flow);
        let exits = if flow.bytes <= u64::from(flow.unit) { &exits[..1] } else { exits };
        let (first, n) = (exits[0], exits.len());
        self.flows[id as usize].rings = n as u16;
        for at in 0..n {
            let flow = &self.flows[id as usize];
            let port = if n == 1 { first } else { self.exits(flow)[at] };
            let port = port_of(port);
            self.rings.push(port, id);
            self.ports.mark(port, 0, self.ports.local(port));
            self.try_send(port, now);
        }
    }

    /// The ports at which the next packet of a flow may leave its source.
    fn exits(&self, flow: &FlowState) -> &[CableId] {
        self.ways.exits(flow.group(), (flow.from, flow.to), flow.key)
    }

    /// Cuts a packet off the flow whose turn it is at a port; none if all that lined up have sent everything.
    pub(super) fn draw(&mut self, port: u32, lane: u8, input: u16, now: u64) -> Option<Packet> {
        let drawn = loop {
            let Some((id, before)) = self.rings.pop(port) else {
                self.ports.unmark(port, lane, input);
                return None;
            };
            let flow = &mut self.flows[id as usize];
            flow.rings -= 1;
            if flow.status == Status::Open && flow.has_more() {
                break self.cut(id, before, now);
            }
        };
        let (flow, packet) = drawn;
        self.take_turn_again(port, flow, packet.bytes, now);
        if self.rings.is_empty(port) {
            self.ports.unmark(port, lane, input);
        }
        self.pool.count_in();
        Some(packet)
    }

    fn cut(&mut self, id: u32, before: u32, now: u64) -> (u32, Packet) {
        let flow = &mut self.flows[id as usize];
        let bytes = flow.left.min(u64::from(flow.unit));
        flow.left -= bytes;
        if flow.start == u64::MAX {
            flow.start = now;
            flow.waited_for = if now > flow.ready { before } else { NONE };
        }
        let (mut key, group) = (flow.key, flow.group());
        let pairs = self.params.queue_pairs * flow.groups.len();
        if pairs > 1 {
            let (from, to, pair) = (flow.from, flow.to, flow.queue_pair);
            flow.queue_pair = (pair + 1) % pairs;
            key = self.key(from, to, pair);
        }
        self.tally.injected += bytes;
        let target = self.flows[id as usize].to.index() as u32;
        let packet =
            Packet { tail: now, flow: id, target, by: NONE, key, bytes: bytes as u16, lane: 0, marks: 0, group };
        (id, packet)
    }

    /// A flow that has sent a packet lines up again, at once or when its rate allows.
    fn take_turn_again(&mut self, port: u32, id: u32, bytes: u16, now: u64) {
        let flow = &mut self.flows[id as usize];
        if flow.left == 0 {
            return;
        }
        if let Some(limits) = &self.params.congestion {
            let next = self.limiters[id as usize].pace(now, u32::from(bytes), limits);
            if next > now {
                // Where it is in several rings, the last turn of all decides when it goes on.
                if flow.rings == 0 {
                    self.events.push(next, Class::Flow, id);
                }
                return;
            }
        }
        flow.rings += 1;
        // The next packet is another queue pair's, which may have another port.
        if flow.groups.len() > 1 {
            let next = port_of(self.exits(&self.flows[id as usize])[0]);
            if next != port {
                self.rings.push(next, id);
                self.ports.mark(next, 0, self.ports.local(next));
                return self.woken.push(next);
            }
        }
        self.rings.push(port, id);
    }

    /// The receiver of a flow tells the sender of congestion.
    pub(super) fn notify(&mut self, id: u32, now: u64) {
        let Some(limits) = &self.params.congestion else { return };
        if self.limiters[id as usize].notifies(now, limits) {
            // The notice goes back the way that the data came, ahead of it.
            let back = self.flows[id as usize].latency;
            self.events.push(now + back, Class::Flow, id + NOTICE);
        }
    }
}

/// Added to the number of a flow in events that are notices of congestion.
const NOTICE: u32 = 1 << 31;
