//! Turning results into a narrow format and back, where SMs do it: what it takes of those that move tokens.

use super::{Direction, MoeExchange};
use crate::hardware::GpuSpec;
use crate::model::Coding;
use crate::units::Duration;

/// Arithmetic outside tensor cores that the GPUs of an exchange have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// Lane operations per second of one SM.
    per_second: u64,
    /// SMs of the GPU.
    sms: u64,
}

impl Lanes {
    /// Those of `gpu`; none where it says nothing of its SMs.
    pub fn of(gpu: &GpuSpec) -> Option<Lanes> {
        let sm = gpu.sm.as_ref()?;
        Some(Lanes { per_second: u64::from(sm.lanes.get()) * gpu.boost_clock.get(), sms: gpu.sms.wide() })
    }

    /// Time in which `sms` SMs do `operations` on each of `values` values.
    fn time(&self, values: f64, operations: u64, sms: u64) -> Duration {
        let rate = (self.per_second * sms.max(1)) as f64;
        Duration::from_ps((values * operations as f64 / rate * 1e12).ceil() as u64)
    }
}

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
        lanes.time(copies * self.spec.hidden.wide() as f64, each, sms.unwrap_or(lanes.sms))
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
    fn lanes_are_shared_by_the_sms_that_exchange() {
        let lanes = Lanes { per_second: 200_000_000_000, sms: 100 };
        // 16 operations on a million values by 8 SMs with 200 G operations per second each.
        assert_eq!(lanes.time(1e6, 16, 8), Duration::from_ns(10_000));
        assert_eq!(operations(Coding::LogFmt), [16, 13]);
    }
}
