//! The decoding sequences of a worker, by the step after which each is done.

use super::sequence::Sequence;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Sequences that gain tokens in every step that decodes.
#[derive(Debug)]
pub struct DecodingSet {
    /// By the step after which they are done.
    by_end: BinaryHeap<Reverse<(u64, usize)>>,
    sequences: Vec<Option<Sequence>>,
    free: Vec<usize>,
    /// Steps that have decoded so far.
    steps: u64,
    tokens_per_step: f64,
}

impl DecodingSet {
    /// None, of which each gains so many tokens in a step on average.
    pub(super) fn new(tokens_per_step: f64) -> DecodingSet {
        let (by_end, sequences, free) = (BinaryHeap::new(), Vec::new(), Vec::new());
        DecodingSet { by_end, sequences, free, steps: 0, tokens_per_step }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_end.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_end.is_empty()
    }

    /// Lets a sequence decode from the next step on; its first token is there.
    pub(super) fn join(&mut self, sequence: Sequence) {
        let place = self.free.pop().unwrap_or(self.sequences.len());
        if place == self.sequences.len() {
            self.sequences.push(None);
        }
        self.sequences[place] = Some(sequence);
        self.by_end.push(Reverse((self.steps + self.steps_of(&sequence), place)));
    }

    /// Counts a step in which all of them gained tokens, and says how many.
    pub(super) fn step(&mut self, decoding: u64) -> f64 {
        self.steps += 1;
        decoding as f64 * self.tokens_per_step
    }

    /// Takes out one that has all its tokens, with what its steps yielded; the last one may draft beyond its end.
    pub(super) fn pop_finished(&mut self) -> Option<(Sequence, f64)> {
        let &Reverse((step, place)) = self.by_end.peek()?;
        if step > self.steps {
            return None;
        }
        self.by_end.pop();
        let sequence = self.take(place);
        Some((sequence, self.steps_of(&sequence) as f64 * self.tokens_per_step))
    }

    /// Takes out the one that would decode longest, with what it has yielded and the tokens that are left, rounded up; at least one of
    /// them, and fewer than it began with.
    pub(super) fn pop_last(&mut self) -> (Sequence, f64, u32) {
        let mut sorted = std::mem::take(&mut self.by_end).into_sorted_vec();
        // Sorted by what ends first in reverse: the first one ends last.
        let Reverse((last, place)) = sorted.remove(0);
        self.by_end = sorted.into();
        let sequence = self.take(place);
        let left = last - self.steps;
        let done = (self.steps_of(&sequence) - left) as f64 * self.tokens_per_step;
        let output = ((left as f64 * self.tokens_per_step).ceil() as u32).clamp(1, sequence.output - 1);
        (sequence, done, output)
    }

    fn take(&mut self, place: usize) -> Sequence {
        self.free.push(place);
        self.sequences[place].take().expect("what decodes has a place")
    }

    /// Steps from a sequence's first token to its last.
    fn steps_of(&self, sequence: &Sequence) -> u64 {
        (f64::from(sequence.output - 1) / self.tokens_per_step).ceil() as u64
    }
}
