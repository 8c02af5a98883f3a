//! Decode steps against closed forms, and against themselves under symmetry.

use octoplane::metrics::{DecodeMetrics, Folding, Metrics, Outcome};
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, WorkloadSpec, load};
use octoplane::timeline::{Place, Span, critical_path};
use octoplane::units::{Bytes, BytesPerSec, Duration, Time};
use octoplane::workload::{ContextSpec, Phase};
use std::path::Path;

fn run(scenario: &str, sets: &[&str]) -> Outcome {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
    let loaded = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}"));
    simulate(&loaded.value).unwrap_or_else(|invalid| panic!("{}", loaded.error(&invalid)))
}

fn decode(outcome: &Outcome) -> &DecodeMetrics {
    let Metrics::Decode(metrics) = &outcome.metrics else { panic!("a decode step was asked for") };
    metrics
}

fn close(found: Duration, expected: Duration, slack: Duration) -> bool {
    found <= expected + slack && expected <= found + slack
}

#[test]
fn the_idealised_step_is_the_papers_formula() {
    // arXiv 2505.09343, section 2.3.2: (1 + 2) B x 32 tokens x 9 copies x 7000 over the rate; two micro-batches; 61 layers.
    for (scenario, rate) in [("ib", 50_000_000_000), ("nvl72", 900_000_000_000)] {
        let outcome = run(&format!("paper/{scenario}_decode.toml"), &[]);
        let metrics = decode(&outcome);
        let exchange = Bytes::new(3 * 32 * 9 * 7000) / BytesPerSec::new(rate);
        // Each of hundreds of sends rounds up to whole picoseconds.
        let slack = Duration::from_ns(1);
        assert!(close(metrics.ep_step.unwrap(), exchange, slack), "{:?} is not {exchange}", metrics.ep_step);
        assert!(close(metrics.ep_layer.unwrap(), exchange * 2, slack * 2));
        assert!(close(metrics.step, exchange * 2 * 61, slack * 2 * 61), "{} is not 122 x {exchange}", metrics.step);
        assert_eq!(metrics.breakdown.exposed_communication, metrics.step, "nothing is computed meanwhile");
    }
}

const ALIKE: &[&[&str]] = &[
    &["nodes=1", "parallelism.ep=8"],
    &["nodes=2", "parallelism.ep=16"],
    &["nodes=2", "parallelism.ep=16", "workload.decode.micro_batches=1"],
    &["nodes=2", "parallelism.ep=16", "parallelism.tp=2", "workload.decode.requests_per_gpu=3"],
    &["nodes=2", "parallelism.ep=16", "kernel=instant", "workload.decode.requests_per_gpu=5"],
];

/// The same step with one GPU for all, and with all of them. Few layers, so that every GPU can be simulated, and little enough
/// cache for few GPUs.
fn folded_and_not(sets: &[&str], gate: &str) -> (Outcome, Outcome) {
    let gate = format!("workload.decode.experts.gate={gate}");
    let small = ["model.layers=5", "workload.decode.requests_per_gpu=16", gate.as_str()];
    let folded = run("h800_ep128_decode.toml", &[&small[..], sets].concat());
    let unfolded = run("h800_ep128_decode.toml", &[&small[..], sets, &["symmetry=unfold"]].concat());
    (folded, unfolded)
}

#[test]
fn one_gpu_is_exactly_all_under_a_balanced_gate_among_equally_far_peers() {
    let sets: [&[&str]; 3] = [
        &["workload.decode.micro_batches=2"],
        &["workload.decode.micro_batches=1"],
        &["workload.decode.micro_batches=1", "kernel=instant"],
    ];
    for sets in sets {
        // 32 tokens of each GPU and micro-batch, or 64, visit each of 256 experts equally often.
        let whole = ["nodes=1", "parallelism.ep=8", "workload.decode.requests_per_gpu=64"];
        let (folded, unfolded) = folded_and_not(&[sets, &whole[..]].concat(), "balanced");
        assert_eq!((folded.folding, unfolded.folding), (Folding::Exact, Folding::None), "{sets:?}");
        let (one, all) = (decode(&folded), decode(&unfolded));
        assert_eq!((one.step, one.ep_step), (all.step, all.ep_step), "{sets:?}");
        let gpus = folded.cluster.gpus.len() as u64;
        assert_eq!(folded.timeline.bytes_sent().get() * gpus, unfolded.timeline.bytes_sent().get(), "{sets:?}");
    }
    let partly = ["nodes=1", "parallelism.ep=8", "workload.decode.requests_per_gpu=20"];
    let (folded, _) = folded_and_not(&partly, "balanced");
    assert_eq!(folded.folding, Folding::Sampled, "ten tokens visit some experts only");
    let far = ["nodes=2", "parallelism.ep=16", "workload.decode.requests_per_gpu=64"];
    let (folded, _) = folded_and_not(&far, "balanced");
    assert_eq!(folded.folding, Folding::Sampled, "near and far peers are heard of in another order");
}

#[test]
fn one_gpu_stands_for_all_where_these_share_nics() {
    let planes = ["routing.forward=scale_up", "workload.decode.micro_batches=1"];
    let cases: [&[&str]; 2] = [&["topology.extends=topologies/ft2.toml", "hardware.nics.count=4"], &planes];
    for sets in cases {
        let (folded, unfolded) = folded_and_not(sets, "balanced");
        let (one, all) = (decode(&folded).step, decode(&unfolded).step);
        assert!((one.as_secs() / all.as_secs() - 1.0).abs() < 0.02, "{sets:?}: {one} is not {all}");
        assert!(matches!(folded.folding, Folding::Shared | Folding::Sampled), "{sets:?}: {:?}", folded.folding);
    }
}

#[test]
fn one_gpu_stands_for_all_under_a_sampled_gate_within_a_hundredth() {
    for sets in ALIKE {
        let (folded, unfolded) = folded_and_not(sets, "uniform");
        assert_eq!((folded.folding, unfolded.folding), (Folding::Sampled, Folding::None), "{sets:?}");
        let (one, all) = (decode(&folded), decode(&unfolded));
        // What the one sends stands for what it receives, whose arrivals are spread a little differently over peers.
        let near = |a: Duration, b: Duration| (a.as_secs() / b.as_secs() - 1.0).abs() < 1e-2;
        assert!(near(one.step, all.step), "{sets:?}: {} is not {}", one.step, all.step);
        assert!(near(one.ep_step.unwrap(), all.ep_step.unwrap()), "{sets:?}");
        let sends = |outcome: &Outcome| outcome.timeline.bytes_sent().get();
        // The one is the GPU with the busiest experts of the sample, which in a small batch differ from the rest.
        let (one, all) = (sends(&folded) * folded.cluster.gpus.len() as u64, sends(&unfolded));
        assert!((all..=all * 3 / 2).contains(&one), "{sets:?}: {one} B and {all} B");
    }
}

#[test]
fn two_micro_batches_hide_what_one_exposes() {
    let two = run("h800_ep128_decode.toml", &[]);
    let one = run("h800_ep128_decode.toml", &["workload.decode.micro_batches=1"]);
    let exposed = |outcome: &Outcome| decode(outcome).breakdown.exposed_communication;
    assert!(exposed(&two) < exposed(&one));
    // What is exposed plus what is computed plus what is idle is the step, whatever the overlap.
    for outcome in [&one, &two] {
        let b = &decode(outcome).breakdown;
        assert_eq!(b.computing + b.exposed_communication + b.idle, decode(outcome).step);
    }
}

#[test]
fn the_critical_path_explains_the_whole_step() {
    for scenario in ["h800_ep128_decode.toml", "paper/nvl72_decode.toml", "local/v3_server.toml"] {
        let outcome = run(scenario, &[]);
        let path = critical_path(&outcome.timeline);
        assert_eq!((path[0].from, path.last().unwrap().until), (Time::ZERO, outcome.timeline.end()));
        assert!(path.windows(2).all(|pair| pair[0].until == pair[1].from));
        let explained: Duration = decode(&outcome).breakdown.critical_path.iter().map(|share| share.time).sum();
        assert_eq!(explained, decode(&outcome).step);
    }
}

#[test]
fn spans_of_a_stream_never_overlap_and_never_start_early() {
    for network in ["flow", "analytic"] {
        let outcome = run("h800_ep128_decode.toml", &[&format!("network={network}")]);
        let mut spans: Vec<Span> = outcome.timeline.spans().collect();
        let in_order =
            |span: &Span| span.ready <= span.start && span.start <= span.released && span.released <= span.end;
        assert!(spans.iter().all(in_order), "{network}");
        // Transfers take turns at a port in the analytic model, and share it in the others.
        let streams = |span: &Span| matches!(span.place, Place::Stream(_));
        spans.retain(|span| network == "analytic" || streams(span));
        spans.sort_by_key(|span| (span.place, span.start, span.released));
        let apart = |pair: &[Span]| pair[0].place != pair[1].place || pair[0].released <= pair[1].start;
        assert!(spans.windows(2).all(apart), "{network}");
        let kernels = spans.iter().filter(|&span| streams(span)).count();
        assert!(kernels > 1000, "{kernels} kernels");
    }
}

#[test]
fn the_same_scenario_gives_the_same_timeline() {
    let runs = [run("h800_ep128_decode.toml", &[]), run("h800_ep128_decode.toml", &[])];
    assert!(runs[0].timeline.spans().eq(runs[1].timeline.spans()));
    let other_seed = run("h800_ep128_decode.toml", &["seed=2"]);
    assert!(runs[0].timeline.spans().ne(other_seed.timeline.spans()), "the gate is drawn from the seed");
}

#[test]
fn doubling_nvlink_halves_what_it_bounds() {
    let base = run("paper/nvl72_decode.toml", &[]);
    let double = run("paper/nvl72_decode.toml", &["hardware.scale_up.bandwidth_per_direction=1800 GB/s"]);
    let ratio = decode(&base).step / decode(&double).step;
    assert!((ratio - 2.0).abs() < 1e-4, "{ratio}");
}

#[test]
fn faster_nics_help_by_no_more_than_what_is_exposed() {
    let base = run("h800_ep128_decode.toml", &["workload.decode.micro_batches=1"]);
    let faster = "hardware.nics.nic.port_bandwidth_per_direction=800 Gb/s";
    let wider = "topology.switch.port_bandwidth_per_direction=800 Gb/s";
    let double = run("h800_ep128_decode.toml", &["workload.decode.micro_batches=1", faster, wider]);
    let (slow, fast) = (decode(&base), decode(&double));
    let gain = slow.step - fast.step;
    assert!(gain > slow.breakdown.exposed_communication - fast.breakdown.exposed_communication - Duration::from_ns(1));
    assert!(gain <= slow.breakdown.exposed_communication);
}

#[test]
fn wider_expert_parallelism_saves_reading_the_experts_that_others_hold() {
    // 320 places for experts on 320 GPUs, or on 32: one or ten on each, at the same batch per GPU.
    let wide = run("h800_ep320_decode.toml", &[]);
    let narrow = run("h800_ep320_decode.toml", &["nodes=4", "parallelism.ep=32"]);
    let experts = |outcome: &Outcome| {
        let phases = &decode(outcome).breakdown.phases;
        let of = phases.iter().filter(|phase| phase.phase == Phase::Experts && !phase.communication);
        of.map(|phase| phase.busy).sum::<Duration>()
    };
    // Both micro-batches read the three matrices of nine more experts in each of 58 layers, in FP8, at no more than 3.35 TB/s.
    // Seven rows for each expert and micro-batch on average leave hardly any of them out.
    let more = 2.0 * 58.0 * 9.0 * 3.0 * 7168.0 * 2048.0;
    let least = 0.98 * more / 3.35e12;
    let saved = (experts(&narrow) - experts(&wide)).as_secs();
    // Streams of weights reach 83 % of that; tiles that end in the middle cost up to a fifth more.
    assert!((least..least / 0.83 * 1.2).contains(&saved), "{saved} s, at least {least} s");
    // Steps gain no more than what is no longer computed: tokens now leave the node more often.
    let (narrow, wide) = (decode(&narrow), decode(&wide));
    assert!(wide.step < narrow.step);
    assert!(narrow.step - wide.step <= narrow.breakdown.computing - wide.breakdown.computing);
}

#[test]
fn cut_experts_read_as_much_as_whole_ones() {
    // 32 whole experts on each of eight GPUs, or an eighth of each of 256: the same weights, added up over the same GPUs.
    let common = [
        "kernel=roofline",
        "parallelism.tp=8",
        "workload.decode.experts.reach=all_reduce",
        "workload.decode.experts.gate=balanced",
    ];
    let whole = run("h200_node_decode.toml", &[&common[..], &["parallelism.ep=8"]].concat());
    let cut = run("h200_node_decode.toml", &[&common[..], &["parallelism.ep=1", "parallelism.expert_tp=8"]].concat());
    let weights = |outcome: &Outcome| outcome.memory.as_ref().expect("a model is in memory").used.weights;
    assert_eq!(weights(&whole), weights(&cut));
    let experts = |outcome: &Outcome| {
        let phases = &decode(outcome).breakdown.phases;
        let of = phases.iter().find(|phase| phase.phase == Phase::Experts && !phase.communication);
        of.expect("experts are computed").busy
    };
    // All are awake: three matrices of 32 experts in each of 58 layers, in FP8, at no more than 4.8 TB/s.
    let least = Bytes::new(58 * 32 * 3 * 7168 * 2048) / BytesPerSec::new(4_800_000_000_000);
    let (whole, cut) = (experts(&whole), experts(&cut));
    assert!(whole >= least, "{whole} for {least}");
    // Cut experts read each of 1,024 rows of tokens on every GPU, eight times as many as whole ones, which is a fiftieth of the weights.
    let ratio = cut / whole;
    assert!((1.0..1.1).contains(&ratio), "{ratio}");
}

#[test]
fn a_drafted_token_pays_where_weights_bound_and_less_where_load_does() {
    let speedup = |plain: &str, drafting: &str| {
        let per_user = |name: &str| decode(&run(name, &[])).tokens_per_sec_per_user;
        per_user(drafting) / per_user(plain)
    };
    let light = speedup("h200_node_decode.toml", "h200_node_decode_mtp.toml");
    let heavy = speedup("h800_ep128_decode.toml", "h800_ep128_decode_mtp.toml");
    // A step yields 1.875 tokens, so that no speed-up is larger.
    assert!(light < 1.875 && heavy < light, "light {light}, heavy {heavy}");
}

#[test]
fn experts_on_the_cpu_read_each_visited_expert_once() {
    let outcome = run("local/v3_server.toml", &[]);
    // 58 layers, 8 experts of 3 x 7168 x 2048 weights in four bits, at 80 % of 307.2 GB/s, and activations, which are small.
    let weights = Bytes::new(58 * 8 * 3 * 7168 * 2048 / 2) / BytesPerSec::new(245_760_000_000);
    let busy: Duration = outcome
        .timeline
        .spans()
        .filter(|span| {
            span.label.phase == Phase::Experts && span.place == Place::Stream(octoplane::id::StreamId::new(1))
        })
        .map(|span| span.released - span.start)
        .sum();
    assert!(busy >= weights && busy <= weights + weights_part(weights, 100), "{busy} against {weights}");
}

fn weights_part(whole: Duration, parts: u64) -> Duration {
    Duration::from_ps(whole.as_ps() / parts)
}

/// What a decode step is refused with.
fn refused(sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/h800_ep128_decode.toml");
    let loaded = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}"));
    format!("{}", loaded.error(&simulate(&loaded.value).expect_err("it does not fit")))
}

#[test]
fn memory_keeps_room_for_the_runtime_and_for_communication() {
    let outcome = run("h800_ep128_decode.toml", &[]);
    let used = outcome.memory.expect("a model is in memory").used;
    // A context and graphs, 1 GB each as assumed; low-latency buffers for 64 tokens of a micro-batch to each of 256 experts, rows of 14 KiB sent
    // and received, twice; a tenth of the activations.
    let expected = 2e9 + 4.0 * 256.0 * 64.0 * 14_336.0 + 0.1 * used.activations.get() as f64;
    assert!((used.reserve.get() as f64 / expected - 1.0).abs() < 0.01, "{} against {expected}", used.reserve);
    // What weights, caches and activations fill to the last byte leaves no room for it.
    let full = "workload.decode.requests_per_gpu=212";
    let message = refused(&[full]);
    assert!(message.contains("reserve"), "{message}");
    let none = ["memory.reserve={ context = '0 B', graphs = '0 B', communication = '0 B', fragmentation = 0 }", full];
    let outcome = run("h800_ep128_decode.toml", &none);
    assert_eq!(outcome.memory.expect("a model is in memory").used.reserve, Bytes::ZERO);
    // Of less memory less can be used.
    let message = refused(&[none[0], full, "memory.gpu_memory_utilization=0.9"]);
    assert!(message.contains("KV caches take most"), "{message}");
}

#[test]
fn contexts_are_equal_or_spread_around_their_mean() {
    let with = |context: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/h800_ep128_decode.toml");
        let mut scenario = load::<Scenario>(&path, &["model.layers=5".to_owned()]).unwrap().value;
        let WorkloadSpec::Decode(spec) = &mut scenario.workload else { panic!("a decode step was described") };
        let table: toml::Table = toml::from_str(&format!("context = {context}")).unwrap();
        spec.context = table["context"].clone().try_into().unwrap();
        scenario
    };
    let step = |context: &str| {
        let outcome = simulate(&with(context)).unwrap_or_else(|invalid| panic!("{invalid:?}"));
        (decode(&outcome).step.as_secs(), outcome.memory.expect("a model is in memory").used.kv_cache)
    };
    let (equal, cached) = step("4096");
    for spread in ["{ mean = 4096, least = 4096, most = 4096 }", "{ mean = 4096, least = 100, most = 12000 }"] {
        let (unequal, same) = step(spread);
        assert_eq!(same, cached, "{spread}");
        assert!(unequal / equal > 0.9 && unequal / equal < 1.5, "{spread}: {unequal} {equal}");
    }
    // Prompts of 3,072 positions and half of an answer of 2,048, on average.
    let (_, same) = step("{ from_lengths = { fixed = { input = 3072, output = 2048 } } }");
    assert!((same.get() as f64 / cached.get() as f64 - 1.0).abs() < 0.001, "{same} {cached}");
    let found = simulate(&with("{ mean = 4096, least = 5000, most = 9000 }")).expect_err("no such spread");
    assert_eq!(found.place, ["workload", "decode", "context"]);
    for senseless in
        ["{ mean = 4096, least = 5 }", "{ mean = 7, from_lengths = { fixed = { input = 1, output = 1 } } }"]
    {
        let table: toml::Table = toml::from_str(&format!("context = {senseless}")).unwrap();
        assert!(table["context"].clone().try_into::<ContextSpec>().is_err(), "{senseless}");
    }
}

#[test]
fn one_more_request_costs_little_where_contexts_differ() {
    // Attention with few key-value heads: with equal contexts a wave of blocks more or less decides.
    let tpot = |requests: u32, spread: &str| {
        let requests = format!("workload.decode.requests_per_gpu={requests}");
        let outcome =
            run("qwen72b_h800_decode.toml", &["model.layers=4", "workload.decode.context=12000", &requests, spread]);
        decode(&outcome).tpot.as_secs()
    };
    let growth = |spread: &str| {
        let times: Vec<f64> = (2..=12).map(|requests| tpot(requests, spread)).collect();
        times.windows(2).map(|pair| pair[1] / pair[0] - 1.0).fold(0.0, f64::max)
    };
    let (equal, spread) = (growth("workload.decode.context_spread=0"), growth("workload.decode.context_spread=0.5"));
    assert!(spread < equal.max(0.2), "one request more costs {spread}, with equal contexts {equal}");
    assert!(spread < 0.35, "{spread}");
}
/// A model of eight layers on a node whose GPUs share its experts, with a decode step as `text` describes it.
fn on_a_node(text: &str) -> Result<Outcome, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/h200_node_decode.toml");
    let sets = ["parallelism.tp=8", "parallelism.ep=8", "model.layers=8"].map(str::to_owned);
    let mut scenario = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}")).value;
    scenario.workload = WorkloadSpec::Decode(toml::from_str(text).unwrap());
    simulate(&scenario).map_err(|invalid| invalid.message)
}

#[test]
fn few_requests_of_a_group_wake_few_experts() {
    let step = |requests: u32| {
        let text = format!("requests_per_group = {requests}\ncontext = 300\nexperts = {{ reach = 'all_reduce' }}");
        decode(&on_a_node(&text).unwrap()).step.as_secs()
    };
    let steps: Vec<f64> = (1..=8).map(step).collect();
    assert!(steps.is_sorted(), "more requests take no less: {steps:?}");
    assert!(steps[7] > 1.2 * steps[0], "eight requests visit more experts than one: {steps:?}");
}

#[test]
fn requests_are_counted_per_gpu_or_per_group() {
    let reach = "context = 300\nexperts = { reach = 'all_reduce' }";
    let of = |requests: &str| on_a_node(&format!("{requests}\n{reach}"));
    let (by_gpu, by_group) = (of("requests_per_gpu = 2").unwrap(), of("requests_per_group = 16").unwrap());
    assert_eq!(decode(&by_gpu), decode(&by_group));
    for requests in ["", "requests_per_gpu = 2\nrequests_per_group = 16", "requests_per_group = 1\nmicro_batches = 2"] {
        assert!(of(requests).is_err(), "{requests}");
    }
}
