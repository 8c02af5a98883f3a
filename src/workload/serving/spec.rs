//! Serving as a scenario describes it.

use crate::dtype::Dtype;
use crate::parallelism::PlanSpec;
use crate::units::{Count, Duration, Fraction, Usd, long};
use crate::workload::inference::{ExpertsSpec, LaunchChoice, MtpSpec, ScheduleChoice};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that arrive over time, prompts that are computed and tokens that are decoded in batches that change at every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServingSpec {
    /// Requests that are served.
    pub requests: Count,
    /// When they arrive.
    pub arrivals: ArrivalsChoice,
    /// How long they are.
    pub lengths: LengthsChoice,
    /// Part of each prompt whose keys and values are found in a cache.
    #[serde(default = "no_part")]
    pub prefix_hits: Fraction,
    /// Who decodes: the plan of the scenario, on all its nodes.
    pub decode: DecodePoolSpec,
    /// Who computes prompts, where that is another pool, which then sends keys and values to the decoding one.
    pub prefill: Option<PrefillPoolSpec>,
    /// How prompts are computed beside decoding requests, where there is no other pool.
    pub colocation: Option<ColocationSpec>,
    /// From the arrival of a request until the scheduler knows of it: the web server, text to tokens.
    #[serde(default)]
    pub front_end: Duration,
    /// Time of the host between steps: scheduling, sampling, sending out tokens.
    #[serde(default)]
    pub step_overhead: Duration,
    /// What GPUs cost where they are owned; else the rent of the GPU's file counts.
    pub capital: Option<CapitalSpec>,
}

/// When requests arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArrivalsChoice {
    /// At random, independently of each other.
    Poisson {
        /// Mean time between two requests.
        #[serde(deserialize_with = "long")]
        every: Duration,
    },
    /// At random with a rate that changes.
    Curve {
        /// Mean time between two requests where the load is 1.
        #[serde(deserialize_with = "long")]
        every: Duration,
        /// How long each load lasts; after the last one the curve begins again.
        #[serde(deserialize_with = "long")]
        step: Duration,
        /// Loads.
        load: Vec<f64>,
    },
    /// From users who each send a request when the one before has been answered.
    Closed {
        /// Users.
        users: Count,
    },
    /// As recorded, in order of arrival; lengths of the rows replace `lengths`.
    Rows(Vec<TraceRow>),
}

/// One request of a trace: arrival after the start, positions in, tokens out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceRow {
    /// When it arrives.
    #[serde(deserialize_with = "long")]
    pub arrival: Duration,
    /// Positions of its prompt.
    pub input: Count,
    /// Tokens of its answer.
    pub output: Count,
}

/// How long requests are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LengthsChoice {
    /// All alike.
    Fixed {
        /// Positions of a prompt.
        input: Count,
        /// Tokens of an answer.
        output: Count,
    },
    /// Evenly between a part of these and these.
    Uniform {
        /// Positions of the longest prompt.
        input: Count,
        /// Tokens of the longest answer.
        output: Count,
        /// The least, as a part of the longest.
        least: Fraction,
    },
    /// Exponentially distributed and independent.
    Exponential {
        /// Positions of a prompt, on average.
        input: Count,
        /// Tokens of an answer, on average.
        output: Count,
    },
}

/// A pool that decodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodePoolSpec {
    /// Copies of the whole cluster of the scenario.
    #[serde(default = "one")]
    pub instances: Count,
    /// Requests in flight per GPU, at most; the cache may allow fewer.
    pub requests_per_gpu: Count,
    /// How the cached positions of a step are spread over its requests.
    #[serde(default)]
    pub contexts: ContextsChoice,
    /// Parts of the batch whose computation and communication overlap.
    #[serde(default = "one")]
    pub micro_batches: Count,
    /// In which order a GPU takes the parts of layers.
    #[serde(default)]
    pub schedule: ScheduleChoice,
    /// How kernels are launched.
    #[serde(default)]
    pub launch: LaunchChoice,
    /// How experts are reached and run.
    #[serde(default)]
    pub experts: ExpertsSpec,
    /// Multi-token prediction, where it is used.
    pub mtp: Option<MtpSpec>,
    /// How the cache of keys and values is laid out; without it, it takes all memory that is left.
    pub cache: Option<CacheSpec>,
}

/// How cached positions are spread over the requests of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContextsChoice {
    /// Every request has the mean.
    #[default]
    Equal,
    /// As of requests of the scenario's `lengths` while they decode.
    FromLengths,
}

/// How an engine lays out its cache of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheSpec {
    /// Part of memory that it may take.
    #[serde(default = "whole")]
    pub share: Fraction,
    /// Of which memory.
    #[serde(default)]
    pub of: CacheMemory,
    /// Part of the tokens that running requests have yet to yield for which room is kept when further ones are admitted. Where room runs out
    /// after all, a request gives up its place and is computed again.
    #[serde(default = "whole")]
    pub answers: Fraction,
    /// Format in which it is kept, where kernels are timed as if they read the one of `precision.kv_cache`.
    pub kept: Option<Dtype>,
}

/// Memory of which a cache may take a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheMemory {
    /// All memory of the GPU; weights are in that part too, and the reserve of `[memory]` in the rest or beside it, not in both.
    Total,
    /// What weights, activations and the reserve of `[memory]` leave free.
    #[default]
    Free,
}

/// A pool that computes prompts, on nodes like those of the scenario. On its one topology the nodes of decoding instances come first, instance
/// by instance, then those of this pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefillPoolSpec {
    /// Copies of it.
    #[serde(default = "one")]
    pub instances: Count,
    /// Nodes of each.
    pub nodes: Count,
    /// GPUs in use of each node; without it, all.
    pub gpus: Option<Count>,
    /// How the model is spread.
    pub parallelism: PlanSpec,
    /// Positions per GPU that a step computes, at most.
    pub tokens_per_gpu: Count,
    /// Parts of the batch whose computation and communication overlap.
    #[serde(default = "one")]
    pub micro_batches: Count,
    /// How kernels are launched.
    #[serde(default)]
    pub launch: LaunchChoice,
    /// How experts are reached and run.
    #[serde(default)]
    pub experts: ExpertsSpec,
}

/// Chunks of prompts in the steps of decoding requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColocationSpec {
    /// Positions of prompts per GPU that a step computes, at most.
    pub tokens_per_gpu: Count,
    /// Whether decoding requests wait while prompts are computed; else a step takes both.
    #[serde(default)]
    pub prompts_first: bool,
    /// Whether prompts stay whole: a step ends with the last one that fits; else a step takes a part of the next one too.
    #[serde(default)]
    pub whole_prompts: bool,
    /// Steps from one look for new requests to the next, while requests decode and no prompt is computed.
    #[serde(default = "one")]
    pub look_every: Count,
    /// For what new prompts wait while requests decode; without it they are taken at once.
    pub gather: Option<GatherSpec>,
}

/// New prompts wait for others, so that fewer steps take prompts: until a step is full to a part, until there is one for every
/// tensor-parallel group where there are several, or until steps have passed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatherSpec {
    /// The most steps that they wait.
    pub steps: Count,
    /// Part of what a step takes at most: positions of prompts and tokens of decoding requests.
    pub share: Fraction,
}

/// What GPUs cost where they are owned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapitalSpec {
    /// Price of a GPU with its share of node, network and building.
    pub per_gpu: Usd,
    /// Time over which that is written off.
    #[serde(deserialize_with = "long")]
    pub lifetime: Duration,
    /// Price of energy per kWh.
    pub per_kwh: Usd,
    /// Energy that enters the building over what the nodes draw.
    pub overhead: f64,
}

const fn one() -> Count {
    Count::ONE
}

const fn whole() -> Fraction {
    Fraction::ONE
}

const fn no_part() -> Fraction {
    Fraction::ZERO
}
