//! Answers for programs. The form is stable: `schema` counts its versions, and keys are only ever added.

use crate::metrics::{Breakdown, Outcome};
use crate::units::Duration;
use serde_json::{Value, json};

/// Version of the form.
pub const SCHEMA: u32 = 1;

/// The answer to a scenario.
pub fn run_json(name: &str, seed: u64, outcome: &Outcome) -> Value {
    let metrics: serde_json::Map<String, Value> = outcome
        .metrics
        .named()
        .into_iter()
        .map(|m| (m.name.to_owned(), json!({ "value": m.value, "unit": m.unit, "definition": m.definition })))
        .collect();
    let (breakdown, _) = outcome.metrics.breakdown();
    let memory = outcome.memory.as_ref().map(|memory| {
        let used = &memory.used;
        json!({
            "weights_bytes": used.weights.get(),
            "kv_cache_bytes": used.kv_cache.get(),
            "activations_bytes": used.activations.get(),
            "total_bytes": used.total().get(),
            "capacity_bytes": memory.capacity.get(),
        })
    });
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "scenario": name,
        "seed": seed,
        "gpus": outcome.cluster.gpus.len(),
        "folding": outcome.folding.name(),
        "metrics": metrics,
        "phases": phases(breakdown),
        "critical_path": critical_path(breakdown),
        "memory": memory,
    })
}

fn phases(breakdown: &Breakdown) -> Value {
    let row = |phase: &crate::metrics::PhaseTime| {
        json!({
            "phase": phase.phase.name(),
            "kind": if phase.communication { "communication" } else { "computation" },
            "operations": phase.operations,
            "busy_us": us(phase.busy),
        })
    };
    breakdown.phases.iter().map(row).collect()
}

fn critical_path(breakdown: &Breakdown) -> Value {
    let row = |share: &crate::metrics::PathShare| json!({ "phase": share.phase.name(), "bound_by": share.bound.name(), "time_us": us(share.time) });
    breakdown.critical_path.iter().map(row).collect()
}

fn us(time: Duration) -> f64 {
    time.as_secs() * 1e6
}
