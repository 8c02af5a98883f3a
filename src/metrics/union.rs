//! Stretches of time, joined as they come, in any order.

use crate::units::{Duration, Time};
use std::collections::BTreeMap;

/// The union of stretches of time. Those that come in order cost little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Union {
    /// Disjoint stretches by their starts, all before the last one.
    before: BTreeMap<Time, Time>,
    last: (Time, Time),
}

impl Union {
    /// Adds a stretch; one without length is nothing.
    pub(super) fn add(&mut self, from: Time, until: Time) {
        if from >= until {
            return;
        }
        if self.last.0 == self.last.1 {
            self.last = (from, until);
        } else if from > self.last.1 {
            self.before.insert(self.last.0, self.last.1);
            self.last = (from, until);
        } else if from >= self.last.0 {
            self.last.1 = self.last.1.max(until);
        } else {
            self.add_before((from, until));
        }
    }

    /// Adds a stretch that begins before the last one.
    fn add_before(&mut self, (mut from, mut until): (Time, Time)) {
        while let Some((&start, &end)) = self.before.range(..=until).next_back()
            && end >= from
        {
            self.before.remove(&start);
            (from, until) = (from.min(start), until.max(end));
        }
        if until >= self.last.0 {
            self.last = (from, self.last.1.max(until));
        } else {
            self.before.insert(from, until);
        }
    }

    /// The stretches of `parts`.
    pub(super) fn of(parts: impl Iterator<Item = (Time, Time)>) -> Union {
        let mut union = Union::default();
        parts.for_each(|(from, until)| union.add(from, until));
        union
    }

    /// All stretches of both.
    pub(super) fn or(&self, other: &Union) -> Union {
        Union::of(self.stretches().chain(other.stretches()))
    }

    /// How long all of them are together.
    pub(super) fn length(&self) -> Duration {
        self.stretches().map(|(from, until)| until - from).sum()
    }

    fn stretches(&self) -> impl Iterator<Item = (Time, Time)> {
        self.before.iter().map(|(&from, &until)| (from, until)).chain([self.last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_stretches_count_once_in_whatever_order() {
        let parts = [(5, 7), (0, 2), (1, 3), (3, 4), (9, 9), (20, 30), (12, 14), (13, 21)];
        let ps = |&(from, until): &(u64, u64)| (Time::from_ps(from), Time::from_ps(until));
        let expected = [(0, 4), (5, 7), (12, 30)].map(|part| ps(&part));
        for turn in 0..parts.len() {
            let turned = parts[turn..].iter().chain(&parts[..turn]);
            let union = Union::of(turned.map(ps));
            assert_eq!(union.stretches().collect::<Vec<_>>(), expected);
            assert_eq!(union.length(), Duration::from_ps(24));
        }
        assert_eq!(Union::default().length(), Duration::ZERO);
        let other = Union::of([ps(&(6, 12))].into_iter());
        assert_eq!(Union::of(parts.iter().map(ps)).or(&other).length(), Duration::from_ps(29));
    }
}
