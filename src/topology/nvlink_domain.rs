//! One scale-up domain on its own: GPUs joined by NVSwitch chips.

use super::graph::{Device, DeviceKind, Link, LinkKind, TopologyBuilder};
use crate::units::{BytesPerSec, Count, Duration, Fraction, positive_if_any};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// GPUs that each spread their links evenly over all switch chips.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NvlinkDomainSpec {
    /// GPUs in the domain.
    pub gpus: Count,
    /// Switch chips.
    pub switches: Count,
    /// Peak bandwidth of one GPU into the domain, over all chips, per direction.
    pub bandwidth_per_direction: BytesPerSec,
    /// The part of the peak that transfers of useful size reach; without it, all.
    #[serde(default, deserialize_with = "positive_if_any")]
    pub efficiency: Option<Fraction>,
    /// Latency from GPU to GPU, without serialisation.
    pub latency: Duration,
}

impl NvlinkDomainSpec {
    /// Adds the GPUs, the chips and the links between them.
    pub(super) fn build(&self, builder: &mut TopologyBuilder) {
        let add = |builder: &mut TopologyBuilder, kind, count: Count| -> Vec<_> {
            (0..count.get()).map(|index| builder.device(Device { kind, group: 0, plane: 0, index })).collect()
        };
        let gpus = add(builder, DeviceKind::Gpu, self.gpus);
        let chips = add(builder, DeviceKind::NvSwitch, self.switches);
        let bandwidth = BytesPerSec::new(self.bandwidth_per_direction.get() / self.switches.wide());
        let achievable = bandwidth.achieved(self.efficiency.unwrap_or(Fraction::ONE));
        for &gpu in &gpus {
            for &chip in &chips {
                let (up, down) = halves(self.latency);
                let link = Link { kind: LinkKind::ScaleUp, bandwidth, achievable, latency: up, cables: 1 };
                builder.connect_unequal(gpu, chip, link, Link { latency: down, ..link });
            }
        }
    }
}

/// A latency from GPU to GPU, split into that to the switch and that from it.
pub(super) fn halves(latency: Duration) -> (Duration, Duration) {
    let down = Duration::from_ps(latency.as_ps() / 2);
    (latency.saturating_sub(down), down)
}

#[cfg(test)]
mod tests {
    use crate::topology::measure_spec;
    use crate::topology::testing::bare_spec;
    use crate::units::BytesPerSec;

    #[test]
    fn a_domain_has_a_link_from_every_gpu_to_every_chip() {
        let shape = "[shape.nvlink_domain]\ngpus = 8\nswitches = 4\nbandwidth_per_direction = \"450 GB/s\"\n\
                     latency = \"600 ns\"";
        let measures = measure_spec(&bare_spec(shape)).expect("legal");
        assert_eq!((measures.endpoints, measures.switches, measures.endpoint_cables), (8, 4, 32));
        let bisection = measures.bisection.expect("endpoints");
        assert_eq!(bisection.bandwidth, BytesPerSec::new(4 * 450_000_000_000));
        assert_eq!(bisection.full_fraction, 1.0);
    }
}
