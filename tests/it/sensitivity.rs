//! Every number of the hardware decides something: each is changed, and some scenario has to move, or a list here says why none does.

use crate::cli::root;
use octoplane::run::simulate;
use octoplane::scenario::{Loaded, Scenario, load};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Scenarios and what makes them quick. Together they use every part of the hardware.
const SCENARIOS: &[(&str, &[&str])] = &[
    ("scenarios/llama70b_a100_int8_decode.toml", &["model.layers=2"]),
    ("scenarios/llama405b_h200_decode.toml", &["model.layers=2"]),
    ("scenarios/qwen72b_h800_decode.toml", &["model.layers=2"]),
    ("scenarios/h200_node_decode.toml", &["model.layers=4"]),
    (
        "scenarios/h200_node_decode.toml",
        &["model.layers=4", "precision.kv_cache=\"fp8\"", "libraries.mla=\"flash_attention_3\""],
    ),
    ("scenarios/h200_node_decode.toml", &["model.layers=4", "precision.kv_cache=\"fp8\""]),
    ("scenarios/local/v3_server.toml", &["model.layers=4"]),
    ("scenarios/collectives/send_infiniband.toml", &["network=\"packet\""]),
    ("scenarios/collectives/all_reduce_h100.toml", &[]),
    (
        "scenarios/collectives/all_reduce_h100.toml",
        &[
            "workload.collective.protocol=\"ll\"",
            "workload.collective.bytes=\"64 KiB\"",
            "workload.collective.algorithm=\"ring\"",
        ],
    ),
    (
        "scenarios/collectives/all_reduce_h100.toml",
        &[
            "workload.collective.protocol=\"ll128\"",
            "workload.collective.bytes=\"4 MiB\"",
            "workload.collective.algorithm=\"ring\"",
        ],
    ),
    (
        "scenarios/collectives/all_reduce_h100.toml",
        &["workload.collective.protocol=\"simple\"", "workload.collective.algorithm=\"ring\""],
    ),
    (
        "scenarios/collectives/all_reduce_h100.toml",
        &[
            "workload.collective.kind=\"all_to_all\"",
            "workload.collective.protocol=\"ll\"",
            "workload.collective.bytes=\"256 KiB\"",
        ],
    ),
    (
        "scenarios/collectives/all_reduce_h100.toml",
        &["workload.collective.kind=\"all_to_all\"", "workload.collective.protocol=\"simple\""],
    ),
    ("scenarios/collectives/all_gather_roce.toml", &["nodes=2"]),
    (
        "scenarios/collectives/all_to_all_star_1024.toml",
        &["nodes=4", "network=\"packet\"", "workload.collective.bytes=\"4 MiB\""],
    ),
    ("scenarios/moe/nvl72_one_sided.toml", &[]),
    ("scenarios/moe/nvl72_one_sided.toml", &["workload.moe_exchange.kernels=\"two_sided\""]),
    ("scenarios/moe/deepep_low_latency_h100.toml", &[]),
    ("scenarios/moe/deepep_normal_h800.toml", &[]),
    (
        "scenarios/gb200_nvl72_decode.toml",
        &["model.layers=4", "precision.operands=\"fp4\"", "precision.weights=\"fp4\""],
    ),
    ("scenarios/h800_ep32_prefill.toml", &["model.layers=4"]),
];

/// Numbers that move none of these, by the start of their path, and why. They are not tried.
const IDLE: &[(&str, &str)] = &[
    ("hardware.gpu.tensor.fp64", "no model multiplies in FP64"),
    ("hardware.gpu.tensor.tf32", "no model multiplies in FP32"),
    ("hardware.gpu.sm.registers", "bounds the largest tile, which a decode step does not reach"),
    ("hardware.gpu.sm.block_start", "read by passes with a block per row, which training has"),
    ("hardware.gpu.sm.energy.fp4", "no product in FP4 here is long enough for the limit of power"),
    ("hardware.gpu.sm.energy.surge_time", "no kernel here is long enough for the limit of power"),
    ("hardware.gpu.memory.capacity", "decides whether a run is allowed, no figure of one"),
    ("hardware.gpu.host.wire", "packets between GPU and NIC, which their cable beyond the NIC holds up"),
    ("hardware.gpu.scale_up.wire", "packets inside a node, of which the packet scenarios here have none"),
    ("hardware.scale_up.switches", "planes of a domain carry as much together, whatever their number"),
    ("hardware.scale_up.buffer", "packets inside a node, of which the packet scenarios here have none"),
    ("hardware.nics.nic.power", "in figures of training and of fabrics only"),
    (
        "hardware.nics.nic.packet.congestion.",
        "rates fall where many send to one and switches mark, which tests of congestion do",
    ),
    ("hardware.overhead", "in figures of energy only, of training and of serving"),
    ("hardware.name", "a name that begins with a number"),
    ("hardware.nics.nic.packet.buffer", "what is sent here never fills it"),
    ("hardware.nics.nic.packet.message_interval", "messages here are longer than the interval"),
    ("hardware.nics.nic.packet.post_by", "collectives post by their own software"),
    ("hardware.nics.nic.packet.queue_pairs", "one path between two NICs here, whatever the number"),
    ("hardware.communication.collectives.ll.line_share", "sends over the network only, under another protocol here"),
    ("hardware.communication.collectives.ll128.line_share", "the same"),
    ("hardware.communication.collectives.exchange_ll.line_share", "the same"),
    ("hardware.communication.collectives.exchange_simple.copy_rate", "the scale-up port holds, not the copies"),
    ("hardware.communication.collectives.network.chunk", "of hierarchical collectives, which none here is"),
    ("hardware.communication.experts.normal.combine_copy_rate_per_sm", "another limit of the combine holds on H800"),
    ("hardware.communication.experts.normal.beside_compute", "in training only"),
    ("hardware.communication.experts.normal.count", "in training only"),
    ("hardware.communication.experts.normal.beside_counts", "in training only"),
    ("hardware.communication.experts.low_latency.scale_up_share", "the NIC holds, not the scale-up domain"),
    ("hardware.communication.experts.one_sided.dispatch.token_min", "a floor below what this batch takes"),
    ("hardware.communication.experts.one_sided.combine.token_min", "a floor below what this batch takes"),
    ("hardware.communication.experts.two_sided.prepare.token_min", "a floor below what this batch takes"),
    (
        "hardware.communication.experts.two_sided.prepare.wire_share",
        "what is prepared is too little for the wire to hold",
    ),
    ("hardware.communication.experts.two_sided.combine.token_min", "a floor below what this batch takes"),
    ("hardware.communication.experts.two_sided.combine_low_precision", "results come back in BF16 here"),
    ("hardware.cpu.cores", "a bound of the roofline, which memory holds below"),
    ("hardware.cpu.bf16", "memory of the CPU holds"),
    ("hardware.cpu.power", "in figures of training only"),
    ("hardware.cpu.memory.capacity", "decides whether a run is allowed, no figure of one"),
];

/// The figures of a scenario; none where it cannot run.
fn figures(path: &Path, sets: &[String]) -> Option<Vec<(String, f64)>> {
    let loaded: Loaded<Scenario> = load(path, sets).ok()?;
    let outcome = simulate(&loaded.value).ok()?;
    Some(outcome.metrics.named().into_iter().map(|metric| (metric.def.name.to_owned(), metric.value)).collect())
}

/// `value` times `factor`: a number by itself, or a text of a number and its unit.
fn scaled(value: &str, factor: f64) -> Option<String> {
    let text = value.trim_matches('"');
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok().filter(|&number| number != 0.0)?;
    if text[end..].starts_with(|c: char| !c.is_whitespace()) {
        return None;
    }
    let times = number * factor;
    let whole = !text[..end].contains('.') && text.len() == end;
    let number = if whole { format!("{}", times.round() as u64) } else { format!("{times}") };
    Some(if value.starts_with('"') { format!("\"{number}{}\"", &text[end..]) } else { number })
}

/// Whether a change of `key` moves `scenario`, whose figures are `before` without. What cannot be is no answer.
fn moves(path: &Path, sets: &[&str], before: &[(String, f64)], (key, value): (&str, &str)) -> bool {
    [2.0, 0.8].into_iter().filter_map(|factor| scaled(value, factor)).any(|changed| {
        let all: Vec<String> = sets.iter().map(|&set| set.to_owned()).chain([format!("{key}={changed}")]).collect();
        figures(path, &all).is_some_and(|after| after != before)
    })
}

#[test]
fn every_number_of_the_hardware_moves_some_scenario() {
    let mut keys: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    let mut before = Vec::new();
    for (at, (file, sets)) in SCENARIOS.iter().enumerate() {
        let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
        let path = root().join(file);
        let loaded: Loaded<Scenario> = load(&path, &sets).unwrap_or_else(|error| panic!("{file}: {error}"));
        before.push(figures(&path, &sets).unwrap_or_else(|| panic!("{file} cannot run")));
        for (key, value, _) in loaded.leaves() {
            let listed = IDLE.iter().any(|(start, _)| key.starts_with(start));
            if key.starts_with("hardware.") && !key.contains(".source.") && !listed && scaled(&value, 2.0).is_some() {
                keys.entry(key).or_default().push((at, value));
            }
        }
    }
    assert!(keys.len() > 80, "{} keys", keys.len());
    let (next, idle) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let all: Vec<(&String, &Vec<(usize, String)>)> = keys.iter().collect();
    let work = || {
        while let Some((key, places)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let moved = places.iter().any(|(at, value)| {
                let (file, sets) = SCENARIOS[*at];
                moves(&root().join(file), sets, &before[*at], (key, value))
            });
            if !moved {
                idle.lock().unwrap().insert((*key).clone());
            }
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let idle = idle.into_inner().unwrap();
    assert!(idle.is_empty(), "these numbers change nothing and are not listed:\n{idle:#?}");
}
