//! What each metric is, in full: for people who meet its name in an answer.

use super::explain_exchange::EXCHANGE;
use super::explain_inference::INFERENCE;
use super::explain_serving::SERVING;
use super::explain_training::TRAINING;

/// Everything there is to say about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Stable name.
    pub name: &'static str,
    /// The workload whose answers have it; empty for all.
    pub of: &'static str,
    /// Unit; empty for a plain ratio.
    pub unit: &'static str,
    /// What it is.
    pub definition: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// Who defines it so.
    pub source: &'static str,
    /// How to read it, and what not to take it for.
    pub hint: &'static str,
}

pub(super) const OWN: &str = "this program's own; from the timeline of a run";

/// Every metric that an answer can have, by subject.
pub fn explanations() -> impl Iterator<Item = &'static Explanation> {
    [INFERENCE, SERVING, EXCHANGE, TRAINING, SHARED].into_iter().flatten()
}

/// The names of all metrics, each once, in alphabetical order.
pub fn metric_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = explanations().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Metrics that all workloads have.
const SHARED: &[Explanation] = &[
    Explanation {
        name: "computing",
        of: "",
        unit: "ms",
        definition: "Time during which rank 0 computes.",
        formula: "length of the union of the spans on its stream",
        source: OWN,
        hint: "With communicating it may exceed the step: the two overlap.",
    },
    Explanation {
        name: "communicating",
        of: "",
        unit: "ms",
        definition: "Time during which transfers of rank 0 are under way.",
        formula: "length of the union of the spans of its sends and of the software that drives them",
        source: OWN,
        hint: "Only what is exposed costs anything.",
    },
    Explanation {
        name: "exposed_communication",
        of: "",
        unit: "ms",
        definition: "Communication that nothing hides: transfers of rank 0 are under way and it computes nothing.",
        formula: "length of (union of sends - union of kernels)",
        source: OWN,
        hint: "What two micro-batches are for: it falls towards zero where computation is long enough.",
    },
    Explanation {
        name: "idle",
        of: "",
        unit: "ms",
        definition: "Time during which rank 0 neither computes nor communicates.",
        formula: "step - length of the union of kernels and sends",
        source: OWN,
        hint: "Launch gaps, and waiting for others.",
    },
];
