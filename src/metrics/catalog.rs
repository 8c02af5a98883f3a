//! The catalogue of metrics: what each is called, its unit, which way it should go, what it means, and how it is read from what was measured.
//!
//! Everything that prints, compares or accepts a metric reads this one table. To add a metric, add an entry.

mod breakdown;
mod exchange;
mod fabric;
mod inference;
mod serving;
mod training;

use super::{
    Better, Breakdown, CollectiveMetrics, DecodeMetrics, FabricMetrics, Metric, MoeExchangeMetrics, PipelineMetrics,
    PrefillMetrics, ServingMetrics, TrainingMetrics,
};
use crate::units::Duration;

/// Everything there is to say about a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDef {
    /// Stable name.
    pub name: &'static str,
    /// The workload whose answers have it, `search`, or `topology`; empty for all workloads.
    pub of: &'static str,
    /// Unit; empty for a plain ratio or a count.
    pub unit: &'static str,
    /// Which way it should go.
    pub better: Better,
    /// What it is, as a sentence that can be read alone.
    pub definition: &'static str,
    /// How it is computed.
    pub formula: &'static str,
    /// Who defines it so.
    pub source: &'static str,
    /// How to read it, and what not to take it for.
    pub hint: &'static str,
}

/// A metric, and how it is read from the measures `M` of a run or a fabric.
struct Entry<M: 'static> {
    def: MetricDef,
    /// Its value in its unit; none where the measures have no such figure.
    value: fn(&M) -> Option<f64>,
}

const OWN: &str = "this program's own; from the timeline of a run";
const RENT: &str = "this program's own; the rent and its source are in the GPU's file";

fn ms(time: Duration) -> f64 {
    time.as_secs() * 1e3
}

fn us(time: Duration) -> f64 {
    time.as_secs() * 1e6
}

fn defs<M>(entries: &'static [Entry<M>]) -> impl Iterator<Item = &'static MetricDef> {
    entries.iter().map(|entry| &entry.def)
}

/// Every metric there is, by subject.
pub fn catalog() -> impl Iterator<Item = &'static MetricDef> {
    defs(inference::DECODE)
        .chain(defs(inference::PREFILL))
        .chain(defs(serving::SERVING))
        .chain(serving::SEARCH)
        .chain(defs(exchange::COLLECTIVE))
        .chain(defs(exchange::MOE_EXCHANGE))
        .chain(defs(training::PIPELINE))
        .chain(defs(training::TRAINING))
        .chain(defs(breakdown::BREAKDOWN))
        .chain(defs(fabric::FABRIC))
}

/// The metrics that the answer to an experiment or a search can have: all but those of topologies.
pub fn run_metrics() -> impl Iterator<Item = &'static MetricDef> {
    catalog().filter(|def| def.of != fabric::TOPOLOGY)
}

/// The names of metrics, each once, in alphabetical order.
pub fn metric_names(of: impl Iterator<Item = &'static MetricDef>) -> Vec<&'static str> {
    let mut names: Vec<&str> = of.map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Better {
    /// What the catalogue says of the metric called `name`, which goes the same way for every workload.
    pub fn of_metric(name: &str) -> Better {
        catalog().find(|metric| metric.name == name).map_or(Better::UNKNOWN, |metric| metric.better)
    }
}

/// The figures that `measures` have, of `entries`.
fn read<M>(entries: &'static [Entry<M>], measures: &M) -> Vec<Metric> {
    entries.iter().filter_map(|entry| Some(Metric { def: &entry.def, value: (entry.value)(measures)? })).collect()
}

fn with_breakdown(mut named: Vec<Metric>, measures: &Breakdown) -> Vec<Metric> {
    named.extend(read(breakdown::BREAKDOWN, measures));
    named
}

/// The figures of a decode step.
pub fn named_decode(m: &DecodeMetrics) -> Vec<Metric> {
    with_breakdown(read(inference::DECODE, m), &m.breakdown)
}

/// The figures of a prefill step.
pub fn named_prefill(m: &PrefillMetrics) -> Vec<Metric> {
    with_breakdown(read(inference::PREFILL, m), &m.breakdown)
}

/// The figures of serving over time.
pub fn named_serving(m: &ServingMetrics) -> Vec<Metric> {
    read(serving::SERVING, m)
}

/// The figures of a collective.
pub fn named_collective(m: &CollectiveMetrics) -> Vec<Metric> {
    with_breakdown(read(exchange::COLLECTIVE, m), &m.breakdown)
}

/// The figures of an exchange of tokens with experts.
pub fn named_moe_exchange(m: &MoeExchangeMetrics) -> Vec<Metric> {
    with_breakdown(read(exchange::MOE_EXCHANGE, m), &m.breakdown)
}

/// The figures of a pipeline schedule.
pub fn named_pipeline(m: &PipelineMetrics) -> Vec<Metric> {
    with_breakdown(read(training::PIPELINE, m), &m.breakdown)
}

/// The figures of a training step.
pub fn named_training(m: &TrainingMetrics) -> Vec<Metric> {
    with_breakdown(read(training::TRAINING, m), &m.breakdown)
}

/// The figures of a fabric.
pub fn named_fabric(m: &FabricMetrics) -> Vec<Metric> {
    read(fabric::FABRIC, m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_can_be_read_alone() {
        for def in catalog() {
            let text = def.definition;
            let lower = text.to_lowercase();
            assert!(text.ends_with('.') && text.starts_with(|c: char| !c.is_lowercase()), "{}: {text}", def.name);
            assert!(text.split_whitespace().count() >= 3, "{}: {text}", def.name);
            for leaning in ["the same", "as above", "see above", "that of", "that over"] {
                assert!(!lower.starts_with(leaning) && !lower.contains("the same"), "{}: {text}", def.name);
            }
            assert!(![def.formula, def.source, def.hint].contains(&""), "{}", def.name);
        }
    }

    #[test]
    fn a_name_means_one_thing_in_a_workload_and_goes_one_way_in_all() {
        let all: Vec<&MetricDef> = catalog().collect();
        for (at, def) in all.iter().enumerate() {
            for other in all[at + 1..].iter().filter(|other| other.name == def.name) {
                assert_ne!((other.of, ""), (def.of, other.of), "{}", def.name);
                assert_ne!(other.of, def.of, "{} twice", def.name);
                assert_eq!(other.better, def.better, "{}", def.name);
            }
        }
    }

    #[test]
    fn a_metric_without_a_better_direction_says_why() {
        for def in catalog() {
            if let Better::Neither(why) = def.better {
                assert!(why.split_whitespace().count() >= 4, "{}: {why}", def.name);
            }
        }
        assert_eq!(Better::of_metric("tpot"), Better::Lower);
        assert_eq!(Better::of_metric("mfu_causal"), Better::Higher);
        assert_eq!(Better::of_metric("no_such_metric"), Better::UNKNOWN);
    }
}
