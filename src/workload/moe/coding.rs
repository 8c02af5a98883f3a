//! Turning results into a narrow format and back, where SMs do it: what it takes of those that move tokens.

use super::{Direction, MoeExchange};
use crate::model::Coding;
use crate::units::Duration;

/// What happens to a value.
#[derive(Clone, Copy)]
pub(super) enum Turn {
    /// It is brought into the narrow format.
    Encoded,
    /// It is brought back.
    Decoded,
}

impl MoeExchange {
    /// What turning the values of `copies` rows takes `sms` SMs, or all; nothing on the way to experts, whose tokens were cast before.
    pub(super) fn coding(&self, direction: Direction, turn: Turn, copies: f64, sms: Option<u64>) -> Duration {
        let (Direction::Combine, Some(lanes)) = (direction, self.lanes) else { return Duration::ZERO };
        let format = self.spec.combine;
        if !format.is_narrow() {
            return Duration::ZERO;
        }
        let [encode, decode] = operations(format.coding);
        let each = match turn {
            Turn::Encoded => encode,
            Turn::Decoded => decode,
        };
        lanes.time(copies * self.spec.hidden.wide() as f64, each, sms)
    }
}

/// Lane operations per value, into the format and out of it. Exponentials, logarithms and conversions between integers and floating point
/// are slower than others: an SM does 16, 16 and 64 of them per cycle, beside 128 lanes (CUDA Programming Guide, arithmetic
/// throughput).
const fn operations(coding: Coding) -> [u64; 2] {
    const SPECIAL: u64 = 128 / 16;
    const CONVERSION: u64 = 128 / 64;
    match coding {
        Coding::Hardware => [0, 0],
        // Largest absolute value, scaling and conversion; conversion and scaling.
        Coding::Scaled => [1 + 1 + CONVERSION, CONVERSION + 1],
        // Absolute value, logarithm, smallest and largest, offset and step, conversion, sign and packing (arXiv 2505.09343, section
        // 3.2); unpacking, conversion, step and offset, exponential, sign.
        Coding::LogFmt => [1 + SPECIAL + 2 + 1 + CONVERSION + 2, 1 + CONVERSION + 1 + SPECIAL + 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_cost_more_than_scales() {
        assert_eq!(operations(Coding::LogFmt), [16, 13]);
        assert!(operations(Coding::Scaled) < operations(Coding::LogFmt));
    }
}
