//! The loss of a fit: Huber's function of the error of each row, weighted so that tables count as the group says and the rows of a
//! table equally. It must not know which constants move.

use super::Group;
use crate::report::validation::ValidationReport;

/// Above this error the loss grows linearly: one row in ten is measured a fifth to a half slower than its neighbours.
const BEND: f64 = 0.07;

/// One row of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Residual {
    /// `(simulated - measured) / sqrt(simulated * measured)`: to second order the logarithm of their ratio.
    pub(super) error: f64,
    /// Its part of the loss; zero for a row that could not be simulated.
    pub(super) weight: f64,
}

impl Residual {
    /// The weight with which the square of the error has the slope of the loss (iteratively reweighted least squares: Holland and
    /// Welsch, "Robust regression using iteratively reweighted least-squares", 1977).
    pub(super) fn square_weight(&self) -> f64 {
        self.weight * BEND / self.error.abs().max(BEND)
    }
}

/// Every row of a report, in order; none where no row has an error.
pub(super) fn residuals(report: &ValidationReport, group: &Group) -> Option<Vec<Residual>> {
    let (mut rows, mut weights) = (Vec::new(), 0.0);
    for set in &report.sets {
        let found: Vec<Option<f64>> = set.comparisons.iter().map(|row| row.error()).collect();
        let simulated = found.iter().flatten().count();
        let weight = group.sets.iter().find(|(id, _)| *id == set.id)?.1;
        if simulated > 0 {
            weights += weight;
        }
        let row = |relative: Option<f64>| match relative {
            Some(relative) => Residual { error: error(relative), weight: weight / simulated as f64 },
            None => Residual { error: 0.0, weight: 0.0 },
        };
        rows.extend(found.into_iter().map(row));
    }
    rows.iter_mut().for_each(|row: &mut Residual| row.weight /= weights);
    (weights > 0.0).then_some(rows)
}

/// The weighted mean of the losses of rows.
pub(super) fn loss(rows: &[Residual]) -> f64 {
    rows.iter().map(|row| row.weight * huber(row.error)).sum()
}

/// What of a relative error counts.
fn error(relative: f64) -> f64 {
    relative / (1.0 + relative).max(1e-9).sqrt()
}

fn huber(error: f64) -> f64 {
    let error = error.abs();
    if error <= BEND { error * error / 2.0 } else { BEND * (error - BEND / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_symmetric_and_damped() {
        let of = |relative| huber(error(relative));
        assert!((of(1.0) - of(-0.5)).abs() < 1e-12, "twice as slow is as bad as twice as fast");
        assert!((of(0.01) - 0.00005).abs() < 1e-6);
        assert!(of(3.0) < 3.0 * of(1.0));
    }

    /// Half of the weighted square and the loss rise alike, on both sides of the bend.
    #[test]
    fn weighted_squares_have_the_slope_of_the_loss() {
        for error in [-0.5, -0.03, 0.02, 0.3] {
            let row = Residual { error, weight: 2.0 };
            let moved = [Residual { error: error + 1e-6, ..row }, Residual { error: error - 1e-6, ..row }];
            let slope = (loss(&moved[..1]) - loss(&moved[1..])) / 2e-6;
            assert!((slope - row.square_weight() * error).abs() < 1e-6, "{error}: {slope}");
        }
    }
}
