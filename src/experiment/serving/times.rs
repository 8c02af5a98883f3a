//! How long a step takes, between loads at which one was simulated.
//!
//! A table over five quantities, four of them of the tensor-parallel group that has most. Its points lie at fixed places and are simulated when a load between them is first asked for,
//! so that neither the cost nor the answer depends on loads that never occur. Between points the time is interpolated in each quantity in turn; how far
//! that is off is found by simulating the middles of the cells that were used most.

use crate::experiment::memo::Memo;
use crate::invalid::Invalid;
use crate::units::Duration;
use crate::workload::StepLoad;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What a step works on, in the tensor-parallel group that has most: decoding requests, their mean context, positions of prompts, and the
/// mean number of positions before the piece of the prompt to which each of those belongs. Then what all groups have together, as a part
/// of what they would have if each had as much, times `FULL`.
pub(super) type Load = [f64; AXES];

/// Quantities on which the time of a step depends.
const AXES: usize = 5;

/// All groups have as much as the one that has most.
pub(super) const FULL: f64 = 65_536.0;
/// Groups that together have more than this part count as full: experts have that much more to do at most.
const NEARLY_FULL: f64 = 0.9;

/// A load as a place in the table.
pub(super) fn axes(load: &StepLoad) -> Load {
    [load.requests, load.context, load.prompts, load.cached, load.filled * FULL]
}

/// A point of the table.
type Place = [u64; AXES];

/// Cells whose middles are simulated to find the error.
const CHECKED: usize = 4;

/// Times of steps.
#[derive(Debug, Default)]
pub(super) struct StepTimes {
    /// Picoseconds.
    times: Memo<Place, f64>,
    /// How often times were asked for between two points.
    used: BTreeMap<(Place, Place), u64>,
    checked: usize,
}

impl StepTimes {
    /// The time of a step, from times at the points around it, of which `time` simulates those that are new.
    pub(super) fn at<F>(&mut self, load: Load, mut time: F) -> Result<Duration, Invalid>
    where
        F: FnMut(Load) -> Result<Duration, Invalid>,
    {
        let cell = cell(load);
        if cell.0 != cell.1 {
            *self.used.entry(cell).or_default() += 1;
        }
        Ok(Duration::from_ps(self.between(cell, load, &mut time)?.round() as u64))
    }

    fn between<F>(&mut self, (low, high): (Place, Place), load: Load, time: &mut F) -> Result<f64, Invalid>
    where
        F: FnMut(Load) -> Result<Duration, Invalid>,
    {
        let Some(axis) = (0..low.len()).find(|&axis| low[axis] < high[axis]) else { return self.point(low, time) };
        let (mut below, mut above) = (high, low);
        below[axis] = low[axis];
        above[axis] = high[axis];
        let (first, last) = (self.between((low, below), load, time)?, self.between((above, high), load, time)?);
        let part = (load[axis] - low[axis] as f64) / (high[axis] - low[axis]) as f64;
        Ok(first + part * (last - first))
    }

    fn point<F>(&mut self, place: Place, time: &mut F) -> Result<f64, Invalid>
    where
        F: FnMut(Load) -> Result<Duration, Invalid>,
    {
        self.times.of(place, || Ok(time(place.map(|value| value as f64))?.as_ps() as f64)).copied()
    }

    /// The largest relative error in the middles of the cells that were used most.
    pub(super) fn error<F>(&mut self, mut time: F) -> Result<f64, Invalid>
    where
        F: FnMut(Load) -> Result<Duration, Invalid>,
    {
        let mut cells: Vec<(Reverse<u64>, (Place, Place))> =
            self.used.iter().map(|(&cell, &count)| (Reverse(count), cell)).collect();
        cells.sort_unstable();
        cells.truncate(CHECKED);
        let mut error = 0.0_f64;
        for (_, (low, high)) in cells {
            let load: Load = std::array::from_fn(|axis| middle(axis, low[axis], high[axis]));
            let exact = time(load)?.as_ps() as f64;
            let found = self.between((low, high), load, &mut time)?;
            self.checked += 1;
            error = error.max((found / exact - 1.0).abs());
        }
        Ok(error)
    }

    /// How often times were asked for between two points.
    pub(super) fn uses(&self) -> u64 {
        self.used.values().sum()
    }

    /// Steps that were simulated.
    pub(super) fn runs(&self) -> usize {
        self.times.len() + self.checked
    }
}

/// The whole number in the middle of two points of an axis: by ratio where points are, else by distance.
fn middle(axis: usize, low: u64, high: u64) -> f64 {
    let by_ratio = axis.is_multiple_of(2) && low > 0;
    (if by_ratio { ((low * high) as f64).sqrt() } else { u64::midpoint(low, high) as f64 }).round()
}

/// The points around a load.
fn cell(load: Load) -> (Place, Place) {
    let around: [(u64, u64); AXES] = std::array::from_fn(|axis| match axis {
        0 | 2 => many(load[axis]),
        4 => filled(load[axis]),
        _ => long(load[axis]),
    });
    (around.map(|(low, _)| low), around.map(|(_, high)| high))
}

/// Points around a number of requests or of positions that are computed: none, powers of two, and one and a half of these. Steps become slowly longer
/// with few of them and in proportion with many. A step with none is another kind of step, so that nothing is between none and one.
fn many(value: f64) -> (u64, u64) {
    if value <= 1.0 {
        let only = u64::from(value > 0.0);
        return (only, only);
    }
    let power = 1_u64 << (value as u64).ilog2();
    let half = power + power / 2;
    if value == power as f64 {
        (power, power)
    } else if value == half as f64 {
        (half, half)
    } else if value < half as f64 {
        (power, half)
    } else if half == power {
        (1, 2)
    } else {
        (half, 2 * power)
    }
}

/// Points around what groups have together: all of it, a half, a quarter and so on.
fn filled(value: f64) -> (u64, u64) {
    if value >= NEARLY_FULL * FULL {
        return (FULL as u64, FULL as u64);
    }
    let low = 1_u64 << (value.max(1.0) as u64).ilog2();
    if value <= low as f64 { (low, low) } else { (low, 2 * low) }
}

/// Points around a number of positions that are attended to, in which steps are nearly linear: none, 1024, and four times as many each.
fn long(value: f64) -> (u64, u64) {
    let (mut low, mut high) = (0, 1024);
    while value >= high as f64 {
        (low, high) = (high, 4 * high);
    }
    if value <= low as f64 { (low, low) } else { (low, high) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(value: f64) -> Result<Duration, Invalid> {
        Ok(Duration::from_ns(value.round() as u64))
    }

    #[test]
    fn what_is_linear_in_every_quantity_is_found_exactly_from_the_points_around_it() {
        let time = |load: Load| ns(1000.0 + 3.0 * load[0] * load[1] + 5.0 * load[2]);
        let mut table = StepTimes::default();
        let loads = [
            [128.0, 5120.0, 0.0, 0.0, FULL],
            [5.0, 2048.0, 100.0, 0.0, FULL],
            [0.0, 0.0, 1.0, 512.0, FULL],
            [1.0, 0.0, 7.0, 0.0, FULL],
        ];
        for load in loads {
            assert_eq!(table.at(load, time).expect("a time"), time(load).expect("a time"), "{load:?}");
        }
        assert_eq!(table.runs(), 2 + 8 + 2 + 2);
        assert!(table.error(time).expect("an error") < 1e-9);
        assert_eq!(table.runs(), 14 + 4);
    }

    #[test]
    fn points_lie_close_enough_for_what_bends() {
        // From bytes of few experts to products of many positions: 8 to 4096 of them.
        let time = |load: Load| ns(1e6 * (10.0 + 30.0 * load[2] / (load[2] + 30.0) + load[2] / 45.0));
        let mut table = StepTimes::default();
        for tokens in [5.0, 11.0, 23.0, 90.0, 928.0, 3640.0] {
            let load = [0.0, 0.0, tokens, 0.0, FULL];
            let ratio = table.at(load, time).expect("a time") / time(load).expect("a time");
            assert!((ratio - 1.0).abs() < 0.03, "{tokens}: {ratio}");
        }
    }

    #[test]
    fn what_bends_between_points_shows_as_an_error() {
        let time = |load: Load| ns(load[1] * load[1]);
        let mut table = StepTimes::default();
        table.at([1.0, 2000.0, 0.0, 0.0, FULL], time).expect("a time");
        // Between 1024 and 4096, at 2560: (1024 + 4096) * 2560 - 1024 * 4096 for 2560 squared.
        let expected = (5120.0 * 2560.0 - 1024.0 * 4096.0) / (2560.0 * 2560.0) - 1.0;
        let found = table.error(time).expect("an error");
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn every_number_is_at_a_point_or_between_two() {
        for value in 1..10_000 {
            let (low, high) = many(f64::from(value));
            assert!(low <= value as u64 && value as u64 <= high && high <= 2 * low, "{value}: {low} {high}");
            let (low, high) = many(f64::from(value) + 0.5);
            assert!(low <= value as u64 && (value as u64) < high && high <= 2 * low, "{value}.5: {low} {high}");
        }
        for part in 1..1000 {
            let value = f64::from(part) / 1000.0 * FULL;
            let (low, high) = filled(value);
            let full = value >= NEARLY_FULL * FULL;
            assert!(full && low == FULL as u64 || low as f64 <= value && value <= high as f64 && high <= 2 * low);
        }
        assert_eq!((filled(FULL), filled(FULL / 32.0)), ((1 << 16, 1 << 16), (1 << 11, 1 << 11)));
        assert_eq!((many(0.0), many(0.3)), ((0, 0), (1, 1)));
        assert_eq!((long(0.0), long(1024.0), long(5000.0)), ((0, 0), (1024, 1024), (4096, 16384)));
    }
}
