//! A decode step as a scenario describes it.

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
    /// How experts are reached and run, for models that have them.
    #[serde(default)]
    pub experts: ExpertsSpec,
    /// Multi-token prediction, where it is used.
    pub mtp: Option<MtpSpec>,
}

/// How experts are reached and run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpertsSpec {
    /// For what a token is sent once.
    #[serde(default)]
    pub one_copy_per: CopyPer,
    /// What runs the routed experts.
    #[serde(default)]
    pub run_on: RunOn,
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

const fn one() -> Count {
    Count::ONE
}
