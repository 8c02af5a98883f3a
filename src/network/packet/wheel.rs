//! A timing wheel, for events that may be due at any time.
//!
//! A slot of the wheel holds the events of 64 ps; what is due later than a turn of the wheel waits in a heap. Slots are
//! lists of chunks in one pool, each chunk a line of the cache with several events, so that planning an event touches a slot's
//! head and a chunk and allocates nothing. A key is a time with a class in its two lowest bits; events of one key come in the
//! order in which they were planned.

use super::events::NEVER;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Width of a slot: 2^6 ps.
const SHIFT: u32 = 6;
/// Slots of the wheel: a turn takes 2.1 us, more than packets and most links do.
const SLOTS: usize = 1 << 15;
const NONE: u32 = u32::MAX;

/// Some events of one slot: a line of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Chunk {
    /// What of the key the slot does not tell, the lower half of the place in the order of planning, and what the event is
    /// about; oldest first.
    events: [(u32, u32, u32); CHUNK],
    filled: u32,
    /// The chunk with the older events of the slot, or the next free one.
    next: u32,
}

/// Events of a chunk.
const CHUNK: usize = 4;
/// What of a key the slot does not tell: the time within the slot, and the class.
const WITHIN: u64 = (1 << (SHIFT + 2)) - 1;

/// An event: its key, its place in the order of planning, and what it is about.
type Event = (u64, u64, u32);

/// Events that may be due at any time.
pub(super) struct Wheel {
    heads: Vec<u32>,
    /// One bit per slot that holds events, and one for each word of such bits that is not empty.
    filled: Vec<u64>,
    words_filled: [u64; SLOTS / 64 / 64],
    chunks: Vec<Chunk>,
    free: u32,
    /// The slot, counted from the start of time, whose events are being handed out.
    cursor: u64,
    in_wheel: usize,
    /// The next slot that holds events, once the cursor's are gone.
    next: u64,
    /// The events of the slot at the cursor, the next one last.
    current: Vec<Event>,
    /// What was planned for the slot at the cursor, or before, when it had been reached.
    late: BinaryHeap<Reverse<Event>>,
    /// What is more than a turn away.
    far: BinaryHeap<Reverse<Event>>,
    /// No event has a lower key.
    bound: u64,
}

impl Wheel {
    pub(super) fn new() -> Wheel {
        Wheel {
            heads: vec![NONE; SLOTS],
            filled: vec![0; SLOTS / 64],
            words_filled: [0; SLOTS / 64 / 64],
            chunks: Vec::new(),
            free: NONE,
            cursor: 0,
            in_wheel: 0,
            next: NEVER,
            current: Vec::new(),
            late: BinaryHeap::new(),
            far: BinaryHeap::new(),
            bound: NEVER,
        }
    }

    /// Plans the `planned`th event.
    pub(super) fn push(&mut self, key: u64, planned: u64, what: u32) {
        self.bound = self.bound.min(key);
        let slot = key >> (SHIFT + 2);
        if slot <= self.cursor {
            return self.late.push(Reverse((key, planned, what)));
        }
        self.next = self.next.min(slot);
        if slot - self.cursor < SLOTS as u64 {
            let slot = slot as usize % SLOTS;
            let mut head = self.heads[slot];
            if head == NONE || self.chunks[head as usize].filled == CHUNK as u32 {
                head = self.begin_chunk(head);
                self.heads[slot] = head;
                self.filled[slot / 64] |= 1 << (slot % 64);
                self.words_filled[slot / 64 / 64] |= 1 << (slot / 64 % 64);
            }
            let chunk = &mut self.chunks[head as usize];
            chunk.events[chunk.filled as usize] = ((key & WITHIN) as u32, planned as u32, what);
            chunk.filled += 1;
            self.in_wheel += 1;
        } else {
            self.far.push(Reverse((key, planned, what)));
        }
    }

    /// An empty chunk in front of `next`.
    fn begin_chunk(&mut self, next: u32) -> u32 {
        let at = self.free;
        if at == NONE {
            self.chunks.push(Chunk { events: [(0, 0, 0); CHUNK], filled: 0, next });
            return (self.chunks.len() - 1) as u32;
        }
        let chunk = &mut self.chunks[at as usize];
        self.free = std::mem::replace(&mut chunk.next, next);
        chunk.filled = 0;
        at
    }

    /// No event has a lower key than this.
    pub(super) fn bound(&self) -> u64 {
        self.bound
    }

    /// Key and place of the next event, as far as it may be due at `until` or before; later than everything if there is none.
    /// So far, `planned` events have been planned.
    pub(super) fn front(&mut self, until: u64, planned: u64) -> (u64, u64) {
        if self.current.is_empty() && self.late.is_empty() {
            if self.next > until >> SHIFT {
                return (NEVER, NEVER);
            }
            self.turn_to(self.next, planned);
        }
        let first = self.first_here();
        self.bound = first.0;
        first
    }

    /// Hands out the event that [`Wheel::front`] has told of.
    pub(super) fn take(&mut self) -> u32 {
        let late = self.late.peek().map_or((NEVER, NEVER, NONE), |&Reverse(late)| late);
        let event = if self.current.last().is_some_and(|&current| current < late) {
            self.current.pop()
        } else {
            self.late.pop().map(|Reverse(late)| late)
        };
        self.bound = match self.first_here() {
            (NEVER, _) if self.next == NEVER => NEVER,
            (NEVER, _) => self.next << (SHIFT + 2),
            (key, _) => key,
        };
        event.map_or(NONE, |(_, _, what)| what)
    }

    /// Key and place of the next event of the slot at the cursor.
    fn first_here(&self) -> (u64, u64) {
        let place = |&(key, planned, _): &Event| (key, planned);
        let current = self.current.last().map_or((NEVER, NEVER), place);
        self.late.peek().map_or(current, |Reverse(late)| place(late).min(current))
    }

    /// The next slot that holds events.
    fn next_slot(&self) -> u64 {
        let far = self.far.peek().map_or(NEVER, |&Reverse((key, ..))| key >> (SHIFT + 2));
        if self.in_wheel == 0 {
            return far;
        }
        let from = self.cursor + 1;
        let (first, bit) = (from as usize % SLOTS / 64, from as usize % 64);
        let mut at = first;
        let mut word = self.filled[first] & (u64::MAX << bit);
        if word == 0 {
            at = self.next_word(first);
            word = self.filled[at];
        }
        let slot = at * 64 + word.trailing_zeros() as usize;
        let ahead = (slot + SLOTS - from as usize % SLOTS) % SLOTS;
        far.min(from + ahead as u64)
    }

    /// The next word with bits of slots after the `first`, beginning again from the start, up to that itself; there is one.
    fn next_word(&self, first: usize) -> usize {
        let (place, bit) = (first / 64, first % 64);
        let mut at = place;
        let mut words = self.words_filled[place] & (u64::MAX << bit << 1);
        while words == 0 {
            at = (at + 1) % self.words_filled.len();
            words = self.words_filled[at];
        }
        at * 64 + words.trailing_zeros() as usize
    }

    /// Makes the events of `slot` the current ones.
    fn turn_to(&mut self, slot: u64, planned: u64) {
        self.cursor = slot;
        while let Some(&Reverse(event)) = self.far.peek()
            && event.0 >> (SHIFT + 2) == slot
        {
            self.current.push(event);
            self.far.pop();
        }
        let place = slot as usize % SLOTS;
        let mut at = std::mem::replace(&mut self.heads[place], NONE);
        while at != NONE {
            let chunk = &mut self.chunks[at as usize];
            for &(within, place, what) in &chunk.events[..chunk.filled as usize] {
                let key = (slot << (SHIFT + 2)) | u64::from(within);
                self.current.push((key, whole_place(planned, place), what));
            }
            self.in_wheel -= chunk.filled as usize;
            let next = std::mem::replace(&mut chunk.next, self.free);
            self.free = at;
            at = next;
        }
        let word = &mut self.filled[place / 64];
        *word &= !(1 << (place % 64));
        if *word == 0 {
            self.words_filled[place / 64 / 64] &= !(1 << (place / 64 % 64));
        }
        self.next = self.next_slot();
        self.current.sort_unstable_by(|a, b| b.cmp(a));
    }
}

/// A place in the order of planning of which the lower half is known, once `planned` events have been planned: none waits
/// while 2^32 others are planned.
fn whole_place(planned: u64, lower: u32) -> u64 {
    planned - u64::from((planned as u32).wrapping_sub(lower))
}
