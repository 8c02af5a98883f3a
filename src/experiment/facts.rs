//! What an answer rests on, from the scenario and the run: what a reader needs to know before the figures mean anything.

use super::build;
use crate::dtype::Dtype;
use crate::hardware::Libraries;
use crate::metrics::{ExpertExchange, Facts, Ideal, Outcome, Part};
use crate::model::AttentionSpec;
use crate::scenario::{KernelChoice, NetworkChoice, Scenario, WorkloadSpec, choice_name};
use crate::workload::{Chosen, ExchangeKernels};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Elements of a list that are told one by one.
const ELEMENTS_MAX: usize = 64;

/// Keys of workloads with the value that takes something to be ideal, and what that is. A key counts wherever in the workload it is.
const IDEAL: &[(&str, &str, &str)] = &[
    ("launch", "\"graph\"", "no host time between kernels"),
    ("launch_gap", "\"0 ps\"", "no time between kernels"),
    ("step_overhead", "\"0 ps\"", "no host time between steps"),
    ("front_end", "\"0 ps\"", "no time in front of the engine"),
    ("skew", "\"0 ps\"", "all ranks begin together"),
];

/// The same, of models that have experts.
const IDEAL_EXPERTS: &[(&str, &str, &str)] = &[
    ("gate", "\"balanced\"", "experts equally loaded in every step"),
    ("gate", "\"uniform\"", "no expert more popular than another"),
    ("load_spread", "1.0", "experts equally loaded in every step"),
    ("kernels", "null", "expert exchanges at the cost of the wire alone"),
];

/// What was simulated for `outcome`.
pub fn facts(scenario: &Scenario, outcome: &Outcome) -> Facts {
    let (workload, sizes) = workload(scenario);
    let model = scenario.model.as_ref();
    let of_part = |part: &Part| {
        let count = part.count;
        part.timeline.collectives.iter().map(move |&(chosen, times)| (chosen, times * count)).collect::<Vec<_>>()
    };
    let collectives = outcome.timeline.collectives.iter().copied().chain(outcome.parts.iter().flat_map(of_part));
    Facts {
        model: model.map(|model| model.name.clone()),
        gpu: scenario.hardware.gpu.name.clone(),
        architecture: scenario.hardware.gpu.architecture.clone(),
        gpus: outcome.gpus(),
        node: scenario.hardware.name.clone(),
        nodes: scenario.nodes.wide(),
        fabric: scenario.topology.as_ref().map(|topology| topology.name.clone()),
        plan: model.map_or(Value::Null, |_| plan(scenario, scenario.nodes.wide() * scenario.hardware.gpus.wide())),
        ideal: ideal(scenario, &workload, &sizes),
        sizes: shortened(sizes),
        workload,
        formats: model.map_or(Value::Null, |_| written(&scenario.precision.unwrap_or_default())),
        kernels: choice_name(&scenario.kernel),
        libraries: libraries(scenario),
        network: choice_name(&scenario.network),
        routing: written(&build::routing(scenario)),
        symmetry: outcome.symmetry.text(),
        measured: None,
        collectives: merged(collectives),
        exchange: exchange(scenario),
    }
}

/// The kernel libraries, where kernels of a model are timed by what these do.
fn libraries(scenario: &Scenario) -> Value {
    let Some(model) = scenario.model.as_ref().filter(|_| scenario.kernel == KernelChoice::Tile) else {
        return Value::Null;
    };
    let Libraries { fp8_gemm, fp4_gemm, mla } = scenario.libraries();
    let (what, which) = match scenario.hardware.gpu.tensor.runs_as(scenario.precision.unwrap_or_default().operands) {
        Dtype::Fp8 => ("fp8_gemm", written(&fp8_gemm)),
        Dtype::Fp4 => ("fp4_gemm", written(&fp4_gemm)),
        Dtype::Fp64 | Dtype::Fp32 | Dtype::Bf16 | Dtype::Int8 | Dtype::Int4 => ("gemm", json!("cublas")),
    };
    let mut named = Map::from_iter([(what.to_owned(), which)]);
    if let AttentionSpec::Mla(_) = model.attention {
        named.insert("mla".to_owned(), written(&mla));
    }
    Value::Object(named)
}

/// A value as files write it.
fn written<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("what was read from a file can be written to one")
}

/// The kind of workload, and all that it says.
fn workload(scenario: &Scenario) -> (String, Value) {
    match written(&scenario.workload) {
        Value::Object(choice) => choice.into_iter().next().expect("a workload is one of several"),
        other => (other.as_str().unwrap_or_default().to_owned(), Value::Null),
    }
}

/// The plan with the data parallelism that fills the cluster.
fn plan(scenario: &Scenario, gpus: u64) -> Value {
    let plan = &scenario.parallelism;
    let mut all = written(plan);
    if plan.dp.is_none() {
        all["dp"] = json!(gpus / (plan.tp.wide() * plan.cp.wide() * plan.pp.wide()));
    }
    all
}

/// Long lists by how many elements they have.
fn shortened(value: Value) -> Value {
    match value {
        Value::Array(elements) if elements.len() > ELEMENTS_MAX => json!({ "elements": elements.len() }),
        Value::Array(elements) => elements.into_iter().map(shortened).collect(),
        Value::Object(entries) => {
            entries.into_iter().map(|(key, value)| (key, shortened(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// What exchanges tokens of a training step with experts. Other workloads name their kernels themselves.
fn exchange(scenario: &Scenario) -> Option<ExpertExchange> {
    let WorkloadSpec::Training(spec) = &scenario.workload else { return None };
    let ranks = scenario.parallelism.ep.wide();
    scenario.model.as_ref().filter(|model| model.moe.is_some() && ranks > 1)?;
    let software = scenario.hardware.communication.as_ref();
    Some(ExpertExchange {
        kernels: software.map(|_| choice_name(&ExchangeKernels::Normal)),
        software: software.map(|software| software.name.clone()),
        sms: software.and(Some(spec.communication_sms)).filter(|&sms| sms > 0),
        ranks,
    })
}

/// The same choice once.
fn merged(chosen: impl Iterator<Item = (Chosen, u64)>) -> Vec<(Chosen, u64)> {
    let mut counts: BTreeMap<Chosen, u64> = BTreeMap::new();
    for (chosen, count) in chosen {
        *counts.entry(chosen).or_insert(0) += count;
    }
    counts.into_iter().collect()
}

fn ideal(scenario: &Scenario, workload: &str, sizes: &Value) -> Vec<Ideal> {
    let mut found = Vec::new();
    let mut add = |assumption: &str, key: &str| {
        found.push(Ideal { assumption: assumption.to_owned(), key: key.to_owned() });
    };
    match scenario.kernel {
        KernelChoice::Roofline => add("kernels at the rates of the roofline", "kernel"),
        KernelChoice::Instant => add("kernels take no time", "kernel"),
        KernelChoice::Tile => {}
    }
    if scenario.network == NetworkChoice::Analytic {
        add("no contention inside the fabric", "network");
    }
    if scenario.hardware.communication.is_none() {
        add("communication software takes no time", "hardware.communication");
    }
    if let WorkloadSpec::Training(_) = scenario.workload {
        let bare = "as rings at the cost of the wire alone";
        let plan = &scenario.parallelism;
        if plan.tp.get() > 1 {
            add(&format!("collectives of tensor-parallel groups {bare}"), "parallelism.tp");
        }
        if plan.cp.get() > 1 {
            add(&format!("exchanges of keys and values {bare}"), "parallelism.cp");
        }
    }
    let has_experts = scenario.model.as_ref().is_some_and(|model| model.moe.is_some());
    let rules: Vec<_> = IDEAL.iter().chain(IDEAL_EXPERTS.iter().filter(|_| has_experts)).collect();
    walk(&format!("workload.{workload}"), sizes, &mut |path, key, value| {
        let text = value.to_string();
        for (_, _, assumption) in rules.iter().filter(|(name, ideal, _)| *name == key && *ideal == text) {
            add(assumption, path);
        }
        if key == "context" && value.is_u64() {
            add("all requests have equally many cached positions", path);
        }
    });
    found
}

/// Visits every value of a table and the tables in it: its path, its key, and itself.
fn walk(path: &str, value: &Value, visit: &mut impl FnMut(&str, &str, &Value)) {
    let Value::Object(entries) = value else { return };
    for (key, value) in entries {
        let path = format!("{path}.{key}");
        visit(&path, key, value);
        walk(&path, value, visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::load;
    use std::path::Path;

    /// A rule about a key that no workload has any more would be silent for ever.
    #[test]
    fn every_ideal_default_is_met_in_some_scenario() {
        let scenarios = [
            "h800_ep128_decode",
            "h800_ep32_prefill",
            "h800_serving",
            "training/v3_2048_h800_mpft",
            "moe/deepep_low_latency_h100",
            "paper/nvl72_decode",
        ];
        let mut keys = Vec::new();
        for name in scenarios {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
            let scenario: Scenario = load(&path, &[]).expect("a shipped scenario").value;
            let (_, sizes) = workload(&scenario);
            walk("", &sizes, &mut |_, key, value| keys.push((key.to_owned(), value.is_string() || value.is_null())));
        }
        for (key, ideal, _) in IDEAL.iter().chain(IDEAL_EXPERTS) {
            assert!(keys.iter().any(|(known, _)| known == key), "no workload has `{key}`, which `{ideal}` makes ideal");
        }
    }
}
