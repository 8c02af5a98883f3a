//! The smallest value of a function of several positive numbers, without derivatives.
//!
//! Coordinates take turns: each is multiplied and divided by a factor, and moves where that lowers the function; when none moves,
//! the factor comes nearer to one. Values stay on a lattice between bounds, so that the search ends and its result can be
//! written down exactly. It must not know what the numbers mean.

/// Where one coordinate may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) step: f64,
}

impl Range {
    /// The nearest value of the lattice within the bounds.
    pub(super) fn snap(&self, value: f64) -> f64 {
        ((value / self.step).round() * self.step).clamp(self.low, self.high)
    }
}

/// Factors less one, from coarse to fine.
const FACTORS: &[f64] = &[0.2, 0.08, 0.03, 0.01];
/// Rounds at one factor at most.
const ROUNDS: usize = 12;

/// Lowers `loss` from `start` on; the place and its value.
///
/// # Errors
/// The first that `loss` gives.
pub(super) fn minimise<E>(
    start: &[f64],
    ranges: &[Range],
    loss: &mut dyn FnMut(&[f64]) -> Result<f64, E>,
) -> Result<(Vec<f64>, f64), E> {
    let mut place = start.to_vec();
    let mut lowest = loss(&place)?;
    for factor in FACTORS {
        for _ in 0..ROUNDS {
            let before = lowest;
            for (index, range) in ranges.iter().enumerate() {
                for times in [1.0 + factor, 1.0 / (1.0 + factor)] {
                    let mut tried = place.clone();
                    tried[index] = range.snap(place[index] * times);
                    if tried[index] == place[index] {
                        continue;
                    }
                    let value = loss(&tried)?;
                    if value < lowest {
                        (place, lowest) = (tried, value);
                        break;
                    }
                }
            }
            if lowest >= before {
                break;
            }
        }
    }
    Ok((place, lowest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bowl_has_its_bottom_where_it_was_put() {
        let ranges = [Range { low: 0.1, high: 10.0, step: 0.01 }; 2];
        let mut bowl = |at: &[f64]| -> Result<f64, ()> {
            let (a, b) = (at[0] - 3.0, at[1] - 0.5);
            Ok(a * a + 4.0 * b * b + a * b)
        };
        let (place, loss) = minimise(&[1.0, 1.0], &ranges, &mut bowl).unwrap();
        assert!(loss < 1e-3, "{place:?} {loss}");
        assert!((place[0] - 3.0).abs() < 0.05 && (place[1] - 0.5).abs() < 0.02, "{place:?}");
    }

    #[test]
    fn bounds_hold() {
        let ranges = [Range { low: 1.0, high: 2.0, step: 0.1 }];
        let (place, _) = minimise(&[1.5], &ranges, &mut |at| Ok::<f64, ()>(-at[0])).unwrap();
        assert_eq!(place, [2.0]);
    }
}
