//! Arithmetic of a GPU outside its tensor cores, for software that computes beside moving data.

use super::GpuSpec;
use crate::units::Duration;

/// Lanes of the SMs of a GPU.
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

    /// Time in which `sms` SMs, or all, do `operations` on each of `values` values.
    pub fn time(&self, values: f64, operations: u64, sms: Option<u64>) -> Duration {
        let rate = (self.per_second * sms.unwrap_or(self.sms).max(1)) as f64;
        Duration::from_ps((values * operations as f64 / rate * 1e12).ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_shared_by_the_sms_that_compute() {
        let lanes = Lanes { per_second: 200_000_000_000, sms: 100 };
        // 16 operations on a million values by 8 SMs with 200 G operations per second each.
        assert_eq!(lanes.time(1e6, 16, Some(8)), Duration::from_ns(10_000));
        assert_eq!(lanes.time(1e6, 16, None), lanes.time(1e6, 16, Some(100)));
    }
}
