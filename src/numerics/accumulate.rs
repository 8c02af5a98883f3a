//! How a Hopper tensor core adds up FP8 products, as arXiv 2505.09343, section 3.1.1 describes it.
//!
//! The products of 32 pairs are aligned to the largest exponent among them, of which the 13 highest fraction bits are kept,
//! the rest cut off. Their sum goes to a register of 1 sign, 8 exponent and 13 mantissa bits. Every `promotion` products the
//! register may be added to a sum in FP32 and cleared (arXiv 2412.19437, section 3.3.2), which is modelled without error.

use super::e4m3::{E4M3, power_of_two};
use crate::rng::{RandomStream, Seed};

/// Products that are added at once.
const GROUP: usize = 32;
/// Fraction bits of a product that survive the alignment.
const ALIGNED_FRACTION_BITS: i32 = 13;
/// Weight of the last bit in which sums are kept here: the last that survives the alignment of the smallest products.
const LAST_BIT: i32 = -31;

/// How sums are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulator {
    /// Mantissa bits of the register: 13 on Hopper, 23 for FP32.
    pub mantissa_bits: u32,
    /// Products after which the register is added to an FP32 sum and cleared; none: never.
    pub promotion: Option<usize>,
}

/// The dot product of `a` and `b` as the matrix unit works it out.
pub fn dot(a: &[E4M3], b: &[E4M3], accumulator: Accumulator) -> f64 {
    assert_eq!(a.len(), b.len(), "a dot product takes equally many values from both sides");
    let groups = a.chunks(GROUP).zip(b.chunks(GROUP)).map(|(a, b)| (aligned_sum(a, b), a.len()));
    add_up(groups, accumulator) as f64 * power_of_two(LAST_BIT)
}

/// What sums of groups, each of so many products, come to in the register, in units of the last bit.
fn add_up(groups: impl Iterator<Item = (i64, usize)>, accumulator: Accumulator) -> i64 {
    let (mut promoted, mut register, mut since) = (0_i64, 0_i64, 0);
    for (sum, products) in groups {
        register = cut(register + sum, accumulator.mantissa_bits);
        since += products;
        if accumulator.promotion.is_some_and(|interval| since >= interval) {
            promoted += register;
            (register, since) = (0, 0);
        }
    }
    promoted + register
}

/// The sum of the products of a group, in units of the last bit.
fn aligned_sum(a: &[E4M3], b: &[E4M3]) -> i64 {
    let counts = |(a, b): &(&E4M3, &E4M3)| product(**a, **b) != 0;
    let exponents = a.iter().zip(b).filter(counts).map(|(a, b)| leading(*a) + leading(*b));
    let Some(largest) = exponents.max() else { return 0 };
    let kept = largest - ALIGNED_FRACTION_BITS - LAST_BIT;
    let one = |(a, b): (&E4M3, &E4M3)| {
        let size = (product(*a, *b) << (i32::from(a.exponent) + i32::from(b.exponent) - LAST_BIT)) >> kept << kept;
        if a.negative == b.negative { size } else { -size }
    };
    a.iter().zip(b).map(one).sum()
}

fn product(a: E4M3, b: E4M3) -> i64 {
    i64::from(a.mantissa) * i64::from(b.mantissa)
}

/// The exponent of the leading bit of a number that is not zero.
fn leading(value: E4M3) -> i32 {
    i32::from(value.exponent) + 7 - value.mantissa.leading_zeros() as i32
}

/// Keeps the leading bit and `mantissa_bits` more, towards zero.
fn cut(sum: i64, mantissa_bits: u32) -> i64 {
    let size = sum.unsigned_abs();
    let bits = 64 - size.leading_zeros();
    let lost = bits.saturating_sub(mantissa_bits + 1);
    sum.signum() * ((size >> lost) << lost) as i64
}

/// Groups of which rows are made up.
const POOL: usize = 1 << 16;

/// The largest error of `rows` dot products of `k` normally distributed values, over the root mean square of the exact results.
/// Errors of single results over the results themselves say nothing: some results are next to zero.
///
/// Matrix units add up products group by group, and groups of random values know nothing of each other. So that a million rows take
/// less than a second, groups are worked out once, and each row is made up of groups that are drawn for it alone: unlike the
/// results of one matrix product, no two rows share a row or a column of operands.
pub fn worst_error(k: usize, rows: usize, accumulator: Accumulator, seed: u64) -> f64 {
    let mut rng = Seed(seed).stream("accumulation");
    let pool: Vec<[i64; 2]> = (0..POOL).map(|_| random_group(&mut rng)).collect();
    let groups = k.div_ceil(GROUP);
    let (mut worst, mut squares) = (0_u64, 0.0);
    let mut chosen = Vec::with_capacity(groups + 4);
    for _ in 0..rows {
        chosen.clear();
        while chosen.len() < groups {
            let bits = rng.bits();
            chosen.extend([0, 16, 32, 48].map(|shift| pool[(bits >> shift) as usize % POOL]));
        }
        chosen.truncate(groups);
        let exact: i64 = chosen.iter().map(|group| group[1]).sum();
        let sum = add_up(chosen.iter().map(|group| (group[0], GROUP)), accumulator);
        worst = worst.max((sum - exact).unsigned_abs());
        squares += exact as f64 * exact as f64;
    }
    worst as f64 / (squares / rows as f64).sqrt()
}

/// The sum of the products of a random group as the matrix unit works it out, and as it is; in units of the last bit.
fn random_group(rng: &mut RandomStream) -> [i64; 2] {
    let mut values = || -> Vec<E4M3> { (0..GROUP).map(|_| E4M3::nearest(normal(&mut || rng.unit()))).collect() };
    let (a, b) = (values(), values());
    [aligned_sum(&a, &b), exact_sum(&a, &b)]
}

/// The exact sum of the products, in units of the last bit.
fn exact_sum(a: &[E4M3], b: &[E4M3]) -> i64 {
    let one = |(a, b): (&E4M3, &E4M3)| {
        let size = product(*a, *b) << (i32::from(a.exponent) + i32::from(b.exponent) - LAST_BIT);
        if a.negative == b.negative { size } else { -size }
    };
    a.iter().zip(b).map(one).sum()
}

/// A nearly normal number: the sum of twelve uniform ones less its mean has variance 1 (Irwin-Hall).
fn normal(unit: &mut dyn FnMut() -> f64) -> f64 {
    (0..12).map(|_| unit()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOPPER: Accumulator = Accumulator { mantissa_bits: 13, promotion: None };

    fn numbers(values: &[f64]) -> Vec<E4M3> {
        values.iter().map(|&value| E4M3::nearest(value)).collect()
    }

    #[test]
    fn small_sums_are_exact() {
        let (a, b) = (numbers(&[1.5, -2.0, 0.25, 448.0]), numbers(&[2.0, 3.0, 8.0, -1.0]));
        assert_eq!(dot(&a, &b, HOPPER), 3.0 - 6.0 + 2.0 - 448.0);
    }

    #[test]
    fn a_product_far_below_the_largest_of_its_group_is_lost() {
        // 256 * 256 = 2^16; its thirteenth fraction bit is 2^3, so that 2 * 2 vanishes and 2 * 4 stays.
        assert_eq!(dot(&numbers(&[256.0, 2.0]), &numbers(&[256.0, 2.0]), HOPPER), 65536.0);
        assert_eq!(dot(&numbers(&[256.0, 2.0]), &numbers(&[256.0, 4.0]), HOPPER), 65544.0);
    }

    #[test]
    fn the_register_cuts_what_promotion_keeps() {
        // 32 products of 16 * 16 make 8192 a group; with 64 groups before it the register holds 2^19, whose last bit is 2^6.
        let mut a = vec![16.0; 64 * 32];
        a.extend([4.0; 8]);
        let mut b = vec![16.0; 64 * 32];
        b.extend([1.0; 8]);
        let (a, b) = (numbers(&a), numbers(&b));
        assert_eq!(dot(&a, &b, HOPPER), 524_288.0, "32 more are less than the last bit of 64");
        assert_eq!(dot(&a, &b, Accumulator { promotion: Some(128), ..HOPPER }), 524_320.0);
        assert_eq!(dot(&a, &b, Accumulator { mantissa_bits: 23, promotion: None }), 524_320.0);
    }

    #[test]
    fn promotion_and_wider_registers_each_cut_the_error_by_far() {
        let error = |mantissa_bits, promotion| worst_error(4096, 4096, Accumulator { mantissa_bits, promotion }, 1);
        let narrow = error(13, None);
        assert!(narrow > 10.0 * error(13, Some(128)), "{narrow}");
        assert!(narrow > 10.0 * error(23, None), "{narrow}");
        assert!(error(13, Some(512)) > error(13, Some(128)));
    }

    /// Rows that are made up of drawn groups err as rows whose every value is drawn do.
    #[test]
    fn drawn_groups_err_as_drawn_values_do() {
        const ROWS: usize = 400;
        let mut rng = Seed(3).stream("test");
        let mut whole = Vec::new();
        let mut squares = 0.0;
        for _ in 0..ROWS {
            let mut values = || -> Vec<E4M3> { (0..4096).map(|_| E4M3::nearest(normal(&mut || rng.unit()))).collect() };
            let (a, b) = (values(), values());
            let exact = exact_sum(&a, &b) as f64 * power_of_two(LAST_BIT);
            whole.push((dot(&a, &b, HOPPER) - exact).abs());
            squares += exact * exact;
        }
        let worst = whole.iter().fold(0.0, |worst: f64, error| worst.max(*error)) / (squares / ROWS as f64).sqrt();
        let drawn: Vec<f64> = (0..8).map(|seed| worst_error(4096, ROWS, HOPPER, seed)).collect();
        let (least, most) =
            drawn.iter().fold((1.0_f64, 0.0_f64), |(least, most), &error| (least.min(error), most.max(error)));
        assert!((0.7 * least..1.3 * most).contains(&worst), "{worst} is not among {drawn:?}");
        assert!(most < 2.0 * least, "{drawn:?}");
    }

    #[test]
    fn more_rows_err_farther() {
        let error = |rows| worst_error(4096, rows, HOPPER, 1);
        assert!(error(1 << 16) > error(1 << 8), "{} {}", error(1 << 16), error(1 << 8));
    }
}
