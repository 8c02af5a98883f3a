//! The queue of events: a timing wheel, in the one total order (time, class, order of planning).
//!
//! A slot of the wheel holds the events of 64 ps; what is due later than a turn of the wheel waits in a heap. Slots are
//! lists of chunks in one pool, each chunk a line of the cache with several events, so that planning an event touches a slot's
//! head and a chunk and allocates nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Width of a slot: 2^6 ps. A thousand hosts at 400 Gb/s make about five events in that time.
const SHIFT: u32 = 6;
/// Slots of the wheel: a turn takes 2.1 us, more than packets and most links do.
const SLOTS: usize = 1 << 15;
const NONE: u32 = u32::MAX;

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

/// An event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// When, in picoseconds.
    pub(super) at: u64,
    pub(super) class: Class,
    /// The packet, flow or port.
    pub(super) what: u32,
}

/// Some events of one slot: a line of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Chunk {
    /// What of the key the slot does not tell, and what the event is about, oldest first.
    events: [(u32, u32); CHUNK],
    filled: u32,
    /// The chunk with the older events of the slot, or the next free one.
    next: u32,
}

/// Events of a chunk.
const CHUNK: usize = 7;
/// What of a key the slot does not tell: the time within the slot, and the class.
const WITHIN: u64 = (1 << (SHIFT + 2)) - 1;

/// Events to come.
pub(super) struct Wheel {
    heads: Vec<u32>,
    /// One bit per slot that holds events.
    filled: Vec<u64>,
    chunks: Vec<Chunk>,
    free: u32,
    /// The slot, counted from the start of time, whose events are being handed out.
    cursor: u64,
    in_wheel: usize,
    /// The events of the slot at the cursor, in order, and how many of them are gone.
    current: Vec<(u64, u32)>,
    gone: usize,
    /// Whether the first of them has just been handed out.
    turned: bool,
    /// What was planned for the slot at the cursor while its events were handed out.
    late: BinaryHeap<Reverse<(u64, u32, u32)>>,
    n_late: u32,
    /// What is more than a turn away.
    far: BinaryHeap<Reverse<(u64, u64, u32)>>,
    n_far: u64,
}

impl Wheel {
    pub(super) fn new() -> Wheel {
        Wheel {
            heads: vec![NONE; SLOTS],
            filled: vec![0; SLOTS / 64],
            chunks: Vec::new(),
            free: NONE,
            cursor: 0,
            in_wheel: 0,
            current: Vec::new(),
            gone: 0,
            turned: false,
            late: BinaryHeap::new(),
            n_late: 0,
            far: BinaryHeap::new(),
            n_far: 0,
        }
    }

    /// Plans an event, not earlier than the last that was handed out.
    pub(super) fn push(&mut self, at: u64, class: Class, what: u32) {
        debug_assert!(at < 1 << 62, "{at} ps are beyond the range of the queue");
        let key = (at << 2) | class as u64;
        let slot = at >> SHIFT;
        if slot <= self.cursor {
            self.late.push(Reverse((key, self.n_late, what)));
            self.n_late += 1;
        } else if slot - self.cursor < SLOTS as u64 {
            let slot = slot as usize % SLOTS;
            let mut head = self.heads[slot];
            if head == NONE || self.chunks[head as usize].filled == CHUNK as u32 {
                head = self.begin_chunk(head);
                self.heads[slot] = head;
            }
            let chunk = &mut self.chunks[head as usize];
            chunk.events[chunk.filled as usize] = ((key & WITHIN) as u32, what);
            chunk.filled += 1;
            self.filled[slot / 64] |= 1 << (slot % 64);
            self.in_wheel += 1;
        } else {
            self.far.push(Reverse((key, self.n_far, what)));
            self.n_far += 1;
        }
    }

    /// An empty chunk in front of `next`.
    fn begin_chunk(&mut self, next: u32) -> u32 {
        let at = self.free;
        if at == NONE {
            self.chunks.push(Chunk { events: [(0, 0); CHUNK], filled: 0, next });
            return (self.chunks.len() - 1) as u32;
        }
        let chunk = &mut self.chunks[at as usize];
        self.free = std::mem::replace(&mut chunk.next, next);
        chunk.filled = 0;
        at
    }

    /// Whether the event handed out last was the first of its slot.
    pub(super) fn has_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned)
    }

    /// The events of the slot at the cursor that had been planned when it was reached.
    pub(super) fn coming(&self) -> impl Iterator<Item = Due> {
        self.current.iter().map(|&(key, what)| due(key, what))
    }

    /// Hands out the next event if it is due at `limit` or before.
    pub(super) fn pop(&mut self, limit: u64) -> Option<Due> {
        loop {
            let planned = self.current.get(self.gone).copied();
            let late = self.late.peek().map(|&Reverse((key, _, what))| (key, what));
            // At the same key, what was planned before the slot was reached is older.
            let late_first = match (planned, late) {
                (Some((planned, _)), Some((late, _))) => late < planned,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if let Some((key, what)) = if late_first { late } else { planned } {
                let at = key >> 2;
                if at > limit {
                    return None;
                }
                if late_first {
                    self.late.pop();
                } else {
                    self.gone += 1;
                }
                return Some(due(key, what));
            }
            let slot = self.next_slot().filter(|&slot| slot <= limit >> SHIFT)?;
            self.turn_to(slot);
        }
    }

    /// The next slot that holds events.
    fn next_slot(&self) -> Option<u64> {
        let far = self.far.peek().map(|&Reverse((key, ..))| key >> (2 + SHIFT));
        if self.in_wheel == 0 {
            return far;
        }
        let from = self.cursor + 1;
        let (first, bit) = (from as usize % SLOTS / 64, from as usize % 64);
        let mut word = self.filled[first] & (u64::MAX << bit);
        let mut at = first;
        while word == 0 {
            at = (at + 1) % self.filled.len();
            word = self.filled[at];
        }
        let slot = at * 64 + word.trailing_zeros() as usize;
        let ahead = (slot + SLOTS - from as usize % SLOTS) % SLOTS;
        let in_wheel = from + ahead as u64;
        Some(far.map_or(in_wheel, |far| far.min(in_wheel)))
    }

    /// Makes the events of `slot` the current ones.
    fn turn_to(&mut self, slot: u64) {
        self.cursor = slot;
        self.current.clear();
        self.gone = 0;
        self.turned = true;
        self.n_late = 0;
        // For the same instant, what went to the heap was planned before what went to the wheel.
        while let Some(&Reverse((key, _, what))) = self.far.peek()
            && key >> (2 + SHIFT) == slot
        {
            self.current.push((key, what));
            self.far.pop();
        }
        let place = slot as usize % SLOTS;
        let from_wheel = self.current.len();
        let mut at = std::mem::replace(&mut self.heads[place], NONE);
        while at != NONE {
            let chunk = &mut self.chunks[at as usize];
            let events = chunk.events[..chunk.filled as usize].iter().rev();
            self.current.extend(events.map(|&(within, what)| ((slot << (SHIFT + 2)) | u64::from(within), what)));
            let next = std::mem::replace(&mut chunk.next, self.free);
            self.free = at;
            at = next;
        }
        self.filled[place / 64] &= !(1 << (place % 64));
        self.in_wheel -= self.current.len() - from_wheel;
        self.current[from_wheel..].reverse();
        self.sort();
    }

    /// Sorts the current events by key; equal keys keep their order.
    fn sort(&mut self) {
        let events = &mut self.current[..];
        if events.len() > 24 {
            return events.sort_by_key(|&(key, _)| key);
        }
        for end in 1..events.len() {
            let event = events[end];
            let mut at = end;
            while at > 0 && events[at - 1].0 > event.0 {
                events[at] = events[at - 1];
                at -= 1;
            }
            events[at] = event;
        }
    }
}

fn due(key: u64, what: u32) -> Due {
    Due { at: key >> 2, class: CLASSES[(key & 3) as usize], what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn events_come_in_order_of_time_class_and_planning() {
        let mut rng = Seed(3).stream("wheel");
        let mut wheel = Wheel::new();
        let mut reference: BinaryHeap<Reverse<(u64, u8, u32)>> = BinaryHeap::new();
        let (mut now, mut planned) = (0, 0);
        let spans = [1, 64, 5_000, 2_000_000, 9_000_000];
        for _ in 0..200_000 {
            if rng.below(100) < 51 || reference.is_empty() {
                let span = spans[rng.below(5) as usize];
                let at = now + u64::from(rng.below(span));
                let class = CLASSES[rng.below(4) as usize];
                wheel.push(at, class, planned);
                reference.push(Reverse((at, class as u8, planned)));
                planned += 1;
            } else {
                let limit = now + u64::from(rng.below(2_000_000));
                let expected = reference.peek().filter(|Reverse((at, ..))| *at <= limit).copied();
                let due = wheel.pop(limit);
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
        assert!(planned > 100_000);
    }
}
