//! A training step as a scenario describes it.

use super::schedule::ScheduleSpec;
use crate::dtype::Dtype;
use crate::parallelism::{OptimizerSpec, RecomputeSpec};
use crate::units::{Bytes, Count, Duration, Fraction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One training step: every sequence of the global batch passes forward and backward, then weights are updated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Sequences of a step, over all data-parallel replicas.
    pub global_batch: Count,
    /// Tokens per sequence.
    pub sequence: Count,
    /// Sequences of a micro-batch on one replica.
    #[serde(default = "one")]
    pub micro_batch: Count,
    /// In which order stages work on micro-batches.
    pub schedule: ScheduleSpec,
    /// What the backward pass computes again.
    #[serde(default)]
    pub recompute: RecomputeSpec,
    /// SMs that communication takes from kernels while a forward and a backward pass overlap.
    #[serde(default)]
    pub communication_sms: u32,
    /// Time that the host adds between dependent kernels, which in training are not launched from a graph.
    #[serde(default)]
    pub launch_gap: Duration,
    /// How values are narrowed for products.
    #[serde(default)]
    pub casts: CastChoice,
    /// How the loss is computed from logits.
    #[serde(default)]
    pub loss: LossChoice,
    /// What goes on beside exchanges of tokens in a chunk that overlaps no other.
    #[serde(default)]
    pub beside_exchanges: BesideExchanges,
    /// How far apart the GPUs that share experts come to an exchange, on average: each waits for all of them before data moves.
    #[serde(default)]
    pub skew: Duration,
    /// How far apart the loads of experts lie within one sequence: standard deviation over mean. All sequences of a micro-batch
    /// together even it out; the busiest GPU decides. Nothing for perfectly balanced routing.
    #[serde(default = "balanced")]
    pub load_spread: Fraction,
    /// Whether the model's multi-token-prediction modules are trained with it.
    #[serde(default = "yes")]
    pub mtp: bool,
    /// Formats of what the optimizer keeps.
    #[serde(default)]
    pub optimizer: OptimizerSpec,
    /// Format in which updated weights travel to the replicas.
    #[serde(default = "bf16")]
    pub gathered: Dtype,
    /// Tokens of the whole training run, in billions: what it costs is then worked out.
    pub run_billion_tokens: Option<Count>,
}

/// How values are narrowed for products, where these have narrow operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CastChoice {
    /// For every product, weights transposed for every micro-batch, activations kept narrow: a recorded chunk of DeepSeek's
    /// training (h800_train_chunk_kernels.csv).
    #[default]
    Separate,
    /// Once for both directions, weights once per step, activations kept wide: NVIDIA Transformer Engine.
    Joint,
}

/// What goes on beside exchanges of tokens in a chunk that overlaps no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BesideExchanges {
    /// What does not wait for them: shared experts, and gradients of weights, which come last.
    #[default]
    Independent,
    /// Nothing: they take their turn among kernels, and gradients of weights theirs after those of inputs, as automatic differentiation
    /// orders them.
    Nothing,
}

/// How cross-entropy is computed from the logits of all tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossChoice {
    /// In FP32, by PyTorch's own kernels: a cast, the logarithm of the softmax, one value of each row, and the gradient of each.
    #[default]
    Unfused,
    /// From BF16 in two passes, the second of which leaves the gradient where the logits were: NVIDIA Transformer Engine.
    Fused,
}

/// A pipeline schedule over given times, without a model: how long its bubbles are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// In which order stages work on micro-batches.
    pub schedule: ScheduleSpec,
    /// Micro-batches per step. Every GPU of the cluster is one rank of the pipeline.
    pub micro_batches: Count,
    /// Time of a forward pass of a stage.
    pub forward: Duration,
    /// Time for the gradient of a stage's input.
    pub backward_input: Duration,
    /// Time for the gradients of a stage's weights.
    pub backward_weight: Duration,
    /// Time of an overlapped forward and full backward pass; without it, that of one after the other.
    pub overlapped: Option<Duration>,
    /// Data that a stage hands to the next, either way; without it, results are there at once.
    #[serde(default)]
    pub handed_over: Bytes,
}

impl PipelineSpec {
    /// Time of an overlapped forward and full backward pass.
    pub fn overlapped(&self) -> Duration {
        self.overlapped.unwrap_or(self.forward + self.backward_input + self.backward_weight)
    }
}

const fn one() -> Count {
    Count::ONE
}

const fn balanced() -> Fraction {
    Fraction::ZERO
}

const fn yes() -> bool {
    true
}

const fn bf16() -> Dtype {
    Dtype::Bf16
}
