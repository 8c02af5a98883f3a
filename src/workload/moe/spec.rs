//! One exchange of tokens with experts as a scenario describes it.

use crate::dtype::Dtype;
use crate::model::{Coding, PrecisionSpec};
use crate::units::{Bytes, Count};
use crate::workload::gate::GateChoice;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One dispatch and one combine over all GPUs, the experts spread over them evenly and in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoeExchangeSpec {
    /// The kernels that exchange tokens.
    pub kernels: ExchangeKernels,
    /// Tokens of each GPU.
    pub tokens_per_gpu: Count,
    /// Values of a token.
    pub hidden: Count,
    /// Experts.
    pub experts: Count,
    /// Experts that a token visits.
    pub experts_per_token: Count,
    /// Groups of experts for node-limited routing; one group means no limit.
    #[serde(default = "one")]
    pub groups: Count,
    /// Groups that a token may reach.
    #[serde(default = "one")]
    pub groups_per_token: Count,
    /// What the gate prefers.
    #[serde(default)]
    pub gate: GateChoice,
    /// A token on its way to an expert.
    #[serde(default = "fp8_row")]
    pub dispatch: RowFormat,
    /// A result on its way back.
    #[serde(default = "bf16_row")]
    pub combine: RowFormat,
    /// SMs that the normal kernels occupy.
    #[serde(default = "twenty")]
    pub sms: Count,
    /// Whether low-latency kernels use the scale-up domain inside a node; else everything passes the NIC.
    #[serde(default = "yes")]
    pub scale_up: bool,
}

/// The kernels that exchange tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeKernels {
    /// One copy per node over the NIC to the GPU of equal index, forwarded over the scale-up domain by SMs.
    Normal,
    /// One copy per expert straight to its GPU.
    LowLatency,
    /// Writes to the destination's memory inside one scale-up domain, one copy per GPU.
    OneSided,
    /// Queues between sender and receiver inside one scale-up domain, one copy per GPU.
    TwoSided,
}

/// How the values of a token are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowFormat {
    /// Format of a value.
    pub dtype: Dtype,
    /// Values that share a scale factor, where there are any.
    pub scale_group: Option<Count>,
    /// Format of a scale factor.
    #[serde(default = "fp32")]
    pub scale: Dtype,
    /// How results get into a format narrower than BF16 and back.
    #[serde(default)]
    pub coding: Coding,
}

impl MoeExchangeSpec {
    /// SMs that the normal kernels occupy unless a scenario says otherwise: those of DeepSeek-V3's training.
    pub const SMS: Count = match Count::new(20) {
        Some(count) => count,
        None => Count::ONE,
    };
}

impl RowFormat {
    /// FP8 with a scale for every 128 values, as DeepSeek-V3 dispatches.
    pub const FP8: RowFormat = RowFormat { dtype: Dtype::Fp8, scale_group: Count::new(128), ..RowFormat::BF16 };
    /// Plain BF16, as it combines.
    pub const BF16: RowFormat =
        RowFormat { dtype: Dtype::Bf16, scale_group: None, scale: Dtype::Fp32, coding: Coding::Scaled };

    /// Results on their way back; a narrow format has two numbers of 16 bits, or one of 32, for each 128 values.
    pub fn combine(precision: &PrecisionSpec) -> RowFormat {
        let plain = RowFormat { dtype: precision.combine, coding: precision.combine_coding, ..RowFormat::BF16 };
        if plain.is_narrow() { RowFormat { scale_group: RowFormat::FP8.scale_group, ..plain } } else { plain }
    }

    /// Whether values have to be turned into it.
    pub fn is_narrow(&self) -> bool {
        self.dtype.bits() < Dtype::Bf16.bits()
    }

    /// What one copy of a token occupies.
    pub fn bytes(&self, hidden: Count) -> Bytes {
        let of = |values: u64, dtype: Dtype| Bytes::from_bits(u128::from(values) * u128::from(dtype.bits()));
        let scales = self.scale_group.map_or(0, |group| hidden.wide().div_ceil(group.wide()));
        of(hidden.wide(), self.dtype) + of(scales, self.scale)
    }
}

const fn one() -> Count {
    Count::ONE
}

const fn twenty() -> Count {
    MoeExchangeSpec::SMS
}

const fn yes() -> bool {
    true
}

const fn fp32() -> Dtype {
    Dtype::Fp32
}

const fn fp8_row() -> RowFormat {
    RowFormat::FP8
}

const fn bf16_row() -> RowFormat {
    RowFormat::BF16
}
