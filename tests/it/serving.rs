//! Prefill steps and serving over time against closed forms, bounds and themselves.

use octoplane::metrics::{Folding, Metrics, Outcome, PrefillMetrics, ServingMetrics};
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, WorkloadSpec, load};
use octoplane::units::{Count, Duration, Fraction, Time};
use octoplane::workload::{ArrivalsChoice, LengthsChoice, MtpSpec, Phase, ServingSpec, TraceRow};
use std::path::Path;

fn run(scenario: &str, sets: &[&str]) -> Outcome {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(scenario);
    let loaded = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}"));
    simulate(&loaded.value).unwrap_or_else(|invalid| panic!("{}", loaded.error(&invalid)))
}

fn prefill(sets: &[&str]) -> (PrefillMetrics, Outcome) {
    let outcome = run("h800_ep32_prefill.toml", sets);
    let Metrics::Prefill(metrics) = &outcome.metrics else { panic!("a prefill step was asked for") };
    (metrics.clone(), outcome)
}

fn serving(scenario: &str, sets: &[&str]) -> ServingMetrics {
    let outcome = run(scenario, sets);
    let Metrics::Serving(metrics) = &outcome.metrics else { panic!("serving was asked for") };
    (**metrics).clone()
}

/// One node that serves a few users; steps are quick to simulate.
fn colocated(sets: &[&str]) -> ServingMetrics {
    serving("qwen72b_h800_serving.toml", sets)
}

const FEW_LAYERS: &str = "model.layers=5";

#[test]
fn one_gpu_stands_for_all_in_prefill() {
    let small = [FEW_LAYERS, "nodes=2", "parallelism.ep=16", "workload.prefill.prompt=256"];
    let tokens = "workload.prefill.tokens_per_gpu=512";
    for kernels in ["normal", "low_latency"] {
        let kernels = format!("workload.prefill.experts.kernels={kernels}");
        let sets = [&small[..], &[tokens, kernels.as_str()]].concat();
        let (one, folded) = prefill(&sets);
        let (all, unfolded) = prefill(&[&sets[..], &["symmetry=unfold"]].concat());
        assert_eq!((folded.folding, unfolded.folding), (Folding::Sampled, Folding::None));
        assert_eq!(one.step, all.step, "{kernels}");
    }
}

#[test]
fn a_prefill_step_does_the_work_of_its_model() {
    let (metrics, outcome) = prefill(&[]);
    // 16384 positions x (2 x 36.6e9 multiplied weights, head once per prompt, + causal attention over 4096:
    // 2 x 128 heads x (192 + 128) x 2048.5 keys x 61 layers), expanded keys and values included in the weights.
    let tokens = 16384.0;
    let head = 2.0 * 7168.0 * 129_280.0;
    let weights = 2.0 * 36.62e9 - head;
    let attention = 2.0 * 128.0 * 320.0 * 2048.5 * 61.0;
    let expected = tokens * (weights + attention) + 4.0 * head;
    let found = outcome.timeline.flops().as_f64();
    assert!((found / expected - 1.0).abs() < 0.01, "{found:e} against {expected:e}");
    assert_eq!(metrics.tokens_per_sec_per_gpu, tokens / metrics.step.as_secs());
}

#[test]
fn cached_positions_cost_attention_and_expansion_only() {
    let (plain, _) = prefill(&[FEW_LAYERS]);
    let (hits, _) = prefill(&[FEW_LAYERS, "workload.prefill.cached=4096"]);
    assert!(hits.step > plain.step && hits.step < plain.step * 2, "{} {}", hits.step, plain.step);
    let ratio = hits.input_tokens_per_sec_per_node / hits.tokens_per_sec_per_node;
    assert!((ratio - 2.0).abs() < 1e-9, "{ratio}");
}

#[test]
fn sms_that_communicate_do_not_compute() {
    let experts = |sets: &[&str]| {
        let (_, outcome) = prefill(&[&[FEW_LAYERS], sets].concat());
        let busy = |span: &octoplane::timeline::Span| span.label.phase == Phase::Experts;
        outcome.timeline.spans().filter(busy).map(|span| span.released - span.start).sum::<Duration>()
    };
    let ratio = experts(&["workload.prefill.experts.sms=20"]) / experts(&["workload.prefill.experts.sms=1"]);
    // Products of whole waves are slower by 131 / 112 at most, up to a wave's rounding; what power limits is not.
    assert!(ratio > 1.0 && ratio < 1.25, "{ratio}");
}

#[test]
fn busy_experts_slow_a_step_down_and_balancing_helps() {
    let step = |sets: &[&str]| prefill(&[&[FEW_LAYERS], sets].concat()).0.step;
    let skew = "workload.prefill.experts.gate.zipf.offset=20";
    let even = step(&[]);
    let skewed = step(&[skew, "workload.prefill.experts.balance=in_order"]);
    let balanced = step(&[skew, "workload.prefill.experts.balance=by_load"]);
    assert!(even < balanced && balanced < skewed, "{even} {balanced} {skewed}");
}

#[test]
fn five_stages_hide_more_than_two_and_no_more_than_everything() {
    let step = |schedule: &str| {
        let outcome = run("h800_ep128_decode.toml", &[&format!("workload.decode.schedule={schedule}")]);
        let Metrics::Decode(metrics) = outcome.metrics else { panic!("a decode step was asked for") };
        (metrics.step, metrics.breakdown.computing)
    };
    let ((two, computing), (five, same)) = (step("in_turn"), step("five_stage"));
    assert_eq!(computing, same, "the order changes nothing about the work");
    assert!(five < two && five >= computing, "{five} {two} {computing}");
}

#[test]
fn a_host_that_launches_slowly_decides() {
    let step = |launch: &str| {
        let outcome = run("qwen72b_h800_decode.toml", &[FEW_LAYERS, launch]);
        let Metrics::Decode(metrics) = outcome.metrics else { panic!("a decode step was asked for") };
        let kernels =
            outcome.timeline.spans().filter(|span| matches!(span.work, octoplane::workload::Work::Compute(_)));
        (metrics.step, kernels.count() as u64)
    };
    let (graph, kernels) = step("workload.decode.launch=graph");
    let (slow, _) = step("workload.decode.launch.stream.per_kernel=1 ms");
    assert!(slow >= Duration::from_ns(1_000_000) * kernels && slow <= Duration::from_ns(1_000_000) * kernels + graph);
}

#[test]
fn a_single_user_waits_for_one_prompt_and_one_step_per_token() {
    let alone = ["workload.serving.requests=5", "workload.serving.arrivals.closed.users=1"];
    let one = colocated(&alone);
    let slower = colocated(&[&alone[..], &["workload.serving.step_overhead=1 ms"]].concat());
    let ms = Duration::from_ns(1_000_000);
    // Each answer is 1 prompt step and output - 1 decode steps; the host adds its time to each.
    assert_eq!(one.requests, 5);
    assert_eq!(slower.tpot.mean.as_ps() / 1000, (one.tpot.mean + ms).as_ps() / 1000);
    assert_eq!(slower.ttft.mean, one.ttft.mean + ms);
    assert_eq!(one.ttft.mean, one.ttft_admitted.mean, "nobody is in front");
}

#[test]
fn users_times_rate_is_time_in_the_system() {
    // Little's law: requests in the system = answers per second x time of each.
    let users = 24.0;
    let m = colocated(&["workload.serving.requests=600", "workload.serving.arrivals.closed.users=24"]);
    let in_system = m.requests as f64 / m.span.as_secs() * m.whole.mean.as_secs();
    assert!((in_system / users - 1.0).abs() < 0.06, "{in_system}");
    assert!(m.ttft.median <= m.ttft.p90 && m.ttft.p90 <= m.ttft.p99);
}

/// One node that serves a few users, with something else asked of it.
fn asked(requests: u32, change: impl Fn(&mut ServingSpec)) -> (ServingMetrics, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/qwen72b_h800_serving.toml");
    let mut scenario = load::<Scenario>(&path, &[format!("workload.serving.requests={requests}")]).unwrap().value;
    let WorkloadSpec::Serving(spec) = &mut scenario.workload else { panic!("serving was described") };
    change(spec);
    let outcome = simulate(&scenario).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let Metrics::Serving(metrics) = outcome.metrics else { panic!("serving was asked for") };
    (*metrics, outcome.notes)
}

/// Random arrivals of exponential lengths, on average as long as those of the shipped scenario.
fn open_loop(requests: u32, milliseconds: u64) -> (ServingMetrics, Vec<String>) {
    let [input, output] = [2048, 256].map(|tokens| Count::new(tokens).unwrap());
    asked(requests, |spec| {
        spec.arrivals = ArrivalsChoice::Poisson { every: Duration::from_ns(milliseconds * 1_000_000) };
        spec.lengths = LengthsChoice::Exponential { input, output };
    })
}

#[test]
fn served_load_is_offered_load_however_many_requests_are_simulated() {
    let runs = [10_000, 30_000, 100_000].map(|requests| open_loop(requests, 400).0);
    for m in &runs {
        assert!(m.window.is_steady(), "{:?}", m.window);
        let offered = 256.0 / 0.4;
        assert!((m.output_per_sec / offered - 1.0).abs() < 0.03, "{} of {offered}", m.output_per_sec);
        assert!((m.input_per_sec / (2048.0 / 0.4) - 1.0).abs() < 0.03, "{}", m.input_per_sec);
        assert!(m.offered_output_per_sec.is_some_and(|found| (found / offered - 1.0).abs() < 0.03));
    }
    let ratio = |of: fn(&ServingMetrics) -> f64| of(&runs[0]) / of(&runs[2]);
    for (name, ratio) in [
        ("cost", ratio(|m| m.usd_per_million_output.unwrap())),
        ("energy", ratio(|m| m.kwh_per_million_output.unwrap())),
        ("utilisation", ratio(|m| m.decode_utilisation)),
    ] {
        assert!((ratio - 1.0).abs() < 0.03, "{name}: {ratio}");
    }
}

#[test]
fn a_run_that_ends_before_its_pools_have_filled_says_so() {
    // An answer takes three quarters of a minute on average, and 2,000 requests arrive within 12 seconds.
    let few = ["workload.serving.requests=2000", FEW_LAYERS, "workload.serving.step_overhead=35 ms"];
    let outcome = run("h800_serving.toml", &few);
    assert!(outcome.notes.iter().any(|note| note.contains("not steady")), "{:?}", outcome.notes);
    // A tenth of what is asked for is too much.
    let (light, quiet) = open_loop(2000, 400);
    let (heavy, notes) = open_loop(2000, 40);
    assert!(!quiet.iter().any(|note| note.contains("queue up")), "{quiet:?}");
    assert!(notes.iter().any(|note| note.contains("queue up") || note.contains("not steady")), "{notes:?}");
    assert!(heavy.decode_utilisation >= light.decode_utilisation && heavy.decode_utilisation <= 1.0);
}

#[test]
fn rates_over_the_window_obey_littles_law_in_a_closed_loop() {
    for users in [4_u32, 16, 32] {
        let (sets, requests) = (format!("workload.serving.arrivals.closed.users={users}"), 40 * users);
        let m = colocated(&[&format!("workload.serving.requests={requests}"), &sets]);
        // Answers are evenly between 0.8 of 256 tokens and 256.
        let in_system = m.output_per_sec / 230.4 * m.whole.mean.as_secs();
        assert!((in_system / f64::from(users) - 1.0).abs() < 0.03, "{users}: {in_system}");
    }
}

#[test]
fn every_token_is_emitted_once() {
    // One request every ten seconds, which is a sixtieth of all: the load is the same from the start on. The last one only ends the window.
    let row = |index: u64, output| TraceRow {
        arrival: Duration::from_ns(index * 10_000_000_000),
        input: Count::new(900).unwrap(),
        output: Count::new(output).unwrap(),
    };
    let rows: Vec<TraceRow> = (0..60).map(|index| row(index, 77)).chain([row(60, 1)]).collect();
    for acceptance in [None, Some(0.85)] {
        let (m, _) = asked(61, |spec| {
            spec.arrivals = ArrivalsChoice::Rows(rows.clone());
            let acceptance = acceptance.map(|acceptance| Fraction::new(acceptance).unwrap());
            spec.decode.mtp = acceptance.map(|acceptance| MtpSpec { drafted: Count::ONE, acceptance });
        });
        assert_eq!(m.window.from, Time::ZERO);
        let seconds = m.window.length().as_secs();
        let tokens = m.output_per_sec * seconds;
        assert!((tokens - 60.0 * 77.0).abs() < 1e-6, "{tokens}");
        assert!((m.input_per_sec * seconds - 60.0 * 900.0).abs() < 1e-6);
    }
}

#[test]
fn more_load_means_longer_waits_and_fuller_pools() {
    let at = |milliseconds: u64| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/qwen72b_h800_serving.toml");
        let mut scenario = load::<Scenario>(&path, &["workload.serving.requests=400".to_owned()]).unwrap().value;
        let WorkloadSpec::Serving(spec) = &mut scenario.workload else { panic!("serving was described") };
        spec.arrivals = ArrivalsChoice::Poisson { every: Duration::from_ns(milliseconds * 1_000_000) };
        let Metrics::Serving(metrics) = simulate(&scenario).unwrap().metrics else { panic!("serving was asked for") };
        *metrics
    };
    let (light, heavy) = (at(2000), at(100));
    assert!(heavy.tpot.mean > light.tpot.mean && heavy.ttft.p99 > light.ttft.p99);
    assert!(heavy.decode_utilisation > light.decode_utilisation && heavy.decode_utilisation <= 1.0);
    assert!(heavy.output_per_sec > light.output_per_sec);
}

#[test]
fn keys_and_values_take_their_time_between_pools() {
    let few = ["workload.serving.requests=300", "model.layers=5", "workload.serving.arrivals.poisson.every=200 ms"];
    let m = serving("h800_serving.toml", &[&few[..], &["workload.serving.lengths.exponential.input=100000"]].concat());
    let transfer = m.transfer.expect("pools are apart");
    // 5 layers x 576 BF16 values of 100,000 positions on average, over one NIC of 47.5 GB/s at most 50 GB/s.
    let least = 5.0 * 576.0 * 2.0 * 80_000.0 / 50e9;
    assert!(transfer.mean.as_secs() > least && transfer.mean.as_secs() < 3.0 * least, "{}", transfer.mean);
}

#[test]
fn prompts_that_are_noticed_late_wait_and_none_is_lost() {
    let at_once = colocated(&["workload.serving.requests=400"]);
    let looking = colocated(&["workload.serving.requests=400", "workload.serving.colocation.look_every=30"]);
    let gathering = colocated(&[
        "workload.serving.requests=400",
        "workload.serving.colocation.gather.steps=30",
        "workload.serving.colocation.gather.share=1",
    ]);
    for (name, late) in [("look_every", &looking), ("gather", &gathering)] {
        assert_eq!(late.requests, at_once.requests, "{name}");
        // At most thirty steps without prompts; two prompts fill a step, so that those who gather wait for one more.
        let (more, step) = (late.ttft.mean.as_secs() - at_once.ttft.mean.as_secs(), late.tpot.mean.as_secs());
        assert!(more > step && more < 31.0 * step, "{name}: {more} s for steps of {step} s");
        // Fewer requests decode meanwhile, and no prompt delays them.
        assert!(late.tpot.mean < at_once.tpot.mean, "{name}");
    }
}

fn served(scenario: &Scenario) -> ServingMetrics {
    let Metrics::Serving(metrics) = simulate(scenario).unwrap_or_else(|invalid| panic!("{invalid:?}")).metrics else {
        panic!("serving was asked for")
    };
    *metrics
}

fn refused(sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/qwen72b_h800_serving.toml");
    let loaded = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}"));
    let invalid = simulate(&loaded.value).expect_err("it cannot be served");
    format!("{}", loaded.error(&invalid))
}

#[test]
fn a_maximum_that_is_never_reached_changes_nothing() {
    let at = |most: &str| {
        colocated(&["workload.serving.requests=200", &format!("workload.serving.decode.requests_per_gpu={most}")])
    };
    let (few, many) = (at("8"), at("96"));
    assert_eq!((few.tpot, few.ttft, few.whole), (many.tpot, many.ttft, many.whole));
}

#[test]
fn prompts_take_as_long_beside_decoding_as_in_a_step_of_their_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/qwen72b_h800_decode.toml");
    let step = |prompt: u32| {
        let mut scenario = load::<Scenario>(&path, &[]).unwrap().value;
        let text = format!("prompt = {prompt}\ntokens_per_gpu = {}", prompt / 4);
        scenario.workload = WorkloadSpec::Prefill(toml::from_str(&text).unwrap());
        let Metrics::Prefill(metrics) = simulate(&scenario).unwrap().metrics else { panic!("a step was asked for") };
        metrics.step.as_secs()
    };
    // None of these lengths is a point of the table.
    for prompt in [148, 928, 3640, 14_000] {
        let mut scenario = load::<Scenario>(&path, &[]).unwrap().value;
        let text = format!(
            "requests = 3\narrivals = {{ closed = {{ users = 1 }} }}\nlengths = {{ fixed = {{ input = {prompt}, output = 2 }} }}\n\
             decode = {{ requests_per_gpu = 1 }}\ncolocation = {{ tokens_per_gpu = 8192 }}"
        );
        scenario.workload = WorkloadSpec::Serving(Box::new(toml::from_str(&text).unwrap()));
        let (found, exact) = (served(&scenario).ttft.mean.as_secs(), step(prompt));
        assert!((found / exact - 1.0).abs() < 0.03, "{prompt} positions: {found} s of {exact} s");
    }
}

#[test]
fn times_between_simulated_steps_are_near_those_of_a_mixture_of_experts() {
    // Kernels for few requests change with their number, so that 20 are further off than others.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/h200_node_decode.toml");
    let sets = ["parallelism.tp=8".to_owned(), "model.layers=8".to_owned()];
    let mut scenario = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}")).value;
    let text = "requests = 60\narrivals = { closed = { users = 20 } }\n\
                lengths = { uniform = { input = 1024, output = 256, least = 0.8 } }\n\
                decode = { requests_per_gpu = 4, experts = { reach = 'all_reduce' } }\n\
                colocation = { tokens_per_gpu = 4096, prompts_first = true }";
    scenario.workload = WorkloadSpec::Serving(Box::new(toml::from_str(text).unwrap()));
    let error = served(&scenario).facts.steps.1;
    assert!(error > 0.0 && error < 0.1, "{error}");
}

#[test]
fn logits_of_a_full_batch_leave_less_room_for_the_cache() {
    // A room for two thousand requests, of which the cache holds far fewer.
    let at = |most: &str| {
        let sets = ["workload.serving.requests=50", &format!("workload.serving.decode.requests_per_gpu={most}")];
        let outcome = run("qwen72b_h800_serving.toml", &sets);
        let memory = outcome.memory.expect("a model is kept");
        assert!(memory.used.total() <= memory.capacity, "{most}");
        let Metrics::Serving(metrics) = outcome.metrics else { panic!("serving was asked for") };
        metrics.facts.cache_positions
    };
    assert!(at("2000") < at("8"));
}

#[test]
fn a_cache_takes_its_part_of_memory_in_its_own_format() {
    let positions = |sets: &[&str]| {
        let few = ["workload.serving.requests=20"];
        colocated(&[&few[..], sets].concat()).facts.cache_positions as f64
    };
    let all = positions(&[]);
    let half = positions(&["workload.serving.decode.cache.share=0.5"]);
    assert!((half / all - 0.5).abs() < 1e-3, "{half} {all}");
    let narrow = positions(&["workload.serving.decode.cache.kept=fp8"]);
    assert!((narrow / all - 2.0).abs() < 1e-3, "{narrow} {all}");
    // 72.7e9 parameters in BF16 on four GPUs of 80 GB each: 36.4 GB, and 80 layers x 8 heads x 2 x 128 values per position.
    let of_total = positions(&["workload.serving.decode.cache.share=0.8", "workload.serving.decode.cache.of=total"]);
    let expected = 2.0 * (0.8 * 85.9e9 - 36.4e9) / (80.0 * 2.0 * 2.0 * 128.0 * 2.0);
    assert!(of_total < all && (of_total / expected - 1.0).abs() < 0.1, "{of_total} {expected}");
    let message = refused(&["workload.serving.decode.cache.share=0.4", "workload.serving.decode.cache.of=total"]);
    assert!(message.contains("decode.cache.share") && message.contains("no room"), "{message}");
}

#[test]
fn requests_that_no_cache_holds_and_prompts_that_no_step_takes_whole_are_refused() {
    let message = refused(&["workload.serving.lengths.uniform.input=3000000000"]);
    assert!(message.contains("workload.serving.lengths") && message.contains("holds"), "{message}");
    let whole = "workload.serving.colocation.whole_prompts=true";
    let message = refused(&[whole, "workload.serving.lengths.uniform.input=4096"]);
    assert!(message.contains("tokens_per_gpu") && message.contains("takes 2048"), "{message}");
}

#[test]
fn whole_prompts_leave_room_in_a_step() {
    // The first of four prompts of 1,500 positions starts alone. Of the others a step of two groups with 2,048 each takes two and a part of the
    // third, or two only, which takes less time.
    let few = [
        "workload.serving.requests=4",
        "workload.serving.arrivals.closed.users=4",
        "workload.serving.lengths.uniform.least=1",
        "workload.serving.lengths.uniform.input=1500",
        "workload.serving.lengths.uniform.output=2",
    ];
    let split = colocated(&few).ttft;
    let whole = colocated(&[&few[..], &["workload.serving.colocation.whole_prompts=true"]].concat()).ttft;
    assert!(whole.median < split.median, "{} {}", whole.median, split.median);
    // One, two, two and three steps of the same prompts; tokens of those before add little.
    let steps = whole.p99 / whole.median;
    assert!((steps - 1.5).abs() < 0.05, "{steps}");
}

#[test]
fn too_few_answers_for_a_rate_have_no_cost_and_no_energy() {
    let one = colocated(&["workload.serving.requests=1", "workload.serving.arrivals.closed.users=1"]);
    assert_eq!((one.kwh_per_million_output, one.usd_per_million_output), (None, None));
    assert!(colocated(&["workload.serving.requests=100"]).kwh_per_million_output.is_some_and(f64::is_finite));
}

#[test]
fn the_same_seed_serves_the_same() {
    let runs = [colocated(&["workload.serving.requests=100"]), colocated(&["workload.serving.requests=100"])];
    assert_eq!(runs[0], runs[1]);
}

/// Experts of a few layers spread over 32 GPUs that serve `users` users, prompts by a pool of their own or beside decoding.
fn spread_experts(users: u32, apart: bool) -> ServingMetrics {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/h800_serving.toml");
    let few = [FEW_LAYERS, "nodes=4", "parallelism.ep=32", "workload.serving.prefix_hits=0"].map(str::to_owned);
    let requests = [format!("workload.serving.requests={}", 3 * users)];
    let mut scenario = load::<Scenario>(&path, &[&few[..], &requests].concat()).unwrap().value;
    let WorkloadSpec::Serving(spec) = &mut scenario.workload else { panic!("serving was described") };
    spec.arrivals = ArrivalsChoice::Closed { users: Count::new(users).unwrap() };
    let [input, output] = [4000, 60].map(|tokens| Count::new(tokens).unwrap());
    spec.lengths = LengthsChoice::Fixed { input, output };
    match &mut spec.prefill {
        Some(prefill) if apart => prefill.instances = Count::ONE,
        _ => {
            spec.prefill = None;
            spec.colocation = Some(toml::from_str("tokens_per_gpu = 16384\nprompts_first = true").unwrap());
        }
    }
    served(&scenario)
}

#[test]
fn a_step_costs_what_its_ranks_hold() {
    for apart in [true, false] {
        let [one, some, all] = [1, 8, 32].map(|users| spread_experts(users, apart));
        let prompt =
            |m: &ServingMetrics| m.prefilled.map_or(m.ttft_admitted.median, |prefilled| prefilled.median).as_secs();
        // One prompt is a thirty-second of the rows that experts see when every GPU has one; its own GPU does the same for it.
        let (alone, crowded) = (prompt(&one), prompt(&all));
        assert!(
            alone < 0.97 * crowded,
            "apart {apart}: a prompt takes {alone} s alone, {crowded} s where each GPU has one"
        );
        // Decoding wakes few experts for one request.
        let tpot = [&one, &some, &all].map(|m| m.tpot.median.as_secs());
        assert!(tpot[0] < tpot[1] && tpot[1] < tpot[2], "apart {apart}: {tpot:?}");
    }
}
