//! Output ports with their queues, and the buffers at the far ends of their cables.
//!
//! A switch holds packets in the input buffer in which they arrived and queues them by output (virtual output queues), so
//! that packets to a free output pass those to a busy one; but all of an input share its buffer, and once a congested output
//! has filled that, nothing more gets in. Arrays are dense: one port per cable, and for each port and virtual lane one queue
//! per input and one more for what starts here.

use super::params::{PacketParams, thresholds, unit};
use super::pool::{NONE, Pool};
use super::rates::Rate;
use super::turns::{next_bit, next_in_word};
use crate::id::CableId;
use crate::network::LinkUse;
use crate::routing::Cables;
use crate::topology::Topology;
use crate::units::{Bytes, Duration};

/// How loaded a port is: apart from the rest and next to that of its neighbours, among which adaptive routing compares it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// When the tail of the last packet has left.
    pub(super) busy_until: u64,
    /// Data that waits for this port, on its cable, and in the buffer at the far end, over all lanes.
    pub(super) pending: u32,
    /// The time of a byte in a full packet, in ps, rounded down but never to nothing.
    pub(super) per_byte: u32,
}

impl Load {
    /// How long the port is busy with what it sends, what waits for it, and what its credits say waits at the far end, in ps.
    pub(super) fn until_idle(&self, now: u64) -> u64 {
        let waiting = u64::from(self.pending) * u64::from(self.per_byte);
        self.busy_until.saturating_sub(now) + waiting
    }
}

/// One virtual lane of a port.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// Bit per input: which of its queues hold packets, where there are less than 64 inputs.
    waiting: u64,
    /// Filling of the far buffer and of the cable to it.
    used: u32,
    /// The input that was served last.
    turn: u16,
    /// Whether the far buffer is full.
    stopped: bool,
}

/// What else changes about a port, and what is looked up whenever a packet passes: one line of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Port {
    pub(super) latency: u32,
    /// How long a full packet takes, in ps.
    pub(super) full: u32,
    /// The data of a full packet.
    pub(super) full_bytes: u32,
    /// The device at the far end.
    pub(super) to: u32,
    /// Where its queues and masks begin.
    queues: u32,
    masks: u32,
    /// Filling of the far buffer beyond which a lane is stopped, and below which it goes on.
    stop_at: u32,
    go_at: u32,
    /// Lanes on which packets wait; lanes that are stopped.
    pub(super) waiting: u16,
    pub(super) stopped: u16,
    /// Inputs of the device that the port belongs to.
    inputs: u16,
    /// Which input of the far device its cable is.
    pub(super) slot: u16,
    /// The lane that was served last.
    lane: u8,
    /// Whether an event is planned for when it becomes free.
    pub(super) planned: bool,
    pub(super) dead: bool,
    /// Whether it leads to a device from which nothing goes on: all that leaves by it is taken in on arrival.
    pub(super) ends: bool,
    /// Data that has left, and how long that kept it busy.
    carried: u64,
    busy: u64,
}

/// A packet that begins to leave: its data, whether that waited in a buffer, and when its head and its tail leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) bytes: u32,
    pub(super) waited: bool,
    pub(super) now: u64,
    pub(super) done: u64,
}

/// All ports, by place of their cable.
pub(super) struct Ports {
    pub(super) all: Vec<Port>,
    pub(super) loads: Vec<Load>,
    lanes: usize,
    /// The places of a port's lanes in `state` are numbered with so many bits.
    lane_bits: u32,
    pub(super) rates: Vec<Rate>,
    /// The size of the last packet that was not full, and its time.
    pub(super) odd: Vec<(u32, u64)>,
    /// The last packet of each queue, which is a ring.
    queues: Vec<u32>,
    /// Per port and lane.
    state: Vec<Lane>,
    /// Bit per input: which queues of a lane hold packets, where there are too many for a word.
    masks: Vec<u64>,
}

impl Ports {
    pub(super) fn new(topology: &Topology, cables: &Cables, params: &PacketParams, lanes: u8) -> Ports {
        assert!(lanes < 16, "{lanes} virtual lanes do not fit the masks of a port");
        let lanes = usize::from(lanes);
        let (mut queues, mut masks) = (0, 0);
        let mut ports = Ports {
            all: Vec::with_capacity(cables.len()),
            loads: vec![Load::default(); cables.len()],
            lanes,
            lane_bits: lanes.next_power_of_two().ilog2(),
            rates: Vec::with_capacity(cables.len()),
            odd: vec![(0, 0); cables.len()],
            queues: Vec::new(),
            state: vec![Lane::default(); cables.len() * lanes.next_power_of_two()],
            masks: Vec::new(),
        };
        for (id, cable) in cables.iter() {
            let link = topology.link(cable.link);
            let inputs = cables.arriving(cable.from).len();
            let slot = cables.arriving(cable.to).binary_search(&id).expect("a cable arrives where it leads");
            let bandwidth = cables.share_of(cable.link, link.bandwidth);
            let achievable = cables.share_of(cable.link, link.achievable);
            let (stop_at, go_at) = thresholds(topology.device(cable.to).kind, params);
            // What is on the cable takes no part of the buffer.
            let in_flight = bandwidth.over(link.latency).get() + unit(link.kind, params).get();
            let limit = |part: Bytes| u32::try_from(part.get() + in_flight).unwrap_or(u32::MAX / 2);
            ports.rates.push(Rate { bandwidth, achievable, kind: link.kind, share: 1.0 });
            ports.all.push(Port {
                latency: u32::try_from(link.latency.as_ps()).expect("a link is shorter than 4 ms"),
                full: 0,
                full_bytes: unit(link.kind, params).get() as u32,
                to: cable.to.index() as u32,
                queues,
                masks,
                stop_at: limit(stop_at),
                go_at: limit(go_at),
                waiting: 0,
                stopped: 0,
                inputs: inputs as u16,
                slot: slot as u16,
                lane: 0,
                planned: false,
                dead: false,
                ends: cables.arriving(cable.to).len() == 1 && cables.out(cable.to).count() == 1,
                carried: 0,
                busy: 0,
            });
            queues += ((inputs + 1) * lanes) as u32;
            masks += if inputs < 64 { 0 } else { ((inputs / 64 + 1) * lanes) as u32 };
            ports.set_share(id, 1.0, params);
        }
        ports.queues = vec![NONE; queues as usize];
        ports.masks = vec![0; masks as usize];
        ports
    }

    /// Puts a packet into the queue of `input` for `lane` of a port.
    #[inline]
    pub(super) fn enqueue(&mut self, at: u32, lane: u8, input: u16, packet: u32, pool: &mut Pool) {
        let place = self.place(at, lane, input);
        let last = std::mem::replace(&mut self.queues[place], packet);
        pool.append(last, packet);
        if last == NONE {
            self.mark(at, lane, input);
        }
    }

    /// Notes that something waits at an input of a port.
    #[inline]
    pub(super) fn mark(&mut self, at: u32, lane: u8, input: u16) {
        let state = self.state_of(at, lane);
        let port = &mut self.all[at as usize];
        port.waiting |= 1 << lane;
        if port.inputs < 64 {
            self.state[state].waiting |= 1 << input;
        } else {
            let word = self.word(at, lane) + usize::from(input / 64);
            self.masks[word] |= 1 << (input % 64);
        }
    }

    /// Notes that nothing more waits at an input of a port.
    #[inline]
    pub(super) fn unmark(&mut self, at: u32, lane: u8, input: u16) {
        let state = self.state_of(at, lane);
        let port = &mut self.all[at as usize];
        if port.inputs < 64 {
            let word = &mut self.state[state].waiting;
            *word &= !(1 << input);
            if *word == 0 {
                port.waiting &= !(1 << lane);
            }
            return;
        }
        let words = self.words(at);
        let first = self.word(at, lane);
        self.masks[first + usize::from(input / 64)] &= !(1 << (input % 64));
        if self.masks[first..first + words].iter().all(|&word| word == 0) {
            self.all[at as usize].waiting &= !(1 << lane);
        }
    }

    /// The input that stands for what starts at the device of a port.
    pub(super) fn local(&self, at: u32) -> u16 {
        self.all[at as usize].inputs
    }

    /// Makes it the turn of a lane, if anything may leave by it.
    pub(super) fn serve_next(&mut self, at: u32, lane: u8) {
        // Before the first comes the last that the masks have.
        self.all[at as usize].lane = if lane == 0 { 14 } else { lane - 1 };
    }

    /// Whose turn it is: round robin over lanes that may send, then over the inputs that wait on the lane.
    #[inline]
    pub(super) fn select(&mut self, at: u32) -> Option<(u8, u16)> {
        let port = &mut self.all[at as usize];
        let ready = port.waiting & !port.stopped;
        if ready == 0 || port.dead {
            return None;
        }
        let after = ready & !((2_u16 << port.lane) - 1);
        let lane = if after != 0 { after } else { ready }.trailing_zeros() as u8;
        port.lane = lane;
        let input = self.next_input(at, lane);
        let state = self.state_of(at, lane);
        self.state[state].turn = input;
        Some((lane, input))
    }

    /// The input that waits on a lane and whose turn it is.
    #[inline]
    fn next_input(&self, at: u32, lane: u8) -> u16 {
        let state = &self.state[self.state_of(at, lane)];
        if self.all[at as usize].inputs < 64 {
            return next_in_word(state.waiting, state.turn);
        }
        let (first, words) = (self.word(at, lane), self.words(at));
        next_bit(&self.masks[first..first + words], state.turn)
    }

    /// The last packet of the queue that [`Ports::select`] would choose, if it is not to be drawn from a flow.
    pub(super) fn foresee(&self, at: u32) -> Option<u32> {
        let port = &self.all[at as usize];
        let ready = port.waiting & !port.stopped;
        if ready == 0 {
            return None;
        }
        let lane = ready.trailing_zeros() as u8;
        self.last(at, lane, self.next_input(at, lane))
    }

    /// The last packet of a queue, if there is one.
    pub(super) fn last(&self, at: u32, lane: u8, input: u16) -> Option<u32> {
        let packet = self.queues[self.place(at, lane, input)];
        (packet != NONE).then_some(packet)
    }

    /// Takes the first packet out of a queue that holds one.
    #[inline]
    pub(super) fn dequeue(&mut self, at: u32, lane: u8, input: u16, pool: &mut Pool) -> u32 {
        let place = self.place(at, lane, input);
        let last = self.queues[place];
        let packet = pool.unlink_first(last);
        if packet == last {
            self.queues[place] = NONE;
            self.unmark(at, lane, input);
        }
        packet
    }

    /// Every queue of a port, as lane and input.
    pub(super) fn inputs(&self, at: u32) -> impl Iterator<Item = (u8, u16)> + use<> {
        let (lanes, inputs) = (self.lanes as u8, self.all[at as usize].inputs);
        (0..lanes).flat_map(move |lane| (0..inputs).map(move |input| (lane, input)))
    }

    /// Whether a queue holds nothing.
    pub(super) fn is_empty(&self, at: u32, lane: u8, input: u16) -> bool {
        self.last(at, lane, input).is_none()
    }

    /// What passed each link.
    pub(super) fn link_use(&self, cables: &Cables) -> Vec<LinkUse> {
        let mut uses: Vec<LinkUse> = Vec::new();
        let total = |id: CableId| (self.all[id.index()].carried, self.all[id.index()].busy);
        let mut of_links: Vec<_> = cables.iter().map(|(id, cable)| (cable.link, total(id))).collect();
        of_links.sort_unstable();
        for (link, (carried, busy)) in of_links.into_iter().filter(|(_, (_, busy))| *busy > 0) {
            let (carried, busy) = (Bytes::new(carried), Duration::from_ps(busy));
            match uses.last_mut() {
                Some(last) if last.link == link => {
                    last.carried += carried;
                    last.busy = last.busy.max(busy);
                }
                _ => uses.push(LinkUse { link, carried, busy }),
            }
        }
        uses
    }

    /// A packet begins to leave by a port and takes its room in the far buffer.
    #[inline]
    pub(super) fn depart(&mut self, at: u32, lane: u8, packet: Departure) -> &Port {
        let Departure { bytes, waited, now, done } = packet;
        let load = &mut self.loads[at as usize];
        load.busy_until = done;
        // What waited goes on to be pending.
        if !waited {
            load.pending += bytes;
        }
        let place = self.state_of(at, lane);
        let state = &mut self.state[place];
        state.used += bytes;
        let port = &mut self.all[at as usize];
        port.carried += u64::from(bytes);
        port.busy += done - now;
        if state.used > port.stop_at {
            state.stopped = true;
            port.stopped |= 1 << lane;
        }
        port
    }

    /// Gives room back, and tells whether the port may send again because of it.
    #[inline]
    pub(super) fn give(&mut self, at: u32, lane: u8, bytes: u32) -> bool {
        self.loads[at as usize].pending -= bytes;
        let place = self.state_of(at, lane);
        let state = &mut self.state[place];
        state.used -= bytes;
        if !state.stopped {
            return false;
        }
        let port = &mut self.all[at as usize];
        if state.used > port.go_at {
            return false;
        }
        state.stopped = false;
        port.stopped &= !(1 << lane);
        port.waiting & (1 << lane) != 0
    }

    /// Whether a packet on a lane may leave at once, as the port is free and nothing waits for it; if so, it has had its turn.
    #[inline]
    pub(super) fn passes(&mut self, at: u32, lane: u8, input: u16, now: u64) -> bool {
        let port = &mut self.all[at as usize];
        let is_free = self.loads[at as usize].busy_until <= now && !port.planned && !port.dead;
        if !is_free || port.waiting != 0 || port.stopped & (1 << lane) != 0 {
            return false;
        }
        port.lane = lane;
        let place = self.state_of(at, lane);
        self.state[place].turn = input;
        true
    }

    /// Data that waits at a port.
    pub(super) fn queued(&self, at: u32) -> u32 {
        let first = self.state_of(at, 0);
        let ahead: u32 = self.state[first..first + self.lanes].iter().map(|lane| lane.used).sum();
        self.loads[at as usize].pending - ahead
    }

    /// Data in all far buffers and on all cables.
    pub(super) fn in_use(&self) -> u64 {
        self.state.iter().map(|lane| u64::from(lane.used)).sum()
    }

    /// Whether no far buffer with its cable holds more than it may, now.
    pub(super) fn fits(&self) -> bool {
        let limit = |at: usize| self.all[at >> self.lane_bits].stop_at + self.all[at >> self.lane_bits].full_bytes;
        self.state.iter().enumerate().all(|(at, lane)| lane.used <= limit(at))
    }

    fn state_of(&self, at: u32, lane: u8) -> usize {
        ((at as usize) << self.lane_bits) | usize::from(lane)
    }

    fn words(&self, at: u32) -> usize {
        usize::from(self.all[at as usize].inputs) / 64 + 1
    }

    fn word(&self, at: u32, lane: u8) -> usize {
        self.all[at as usize].masks as usize + usize::from(lane) * self.words(at)
    }

    fn place(&self, at: u32, lane: u8, input: u16) -> usize {
        let port = &self.all[at as usize];
        port.queues as usize + usize::from(lane) * (usize::from(port.inputs) + 1) + usize::from(input)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lane, Load, Port};

    #[test]
    fn a_port_is_one_line_of_the_cache_and_loads_and_lanes_a_quarter() {
        assert_eq!((size_of::<Port>(), size_of::<Load>(), size_of::<Lane>()), (64, 16, 16));
    }
}
