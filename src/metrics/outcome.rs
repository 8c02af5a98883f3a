//! The answer to an experiment, as it is handed to reports.

use super::{
    Breakdown, CollectiveMetrics, DecodeMetrics, Metric, MoeExchangeMetrics, PipelineMetrics, PrefillMetrics,
    ServingMetrics, TrainingMetrics, cut_off, named_collective, named_decode, named_moe_exchange, named_pipeline,
    named_prefill, named_serving, named_training,
};
use crate::id::DeviceId;
use crate::parallelism::MemoryUse;
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::units::{Bytes, Duration, Time};

/// The answer to a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The devices and links that it ran on.
    pub cluster: Cluster,
    /// What happened.
    pub timeline: Timeline,
    /// What that means.
    pub metrics: Metrics,
    /// Memory in use on each GPU, for workloads that run a model.
    pub memory: Option<Memory>,
    /// Which GPUs were simulated, and for which they stand.
    pub symmetry: Symmetry,
    /// How alike the ranks are of which one stood for all.
    pub folding: Folding,
    /// Parts that were simulated by themselves and stand in the timeline as a whole; the one on which most time is spent comes first.
    pub parts: Vec<Part>,
    /// What a reader may not expect, as fragments without a full stop.
    pub notes: Vec<String>,
}

/// A part of a run that was simulated by itself.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is: "F of 4 MoE & B of 4 MoE".
    pub name: String,
    /// What happened in it.
    pub timeline: Timeline,
    /// How often a step has it, over all ranks of a pipeline.
    pub count: u64,
    /// On which GPU it first runs, and when.
    pub at: Option<(DeviceId, Time)>,
}

/// What is simulated of groups of GPUs that do the same at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One rank, for all ranks of its group and for all groups.
    OneRank,
    /// All ranks of one group, for all groups that are like it.
    OneGroup,
    /// All ranks of all groups.
    AllGroups,
}

impl Level {
    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Level::OneRank => "one_rank",
            Level::OneGroup => "one_group",
            Level::AllGroups => "all_groups",
        }
    }
}

/// Which GPUs were simulated, and for which they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetry {
    /// What is simulated of the groups.
    pub level: Level,
    /// Groups that do the same at the same time.
    pub groups: u64,
    /// Groups of which anything was simulated.
    pub simulated: u64,
    /// Ranks of each group.
    pub ranks: u64,
    /// Why no less was simulated, where symmetry was looked for and does not hold.
    pub because: Option<String>,
}

impl Symmetry {
    /// Every one of some GPUs.
    pub fn all(gpus: usize) -> Symmetry {
        Symmetry { level: Level::AllGroups, groups: 1, simulated: 1, ranks: gpus as u64, because: None }
    }

    /// What was simulated, as a sentence without a full stop: "1 rank for all 8 of each of 16 groups".
    pub fn text(&self) -> String {
        let Symmetry { level, groups, simulated, ranks, .. } = *self;
        let (what, of) = match (level, groups, simulated) {
            (Level::OneRank, 1, _) => (format!("one rank for all {ranks}"), String::new()),
            (Level::OneRank, _, 1) => {
                ("one rank for its group".to_owned(), format!(" ({groups} groups of {ranks} ranks)"))
            }
            (Level::OneRank, _, _) => (
                "one rank for its group".to_owned(),
                format!(" ({simulated} that differ, of {groups} groups of {ranks} ranks)"),
            ),
            (Level::OneGroup, _, 1) => {
                ("all ranks of one group".to_owned(), format!(" ({groups} groups of {ranks} ranks)"))
            }
            (Level::OneGroup, _, _) => (
                "all ranks of one group".to_owned(),
                format!(" ({simulated} that differ, of {groups} groups of {ranks} ranks)"),
            ),
            (Level::AllGroups, 1, _) => (format!("all {ranks} ranks"), String::new()),
            (Level::AllGroups, _, _) => ("all groups".to_owned(), format!(" ({groups} groups of {ranks} ranks)")),
        };
        let because = self.because.as_ref().map_or(String::new(), |because| format!(", because {because}"));
        format!("{what}{of}{because}")
    }
}

/// How alike the ranks are of which one stood for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folding {
    /// Every rank of a group was simulated.
    None,
    /// All GPUs see the same distances and are as busy, so that one shows what all do.
    Exact,
    /// All GPUs see the same distances and are as busy, and share NICs or links of the fabric; one with its share of these shows what
    /// all do.
    Shared,
    /// All GPUs see the same distances, but a sample of the gate, or the order in which near and far peers are heard of, makes
    /// them differ a little; the busiest one stood for all.
    Sampled,
    /// Latencies differ; the GPU with the longest paths stood for all, because everyone waits for the last.
    Farthest,
}

impl Folding {
    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Folding::None => "none",
            Folding::Exact => "exact",
            Folding::Shared => "shared",
            Folding::Sampled => "sampled",
            Folding::Farthest => "farthest",
        }
    }
}

/// Memory in use on each GPU.
#[derive(Clone, Debug)]
pub struct Memory {
    /// What it is used for.
    pub used: MemoryUse,
    /// What there is.
    pub capacity: Bytes,
}

impl Outcome {
    /// Why the run did not end, if it did not: its metrics say nothing then.
    pub fn unended(&self) -> Option<String> {
        let transfers = self.timeline.stranded.len();
        let first = cut_off(&self.timeline).into_iter().next()?;
        let [from, to] = [first.from, first.to].map(|device| self.cluster.topology.name(device));
        let (s, have) = if transfers == 1 { ("", "has") } else { ("s", "have") };
        let since = first.since;
        Some(format!(
            "the run did not end: {transfers} transfer{s} {have} no way left, the first from {from} to {to} since {since:.2}"
        ))
    }

    /// The run to which the breakdown belongs: all of it, or of serving a full decode step.
    pub fn step(&self) -> &Timeline {
        match (&self.metrics, self.parts.first()) {
            (Metrics::Serving(_), Some(part)) => &part.timeline,
            _ => &self.timeline,
        }
    }

    /// GPUs of the deployment, all pools together.
    pub fn gpus(&self) -> u64 {
        match &self.metrics {
            Metrics::Serving(served) => served.facts.decode_gpus + served.facts.prefill_gpus,
            _ => self.cluster.gpus.len() as u64,
        }
    }
}

/// What a run means, by kind of workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Metrics {
    /// A decode step.
    Decode(DecodeMetrics),
    /// A prefill step.
    Prefill(PrefillMetrics),
    /// Requests that were served over time.
    Serving(Box<ServingMetrics>),
    /// A collective.
    Collective(CollectiveMetrics),
    /// A training step.
    Training(TrainingMetrics),
    /// A pipeline schedule by itself.
    Pipeline(PipelineMetrics),
    /// An exchange of tokens with experts.
    MoeExchange(MoeExchangeMetrics),
}

impl Metrics {
    /// Every figure with its name, unit and definition.
    pub fn named(&self) -> Vec<Metric> {
        match self {
            Metrics::Decode(metrics) => named_decode(metrics),
            Metrics::Prefill(metrics) => named_prefill(metrics),
            Metrics::Serving(metrics) => named_serving(metrics),
            Metrics::Collective(metrics) => named_collective(metrics),
            Metrics::Training(metrics) => named_training(metrics),
            Metrics::Pipeline(metrics) => named_pipeline(metrics),
            Metrics::MoeExchange(metrics) => named_moe_exchange(metrics),
        }
    }

    /// Where the time went, and how much there was; of serving, those of a full decode step.
    pub fn breakdown(&self) -> (&Breakdown, Duration) {
        match self {
            Metrics::Decode(metrics) => (&metrics.breakdown, metrics.step),
            Metrics::Prefill(metrics) => (&metrics.breakdown, metrics.step),
            Metrics::Serving(metrics) => (&metrics.breakdown, metrics.step),
            Metrics::Collective(metrics) => (&metrics.breakdown, metrics.time),
            Metrics::Training(metrics) => (&metrics.breakdown, metrics.step),
            Metrics::Pipeline(metrics) => (&metrics.breakdown, metrics.step),
            Metrics::MoeExchange(metrics) => (&metrics.breakdown, metrics.prepare + metrics.dispatch + metrics.combine),
        }
    }
}
