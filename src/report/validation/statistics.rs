//! What a list of relative errors amounts to.

/// Statistics of relative errors; all are fractions, so that 0.1 is 10 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// How many errors.
    pub rows: usize,
    /// Median of their absolute values.
    pub median_abs_error: f64,
    /// 90th percentile of their absolute values.
    pub p90_abs_error: f64,
    /// Mean of their absolute values.
    pub mape: f64,
    /// Median with sign: below zero where the simulation is too fast.
    pub median_error: f64,
}

impl Statistics {
    /// The statistics of `errors`, unless there are none.
    pub fn of(errors: impl IntoIterator<Item = f64>) -> Option<Statistics> {
        let mut signed: Vec<f64> = errors.into_iter().collect();
        if signed.is_empty() {
            return None;
        }
        let mut absolute: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
        signed.sort_by(f64::total_cmp);
        absolute.sort_by(f64::total_cmp);
        Some(Statistics {
            rows: signed.len(),
            median_abs_error: percentile(&absolute, 50),
            p90_abs_error: percentile(&absolute, 90),
            mape: absolute.iter().sum::<f64>() / absolute.len() as f64,
            median_error: percentile(&signed, 50),
        })
    }
}

/// The `percent`-th percentile of ascending `values`, interpolated linearly between neighbours.
fn percentile(values: &[f64], percent: usize) -> f64 {
    let hundredths = percent * (values.len() - 1);
    let (below, part) = (hundredths / 100, (hundredths % 100) as f64 / 100.0);
    let above = (below + 1).min(values.len() - 1);
    values[below] + part * (values[above] - values[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_absolute_errors() {
        let statistics = Statistics::of([-0.4, 0.1, 0.2, -0.3]).unwrap();
        assert_eq!(statistics.rows, 4);
        assert!((statistics.median_abs_error - 0.25).abs() < 1e-12);
        assert!((statistics.p90_abs_error - 0.37).abs() < 1e-12);
        assert!((statistics.mape - 0.25).abs() < 1e-12);
        assert!((statistics.median_error - -0.1).abs() < 1e-12);
    }

    #[test]
    fn nothing_has_no_statistics() {
        assert_eq!(Statistics::of([]), None);
        assert_eq!(Statistics::of([0.5]).unwrap().p90_abs_error, 0.5);
    }
}
