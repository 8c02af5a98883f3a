//! Axes of charts: which stretch holds given values, where its round ticks are, and at which pixel a value lies.

use crate::numerics::logarithm;
use crate::report::table::number;

/// Labels along the horizontal axis that fit.
pub(super) const LABELS_MAX: usize = 9;

/// Values along an axis, and where they lie.
pub(super) struct Scale {
    /// Where it begins.
    pub(super) from: f64,
    /// Where it ends.
    pub(super) to: f64,
    step: f64,
    /// The pixel at which it begins.
    pub(super) start: i32,
    /// The pixel at which it ends.
    pub(super) end: i32,
    /// Whether equal ratios are equally far apart; then ticks are powers of ten.
    powers: bool,
}

impl Scale {
    /// A scale that holds `values`; it starts at zero unless they are all far from it.
    pub(super) fn of(values: impl Iterator<Item = f64>, start: i32, end: i32) -> Scale {
        let (low, high) = ends(values);
        let high = if high > 0.0 { high } else { 1.0 };
        let near_zero = low < 0.5 * high;
        let step = step(if near_zero { high } else { f64::max(high - low, 0.05 * high) });
        let from = if near_zero { 0.0 } else { (low / step).floor() * step };
        Scale { from, to: f64::max((high / step).ceil() * step, from + step), step, start, end, powers: false }
    }

    /// The places 0, 1, 2, ... of an axis.
    pub(super) fn places(count: usize, start: i32, end: i32) -> Scale {
        Scale { from: -0.3, to: count as f64 - 0.7, step: 1.0, start, end, powers: false }
    }

    /// A scale of powers of ten that holds those of `values` that have a place on it: finite ones above zero.
    pub(super) fn powers(values: impl Iterator<Item = f64>, start: i32, end: i32) -> Scale {
        let values = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = ends(values);
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let mut from = 1.0;
        while from > low {
            from /= 10.0;
        }
        while from * 10.0 <= low {
            from *= 10.0;
        }
        let mut to = from * 10.0;
        while to < high {
            to *= 10.0;
        }
        Scale { from, to, step: 10.0, start, end, powers: true }
    }

    /// The pixel of a value.
    pub(super) fn at(&self, value: f64) -> i32 {
        let part = if self.powers {
            logarithm(value / self.from) / logarithm(self.to / self.from)
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + (part * f64::from(self.end - self.start)).round() as i32
    }

    /// The values that get a label.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.powers {
            let after = |tick: &f64| (tick * 10.0 < self.to * 1.01).then_some(tick * 10.0);
            let ticks: Vec<f64> = std::iter::successors(Some(self.from), after).collect();
            let every = ticks.len().div_ceil(LABELS_MAX);
            return ticks.into_iter().step_by(every).collect();
        }
        let count = ((self.to - self.from) / self.step).round() as i32;
        (0..=count).map(|tick| self.from + self.step * f64::from(tick)).collect()
    }

    /// What a tick is called: large powers of ten by their letter.
    pub(super) fn label(&self, value: f64) -> String {
        let letters = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
        match letters.into_iter().find(|(unit, _)| self.powers && value > 0.99 * unit) {
            Some((unit, letter)) => format!("{}{letter}", tick(value / unit)),
            None => tick(value),
        }
    }
}

/// A round distance of ticks, 1, 2 or 5 times a power of ten, so that four to ten of them cover `span`.
pub(super) fn step(span: f64) -> f64 {
    let mut power = 1.0;
    while power * 10.0 <= span {
        power *= 10.0;
    }
    while power > span {
        power /= 10.0;
    }
    match span / power {
        ratio if ratio < 2.0 => power / 5.0,
        ratio if ratio < 5.0 => power / 2.0,
        _ => power,
    }
}

/// A tick without digits that say nothing.
pub(super) fn tick(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The least of `values` and the greatest, or 0 if that is less.
pub(super) fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (f64::min(low, value), f64::max(high, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_all_values_and_few_ticks() {
        for (low, high) in [(0.0, 1.0), (3.0, 97.0), (90.0, 97.0), (0.001, 0.0042), (14.8, 14.8), (1e6, 4.9e6)] {
            let scale = Scale::of([low, high].into_iter(), 300, 0);
            assert!(scale.from <= low && scale.to >= high, "{low} to {high}: {} to {}", scale.from, scale.to);
            assert!((2..=12).contains(&scale.ticks().len()), "{low} to {high}: {:?}", scale.ticks());
            assert!(scale.at(high) <= scale.at(low) && scale.at(high) >= 0);
        }
    }

    #[test]
    fn ticks_stand_at_round_values() {
        for (low, high) in [(41.5, 58.0), (46.0, 58.9), (0.0, 173.0), (0.0, 1.3), (0.0, 4.2), (0.0, 8.0)] {
            for tick in Scale::of([low, high].into_iter(), 300, 0).ticks() {
                let digits = format!("{tick:.6}").replace('.', "").trim_matches('0').to_owned();
                assert!(digits.len() <= 2, "{low} to {high}: a tick at {tick}");
            }
        }
        assert_eq!([1.0, 1.9, 2.0, 4.9, 5.0, 9.9].map(step), [0.2, 0.2, 0.5, 0.5, 1.0, 1.0]);
        assert_eq!([0.013, 2355.0].map(step), [0.002, 500.0]);
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart() {
        let scale = Scale::powers([3.0, 4000.0].into_iter(), 0, 400);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!([1.0, 10.0, 100.0, 1000.0, 10_000.0].map(|value| scale.at(value)), [0, 100, 200, 300, 400]);
        assert_eq!(
            scale.ticks().into_iter().map(|value| scale.label(value)).collect::<Vec<_>>(),
            ["1", "10", "100", "1k", "10k"]
        );
        let small = Scale::powers([0.02, 0.03].into_iter(), 0, 400);
        assert!(small.from <= 0.02 && small.to >= 0.03 && small.ticks().len() == 2, "{:?}", small.ticks());
        let wide = Scale::powers([1.0, 1e12].into_iter(), 0, 400);
        assert!(wide.ticks().len() <= LABELS_MAX);
    }

    #[test]
    fn what_has_no_logarithm_takes_no_part_in_a_scale_of_powers() {
        let scale = Scale::powers([0.0, -3.0, f64::INFINITY, f64::NAN, 5.0, 200.0].into_iter(), 0, 400);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::powers([0.0].into_iter(), 0, 400).ticks(), [1.0, 10.0]);
    }

    #[test]
    fn ticks_lose_only_zeros() {
        assert_eq!(["0", "100", "2.5", "0.25"], [0.0, 100.0, 2.5, 0.25].map(tick)[..]);
    }
}
