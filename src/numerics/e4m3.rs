//! FP8 with four exponent and three mantissa bits, without infinities: the format of every FP8 tensor of DeepSeek-V3
//! (arXiv 2412.19437, section 3.3.2; layout as in the OCP 8-bit floating point specification).

/// One E4M3 value: its magnitude is `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E4M3 {
    /// Whether it is below zero.
    pub negative: bool,
    /// 0 for zero, 1 to 7 for subnormal numbers, 8 to 15 for normal ones.
    pub mantissa: u8,
    /// -9 to 5: the weight of the mantissa's last bit.
    pub exponent: i8,
}

/// Weight of the last bit of the smallest numbers.
const EXPONENT_MIN: i32 = -9;
/// The same of the largest: 448 is 14 * 2^5.
const EXPONENT_MAX: i32 = 5;

impl E4M3 {
    /// The nearest value, ties to even; what is too large becomes the largest, 448.
    pub fn nearest(value: f64) -> E4M3 {
        assert!(value.is_finite(), "{value} has no nearest E4M3");
        let size = value.abs();
        let mut exponent = EXPONENT_MIN;
        while exponent < EXPONENT_MAX && size >= 16.0 * power_of_two(exponent) {
            exponent += 1;
        }
        let mut mantissa = round_half_even(size / power_of_two(exponent));
        if mantissa == 16 && exponent < EXPONENT_MAX {
            (mantissa, exponent) = (8, exponent + 1);
        }
        if exponent == EXPONENT_MAX {
            mantissa = mantissa.min(14);
        }
        E4M3 { negative: value < 0.0, mantissa: mantissa as u8, exponent: exponent as i8 }
    }

    /// Its value.
    pub fn value(self) -> f64 {
        let size = f64::from(self.mantissa) * power_of_two(i32::from(self.exponent));
        if self.negative { -size } else { size }
    }
}

/// `2^exponent` for exponents that a double can hold as a normal number.
pub(super) fn power_of_two(exponent: i32) -> f64 {
    assert!((-1022..=1023).contains(&exponent), "2^{exponent} is no normal double");
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The nearest whole number to a small non-negative one, ties to even.
fn round_half_even(value: f64) -> u64 {
    let whole = value as u64;
    let rest = value - whole as f64;
    whole + u64::from(rest > 0.5 || (rest == 0.5 && whole % 2 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_its_own_nearest() {
        for exponent in EXPONENT_MIN..=EXPONENT_MAX {
            let mantissas = if exponent == EXPONENT_MIN { 0..16 } else { 8..16 };
            for mantissa in mantissas.filter(|&m| exponent < EXPONENT_MAX || m < 15) {
                let number = E4M3 { negative: mantissa % 2 == 1, mantissa, exponent: exponent as i8 };
                assert_eq!(E4M3::nearest(number.value()), number);
            }
        }
    }

    #[test]
    fn rounding_goes_to_the_nearest_then_to_even_and_saturates() {
        let cases =
            [(17.0, 16.0), (19.0, 20.0), (18.1, 18.0), (15.9, 16.0), (460.0, 448.0), (1e9, 448.0), (0.000_9, 0.0)];
        for (value, expected) in cases {
            assert_eq!(E4M3::nearest(value).value(), expected, "{value}");
            assert_eq!(E4M3::nearest(-value).value(), -expected, "-{value}");
        }
    }
}
