//! Loads of experts as benchmarks draw them: tokens per expert from a bounded power law.

use crate::numerics::{exponential, logarithm};
use crate::rng::Seed;

/// Rows of each local expert of the busiest of `ranks` ranks, when `tokens` tokens choose `choices` of `experts` experts each.
///
/// Loads are drawn by the inverse of the distribution function of `x^-alpha` between 1 and 0.8 of the tokens (0.01 and 2 where
/// there are fewer choices than experts), scaled to the number of choices, and rounded.
pub(super) fn busiest_rank(tokens: u64, experts: u64, choices: u64, ranks: u64, alpha: f64, sample: u64) -> Vec<u64> {
    let mut rng = Seed(sample).stream("power law");
    let total = tokens * choices;
    let (least, most) = if total > experts { (1.0, tokens as f64 * 0.8) } else { (0.01, 2.0) };
    let exponent = 1.0 - alpha;
    let (low, high) = (power(least, exponent), power(most, exponent));
    let drawn: Vec<f64> = (0..experts).map(|_| power((high - low) * rng.unit() + low, 1.0 / exponent)).collect();
    let sum: f64 = drawn.iter().sum();
    let mut loads: Vec<u64> = drawn.iter().map(|load| (load / sum * total as f64).round() as u64).collect();
    settle(&mut loads, total);
    let per_rank = usize::try_from((experts / ranks).max(1)).expect("few experts");
    let busiest = loads.chunks(per_rank).max_by_key(|rank| rank.iter().sum::<u64>());
    busiest.expect("there is a rank").to_vec()
}

/// Gives to, or takes from, the largest loads in turn until they add up to `total`.
fn settle(loads: &mut [u64], total: u64) {
    let mut order: Vec<usize> = (0..loads.len()).collect();
    order.sort_by_key(|&expert| std::cmp::Reverse(loads[expert]));
    let mut sum: u64 = loads.iter().sum();
    while sum != total {
        for &expert in &order {
            if sum < total {
                (loads[expert], sum) = (loads[expert] + 1, sum + 1);
            } else if sum > total && loads[expert] > 0 {
                (loads[expert], sum) = (loads[expert] - 1, sum - 1);
            }
        }
    }
}

/// `base` to the power of `exponent`, the same on every platform.
fn power(base: f64, exponent: f64) -> f64 {
    exponential(exponent * logarithm(base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_right() {
        for (base, exponent, expected) in [(2.0, 10.0, 1024.0), (9.0, 0.5, 3.0), (10.0, -2.0, 0.01), (0.3, 1.0, 0.3)] {
            assert!((power(base, exponent) / expected - 1.0_f64).abs() < 1e-12);
        }
    }

    #[test]
    fn loads_add_up_and_skew_grows_with_the_exponent() {
        let most = |alpha| busiest_rank(4096, 256, 8, 1, alpha, 1).into_iter().max();
        assert_eq!(busiest_rank(4096, 256, 8, 1, 0.6, 1).iter().sum::<u64>(), 4096 * 8);
        assert_eq!(busiest_rank(3, 256, 8, 1, 1.01, 1).iter().sum::<u64>(), 24);
        assert!(most(0.6) < most(1.2));
        assert!(busiest_rank(4096, 256, 8, 32, 0.6, 1).iter().sum::<u64>() > 4096 * 8 / 32);
    }
}
