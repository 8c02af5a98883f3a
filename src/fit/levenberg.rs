//! The smallest loss of many residuals that depend on several positive numbers, by slopes: Levenberg, "A method for the solution of
//! certain non-linear problems in least squares", 1944; Marquardt, "An algorithm for least-squares estimation of nonlinear parameters",
//! 1963.
//!
//! Steps are taken in the logarithms of the numbers, all at once, so that numbers that trade places for each other move together, which
//! a search by coordinates cannot do. Values stay on the lattice of [`Range`]: a value between its points may not be one that can be
//! simulated. It must not know what the numbers mean.

use super::loss::{Residual, loss};
use super::search::Range;

/// How far a number is moved to see the slope.
const NUDGE: f64 = 0.02;
/// The longest step of a logarithm.
const LONGEST: f64 = 0.4;
/// Damping at the start, and its factors after a step that lowers the loss and after one that does not.
const DAMPING: [f64; 3] = [0.1, 0.3, 4.0];
/// Steps from one set of slopes at most.
const TRIES: usize = 6;
/// Sets of slopes at most.
const ITERATIONS: usize = 12;
/// A gain below this part of the loss ends the search.
const GAIN: f64 = 2e-4;

/// Gives every residual at a place, in the same order each time.
pub(super) type Residuals<'a, E> = &'a mut dyn FnMut(&[f64]) -> Result<Vec<Residual>, E>;

/// Lowers the loss from `start` on; the place and its loss.
///
/// # Errors
/// The first that `residuals` gives.
pub(super) fn descend<E>(start: &[f64], ranges: &[Range], residuals: Residuals<'_, E>) -> Result<(Vec<f64>, f64), E> {
    let mut place = start.to_vec();
    let mut rows = residuals(&place)?;
    let mut lowest = loss(&rows);
    let [mut damping, eased, stiffened] = DAMPING;
    for _ in 0..ITERATIONS {
        let before = lowest;
        let slopes = slopes(&place, &rows, ranges, residuals)?;
        let normal = Normal::of(&slopes, &rows, &place, ranges);
        for _ in 0..TRIES {
            let steps = normal.steps(damping);
            let of = |((value, step), range): ((&f64, f64), &Range)| range.snap(value * factor(step));
            let tried: Vec<f64> = place.iter().zip(steps).zip(ranges).map(of).collect();
            if tried == place {
                break;
            }
            let found = residuals(&tried)?;
            let value = loss(&found);
            if value < lowest {
                (place, rows, lowest) = (tried, found, value);
                damping *= eased;
                break;
            }
            damping *= stiffened;
        }
        if before - lowest <= GAIN * before {
            break;
        }
    }
    Ok((place, lowest))
}

/// What a step of the logarithm multiplies by: Padé's approximation of the exponential function, within 0.6 % of it at the longest step
/// and the same on every platform.
pub(super) fn factor(step: f64) -> f64 {
    (2.0 + step) / (2.0 - step)
}

/// The step whose factor this is.
fn step(factor: f64) -> f64 {
    2.0 * (factor - 1.0) / (factor + 1.0)
}

/// By number: how much each residual rises with its logarithm.
fn slopes<E>(
    place: &[f64],
    rows: &[Residual],
    ranges: &[Range],
    residuals: Residuals<'_, E>,
) -> Result<Vec<Vec<f64>>, E> {
    let mut slopes = Vec::with_capacity(place.len());
    for (index, range) in ranges.iter().enumerate() {
        let mut moved = place.to_vec();
        moved[index] = beside(place[index], range);
        let width = step(moved[index] / place[index]);
        if width == 0.0 {
            slopes.push(vec![0.0; rows.len()]);
            continue;
        }
        // A row that cannot be simulated at one of the places says nothing.
        let slope = |(here, there): (&Residual, &Residual)| {
            let known = here.weight > 0.0 && there.weight > 0.0;
            if known { (there.error - here.error) / width } else { 0.0 }
        };
        slopes.push(rows.iter().zip(&residuals(&moved)?).map(slope).collect());
    }
    Ok(slopes)
}

/// A little more than `value`, or less at the upper bound.
fn beside(value: f64, range: &Range) -> f64 {
    let width = (value * NUDGE).max(range.step);
    let above = range.snap(value + width);
    if above > value { above } else { range.snap(value - width) }
}

/// The equations whose solution is the step.
struct Normal {
    matrix: Vec<Vec<f64>>,
    right: Vec<f64>,
}

impl Normal {
    fn of(slopes: &[Vec<f64>], rows: &[Residual], place: &[f64], ranges: &[Range]) -> Normal {
        let weights: Vec<f64> = rows.iter().map(Residual::square_weight).collect();
        let weighted = |((a, b), weight): ((&f64, &f64), &f64)| a * b * weight;
        let product = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).zip(&weights).map(weighted).sum() };
        let errors: Vec<f64> = rows.iter().map(|row| row.error).collect();
        let mut right: Vec<f64> = slopes.iter().map(|slope| -product(slope, &errors)).collect();
        let mut matrix: Vec<Vec<f64>> = slopes.iter().map(|a| slopes.iter().map(|b| product(a, b)).collect()).collect();
        for (index, (value, range)) in place.iter().zip(ranges).enumerate() {
            let out = if right[index] > 0.0 { *value >= range.high } else { *value <= range.low };
            // What would leave its bounds, and what no row depends on, stays; the others do not count on it.
            if out || matrix[index][index] <= 0.0 {
                matrix.iter_mut().for_each(|row| row[index] = 0.0);
                matrix[index].fill(0.0);
                (matrix[index][index], right[index]) = (1.0, 0.0);
            }
        }
        Normal { matrix, right }
    }

    /// Steps of the logarithms. Damping is in proportion to the diagonal, as Marquardt has it.
    fn steps(&self, damping: f64) -> Vec<f64> {
        let mut matrix = self.matrix.clone();
        matrix.iter_mut().enumerate().for_each(|(index, row)| row[index] *= 1.0 + damping);
        solved(matrix, self.right.clone()).into_iter().map(|step| step.clamp(-LONGEST, LONGEST)).collect()
    }
}

/// Gaussian elimination with pivots from the column; zero for what the equations leave open.
fn solved(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for column in 0..size {
        let larger = |a: &usize, b: &usize| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs());
        let pivot = (column..size).max_by(larger).unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (above, below) = matrix.split_at_mut(column + 1);
        let row = &above[column];
        if row[column] == 0.0 {
            continue;
        }
        for (offset, other) in below.iter_mut().enumerate() {
            let part = other[column] / row[column];
            other.iter_mut().zip(row).for_each(|(value, over)| *value -= part * over);
            right[column + 1 + offset] -= part * right[column];
        }
    }
    let mut found = vec![0.0; size];
    for index in (0..size).rev() {
        let known: f64 = (index + 1..size).map(|other| matrix[index][other] * found[other]).sum();
        let pivot = matrix[index][index];
        found[index] = if pivot == 0.0 { 0.0 } else { (right[index] - known) / pivot };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::search::minimise;

    const RANGES: [Range; 2] = [Range { low: 0.05, high: 50.0, step: 0.01 }; 2];

    /// Times `a + x / b` against those of 2 and 5, a few of them measured far too slow.
    fn curve(at: &[f64]) -> Result<Vec<Residual>, ()> {
        let time = |a: f64, b: f64, x: f64| a + x / b;
        let row = |number: u32| {
            let x = f64::from(number);
            let outlier = if number % 9 == 4 { 1.5 } else { 1.0 };
            let (simulated, measured) = (time(at[0], at[1], x), time(2.0, 5.0, x) * outlier);
            Residual { error: (simulated - measured) / (simulated * measured).sqrt(), weight: 1.0 / 40.0 }
        };
        Ok((0..40).map(row).collect())
    }

    #[test]
    fn two_numbers_are_found_in_spite_of_outliers() {
        let (place, found) = descend(&[7.0, 1.0], &RANGES, &mut curve).unwrap();
        assert!((place[0] - 2.0).abs() < 0.06 && (place[1] - 5.0).abs() < 0.15, "{place:?} {found}");
        assert_eq!(found, loss(&curve(&place).unwrap()), "the loss is that of the place");
    }

    #[test]
    fn the_same_search_gives_the_same_bits() {
        let once = || descend(&[0.3, 20.0], &RANGES, &mut curve).unwrap();
        let ((a, x), (b, y)) = (once(), once());
        assert_eq!(x.to_bits(), y.to_bits());
        assert_eq!(a, b);
    }

    /// A narrow valley along which neither number can move alone.
    fn valley(at: &[f64]) -> Result<Vec<Residual>, ()> {
        let (product, ratio) = (at[0] * at[1] / 4.0 - 1.0, at[0] / at[1] - 4.0);
        let row = |error, weight| Residual { error, weight };
        Ok(vec![row(product, 1.0), row(ratio / 10.0, 1.0)])
    }

    #[test]
    fn numbers_that_trade_places_move_together() {
        let start = [1.0, 4.0];
        let (_, along) = descend(&start, &RANGES, &mut valley).unwrap();
        let mut alone = |at: &[f64]| valley(at).map(|rows| loss(&rows));
        let (_, stuck) = minimise(&start, &RANGES, &mut alone).unwrap();
        assert!(along < stuck / 10.0, "{along} together, {stuck} in turn");
    }

    #[test]
    fn bounds_hold_and_what_lies_at_one_does_not_hold_back_the_others() {
        let ranges = [Range { high: 1.0, ..RANGES[0] }, RANGES[1]];
        let (place, found) = descend(&[0.5, 1.0], &ranges, &mut curve).unwrap();
        assert_eq!(place[0], 1.0);
        let best = (400..600).map(|b| loss(&curve(&[1.0, f64::from(b) / 100.0]).unwrap())).fold(f64::MAX, f64::min);
        assert!(found < best * 1.02, "{place:?}: {found}, best {best}");
    }

    #[test]
    fn equations_are_solved_where_the_first_pivot_is_zero_and_open_where_singular() {
        let found = solved(vec![vec![0.0, 2.0], vec![4.0, 1.0]], vec![6.0, 11.0]);
        assert!((found[0] - 2.0).abs() < 1e-12 && (found[1] - 3.0).abs() < 1e-12, "{found:?}");
        assert_eq!(solved(vec![vec![2.0, 0.0], vec![0.0, 0.0]], vec![4.0, 0.0]), [2.0, 0.0]);
    }

    #[test]
    fn steps_and_factors_are_inverse() {
        for at in [-0.4, -0.01, 0.02, 0.4] {
            assert!((step(factor(at)) - at).abs() < 1e-12);
        }
        assert!((factor(0.4) - 1.4918).abs() < 0.009, "the exponential function");
    }
}
