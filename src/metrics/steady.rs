//! The part of a run over requests in which load is steady, and what passes in it.
//!
//! It ends with the last arrival: what follows only drains. It begins where the pools have filled: at the truncation that leaves the
//! mean rate with the least standard error (the marginal standard error rule of K. P. White, Simulation 69(6), 1997), at most half of
//! the time. Whether it is steady shows in its two halves.

use crate::units::{Duration, Time};
use crate::workload::ServedStep;

/// Bins over which rates are looked at when the start is chosen.
const BINS: usize = 60;
/// Halves that differ by more than this part are not steady.
const STEADY: f64 = 0.05;

/// The steady part of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Its start.
    pub from: Time,
    /// Its end: the last arrival.
    pub until: Time,
    /// Output tokens per second in its first and second half.
    pub halves: [f64; 2],
}

impl Window {
    /// The window over `steps` that ends with the last arrival; of a load that repeats after `period`, whole periods.
    pub(super) fn of<'s>(
        steps: impl Iterator<Item = &'s ServedStep> + Clone,
        last_arrival: Time,
        period: Option<Duration>,
    ) -> Window {
        let all = last_arrival - Time::ZERO;
        let periods = period.filter(|period| *period > Duration::ZERO).map_or(0, |period| all.as_ps() / period.as_ps());
        let (from, half) = if periods > 0 {
            let period = period.map_or(0, Duration::as_ps);
            (all.as_ps() - periods * period, periods.div_ceil(2) * period)
        } else {
            let from = all.as_ps() / BINS as u64 * truncated(&bins(steps.clone(), all)) as u64;
            (from, (all.as_ps() - from) / 2)
        };
        let from = Time::from_ps(from);
        let middle = (from + Duration::from_ps(half)).min(last_arrival);
        let halves = [(from, middle), (middle, last_arrival)];
        let halves = halves.map(|(from, until)| per_sec(steps.clone(), (from, until), |step| step.output));
        Window { from, until: last_arrival, halves }
    }

    /// How long it is.
    pub fn length(&self) -> Duration {
        self.until - self.from
    }

    /// By what part the second half emits more than the first; nothing where there is no second half to compare.
    pub fn drift(&self) -> Option<f64> {
        let [first, second] = self.halves;
        (first > 0.0 && second > 0.0).then(|| second / first - 1.0)
    }

    /// Whether its halves agree.
    pub fn is_steady(&self) -> bool {
        self.drift().is_some_and(|drift| drift.abs() <= STEADY)
    }

    /// What steps that end in it bring, per second.
    pub(super) fn rate<'s>(&self, steps: impl Iterator<Item = &'s ServedStep>, of: impl Fn(&ServedStep) -> f64) -> f64 {
        per_sec(steps, (self.from, self.until), of)
    }

    /// Part of it that `instances` instances with these steps are in one.
    pub(super) fn utilisation<'s>(&self, steps: impl Iterator<Item = &'s ServedStep>, instances: u64) -> f64 {
        let inside = |step: &ServedStep| {
            let (start, end) = (step.start.max(self.from), step.end.min(self.until));
            if end > start { (end - start).as_ps() } else { 0 }
        };
        let busy: u128 = steps.map(|step| u128::from(inside(step))).sum();
        let there = u128::from(self.length().as_ps()) * u128::from(instances);
        if there == 0 { 0.0 } else { busy as f64 / there as f64 }
    }
}

/// What steps that end after `from` and not after `until` bring, per second.
fn per_sec<'s>(
    steps: impl Iterator<Item = &'s ServedStep>,
    (from, until): (Time, Time),
    of: impl Fn(&ServedStep) -> f64,
) -> f64 {
    if until <= from {
        return 0.0;
    }
    let inside = steps.filter(|step| step.end > from && step.end <= until);
    inside.map(of).sum::<f64>() / (until - from).as_secs()
}

/// Output tokens in equal parts of `all`, from the start on.
fn bins<'s>(steps: impl Iterator<Item = &'s ServedStep>, all: Duration) -> Vec<f64> {
    let width = (all.as_ps() / BINS as u64).max(1);
    let mut bins = vec![0.0; BINS];
    for step in steps {
        let at = (step.end - Time::ZERO).as_ps().saturating_sub(1) / width;
        if let Some(bin) = bins.get_mut(at as usize) {
            *bin += step.output;
        }
    }
    bins
}

/// Bins to leave out at the start.
fn truncated(bins: &[f64]) -> usize {
    let error = |&left_out: &usize| {
        let rest = &bins[left_out..];
        let n = rest.len() as f64;
        let mean = rest.iter().sum::<f64>() / n;
        rest.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n * n)
    };
    let candidates = 0..=bins.len() / 2;
    candidates.min_by(|a, b| error(a).total_cmp(&error(b))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(s: f64) -> Time {
        Time::from_ps((s * 1e12) as u64)
    }

    /// A step every 100 ms until `end` seconds that emits what `output` says for its time.
    fn steps(end: u32, output: impl Fn(f64) -> f64) -> Vec<ServedStep> {
        let at = |tenth: u32| f64::from(tenth) / 10.0;
        let step = |tenth| ServedStep {
            start: second(at(tenth) - 0.05),
            end: second(at(tenth)),
            output: output(at(tenth)),
            input: 7,
        };
        (1..=10 * end).map(step).collect()
    }

    fn window(steps: &[ServedStep], last: f64, period: Option<f64>) -> Window {
        Window::of(steps.iter(), second(last), period.map(|s| second(s) - Time::ZERO))
    }

    #[test]
    fn how_pools_fill_and_drain_is_left_out() {
        // 10 tokens per step once the pool has filled within 60 s; nothing arrives after 600 s, and the rest drains.
        let ramp = |s: f64| {
            if s < 60.0 {
                s / 6.0
            } else if s <= 600.0 {
                10.0
            } else {
                1.0
            }
        };
        let steps = steps(900, ramp);
        let found = window(&steps, 600.0, None);
        assert!(found.from >= second(50.0) && found.from <= second(70.0), "{found:?}");
        assert_eq!(found.until, second(600.0));
        let rate = found.rate(steps.iter(), |step| step.output);
        assert!((rate - 100.0).abs() < 0.5, "{rate}");
        assert!(found.is_steady());
        // A step every 100 ms takes half of it.
        let busy = found.utilisation(steps.iter(), 1);
        assert!((busy - 0.5).abs() < 1e-6, "{busy}");
        assert!((found.utilisation(steps.iter(), 2) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn a_load_that_still_grows_is_not_steady() {
        let found = window(&steps(100, |s| s), 100.0, None);
        assert!(!found.is_steady() && found.drift().is_some_and(|drift| drift > 0.2), "{found:?}");
    }

    #[test]
    fn a_load_that_repeats_is_taken_by_whole_periods() {
        // 250 s hold two periods of 100 s: 50 s are left out at the start. The mean of a period is 15 per step.
        let steps = steps(250, |s| if (s - 1e-9) % 100.0 < 50.0 { 10.0 } else { 20.0 });
        let found = window(&steps, 250.0, Some(100.0));
        assert_eq!(found.from, second(50.0));
        assert!((found.rate(steps.iter(), |step| step.output) - 150.0).abs() < 1e-6);
        assert!(found.is_steady());
    }

    #[test]
    fn nothing_is_steady_where_nothing_was_emitted() {
        let empty = window(&[], 0.0, None);
        assert_eq!((empty.drift(), empty.is_steady(), empty.length()), (None, false, Duration::ZERO));
    }
}
