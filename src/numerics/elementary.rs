//! Powers and trigonometric functions that are the same on every platform, for those of the system's mathematical library may
//! differ in the last bit from machine to machine. Only additions, multiplications and divisions, which IEEE 754 rounds alike.

use std::f64::consts::{FRAC_PI_2, LN_2};

/// `base` to the power of `exponent`, the same on every platform.
pub fn power(base: f64, exponent: f64) -> f64 {
    exponential(exponent * logarithm(base))
}

/// Natural logarithm: that of the mantissa by the series of the inverse hyperbolic tangent.
pub fn logarithm(value: f64) -> f64 {
    assert!(value.is_normal() && value > 0.0, "the logarithm of {value}");
    let bits = value.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let (mut term, mut sum) = (ratio, 0.0);
    for odd in (1..60).step_by(2) {
        sum += term / f64::from(odd);
        term *= ratio * ratio;
    }
    2.0 * sum + exponent as f64 * LN_2
}

/// Exponential function: a Taylor series near zero, times a power of two.
fn exponential(value: f64) -> f64 {
    let twos = (value / LN_2).round();
    assert!(twos.abs() < 1000.0, "the exponential of {value}");
    let rest = value - twos * LN_2;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..20 {
        term *= rest / f64::from(n);
        sum += term;
    }
    sum * f64::from_bits(((twos as i64 + 1023) as u64) << 52)
}

/// Sine and cosine of `share` (0 to 1) of a right angle, by their power series.
pub fn sine_and_cosine(share: f64) -> (f64, f64) {
    let angle = share * FRAC_PI_2;
    let square = angle * angle;
    let series = |first: f64, start: f64| {
        let (mut term, mut sum, mut n) = (first, first, start);
        while n < start + 20.0 {
            term *= -square / (n * (n + 1.0));
            sum += term;
            n += 2.0;
        }
        sum
    };
    (series(angle, 2.0), series(1.0, 1.0))
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
    fn angles_are_right() {
        for (share, sine, cosine) in
            [(0.0, 0.0, 1.0), (1.0 / 3.0, 0.5, 0.75_f64.sqrt()), (0.5, 0.5_f64.sqrt(), 0.5_f64.sqrt()), (1.0, 1.0, 0.0)]
        {
            let (x, y) = sine_and_cosine(share);
            assert!((x - sine).abs() < 1e-12 && (y - cosine).abs() < 1e-12);
        }
    }
}
