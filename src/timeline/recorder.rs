//! What becomes of spans as operations end: a whole timeline, or some of it and running totals.
//!
//! A run of millions of requests is told of each span once, adds up what it wants to know, and keeps a sample to look at. This module must
//! not know what is added up.

use super::Span;

/// Who takes the spans of operations that have ended.
#[derive(Default)]
pub enum Recorder<'a> {
    /// The timeline keeps every span.
    #[default]
    Whole,
    /// Is told of each span as it ends, and says whether the timeline keeps it. Of what is not kept nothing stays in memory; the timeline
    /// still tells when the last operation ended and what all did, and the causes of spans that are kept may not be.
    Each(&'a mut dyn FnMut(&Span) -> bool),
}

/// Which of many are kept to be looked at: those that come first, and then one of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many come first.
    pub first: u64,
    /// One of how many is kept of all; none, if that is 0.
    pub every: u64,
}

impl Sample {
    /// Whether number `n`, counted from 0, is kept.
    pub fn keeps(&self, n: u64) -> bool {
        n < self.first || self.every > 0 && n.is_multiple_of(self.every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_first_and_then_a_few() {
        let kept = |first, every| (0..12).filter(|&n| Sample { first, every }.keeps(n)).collect::<Vec<u64>>();
        assert_eq!(kept(3, 5), [0, 1, 2, 5, 10]);
        assert_eq!((kept(2, 0), kept(0, 6)), (vec![0, 1], vec![0, 6]));
    }
}
