//! Events to come, in the one total order (time, class, order of planning).
//!
//! Nearly all are due a fixed time after they are planned: a head after the latency of its cable, a port after the time of a
//! full packet. Events with the same delay are planned in the order in which they are due, so that they form a run: a ring
//! that is read and written in sequence, and in which what comes next can be seen. What fits no run goes to the wheel.

use super::wheel::{Wheel, whole_place};
use std::collections::VecDeque;

/// Runs; a delay has its own as long as no other is mapped to the same one.
const RUNS: usize = 32;
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

pub(super) const CLASSES: [Class; 4] = [Class::Fault, Class::Arrival, Class::Flow, Class::Port];

/// An event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// When, in picoseconds.
    pub(super) at: u64,
    pub(super) class: Class,
    /// The packet, flow or port.
    pub(super) what: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    /// The lower half of its place in the order of planning.
    planned: u32,
    what: u32,
}

/// Events in the order in which they are due.
struct Run {
    entries: VecDeque<Entry>,
    /// The key of the last.
    last: u64,
    /// Events handed out since a batch was looked at.
    handed_out: usize,
}

/// Events to come.
pub(super) struct Events {
    runs: [Run; RUNS],
    /// The runs by their first event, with its key.
    order: [(u64, u8); RUNS],
    wheel: Wheel,
    /// Events planned so far.
    planned: u64,
    /// The run of which a batch is to be looked at.
    due_batch: u8,
}

impl Events {
    pub(super) fn new() -> Events {
        let runs = std::array::from_fn(|_| Run { entries: VecDeque::new(), last: 0, handed_out: 0 });
        let order = std::array::from_fn(|run| (NEVER, run as u8));
        Events { runs, order, wheel: Wheel::new(), planned: 0, due_batch: NO_RUN }
    }

    /// Plans an event, not earlier than the last that was handed out.
    pub(super) fn push(&mut self, at: u64, class: Class, what: u32) {
        self.wheel.push(key(at, class), self.planned, what);
        self.planned += 1;
    }

    /// Plans an event a time after now that many others are planned after theirs.
    pub(super) fn push_run(&mut self, delay: u64, at: u64, class: Class, what: u32) {
        let key = key(at, class);
        let run = run_of(delay);
        let events = &mut self.runs[usize::from(run)];
        if events.last > key {
            return self.push(at, class, what);
        }
        events.last = key;
        let is_first = events.entries.is_empty();
        events.entries.push_back(Entry { key, planned: self.planned as u32, what });
        self.planned += 1;
        if is_first {
            self.begin(key, run);
        }
    }

    /// The run of which a batch is to be looked at now, if there is one: the one after the batch that comes next.
    pub(super) fn batch(&mut self) -> Option<u8> {
        let run = std::mem::replace(&mut self.due_batch, NO_RUN);
        (run != NO_RUN).then_some(run)
    }

    /// The events of that batch.
    pub(super) fn coming(&self, run: u8) -> impl Iterator<Item = (Class, u32)> {
        let entries = self.runs[usize::from(run)].entries.iter().skip(BATCH).take(BATCH);
        entries.map(|entry| (CLASSES[(entry.key & 3) as usize], entry.what))
    }

    /// Hands out the next event if it is due at `limit` or before.
    pub(super) fn pop(&mut self, limit: u64) -> Option<Due> {
        let (key, place) = self.order[0];
        let next = (key >> 2).min(limit);
        if self.wheel.may_be_due(next) {
            let (in_wheel, planned) = self.wheel.front(next, self.planned);
            if in_wheel < key || (in_wheel == key && key != NEVER && planned < self.planned_first(place)) {
                return (in_wheel >> 2 <= limit).then(|| due(in_wheel, self.wheel.take()));
            }
        }
        if key >> 2 > limit {
            return None;
        }
        let run = &mut self.runs[usize::from(place)];
        let entry = run.entries.pop_front()?;
        let after = run.entries.front().map_or(NEVER, |entry| entry.key);
        run.handed_out += 1;
        if run.handed_out >= BATCH {
            run.handed_out = 0;
            if run.entries.len() >= 2 * BATCH {
                self.due_batch = place;
            }
        }
        self.put(0, after, place);
        Some(due(entry.key, entry.what))
    }

    /// Puts the run at place `at` of the order, whose first event now has the given key, where it belongs behind that.
    fn put(&mut self, mut at: usize, key: u64, run: u8) {
        while at + 1 < RUNS {
            let (other, before) = self.order[at + 1];
            if key < other || (key == other && (key == NEVER || self.planned_first(run) < self.planned_first(before))) {
                break;
            }
            self.order[at] = (other, before);
            at += 1;
        }
        self.order[at] = (key, run);
    }

    /// A run that was empty has its first event.
    fn begin(&mut self, key: u64, run: u8) {
        let mut at = self.order.iter().position(|&(_, known)| known == run).unwrap_or(RUNS - 1);
        // What was planned before comes first among equals.
        while at > 0 && self.order[at - 1].0 > key {
            self.order[at] = self.order[at - 1];
            at -= 1;
        }
        self.order[at] = (key, run);
    }

    /// The place of the first event of a run in the order of planning.
    fn planned_first(&self, run: u8) -> u64 {
        let front = self.runs[usize::from(run)].entries.front();
        front.map_or(NEVER, |entry| whole_place(self.planned, entry.planned))
    }
}

/// The run of a delay: the highest bits of a product that every bit of it reaches (Fibonacci hashing).
const fn run_of(delay: u64) -> u8 {
    (delay.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - RUNS.ilog2())) as u8
}

fn key(at: u64, class: Class) -> u64 {
    debug_assert!(at < 1 << 62, "{at} ps are beyond the range of the queue");
    (at << 2) | class as u64
}

fn due(key: u64, what: u32) -> Due {
    Due { at: key >> 2, class: CLASSES[(key & 3) as usize], what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

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
                let class = CLASSES[rng.below(4) as usize];
                match delay {
                    Some(delay) => events.push_run(delay, at, class, planned),
                    None => events.push(at, class, planned),
                }
                reference.push(Reverse((at, class as u8, planned)));
                planned += 1;
            } else {
                let limit = now + u64::from(rng.below(2_000_000));
                let expected = reference.peek().filter(|Reverse((at, ..))| *at <= limit).copied();
                let due = events.pop(limit);
                batches += u32::from(events.batch().is_some());
                assert_eq!(due.map(|due| (due.at, due.class as u8, due.what)), expected.map(|Reverse(e)| e));
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
