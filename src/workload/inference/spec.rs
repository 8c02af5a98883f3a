//! Steps of inference as a scenario describes them.

use crate::invalid::Invalid;
use crate::units::{Count, Duration, Fraction};
use crate::workload::gate::GateChoice;
use crate::workload::moe::ExchangeKernels;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One decode step of a deployment: every request gets its next token (or tokens).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodeSpec {
    /// Requests in flight per GPU; a tensor-parallel group serves those of all its GPUs.
    pub requests_per_gpu: Option<Count>,
    /// Requests in flight per tensor-parallel group, in place of `requests_per_gpu`: with 1, one request runs on all GPUs of the group.
    pub requests_per_group: Option<Count>,
    /// Cached positions per request.
    pub context: Count,
    /// Parts of the batch whose computation and communication overlap; they are equal but for a remainder.
    #[serde(default = "one")]
    pub micro_batches: Count,
    /// In which order a GPU takes the parts of layers.
    #[serde(default)]
    pub schedule: ScheduleChoice,
    /// How kernels are launched.
    #[serde(default)]
    pub launch: LaunchChoice,
    /// How experts are reached and run, for models that have them.
    #[serde(default)]
    pub experts: ExpertsSpec,
    /// Multi-token prediction, where it is used.
    pub mtp: Option<MtpSpec>,
}

/// One prefill step of a deployment: prompts, or equal chunks of them, pass through the model once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefillSpec {
    /// Positions of each prompt that are computed in this step.
    pub prompt: Count,
    /// Positions that are computed per GPU, whole prompts for each micro-batch of a tensor-parallel group.
    pub tokens_per_gpu: Count,
    /// Positions of each prompt in front of those, whose keys and values are found in the cache.
    #[serde(default)]
    pub cached: u32,
    /// Parts of the batch whose computation and communication overlap.
    #[serde(default = "one")]
    pub micro_batches: Count,
    /// In which order a GPU takes the parts of layers.
    #[serde(default)]
    pub schedule: ScheduleChoice,
    /// How kernels are launched.
    #[serde(default)]
    pub launch: LaunchChoice,
    /// How experts are reached and run, for models that have them.
    #[serde(default)]
    pub experts: ExpertsSpec,
}

/// In which order a GPU takes the parts of layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleChoice {
    /// Attention of every micro-batch, then experts of every micro-batch (arXiv 2505.09343, section 2.3.1).
    #[default]
    InTurn,
    /// Attention cut in two, and a second micro-batch that follows the first by two of five stages: projections; attention and
    /// gate; dispatch beside the shared expert; experts; combine (open-infra-index, day 6).
    FiveStage,
}

/// How kernels are launched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LaunchChoice {
    /// All at once, from a recorded graph: only the GPU's own gap between kernels remains.
    #[default]
    Graph,
    /// One by one by a thread of the host, which must keep ahead of the GPU.
    Stream {
        /// Time of the host for each kernel.
        per_kernel: Duration,
    },
}

/// How experts are reached and run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpertsSpec {
    /// How tokens reach the experts of other GPUs.
    #[serde(default)]
    pub reach: ReachChoice,
    /// The kernels that exchange tokens; without them, transfers cost the wire alone.
    pub kernels: Option<ExchangeKernels>,
    /// SMs that the normal kernels occupy; what is computed beside them has the rest.
    #[serde(default = "twenty")]
    pub sms: Count,
    /// For what a token is sent once, where transfers cost the wire alone.
    #[serde(default)]
    pub one_copy_per: CopyPer,
    /// What runs the routed experts.
    #[serde(default)]
    pub run_on: RunOn,
    /// Where a shared expert computes that every GPU holds.
    #[serde(default)]
    pub shared_on: SharedOn,
    /// What the gate prefers.
    #[serde(default)]
    pub gate: GateChoice,
    /// Which experts are copied, and which live together.
    #[serde(default)]
    pub balance: BalanceChoice,
}

impl Default for ExpertsSpec {
    fn default() -> ExpertsSpec {
        ExpertsSpec {
            reach: ReachChoice::Exchange,
            kernels: None,
            sms: twenty(),
            one_copy_per: CopyPer::Expert,
            run_on: RunOn::Gpu,
            shared_on: SharedOn::Compute,
            gate: GateChoice::Uniform,
            balance: BalanceChoice::InOrder,
        }
    }
}

/// Which experts are copied, and which live together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalanceChoice {
    /// Experts live in order, and the first ones are copied.
    #[default]
    InOrder,
    /// The busiest experts are copied and experts are packed so that GPUs are equally busy, by loads observed before.
    ByLoad,
}

/// How tokens reach the experts of other GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReachChoice {
    /// They travel there, and results travel back.
    #[default]
    Exchange,
    /// They are there: attention is tensor parallel over the same GPUs, each of which runs its own experts on all tokens, and an
    /// all-reduce adds up the results.
    AllReduce,
}

/// For what a token is sent once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CopyPer {
    /// For each expert that it visits.
    #[default]
    Expert,
    /// For each GPU that it visits.
    Device,
}

/// What runs the routed experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunOn {
    /// The GPUs.
    #[default]
    Gpu,
    /// The node's CPUs, from their own memory.
    Cpu,
}

/// Where a shared expert computes that every GPU holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SharedOn {
    /// On the stream of all other kernels, while tokens travel to routed experts: these begin when it has ended.
    #[default]
    Compute,
    /// On a stream of its own, beside dispatch, routed experts and combine; the sum of all waits for it. Kernels of both streams
    /// share the GPU: it takes what the others leave of SMs and memory bandwidth.
    OwnStream,
}

/// Speculative decoding with the model's own multi-token-prediction modules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtpSpec {
    /// Tokens drafted per step, one module after the other.
    pub drafted: Count,
    /// Chance that a drafted token is accepted, given that the one before it was.
    pub acceptance: Fraction,
}

impl DecodeSpec {
    /// Positions per request that pass through the model in one step.
    pub fn queries(&self) -> u64 {
        1 + self.mtp.as_ref().map_or(0, |mtp| mtp.drafted.wide())
    }

    /// Requests of each micro-batch of a group of `tp` GPUs; those of a GPU stay together.
    ///
    /// # Errors
    /// As for [`DecodeSpec::requests_of_group`].
    pub fn dealt(&self, tp: u64) -> Result<Vec<u64>, Invalid> {
        let (all, together) = (self.requests_of_group(tp)?, if self.requests_per_gpu.is_some() { tp } else { 1 });
        let parts = parts(all / together, self.micro_batches.wide());
        Ok(parts.into_iter().map(|requests| requests * together).collect())
    }

    /// Requests in flight of a group of `tp` GPUs.
    ///
    /// # Errors
    /// When they are given twice or not at all.
    pub fn requests_of_group(&self, tp: u64) -> Result<u64, Invalid> {
        match (self.requests_per_gpu, self.requests_per_group) {
            (Some(each), None) => Ok(each.wide() * tp),
            (None, Some(all)) => Ok(all.wide()),
            (Some(_), Some(_)) => {
                let message = "requests are counted per GPU and per tensor-parallel group";
                Err(Invalid::at("workload.decode.requests_per_group", message).help("give one of the two"))
            }
            (None, None) => {
                let message = "nothing says how many requests are in flight";
                Err(Invalid::at("workload.decode", message).help("give `requests_per_gpu` or `requests_per_group`"))
            }
        }
    }
}

impl MtpSpec {
    /// Tokens that a request gains per step, on average: its own, and every drafted one whose predecessors were all accepted.
    pub fn tokens_per_step(mtp: Option<&MtpSpec>) -> f64 {
        let (mut tokens, mut chance) = (1.0, 1.0);
        for _ in 0..mtp.map_or(0, |mtp| mtp.drafted.get()) {
            chance *= mtp.map_or(0.0, |mtp| mtp.acceptance.get());
            tokens += chance;
        }
        tokens
    }
}

/// `all` in equal parts; the first ones take the remainder.
pub fn parts(all: u64, parts: u64) -> Vec<u64> {
    (0..parts).map(|part| all / parts + u64::from(part < all % parts)).collect()
}

const fn one() -> Count {
    Count::ONE
}

fn twenty() -> Count {
    Count::new(20).expect("twenty is more than zero")
}
