//! Logarithm and exponential function by their series: those of a platform's library may differ in the last bit from machine to
//! machine.

const LN_2: f64 = std::f64::consts::LN_2;

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
pub fn exponential(value: f64) -> f64 {
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
