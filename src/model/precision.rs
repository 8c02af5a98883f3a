//! The number formats in which the parts of a model are stored, multiplied and sent.

use crate::dtype::Dtype;
use crate::units::{Bytes, Count};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The formats of a deployment; BF16 where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrecisionSpec {
    /// Projections of attention and of dense feed-forward networks.
    pub weights: Dtype,
    /// Experts, routed and shared.
    pub experts: Dtype,
    /// Embedding, output head, gates and norms, which stay wide where the rest is narrowed (arXiv 2412.19437,
    /// section 3.3.1).
    pub embedding: Dtype,
    /// Key-value cache.
    pub kv_cache: Dtype,
    /// Activations between operations.
    pub activations: Dtype,
    /// What experts take in and keep: dispatched tokens and the inputs of SwiGLU.
    pub expert_activations: Dtype,
    /// Operands of matrix multiplications; weights in a narrower format are expanded to it.
    pub operands: Dtype,
    /// Activations on their way to experts.
    pub dispatch: Dtype,
    /// Expert outputs on their way back.
    pub combine: Dtype,
    /// How results get into a format narrower than BF16 for their way back, and out of it.
    pub combine_coding: Coding,
    /// Values that share one FP32 scale factor on their way to experts; without it, none is sent.
    pub dispatch_scale_group: Option<Count>,
}

/// Who turns results into a narrow format for their way back from experts, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// A NIC or the network (arXiv 2505.09343, section 3.2.2): nobody waits for it.
    Hardware,
    /// SMs: a scale for a group of values, as FP8 needs it.
    #[default]
    Scaled,
    /// SMs: LogFMT, steps of equal ratio between the smallest and the largest of a group of values (arXiv 2505.09343, section 3.2).
    #[serde(rename = "logfmt")]
    LogFmt,
}

impl PrecisionSpec {
    /// Every part in `dtype`.
    pub const fn all(dtype: Dtype) -> PrecisionSpec {
        PrecisionSpec {
            weights: dtype,
            experts: dtype,
            embedding: dtype,
            kv_cache: dtype,
            activations: dtype,
            expert_activations: dtype,
            operands: dtype,
            dispatch: dtype,
            combine: dtype,
            combine_coding: Coding::Scaled,
            dispatch_scale_group: None,
        }
    }

    /// FP8 weights and experts' inputs, all else in BF16: how DeepSeek-V3 is trained and served (arXiv 2412.19437,
    /// section 3.3).
    pub const DEEPSEEK_V3: PrecisionSpec = PrecisionSpec {
        weights: Dtype::Fp8,
        experts: Dtype::Fp8,
        expert_activations: Dtype::Fp8,
        operands: Dtype::Fp8,
        dispatch: Dtype::Fp8,
        ..PrecisionSpec::all(Dtype::Bf16)
    };
}

impl Default for PrecisionSpec {
    fn default() -> PrecisionSpec {
        PrecisionSpec::all(Dtype::Bf16)
    }
}

impl Dtype {
    /// What `values` of this format take, rounded up to whole bytes; scale factors of block formats are not counted.
    pub const fn bytes(self, values: u64) -> Bytes {
        Bytes::new((values * self.bits()).div_ceil(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsaid_parts_are_bf16() {
        let spec: PrecisionSpec = toml::from_str("experts = 'fp8'").expect("a precision");
        assert_eq!(spec, PrecisionSpec { experts: Dtype::Fp8, ..PrecisionSpec::all(Dtype::Bf16) });
    }

    #[test]
    fn half_bytes_round_up() {
        assert_eq!(Dtype::Fp4.bytes(3), Bytes::new(2));
        assert_eq!(Dtype::Bf16.bytes(3), Bytes::new(6));
    }
}
