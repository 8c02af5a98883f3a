//! A decode step as a scenario describes it.

use crate::dtype::Dtype;
use crate::units::{Count, Fraction};
use schemars::JsonSchema;
use serde::Deserialize;

/// One decode step of a deployment: every request gets its next token (or tokens).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodeSpec {
    /// Requests in flight per GPU.
    pub requests_per_gpu: Count,
    /// Cached positions per request.
    pub context: Count,
    /// Parts of the batch whose computation and communication overlap; they are equal but for a remainder.
    #[serde(default = "one")]
    pub micro_batches: Count,
    /// How experts are placed and reached, for models that have them.
    #[serde(default)]
    pub experts: ExpertsSpec,
    /// Multi-token prediction, where it is used.
    pub mtp: Option<MtpSpec>,
}

/// How experts are placed and reached.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpertsSpec {
    /// Where experts live.
    #[serde(default)]
    pub placement: Placement,
    /// Further copies of routed experts, to even out the load.
    #[serde(default)]
    pub redundant: u32,
    /// Places that hold the shared expert, to which tokens then travel as to a routed one; without it, every GPU holds one.
    pub shared_copies: Option<Count>,
    /// For what a token is sent once.
    #[serde(default)]
    pub one_copy_per: CopyPer,
    /// What runs the routed experts.
    #[serde(default)]
    pub run_on: RunOn,
}

/// Where experts live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Spread evenly over the GPUs of the expert-parallel group; what a token finds at home does not travel.
    #[default]
    Spread,
    /// The idealisation of arXiv 2505.09343 section 2.3.2: each GPU holds one expert, no token finds one of its experts at
    /// home, and the shared expert is one of those that it travels to.
    OneExpertPerDevice,
}

/// For what a token is sent once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CopyPer {
    /// For each expert that it visits.
    #[default]
    Expert,
    /// For each GPU that it visits.
    Device,
}

/// What runs the routed experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOn {
    /// The GPUs.
    #[default]
    Gpu,
    /// The node's CPUs, from their own memory.
    Cpu,
}

/// Speculative decoding with the model's own multi-token-prediction modules.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtpSpec {
    /// Tokens drafted per step, one module after the other.
    pub drafted: Count,
    /// Chance that a drafted token is accepted, given that the one before it was.
    pub acceptance: Fraction,
}

/// Number formats of a deployment.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrecisionSpec {
    /// Stored weights of everything but routed experts.
    pub weights: Dtype,
    /// Stored weights of routed experts.
    pub experts: Dtype,
    /// Operands of matrix multiplications.
    pub operands: Dtype,
    /// Key-value cache.
    pub kv_cache: Dtype,
    /// Activations on their way to experts.
    pub dispatch: Dtype,
    /// Expert outputs on their way back.
    pub combine: Dtype,
    /// Values that share one FP32 scale factor on their way to experts; without it, none is sent.
    pub dispatch_scale_group: Option<Count>,
}

const fn one() -> Count {
    Count::ONE
}
