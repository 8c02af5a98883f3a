//! A cache that keeps room for what running sequences have yet to yield, or for a part of it.

use super::KvCache;
use crate::units::Bytes;
use crate::workload::serving::sequence::Sequence;

/// Positions of equal size, with room kept for answers.
#[derive(Clone, Copy, Debug)]
pub struct ReservingCache {
    /// Bytes that it may hold; none where sequences leave as soon as their prompts are computed.
    capacity: Option<Bytes>,
    /// Bytes of a position.
    per_position: Bytes,
    /// Part of what running sequences have yet to yield for which room is kept when others are admitted.
    answers_kept: f64,
    /// Positions of decoding sequences, positions of prompts that are admitted, and positions that all of these will have in the end.
    decoding: f64,
    entering: u64,
    reserved: u64,
}

impl ReservingCache {
    /// A cache of `capacity` bytes, or one without end, of positions of `per_position` bytes, that keeps room for a part
    /// `answers_kept` (0 to 1) of the tokens that are still to come.
    pub fn new(capacity: Option<Bytes>, per_position: Bytes, answers_kept: f64) -> ReservingCache {
        ReservingCache { capacity, per_position, answers_kept, decoding: 0.0, entering: 0, reserved: 0 }
    }

    fn exceeds(&self, positions: f64) -> bool {
        self.capacity.is_some_and(|most| positions * self.per_position.get() as f64 > most.get() as f64)
    }
}

impl KvCache for ReservingCache {
    fn fits(&self, sequence: &Sequence) -> bool {
        let held = self.decoding + self.entering as f64;
        let to_come = (self.reserved as f64 - held).max(0.0) * self.answers_kept;
        !self.exceeds(held + to_come + sequence.positions() as f64)
    }

    fn allocate(&mut self, sequence: &Sequence) {
        self.entering += u64::from(sequence.input);
        self.reserved += sequence.positions();
    }

    fn begin_decoding(&mut self, sequence: &Sequence) {
        self.entering -= u64::from(sequence.input);
        self.decoding += f64::from(sequence.input);
    }

    fn append(&mut self, tokens: f64) {
        self.decoding += tokens;
    }

    fn free(&mut self, sequence: &Sequence, decoded: Option<f64>) {
        match decoded {
            Some(tokens) => self.decoding -= f64::from(sequence.input) + tokens,
            None => self.entering -= u64::from(sequence.input),
        }
        self.reserved -= sequence.positions();
    }

    fn is_over(&self) -> bool {
        self.answers_kept < 1.0 && self.exceeds(self.decoding)
    }

    fn decoding_positions(&self) -> f64 {
        self.decoding
    }
}
