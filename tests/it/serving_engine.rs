//! Serving on the one clock: what its timeline holds, transfers of keys and values on the fabric, faults.

use octoplane::metrics::{Metrics, Outcome, ServingMetrics};
use octoplane::network::FaultSpec;
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, WorkloadSpec, load};
use octoplane::timeline::{Place, critical_path};
use octoplane::topology::DeviceKind;
use octoplane::units::{Count, Duration, Time};
use octoplane::workload::{ArrivalsChoice, LengthsChoice, Phase, Work};
use std::path::Path;

/// Two nodes that decode and two instances of a node that compute prompts, for a few layers.
const SMALL: &[&str] = &[
    "model.layers=5",
    "nodes=2",
    "parallelism.ep=16",
    "workload.serving.requests=200",
    "workload.serving.arrivals.poisson.every=20 ms",
    "workload.serving.prefill.instances=2",
    "workload.serving.prefill.nodes=1",
    "workload.serving.prefill.parallelism.ep=8",
];

#[derive(serde::Deserialize)]
struct Faults {
    #[serde(default)]
    fault: Vec<FaultSpec>,
}

fn scenario(sets: &[&str], faults: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/h800_serving.toml");
    let sets: Vec<String> = SMALL.iter().chain(sets).map(|set| (*set).to_owned()).collect();
    let mut scenario = load::<Scenario>(&path, &sets).unwrap_or_else(|error| panic!("{error}")).value;
    scenario.fault = toml::from_str::<Faults>(faults).unwrap().fault;
    scenario
}

fn run(sets: &[&str], faults: &str) -> (ServingMetrics, Outcome) {
    let outcome = simulate(&scenario(sets, faults)).unwrap_or_else(|invalid| panic!("{invalid:?}"));
    let Metrics::Serving(metrics) = &outcome.metrics else { panic!("serving was asked for") };
    ((**metrics).clone(), outcome)
}

#[test]
fn the_timeline_holds_steps_transfers_and_phases_of_requests() {
    let (metrics, outcome) = run(&[], "");
    let timeline = &outcome.timeline;
    let count = |phase: Phase| timeline.spans().filter(|span| span.label.phase == phase).count();
    assert!(count(Phase::PrefillStep) > 0 && count(Phase::DecodeStep) > 0);
    // One GPU of a group of one sends the latent cache of each request that decodes.
    let decoding = 200 - timeline.requests.iter().filter(|request| request.moved == Time::FAR_FUTURE).count();
    assert!(count(Phase::KvTransfer) >= decoding - 5 && count(Phase::KvTransfer) <= 200);
    assert_eq!(metrics.requests, 200);
    assert!(
        timeline.requests.len() >= 64 && timeline.requests.iter().all(|request| request.finished != Time::FAR_FUTURE)
    );
    for request in timeline.requests.iter().filter(|request| request.moved != Time::FAR_FUTURE) {
        let ordered = [request.arrival, request.admitted, request.prefilled, request.moved, request.finished];
        assert!(ordered.windows(2).all(|pair| pair[0] <= pair[1]), "{request:?}");
    }
    let path = critical_path(timeline);
    assert!(path.len() > 100 && path.last().is_some_and(|last| last.until == timeline.end()));
    assert!(path.windows(2).all(|pair| pair[0].until == pair[1].from));
    assert!(outcome.step().end() < timeline.end() && outcome.parts.len() == 1);
}

#[test]
fn keys_and_values_are_conserved_and_leave_by_the_gpus_that_hold_them() {
    let (_, outcome) = run(&["workload.serving.lengths.exponential.output=50"], "");
    let topology = &outcome.cluster.topology;
    let sends = outcome.timeline.spans().filter(|span| span.label.phase == Phase::KvTransfer);
    let mut bytes = 0;
    for span in sends {
        let Work::Send { from, to, bytes: sent } = span.work else { panic!("a transfer is a send") };
        assert!(matches!(span.place, Place::Port(_)));
        let [from, to] = [from, to].map(|id| topology.device(id));
        assert!(from.kind == DeviceKind::Gpu && to.kind == DeviceKind::Gpu);
        assert!(from.group >= 2 && from.group < 4 && to.group < 2, "decoding instances come first: {from} {to}");
        bytes += sent.get();
    }
    // 5 layers of 576 values in BF16 per position.
    assert!(bytes > 0 && bytes.is_multiple_of(5 * 576 * 2), "{bytes}");
}

#[test]
fn a_transfer_alone_takes_its_bytes_over_its_nic_and_the_latency_of_its_path() {
    let mut scenario = scenario(&["workload.serving.requests=4"], "");
    let WorkloadSpec::Serving(spec) = &mut scenario.workload else { panic!("serving was described") };
    spec.arrivals = ArrivalsChoice::Closed { users: Count::ONE };
    let [input, output] = [50_000, 2].map(|tokens| Count::new(tokens).unwrap());
    spec.lengths = LengthsChoice::Fixed { input, output };
    let Metrics::Serving(metrics) = simulate(&scenario).unwrap().metrics else { panic!("serving was asked for") };
    let transfer = metrics.transfer.expect("pools are apart").mean;
    // 50,000 positions at what a NIC sustains of 50 GB/s; a path through one or three switches adds microseconds.
    let wire = 50_000.0 * 5.0 * 576.0 * 2.0 / 50e9;
    assert!(transfer.as_secs() > wire && transfer.as_secs() < 1.06 * wire + 20e-6, "{transfer} {wire}");
}

/// All NICs of a node, so that no other one takes what one has to leave.
fn nics(node: u32, effect: &str) -> String {
    let fault = |nic| format!("[[fault]]\ntarget.nic = \"node{node:03}/nic{nic}\"\n{effect}\n");
    (0..8).map(fault).collect()
}

#[test]
fn faults_reach_steps_and_transfers_of_the_instances_that_they_hit() {
    let (healthy, outcome) = run(&[], "");
    let end = (outcome.timeline.end() - Time::ZERO).as_secs();
    let transfers = |m: &ServingMetrics| m.transfer.expect("pools are apart").p99;
    let (slowed, _) = run(&[], &nics(0, "effect.degraded.to = 0.01"));
    assert_eq!(slowed.requests, 200);
    assert!(slowed.tpot.mean > healthy.tpot.mean.scaled(1.05), "{} {}", slowed.tpot.mean, healthy.tpot.mean);
    assert!(transfers(&slowed) > transfers(&healthy) * 2, "{} {}", transfers(&slowed), transfers(&healthy));
    // Steps of a node that computes prompts by itself need no NIC, and those of others none of its.
    let (other, _) = run(&[], &nics(2, "effect.degraded.to = 0.01"));
    assert!(transfers(&other) > transfers(&healthy) * 2, "{} {}", transfers(&other), transfers(&healthy));
    assert!(other.tpot.mean < healthy.tpot.mean.scaled(1.05), "{} {}", other.tpot.mean, healthy.tpot.mean);
    // Later than everything.
    let late = format!("effect.degraded.to = 0.01\nfrom = \"{} s\"", end.ceil() + 1.0);
    assert_eq!(run(&[], &nics(0, &late)).0, healthy);
}

#[test]
fn steps_without_a_way_wait_until_it_is_back() {
    let down = "effect = \"down\"\nfrom = \"1 s\"";
    let healthy = run(&[], "").0;
    let (cut, _) = run(&[], &nics(0, &format!("{down}\nuntil = \"3 s\"")));
    assert_eq!(cut.requests, 200);
    let waited = cut.whole.mean.saturating_sub(healthy.whole.mean);
    assert!(waited > Duration::from_ns(300_000_000) && waited < Duration::from_ns(4_000_000_000), "{waited}");
    let invalid = simulate(&scenario(&[], &nics(0, down))).expect_err("no step ends");
    assert!(invalid.place == ["fault"] && invalid.message.contains("no way is left"), "{invalid:?}");
}

#[test]
fn a_fabric_that_is_too_small_names_the_nodes_that_are_needed() {
    let invalid =
        simulate(&scenario(&["workload.serving.prefill.instances=255"], "")).expect_err("256 nodes are too few");
    assert_eq!(invalid.place, ["topology"]);
    assert!(invalid.message.contains("257 nodes"), "{}", invalid.message);
}
