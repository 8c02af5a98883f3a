//! A GPU (or the accelerator part of a system-on-chip) as its datasheet describes it.

use super::{FlashAttentionSpec, LibrariesSpec, MemorySpec, SmSpec, WireSpec};
use crate::dtype::Dtype;
use crate::sources::Sources;
use crate::units::{
    Bytes, BytesPerSec, Count, Duration, FlopsPerSec, Fraction, Hertz, UsdPerHour, Watts, positive, some_power,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GpuSpec {
    /// Product name.
    pub name: String,
    /// Architecture that the SKU belongs to: "Hopper", "Blackwell".
    pub architecture: String,
    /// Streaming multiprocessors (compute units) enabled.
    pub sms: Count,
    /// Boost clock of the SMs.
    pub boost_clock: Hertz,
    /// Matrix units.
    pub tensor: TensorSpec,
    /// How attention kernels run on it; without it only the roofline is to be had for them.
    pub attention: Option<FlashAttentionSpec>,
    /// What the cycle-level kernel model knows of each SM; without it only the roofline is to be had.
    pub sm: Option<SmSpec>,
    /// The kernel libraries that people use on it; a scenario may name others.
    #[serde(default)]
    pub libraries: LibrariesSpec,
    /// Device memory.
    pub memory: MemorySpec,
    /// Last-level cache.
    pub l2: CacheSpec,
    /// Port into the scale-up domain (NVLink), where the GPU has one.
    pub scale_up: Option<PortSpec>,
    /// Port to the host and its NICs (PCIe or C2C).
    pub host: PortSpec,
    /// Time from the end of a kernel to the start of the next dependent one in the same stream, launched from a graph.
    pub kernel_launch: Duration,
    /// The same where the next kernel is launched early and waits for its operands itself (programmatic dependent launch).
    pub dependent_launch: Duration,
    /// Maximum board power.
    #[serde(deserialize_with = "some_power")]
    pub power: Watts,
    /// What renting one costs.
    pub rent: Option<UsdPerHour>,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

/// Matrix units: peak dense rates per number format, and the part of them that good kernels reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// FP64 rate.
    pub fp64: Option<FlopsPerSec>,
    /// FP32 inputs rounded to TF32.
    pub tf32: Option<FlopsPerSec>,
    /// BF16 rate.
    pub bf16: FlopsPerSec,
    /// FP8 rate; without it FP8 operands are multiplied as BF16.
    pub fp8: Option<FlopsPerSec>,
    /// FP4 rate; without it FP4 operands are multiplied as FP8.
    pub fp4: Option<FlopsPerSec>,
    /// INT8 rate, of weights and activations in INT8; without it INT8 operands are multiplied as BF16. Weights alone in INT8 or INT4 are
    /// expanded to the format of the activations.
    pub int8: Option<FlopsPerSec>,
    /// The part of the peak that a large matrix multiplication reaches.
    #[serde(deserialize_with = "positive")]
    pub efficiency: Fraction,
}

impl TensorSpec {
    /// The format at whose rate products of `dtype` run: a narrow one that the GPU lacks is widened.
    pub fn runs_as(&self, dtype: Dtype) -> Dtype {
        match dtype {
            Dtype::Fp4 if self.fp4.is_none() => self.runs_as(Dtype::Fp8),
            Dtype::Fp8 if self.fp8.is_none() => Dtype::Bf16,
            Dtype::Int8 if self.int8.is_none() => Dtype::Bf16,
            other => other,
        }
    }

    /// The peak rate at which operands of `dtype` are multiplied: in the narrowest unit that holds them without loss.
    pub fn peak(&self, dtype: Dtype) -> FlopsPerSec {
        match self.runs_as(dtype) {
            Dtype::Fp64 => self.fp64.unwrap_or(self.bf16),
            Dtype::Fp32 => self.tf32.unwrap_or(self.bf16),
            Dtype::Bf16 => self.bf16,
            Dtype::Fp8 => self.fp8.unwrap_or(self.bf16),
            Dtype::Fp4 => self.fp4.unwrap_or(self.bf16),
            Dtype::Int8 => self.int8.unwrap_or(self.bf16),
            // Weights in INT4 are expanded to BF16 before they are multiplied.
            Dtype::Int4 => self.bf16,
        }
    }
}

/// A cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// Capacity.
    pub capacity: Bytes,
    /// The part of it that holds data which all SMs read, once: halves of a cache that serve one half of the SMs each keep a copy of
    /// their own.
    #[serde(deserialize_with = "positive")]
    pub shared: Fraction,
}

/// A port of a device into an interconnect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// Kind, as people call it: "NVLink 4", "PCIe 5.0 x16".
    pub kind: String,
    /// Peak payload bandwidth of the whole port, per direction.
    pub bandwidth_per_direction: BytesPerSec,
    /// How data is cut on it; without it, `bandwidth_per_direction` is what is left for data.
    pub wire: Option<WireSpec>,
}
