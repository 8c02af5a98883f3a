//! The network packet by packet.
//!
//! Every packet is followed from buffer to buffer: sources cut messages into packets and take turns over their flows,
//! switches cut through, arbitrate round robin and hold packets back without losing any. One event moves a packet one hop.
//! A hop begins when the port is free, the far buffer has room, and it is the packet's turn; the tail leaves after its
//! service time, and the head arrives after the latency of the link.
//!
//! Simplifications: a packet's place in a buffer is free when it begins to leave, and the sender knows at once (what is on
//! the cable is allowed for on top of the buffer); acknowledgements take no bandwidth; a GPU or CPU takes in what arrives at
//! the rate of its port. This module must not know what flows are for.

mod ahead;
mod breaks;
mod dcqcn;
mod ends;
mod events;
mod flows;
mod params;
mod pool;
mod ports;
mod rates;
mod source;
mod turns;
mod way;
mod wheel;

pub use params::{PacketParams, PacketSpec, PostBy};

use super::{Arrived, FaultSchedule, Flow, LinkUse, NetworkModel, Stranded};
use crate::hardware::FlowControl;
use crate::id::{CableId, DeviceId};
use crate::routing::{Direction, RoutingSpec, mix, next_lane};
use crate::topology::{DeviceKind, Topology};
use crate::units::{Bytes, Time};
use dcqcn::Limiter;
use events::{Class, Due, Events, Moving};
use flows::{FlowState, Rings};
use pool::{ASTRAY, CONGESTED, LANDED, NONE, Packet, Pool};
use ports::{Departure, Ports};
use way::Ways;

/// The packet model over one topology.
pub struct PacketModel<'t> {
    topology: &'t Topology,
    params: PacketParams,
    seed: u64,
    ways: Ways<'t>,
    ports: Ports,
    /// Per cable: how it leads through the tiers, and whether its far end forwards only what has arrived whole.
    directions: Vec<Direction>,
    stores: Vec<bool>,
    /// Per cable: whether what leaves by it may be marked.
    marks: Vec<bool>,
    pool: Pool,
    flows: Vec<FlowState>,
    rings: Rings,
    /// Per flow, where end points control congestion.
    limiters: Vec<Limiter>,
    /// Per device: when it can hand over, or take, the next message.
    posts: Vec<u64>,
    /// Per device: packets that it has sent or is about to, by which its messages take turns over the ports of NICs.
    turns: Vec<u32>,
    events: Events,
    finished: Vec<u32>,
    /// Ports that have got room, to be looked at next.
    woken: Vec<u32>,
    lanes: u8,
    lanes_wanted: u8,
    /// Whether links ever break.
    breaks: bool,
    /// Whether nothing can happen to a packet on its last cable, neither a break nor a mark that its receiver tells of.
    lands_early: bool,
    /// Whether there is more than the cache holds.
    reads_ahead: bool,
    faults: FaultSchedule,
    /// Per link.
    usable: Vec<bool>,
    tally: Tally,
    open_flows: usize,
    watch: Option<Watch<'t>>,
}

/// Is told of progress now and then: the instant that the simulation has reached, and what has happened so far.
pub type Watch<'w> = Box<dyn FnMut(Time, Tally) + 'w>;

/// Events between two calls of a watch: a fraction of a second of work.
const WATCH_INTERVAL: u64 = 1 << 20;

/// Cables from which on it pays to read ahead: with fewer, ports and packets stay in a second-level cache of 2 MB.
const READ_AHEAD_FROM: usize = 2048;

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events worked through.
    pub events: u64,
    /// Hops of packets.
    pub hops: u64,
    /// Flows that have arrived.
    pub arrived: u64,
    /// Data that has entered the network, what was sent again counted again.
    pub injected: u64,
    /// Data that has arrived.
    pub delivered: u64,
    /// Data that was on links that broke, and was sent again.
    pub lost: u64,
    /// Packets that the fabric has marked.
    pub marked: u64,
    /// Packets that were in the network at once, at most.
    pub packets_most: u64,
}

impl<'t> PacketModel<'t> {
    /// An idle network, with `faults` to come. Hashes and random choices depend on `seed`.
    pub fn new(
        topology: &'t Topology,
        params: PacketParams,
        routing: RoutingSpec,
        seed: u64,
        faults: FaultSchedule,
    ) -> PacketModel<'t> {
        let mut ways = Ways::new(topology, routing, seed);
        // How many lanes there are depends on all ways that there are.
        for (id, _) in topology.devices().filter(|(_, device)| !is_switch(device.kind)) {
            ways.prepare_any(id);
        }
        let cables = ways.next.cables();
        let kind = |id: DeviceId| topology.device(id).kind;
        let lanes_wanted = ways.lanes();
        // Ways round what is broken may turn more often than the shortest ones.
        let lanes = lanes_wanted + if faults.is_empty() { 0 } else { lanes_wanted + 2 };
        let lanes = lanes.min(params.lanes);
        let ports = Ports::new(topology, cables, &params, lanes);
        let reads_ahead = cables.len() >= READ_AHEAD_FROM;
        let mut model = PacketModel {
            topology,
            params,
            seed,
            directions: cables.iter().map(|(_, cable)| cable.direction).collect(),
            stores: cables.iter().map(|(_, cable)| kind(cable.to) == DeviceKind::Gpu).collect(),
            marks: cables.iter().map(|(_, cable)| kind(cable.from).is_fabric_switch()).collect(),
            rings: Rings::new(cables.len()),
            ways,
            ports,
            pool: Pool::default(),
            flows: Vec::new(),
            limiters: Vec::new(),
            posts: vec![0; topology.n_devices()],
            turns: vec![0; topology.n_devices()],
            events: Events::new(),
            finished: Vec::new(),
            woken: Vec::new(),
            lanes,
            lanes_wanted,
            breaks: !faults.is_empty(),
            lands_early: faults.is_empty() && params.congestion.is_none(),
            reads_ahead,
            faults: FaultSchedule::default(),
            usable: vec![true; topology.n_links()],
            tally: Tally::default(),
            open_flows: 0,
            watch: None,
        };
        model.plan(faults);
        model
    }

    /// Tells `watch` of progress from now on.
    pub fn watched(mut self, watch: Watch<'t>) -> PacketModel<'t> {
        self.watch = Some(watch);
        self
    }

    /// Virtual lanes that ways want so that they cannot deadlock, where nothing is broken; there may be fewer.
    pub const fn lanes_wanted(&self) -> u8 {
        self.lanes_wanted
    }

    /// What has happened so far.
    pub fn tally(&self) -> Tally {
        Tally { packets_most: self.pool.most() as u64, ..self.tally }
    }

    fn handle(&mut self, now: u64, due: Due) {
        self.tally.events += 1;
        match due {
            Due::Packet(moving) => self.arrive(moving, now),
            Due::Port(port) => self.free(port, now),
            Due::Other(Class::Arrival, id) => {
                let packet = self.pool.take(id);
                let by = &self.ports.all[packet.by as usize];
                let (to, input) = (by.to, by.slot);
                self.arrive(Moving { packet, to, input }, now);
            }
            Due::Other(Class::Port, port) => self.free(port, now),
            Due::Other(Class::Flow, flow) => self.resume(flow, now),
            Due::Other(Class::Fault, change) => self.change_links(change, now),
        }
        while let Some(port) = self.woken.pop() {
            self.send(port, now);
        }
    }

    /// A port has become free.
    fn free(&mut self, port: u32, now: u64) {
        self.ports.all[port as usize].planned = false;
        self.send(port, now);
    }

    /// A packet has reached the buffer at the far end of the port that sent it.
    fn arrive(&mut self, moving: Moving, now: u64) {
        let Moving { mut packet, to: at, input } = moving;
        if self.breaks && self.ports.all[packet.by as usize].dead {
            return self.lose(&packet, now);
        }
        if packet.target == at {
            if packet.marks & LANDED != 0 {
                return self.finish(packet.flow);
            }
            if packet.marks & ASTRAY == 0 {
                return self.deliver(&packet, now);
            }
            packet.marks &= !ASTRAY;
            let to = self.flows[packet.flow as usize].to.index() as u32;
            if to == at {
                return self.deliver(&packet, now);
            }
            packet.target = to;
        }
        let out = self.ways.choose(DeviceId::new(at as usize), &mut packet, &self.ports, now);
        let Some(out) = out.map(port_of) else { return self.lose(&packet, now) };
        let mut lane = packet.lane;
        if self.lanes > 1 {
            lane = next_lane(lane, self.directions[packet.by as usize], self.directions[out as usize]);
            // Only ways round what is broken could need more lanes than there are.
            lane = lane.min(self.lanes - 1);
        }
        if let FlowControl::Pause(pause) = self.params.flow_control
            && self.marks[out as usize]
        {
            let queued = self.ports.queued(out);
            if marks(u64::from(queued), &pause, mix(self.tally.hops ^ self.seed)) {
                packet.marks |= CONGESTED;
                self.tally.marked += 1;
            }
        }
        self.ports.loads[out as usize].pending += u32::from(packet.bytes);
        if self.ports.passes(out, lane, input, now) {
            return self.transmit(out, lane, packet, now);
        }
        let id = self.pool.insert(packet);
        self.ports.enqueue(out, lane, input, id, &mut self.pool);
        self.try_send(out, now);
    }

    /// Lets a port send if it is free, and otherwise sees to it that it will be asked when it is.
    fn try_send(&mut self, at: u32, now: u64) {
        let port = &mut self.ports.all[at as usize];
        if port.planned || port.dead {
            return;
        }
        let busy_until = self.ports.loads[at as usize].busy_until;
        if busy_until <= now {
            self.send(at, now);
        } else {
            port.planned = true;
            self.events.push(busy_until, Class::Port, at);
        }
    }

    /// A port that is free sends the packet whose turn it is, if there is one that may go.
    fn send(&mut self, at: u32, now: u64) {
        // It may have sent since it was woken.
        if self.ports.loads[at as usize].busy_until > now {
            return self.try_send(at, now);
        }
        while let Some((lane, input)) = self.ports.select(at) {
            if input == self.ports.local(at) {
                let Some(packet) = self.draw(at, lane, input, now) else { continue };
                self.transmit(at, lane, packet, now);
            } else {
                let packet = self.ports.dequeue(at, lane, input, &mut self.pool);
                let packet = self.pool.take(packet);
                self.transmit(at, lane, packet, now);
            }
            let port = &mut self.ports.all[at as usize];
            if port.waiting & !port.stopped != 0 && !port.planned {
                port.planned = true;
                let free = self.ports.loads[at as usize].busy_until;
                self.events.push_port(free - now, free, at);
            }
            return;
        }
    }

    /// A packet begins to leave by a port.
    fn transmit(&mut self, at: u32, lane: u8, mut packet: Packet, now: u64) {
        let (came_by, came_on) = (packet.by, packet.lane);
        let bytes = u32::from(packet.bytes);
        let service = self.ports.service(at, bytes, &self.params);
        // A fast cable after a slow one: the tail cannot leave before it has come.
        let done = (now + service).max(packet.tail);
        let port = self.ports.depart(at, lane, Departure { bytes, waited: came_by != NONE, now, done });
        let (latency, to, input, ends) = (u64::from(port.latency), port.to, port.slot, port.ends);
        packet.by = at;
        packet.lane = lane;
        packet.tail = done + latency;
        let arrives_whole = self.stores[at as usize] || (packet.target == to && packet.marks & ASTRAY == 0);
        let arrival = if arrives_whole { done } else { now } + latency;
        if !(ends && self.lands_early) || self.land(&mut packet) {
            self.plan_arrival(arrival, Moving { packet, to, input }, now);
        }
        self.tally.hops += 1;
        if came_by == NONE {
            let flow = &mut self.flows[packet.flow as usize];
            flow.injected = flow.injected.max(done);
        } else {
            self.give_back(came_by, came_on, bytes);
        }
    }

    /// A place in the buffer at the far end of a port is free again.
    fn give_back(&mut self, port: u32, lane: u8, bytes: u32) {
        if self.ports.give(port, lane, bytes) {
            self.woken.push(port);
        }
    }

    fn plan_arrival(&mut self, at: u64, moving: Moving, now: u64) {
        if !self.events.push_packet(at - now, at, moving) {
            let id = self.pool.insert(moving.packet);
            self.events.push(at, Class::Arrival, id);
        }
    }

    /// Nothing is lost, held back or counted twice once nothing is on its way.
    fn check_idle(&self) {
        let Tally { injected, delivered, lost, .. } = self.tally;
        assert_eq!(injected, delivered + lost, "what has entered has left");
        assert_eq!(self.pool.len(), 0, "no packet is left behind");
        assert_eq!(self.held_back(), Bytes::ZERO, "all credits have come back");
    }

    /// Data in buffers and on cables, which is nothing once all has arrived.
    pub fn held_back(&self) -> Bytes {
        Bytes::new(self.ports.in_use())
    }

    /// Whether every buffer holds no more than it has room for.
    pub fn buffers_fit(&self) -> bool {
        self.ports.fits()
    }
}

impl NetworkModel for PacketModel<'_> {
    fn start(&mut self, now: Time, flow: Flow) {
        assert_eq!(flow.id.index(), self.flows.len(), "flows are numbered in the order in which they start");
        self.admit(now, flow);
        while let Some(port) = self.woken.pop() {
            self.send(port, now.as_ps());
        }
    }

    fn advance_until(&mut self, limit: Time, arrived: &mut Vec<Arrived>) -> Time {
        let mut until = limit.as_ps();
        let last = u64::MAX >> 2;
        while let Some((now, due)) = self.events.pop(until.min(last)) {
            if let Some(batch) = self.events.batch()
                && self.reads_ahead
            {
                self.read_ahead(batch);
            }
            self.handle(now, due);
            if self.tally.events.is_multiple_of(WATCH_INTERVAL) {
                let tally = self.tally();
                self.watch.iter_mut().for_each(|watch| watch(Time::from_ps(now), tally));
            }
            if !self.finished.is_empty() {
                until = now;
            }
        }
        if self.finished.is_empty() {
            if limit == Time::FAR_FUTURE && self.open_flows == 0 {
                self.check_idle();
            }
            return limit;
        }
        self.finished.sort_unstable();
        for &flow in &self.finished {
            arrived.push(self.flows[flow as usize].arrived(flow, until));
        }
        self.finished.clear();
        Time::from_ps(until)
    }

    fn stranded(&self) -> Vec<Stranded> {
        self.list_stranded()
    }

    fn link_use(&self) -> Vec<LinkUse> {
        self.ports.link_use(self.ways.next.cables())
    }
}

fn is_switch(kind: DeviceKind) -> bool {
    kind.is_fabric_switch() || kind == DeviceKind::NvSwitch
}

/// Whether a packet that joins a queue of `queued` bytes is marked: never below the first threshold, always above the
/// second, and with a probability that rises in between.
fn marks(queued: u64, pause: &crate::hardware::PauseSpec, draw: u64) -> bool {
    let (from, all) = (pause.mark_from.get(), pause.mark_all.get());
    if queued <= from {
        return false;
    }
    let rise = (queued - from) as f64 / (all - from) as f64;
    queued > all || ((draw >> 11) as f64 / (1_u64 << 53) as f64) < rise * pause.mark_max.get()
}

/// The place of a cable among the ports.
fn port_of(cable: CableId) -> u32 {
    cable.index() as u32
}
