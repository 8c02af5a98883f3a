//! Answers for programs. The form is stable: `schema` counts its versions, and keys are only ever added.

use super::run_text::Heading;
use crate::metrics::{
    Breakdown, ChunkTime, CutOff, KindLoad, LinkLoad, Metric, MetricDef, Metrics, Outcome, RankTime, cut_off,
    link_loads,
};
use crate::units::{Duration, Time};
use serde_json::{Value, json};

/// Version of the form.
pub const SCHEMA: u32 = 1;

/// Links that are listed, the most used first.
const LINKS_MAX: usize = 32;

/// The answer to a scenario.
pub fn run_json(heading: &Heading, seed: u64, outcome: &Outcome) -> Value {
    let named = |m: Metric| {
        let MetricDef { name, unit, better, definition, .. } = *m.def;
        (name.to_owned(), json!({ "value": m.value, "unit": unit, "better": better.name(), "definition": definition }))
    };
    // What did not end has no answer, only what happened until then.
    let ended = outcome.unended().is_none();
    let metrics: Option<serde_json::Map<String, Value>> =
        ended.then(|| outcome.metrics.named().into_iter().map(named).collect());
    let (breakdown, _) = outcome.metrics.breakdown();
    let memory = outcome.memory.as_ref().map(|memory| {
        let used = &memory.used;
        json!({
            "weights_bytes": used.weights.get(),
            "kv_cache_bytes": used.kv_cache.get(),
            "activations_bytes": used.activations.get(),
            "gradients_bytes": used.gradients.get(),
            "optimizer_bytes": used.optimizer.get(),
            "reserve_bytes": used.reserve.get(),
            "total_bytes": used.total().get(),
            "capacity_bytes": memory.capacity.get(),
        })
    });
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": heading.name,
        "models": heading.models,
        "facts": heading.facts.json(),
        "with": heading.sets,
        "notes": outcome.notes,
        "seed": seed,
        "gpus": outcome.gpus(),
        "symmetry": symmetry(outcome),
        "folding": outcome.folding.name(),
        "ended": ended,
        "failure": outcome.unended(),
        "metrics": metrics,
        "phases": phases(breakdown),
        "critical_path": critical_path(breakdown),
        "memory": memory,
        "links": links(outcome),
        "stranded": stranded(outcome),
        "pipeline": pipeline(&outcome.metrics),
    })
}

/// Which GPUs were simulated, and for which they stand.
fn symmetry(outcome: &Outcome) -> Value {
    let symmetry = &outcome.symmetry;
    json!({
        "level": symmetry.level.name(),
        "groups": symmetry.groups,
        "groups_simulated": symmetry.simulated,
        "ranks_per_group": symmetry.ranks,
        "because": symmetry.because,
    })
}

/// Ranks and chunks of a pipeline, for workloads that have one.
fn pipeline(metrics: &Metrics) -> Value {
    let (ranks, chunks): (&[RankTime], &[ChunkTime]) = match metrics {
        Metrics::Training(metrics) => (&metrics.ranks, &metrics.chunks),
        Metrics::Pipeline(metrics) => (&metrics.ranks, &[]),
        _ => return Value::Null,
    };
    let rank = |rank: &RankTime| {
        json!({
            "forward_us": us(rank.forward),
            "bubble_us": us(rank.bubble),
            "backward_us": us(rank.backward),
            "weight_us": us(rank.weight),
            "overlapped_us": us(rank.overlapped),
            "optimizer_us": us(rank.optimizer),
            "exposed_us": us(rank.exposed),
            "chunks": rank.counts,
        })
    };
    let chunk = |chunk: &ChunkTime| {
        json!({
            "name": chunk.name,
            "count": chunk.count,
            "busiest_experts": chunk.busiest,
            "time_us": us(chunk.time),
            "computing_us": us(chunk.computing),
            "communicating_us": us(chunk.communicating),
            "exposed_us": us(chunk.exposed),
            "phases": chunk.phases.iter().map(phase).collect::<Value>(),
            "critical_path": chunk.critical_path.iter().map(path_share).collect::<Value>(),
            "links": chunk.links.iter().map(kind_load).collect::<Value>(),
        })
    };
    let (ranks, chunks): (Value, Value) = (ranks.iter().map(rank).collect(), chunks.iter().map(chunk).collect());
    json!({ "ranks": ranks, "chunks": chunks })
}

/// How busy the links between two kinds of devices are.
fn kind_load(load: &KindLoad) -> Value {
    json!({
        "from": load.from.name(),
        "to": load.to.name(),
        "carried_bytes_per_gpu": load.carried.get(),
        "planes": load.planes,
        "utilisation": load.utilisation,
    })
}

fn phases(breakdown: &Breakdown) -> Value {
    breakdown.phases.iter().map(phase).collect()
}

fn phase(phase: &crate::metrics::PhaseTime) -> Value {
    json!({
        "phase": phase.phase.name(),
        "kind": if phase.communication { "communication" } else { "computation" },
        "operations": phase.operations,
        "busy_us": us(phase.busy),
    })
}

fn critical_path(breakdown: &Breakdown) -> Value {
    breakdown.critical_path.iter().map(path_share).collect()
}

fn path_share(share: &crate::metrics::PathShare) -> Value {
    json!({ "phase": share.phase.name(), "bound_by": share.bound.name(), "time_us": us(share.time) })
}

/// The most used links.
fn links(outcome: &Outcome) -> Value {
    let topology = &outcome.cluster.topology;
    let row = |load: LinkLoad| {
        let (from, to) = topology.ends(load.link);
        json!({
            "from": topology.name(from),
            "to": topology.name(to),
            "carried_bytes": load.carried.get(),
            "busy_us": us(load.busy),
            "utilisation": load.utilisation,
        })
    };
    link_loads(outcome.step(), topology).into_iter().take(LINKS_MAX).map(row).collect()
}

/// Pairs of devices that were cut off; empty where everything ended.
fn stranded(outcome: &Outcome) -> Value {
    let topology = &outcome.cluster.topology;
    let row = |pair: CutOff| {
        json!({
            "from": topology.name(pair.from),
            "to": topology.name(pair.to),
            "since_us": us(pair.since - Time::ZERO),
            "transfers": pair.transfers,
            "bytes": pair.bytes.get(),
        })
    };
    cut_off(&outcome.timeline).into_iter().map(row).collect()
}

fn us(time: Duration) -> f64 {
    time.as_secs() * 1e6
}
