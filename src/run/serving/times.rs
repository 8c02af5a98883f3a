//! How long a step takes, between the points at which one was simulated.
//!
//! A table over four quantities of a tensor-parallel group; between its points the time is interpolated in each of them in turn, beyond the last
//! one it goes on in a straight line. How far that is off is found by simulating further points between.

use crate::invalid::Invalid;
use crate::units::Duration;

/// What a step works on, per tensor-parallel group: decoding requests, their mean context, positions of prompts, and the mean number of positions
/// that each of those attends to.
pub(super) type Load = [f64; 4];

/// Times of steps.
#[derive(Clone, Debug)]
pub(super) struct StepTimes {
    axes: [Vec<f64>; 4],
    /// Picoseconds, the last axis fastest.
    times: Vec<f64>,
    /// Steps that were simulated.
    pub(super) runs: usize,
    /// Largest relative error at points between, where such were simulated.
    pub(super) error: f64,
}

impl StepTimes {
    /// Simulates steps by `time` at every point of the grid, and at `between` to find the error.
    pub(super) fn simulate(
        axes: [Vec<f64>; 4],
        between: &[Load],
        mut time: impl FnMut(Load) -> Result<Duration, Invalid>,
    ) -> Result<StepTimes, Invalid> {
        let mut points = vec![[0.0; 4]];
        for (axis, values) in axes.iter().enumerate() {
            let extended = |point: &Load| {
                let point = *point;
                values.iter().map(move |&value| {
                    let mut next = point;
                    next[axis] = value;
                    next
                })
            };
            points = points.iter().flat_map(extended).collect();
        }
        let mut simulated = |points: &[Load]| -> Result<Vec<f64>, Invalid> {
            points.iter().map(|&load| Ok(time(load)?.as_ps() as f64)).collect()
        };
        let mut table = StepTimes { times: simulated(&points)?, axes, runs: points.len() + between.len(), error: 0.0 };
        for (load, exact) in between.iter().zip(simulated(between)?) {
            let error = (table.at(*load).as_ps() as f64 / exact - 1.0).abs();
            table.error = table.error.max(error);
        }
        Ok(table)
    }

    /// The time of a step.
    pub(super) fn at(&self, load: Load) -> Duration {
        Duration::from_ps(self.along(0, 0, load).max(0.0) as u64)
    }

    /// Interpolates along `axis` and all after it, from the entry at `base`.
    fn along(&self, axis: usize, base: usize, load: Load) -> f64 {
        let Some(values) = self.axes.get(axis) else { return self.times[base] };
        let size: usize = self.axes[axis + 1..].iter().map(Vec::len).product();
        let first = |place: usize| self.along(axis + 1, base + place * size, load);
        if values.len() == 1 {
            return first(0);
        }
        let upper = values.iter().position(|&value| value >= load[axis]).unwrap_or(values.len() - 1).max(1);
        let part = (load[axis] - values[upper - 1]) / (values[upper] - values[upper - 1]);
        if part >= 1.0 && upper < values.len() - 1 {
            return first(upper);
        }
        let (low, high) = (first(upper - 1), first(upper));
        low + part * (high - low)
    }
}

/// Points of an axis up to `most`, each `ratio` times the one before, down to 1 or to `count` points.
pub(super) fn points(most: u64, ratio: u64, count: usize) -> Vec<f64> {
    let mut points = vec![most];
    while let Some(&last) = points.last()
        && last > 1
        && points.len() < count
    {
        points.push(last.div_ceil(ratio));
    }
    if points[points.len() - 1] > 1 {
        points.push(1);
    }
    points.reverse();
    points.dedup();
    points.into_iter().map(|point| point as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linear_in_every_quantity_is_found_exactly_and_beyond_the_table() {
        let time = |load: Load| Ok(Duration::from_ns((1000.0 + 3.0 * load[0] * load[1] + 5.0 * load[2]) as u64));
        let axes = [vec![1.0, 4.0, 64.0], vec![10.0, 100.0], vec![0.0, 8.0], vec![7.0]];
        let table = StepTimes::simulate(axes, &[[20.0, 50.0, 2.0, 7.0]], time).expect("times");
        assert!(table.error < 1e-9, "{}", table.error);
        assert_eq!(table.runs, 13);
        assert_eq!(table.at([128.0, 40.0, 16.0, 9.0]), time([128.0, 40.0, 16.0, 7.0]).expect("a time"));
    }

    #[test]
    fn what_bends_between_points_shows_as_an_error() {
        let time = |load: Load| Ok(Duration::from_ns((load[0] * load[0]) as u64));
        let axes = [vec![10.0, 30.0], vec![1.0], vec![0.0], vec![0.0]];
        let table = StepTimes::simulate(axes, &[[20.0, 1.0, 0.0, 0.0]], time).expect("times");
        assert!((table.error - 0.25).abs() < 1e-9, "500 for 400: {}", table.error);
    }

    #[test]
    fn points_thin_out_downwards() {
        assert_eq!(points(88, 4, 4), [1.0, 2.0, 6.0, 22.0, 88.0]);
        assert_eq!(points(1, 4, 4), [1.0]);
    }
}
