//! How the work of a simulation grows with what is simulated, in counts that no machine changes: operations, what they wait for, and instants
//! at which something happens.
//!
//! Each row doubles one quantity, twice, and holds the order of growth of each count: with order 1 a count at most doubles. Most rows run with kernels
//! that take no time.

use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use octoplane::timeline::Effort;
use std::path::Path;

/// What a count may grow by beyond its order: rounds of a tree, remainders of a division.
const SLACK: f64 = 1.1;

/// Stands for an overlay that no file can express: the node has no communication software, and transfers cost the wire alone.
const BARE: &str = "no communication software";

fn effort(scenario: &str, sets: &[String]) -> Effort {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
    let (bare, sets): (Vec<String>, Vec<String>) = sets.iter().cloned().partition(|set| set == BARE);
    let mut loaded = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{sets:?}: {error}"));
    if !bare.is_empty() {
        loaded.value.hardware.communication = None;
    }
    let outcome = simulate(&loaded.value).unwrap_or_else(|invalid| panic!("{sets:?}: {}", loaded.error(&invalid)));
    outcome.timeline.effort
}

/// Holds the growth of a scenario's work with a quantity that `sets` gives, at one, two and four times its least value: orders of operations,
/// of what they wait for, and of instants.
fn grows(what: &str, scenario: &str, fixed: &[&str], sets: impl Fn(u32) -> Vec<String>, orders: [u32; 3]) {
    let of = |times: u32| {
        let all: Vec<String> = fixed.iter().map(|set| (*set).to_owned()).chain(sets(times)).collect();
        let Effort { operations, dependencies, instants } = effort(scenario, &all);
        [operations, dependencies, instants]
    };
    let counts = [1, 2, 4].map(of);
    for pair in counts.windows(2) {
        for (count, order) in orders.into_iter().enumerate() {
            let name = ["operations", "dependencies", "instants"][count];
            let growth = pair[1][count] as f64 / pair[0][count].max(1) as f64;
            let limit = f64::from(1_u32 << order) * SLACK;
            assert!(growth <= limit, "{what}: {name} grow by {growth:.2} when it doubles, not {limit:.2}: {counts:?}");
        }
    }
}

const STEP: &str = "training/v3_2048_h800_mpft.toml";
/// A quick training step on two nodes.
const SMALL: [&str; 9] = [
    "kernel=instant",
    "nodes=2",
    "parallelism.pp=2",
    "parallelism.ep=8",
    "model.moe.first_dense_layers=1",
    "workload.training.global_batch=128",
    "workload.training.load_spread=0",
    "workload.training.sequence=64",
    "hardware.gpu.memory.capacity=9000 GB",
];

fn layers(of_stage: u32) -> Vec<String> {
    vec![format!("model.layers={}", 2 * of_stage), format!("parallelism.last_stage_layers={of_stage}")]
}

#[test]
fn a_training_step_grows_with_the_layers_of_a_stage() {
    let ways = [&[][..], &[BARE], &[BARE, "workload.training.beside_exchanges=nothing"]];
    let row = |recompute: &str, schedule: &str, way: &[&str]| {
        let recompute = format!("workload.training.recompute={recompute}");
        let schedule = format!("workload.training.schedule={schedule}");
        let fixed = [&SMALL[..], &[recompute.as_str(), schedule.as_str()], way].concat();
        let what = format!("layers of a stage, {recompute}, {schedule}, {way:?}");
        grows(&what, STEP, &fixed, |times| layers(4 * times), [1, 1, 1]);
    };
    for way in ways {
        row("none", "zb1p", way);
        row("selective", "one_f_one_b", way);
        row("full", "one_f_one_b", way);
        row("full", "dual_pipe", way);
    }
    row("full", "one_f_one_b", &[BARE, "symmetry=unfold"]);
}

#[test]
fn a_training_step_grows_with_stages_and_micro_batches() {
    for schedule in ["one_f_one_b", "zb1p", "dual_pipe", "{ interleaved = { chunks = 2 } }"] {
        let quoted = if schedule.starts_with('{') { schedule.to_owned() } else { format!("\"{schedule}\"") };
        let schedule = format!("workload.training.schedule={quoted}");
        let fixed = [&SMALL[..], &[&schedule]].concat();
        let stages = |times: u32| {
            let stages = 2 * times;
            let nodes = format!("nodes={stages}");
            // Two layers in every stage, and as many micro-batches.
            [&layers(2)[1..], &[format!("model.layers={}", 2 * stages), format!("parallelism.pp={stages}"), nodes]]
                .concat()
        };
        grows(&format!("stages, {schedule}"), STEP, &fixed, stages, [1, 1, 1]);
        let fixed = [&fixed[..], &["model.layers=4", "parallelism.last_stage_layers=2"]].concat();
        let micro_batches = |times: u32| vec![format!("workload.training.global_batch={}", 128 * times)];
        grows(&format!("micro-batches, {schedule}"), STEP, &fixed, micro_batches, [1, 1, 1]);
    }
}

/// An exchange among n GPUs is made of as many sends for each of them, and each waits for all that its GPU received before.
#[test]
fn a_training_step_grows_with_the_gpus_that_exchange() {
    let fixed = [&SMALL[..], &["model.layers=4", "parallelism.last_stage_layers=2"]].concat();
    let gpus = |times: u32| vec![format!("nodes={}", 2 * times), format!("parallelism.ep={}", 8 * times)];
    for way in [&[][..], &[BARE]] {
        let fixed = [&fixed[..], way].concat();
        grows(&format!("GPUs of an exchange, {way:?}"), STEP, &fixed, gpus, [1, 2, 1]);
        let all = [&fixed[..], &["symmetry=unfold"]].concat();
        grows(&format!("GPUs of an exchange, {way:?}, all simulated"), STEP, &all, gpus, [2, 3, 2]);
    }
}

#[test]
fn a_step_of_inference_grows_with_layers_and_with_the_gpus_that_exchange() {
    let kinds = [("h800_ep128_decode.toml", "decode"), ("h800_ep32_prefill.toml", "prefill")];
    for (scenario, kind) in kinds {
        let small = [
            "kernel=instant",
            "nodes=2",
            "parallelism.ep=16",
            "model.moe.first_dense_layers=1",
            "parallelism.redundant_experts=0",
        ];
        for fold in ["fold", "unfold"] {
            let symmetry = format!("symmetry={fold}");
            let fixed = [&small[..], &[&symmetry]].concat();
            let layers = |times: u32| vec![format!("model.layers={}", 1 + 3 * times)];
            grows(&format!("layers, {kind}, {fold}"), scenario, &fixed, layers, [1, 1, 1]);
            let fixed = [&fixed[..], &["model.layers=3"]].concat();
            let gpus = |times: u32| vec![format!("nodes={}", 2 * times), format!("parallelism.ep={}", 16 * times)];
            let orders = if fold == "fold" { [1, 2, 1] } else { [2, 3, 2] };
            grows(&format!("GPUs of an exchange, {kind}, {fold}"), scenario, &fixed, gpus, orders);
            let micro_batches = |times: u32| vec![format!("workload.{kind}.micro_batches={times}")];
            grows(&format!("micro-batches, {kind}, {fold}"), scenario, &fixed, micro_batches, [1, 1, 1]);
        }
    }
    let requests = |times: u32| vec![format!("workload.decode.requests_per_gpu={}", 16 * times)];
    let fixed = ["kernel=instant", "nodes=2", "parallelism.ep=16", "model.layers=5"];
    grows("requests of a step", "h800_ep128_decode.toml", &fixed, requests, [0, 0, 0]);
}

#[test]
fn a_schedule_by_itself_grows_with_ranks_and_micro_batches() {
    for schedule in ["one_f_one_b", "zb1p", "dual_pipe", "dual_pipe_v"] {
        let schedule = format!("workload.pipeline.schedule={schedule}");
        let fixed = [schedule.as_str(), "workload.pipeline.handed_over=1 MB"];
        let ranks = |times: u32| vec![format!("nodes={}", 2 * times), "workload.pipeline.micro_batches=128".to_owned()];
        // Chunks that are cut in two while a pipeline fills and empties grow with its ranks, on each of them.
        grows(&format!("ranks, {schedule}"), "training/pipeline.toml", &fixed, ranks, [2, 2, 2]);
        let micro_batches = |times: u32| vec![format!("workload.pipeline.micro_batches={}", 60 * times)];
        grows(&format!("micro-batches, {schedule}"), "training/pipeline.toml", &fixed, micro_batches, [1, 1, 1]);
    }
}

/// Rings and exchanges take as many steps as there are ranks, for each rank.
#[test]
fn communication_grows_with_the_square_of_the_ranks_at_most() {
    let ranks = |times: u32| vec![format!("nodes={}", 2 * times)];
    for kind in ["all_reduce", "all_gather", "reduce_scatter", "all_to_all"] {
        let kind = format!("workload.collective.kind={kind}");
        let fixed = [kind.as_str(), "workload.collective.bytes=64 MiB"];
        grows(&kind, "collectives/all_to_all_h800.toml", &fixed, ranks, [2, 2, 2]);
        let bytes = |times: u32| vec![format!("workload.collective.bytes={} MiB", 64 * times)];
        grows(&format!("bytes, {kind}"), "collectives/all_to_all_h800.toml", &[&kind, "nodes=2"], bytes, [1, 1, 1]);
    }
    for kernels in ["normal", "low_latency"] {
        let kernels = format!("workload.moe_exchange.kernels={kernels}");
        for (fold, orders) in [("symmetry=fold", [1, 2, 1]), ("symmetry=unfold", [2, 3, 2])] {
            let fixed = [kernels.as_str(), fold];
            grows(&format!("{kernels}, {fold}"), "moe/deepep_normal_h800.toml", &fixed, ranks, orders);
        }
    }
}

#[test]
fn serving_grows_with_requests() {
    let requests = |times: u32| vec![format!("workload.serving.requests={}", 2000 * times)];
    grows("requests", "qwen72b_h800_serving.toml", &[], requests, [1, 1, 1]);
}
