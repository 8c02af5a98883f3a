//! Events to come, in the one total order (time, class, order of planning).
//!
//! Nearly all are due a fixed time after they are planned: a head after the latency of its cable, a port after the time of a
//! full packet. Events of one kind with the same delay are planned in the order in which they are due, so that they form a
//! run: a ring that is read and written in sequence, and in which what comes next can be seen. A packet on a cable is in such
//! a ring as a whole. What fits no run goes to the wheel.

use super::pool::Packet;
use super::wheel::Wheel;
use std::collections::VecDeque;

/// Runs of a kind, at most; a delay has its own as long as no other is mapped to the same one.
const RUNS: usize = 16;
/// Events of a run that are looked at together before they are due.
pub(super) const BATCH: usize = 16;
/// No run.
const NO_RUN: u8 = u8::MAX;
/// After every event.
pub(super) const NEVER: u64 = u64::MAX;

/// What an event is about, in the order in which events of the same instant happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Links change their rate.
    Fault = 0,
    /// A packet reaches the next buffer.
    Arrival = 1,
    /// A flow may go on, or hears of congestion.
    Flow = 2,
    /// A port becomes free.
    Port = 3,
}

const CLASSES: [Class; 4] = [Class::Fault, Class::Arrival, Class::Flow, Class::Port];

/// A packet on a cable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moving {
    pub(super) packet: Packet,
    /// The device that it will reach, and by which of its inputs.
    pub(super) to: u32,
    pub(super) input: u16,
}

/// What is due.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    /// A packet reaches the next buffer.
    Packet(Moving),
    /// A port becomes free.
    Port(u32),
    /// Something else, or the same, which has fitted no run: packet, flow, port or change of links.
    Other(Class, u32),
}

/// Events of which what they need is to be read together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Batch {
    Packets(u8),
    Ports(u8),
}

#[derive(Clone, Copy)]
struct Entry<T> {
    order: Order,
    what: T,
}

/// The place of an event in the order of all: its key in the upper half, and below it the order of planning. One number,
/// because the first of several is then found without a jump that the processor could guess wrong.
type Order = u128;

/// After every event.
const NO_EVENT: Order = (NEVER as Order) << 64;

/// Events in the order in which they are due.
struct Run<T> {
    entries: VecDeque<Entry<T>>,
    /// The last of all that it has had.
    last: Order,
    /// Events handed out since a batch was looked at.
    handed_out: usize,
}

/// All runs of one kind of events.
struct Runs<T> {
    runs: Vec<Run<T>>,
    /// The first event of each.
    fronts: Vec<Order>,
    /// By hash of a delay, its run.
    of_delay: [u8; RUNS],
    /// The first event of all, and its run.
    first: Order,
    first_in: u8,
    /// The run of which a batch is to be looked at.
    due_batch: u8,
}

/// Events to come.
pub(super) struct Events {
    packets: Runs<Moving>,
    ports: Runs<u32>,
    wheel: Wheel,
    /// Events planned so far.
    planned: u64,
}

impl<T: Copy> Runs<T> {
    fn new() -> Runs<T> {
        Runs {
            runs: Vec::new(),
            fronts: Vec::new(),
            of_delay: [NO_RUN; RUNS],
            first: NO_EVENT,
            first_in: NO_RUN,
            due_batch: NO_RUN,
        }
    }

    /// Plans an event; false if it does not fit its run.
    #[inline]
    fn push(&mut self, delay: u64, entry: Entry<T>) -> bool {
        let at = self.run_of(delay);
        let run = &mut self.runs[usize::from(at)];
        if run.last > entry.order {
            return false;
        }
        run.last = entry.order;
        if run.entries.is_empty() {
            self.fronts[usize::from(at)] = entry.order;
            if entry.order < self.first {
                (self.first, self.first_in) = (entry.order, at);
            }
        }
        run.entries.push_back(entry);
        true
    }

    /// The run of a delay.
    #[inline]
    fn run_of(&mut self, delay: u64) -> u8 {
        // The highest bits of a product that every bit of the delay reaches (Fibonacci hashing).
        let hash = (delay.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - RUNS.ilog2())) as usize;
        let known = self.of_delay[hash];
        if known != NO_RUN { known } else { self.begin(hash) }
    }

    #[cold]
    fn begin(&mut self, hash: usize) -> u8 {
        let at = self.runs.len() as u8;
        self.of_delay[hash] = at;
        self.runs.push(Run { entries: VecDeque::new(), last: 0, handed_out: 0 });
        self.fronts.push(NO_EVENT);
        at
    }

    /// Hands out the first event.
    #[inline]
    fn pop(&mut self) -> Option<T> {
        let at = usize::from(self.first_in);
        let run = self.runs.get_mut(at)?;
        let Entry { what, .. } = run.entries.pop_front()?;
        run.handed_out += 1;
        if run.handed_out >= BATCH {
            run.handed_out = 0;
            if run.entries.len() >= 2 * BATCH {
                self.due_batch = at as u8;
            }
        }
        self.fronts[at] = run.entries.front().map_or(NO_EVENT, |entry| entry.order);
        let (mut first, mut first_in) = (NO_EVENT, NO_RUN);
        for (at, &front) in self.fronts.iter().enumerate() {
            let is_first = front < first;
            first = if is_first { front } else { first };
            first_in = if is_first { at as u8 } else { first_in };
        }
        (self.first, self.first_in) = (first, first_in);
        Some(what)
    }

    /// The run of which a batch is to be looked at now, if there is one: the one after the batch that comes next.
    fn batch(&mut self) -> Option<u8> {
        let run = std::mem::replace(&mut self.due_batch, NO_RUN);
        (run != NO_RUN).then_some(run)
    }

    /// The events of that batch.
    fn coming(&self, run: u8) -> impl Iterator<Item = &T> {
        self.runs[usize::from(run)].entries.iter().skip(BATCH).take(BATCH).map(|entry| &entry.what)
    }
}

impl Events {
    pub(super) fn new() -> Events {
        Events { packets: Runs::new(), ports: Runs::new(), wheel: Wheel::new(), planned: 0 }
    }

    /// Plans an event, not earlier than the last that was handed out.
    pub(super) fn push(&mut self, at: u64, class: Class, what: u32) {
        self.wheel.push(key(at, class), self.planned, what);
        self.planned += 1;
    }

    /// Plans the arrival of a packet a time after now that many others take too; false if that must wait in the wheel.
    #[inline]
    pub(super) fn push_packet(&mut self, delay: u64, at: u64, what: Moving) -> bool {
        let fits = self.packets.push(delay, Entry { order: self.order(key(at, Class::Arrival)), what });
        self.planned += u64::from(fits);
        fits
    }

    /// Plans that a port becomes free, likewise.
    #[inline]
    pub(super) fn push_port(&mut self, delay: u64, at: u64, what: u32) {
        if self.ports.push(delay, Entry { order: self.order(key(at, Class::Port)), what }) {
            self.planned += 1;
        } else {
            self.push(at, Class::Port, what);
        }
    }

    /// The place of an event that is planned now.
    fn order(&self, key: u64) -> Order {
        Order::from(key) << 64 | Order::from(self.planned)
    }

    /// Events of which what they need is to be read now.
    #[inline]
    pub(super) fn batch(&mut self) -> Option<Batch> {
        self.packets.batch().map(Batch::Packets).or_else(|| self.ports.batch().map(Batch::Ports))
    }

    /// The packets of a batch.
    pub(super) fn coming_packets(&self, run: u8) -> impl Iterator<Item = &Moving> {
        self.packets.coming(run)
    }

    /// The ports of a batch.
    pub(super) fn coming_ports(&self, run: u8) -> impl Iterator<Item = &u32> {
        self.ports.coming(run)
    }

    /// Hands out the next event if it is due at `limit` or before, with its instant.
    #[inline]
    pub(super) fn pop(&mut self, limit: u64) -> Option<(u64, Due)> {
        // Events of the two kinds are of different classes, so that no two have equal keys.
        let are_packets = self.packets.first <= self.ports.first;
        let order = if are_packets { self.packets.first } else { self.ports.first };
        let first = (order >> 64) as u64;
        if self.wheel.bound() <= first {
            let (waits, planned) = self.wheel.front((first >> 2).min(limit), self.planned);
            if waits != NEVER && (Order::from(waits) << 64 | Order::from(planned)) < order {
                let class = CLASSES[(waits & 3) as usize];
                return (waits >> 2 <= limit).then(|| (waits >> 2, Due::Other(class, self.wheel.take())));
            }
        }
        if first >> 2 > limit {
            return None;
        }
        let due = if are_packets { self.packets.pop().map(Due::Packet) } else { self.ports.pop().map(Due::Port) };
        due.map(|due| (first >> 2, due))
    }
}

fn key(at: u64, class: Class) -> u64 {
    debug_assert!(at < 1 << 62, "{at} ps are beyond the range of the queue");
    (at << 2) | class as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::packet::pool::NONE;
    use crate::rng::Seed;
    use crate::routing::PortGroup;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    fn moving(flow: u32) -> Moving {
        let packet =
            Packet { tail: 0, flow, target: 0, by: NONE, key: 0, bytes: 1, lane: 0, marks: 0, group: PortGroup::ANY };
        Moving { packet, to: 0, input: 0 }
    }

    /// What an event is about, with its class.
    fn what(due: Due) -> (Class, u32) {
        match due {
            Due::Packet(moving) => (Class::Arrival, moving.packet.flow),
            Due::Port(port) => (Class::Port, port),
            Due::Other(class, what) => (class, what),
        }
    }

    #[test]
    fn events_come_in_order_of_time_class_and_planning() {
        let mut rng = Seed(3).stream("events");
        let mut events = Events::new();
        let mut reference: BinaryHeap<Reverse<(u64, u8, u32)>> = BinaryHeap::new();
        let (mut now, mut planned, mut batches) = (0, 0, 0);
        let spans = [1, 64, 5_000, 2_000_000, 9_000_000];
        for _ in 0..400_000 {
            if rng.below(100) < 51 || reference.is_empty() {
                let choice = rng.below(10) as usize;
                // Half of them a fixed time after they are planned, and now and then one that does not fit its run.
                let (delay, at) = match choice {
                    0..3 => (Some(choice as u64), now + [64, 64, 450_000][choice]),
                    3 => (Some(0), now + u64::from(rng.below(200))),
                    4 => (None, now + 64),
                    _ => (None, now + u64::from(rng.below(spans[choice - 5]))),
                };
                let class = match delay {
                    Some(_) if rng.below(2) == 0 => Class::Port,
                    Some(_) => Class::Arrival,
                    None => CLASSES[rng.below(4) as usize],
                };
                match (delay, class) {
                    (Some(delay), Class::Port) => events.push_port(delay, at, planned),
                    (Some(delay), _) => {
                        if !events.push_packet(delay, at, moving(planned)) {
                            events.push(at, class, planned);
                        }
                    }
                    (None, _) => events.push(at, class, planned),
                }
                reference.push(Reverse((at, class as u8, planned)));
                planned += 1;
            } else {
                let limit = now + u64::from(rng.below(2_000_000));
                let expected = reference.peek().filter(|Reverse((at, ..))| *at <= limit).copied();
                let due = events.pop(limit);
                batches += u32::from(events.batch().is_some());
                let due = due.map(|(at, due)| (at, what(due)));
                assert_eq!(due.map(|(at, (class, what))| (at, class as u8, what)), expected.map(|Reverse(e)| e));
                match expected {
                    Some(Reverse((at, ..))) => now = at,
                    None => now = limit,
                }
                if expected.is_some() {
                    reference.pop();
                }
            }
        }
        assert!(planned > 200_000 && batches > 500, "{planned} planned, {batches} batches");
    }
}
