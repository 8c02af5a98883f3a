//! How long the flow model takes where others publish figures, without files around it: flows started at once, run to the last
//! arrival. Not a test: nothing fails when it is slow.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use octoplane::hardware::NodeSpec;
use octoplane::id::FlowId;
use octoplane::network::{FairShare, FaultSchedule, Flow, NetworkModel};
use octoplane::rng::Seed;
use octoplane::routing::{Routes, RoutingChoice, RoutingSpec};
use octoplane::scenario::load;
use octoplane::topology::{Cluster, TopologySpec, build_cluster};
use octoplane::units::{Bytes, Time};
use std::hint::black_box;
use std::path::Path;

/// `nodes` nodes of one GPU and one NIC on a fabric.
fn cluster(nodes: u32, fabric: &str, sets: &[&str]) -> Cluster {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let one = ["gpus=1".to_owned(), "nics.count=1".to_owned()];
    let node = load::<NodeSpec>(&root.join("hardware/nodes/dgx_h100.toml"), &one).expect("a shipped node loads");
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let fabric = load::<TopologySpec>(&root.join(fabric), &sets).expect("a shipped fabric loads");
    build_cluster(&node.value, nodes, Some(&fabric.value)).expect("it is built")
}

/// Every GPU sends to every other at once, as much as `bytes` says of the number of the flow.
fn all_to_all(cluster: &Cluster, policy: RoutingChoice, bytes: impl Fn(u64) -> u64) -> Time {
    let routing = RoutingSpec { policy: Some(policy), ..RoutingSpec::default() };
    let routes = Routes::with(&cluster.topology, routing, 1, &[]);
    let mut network = FairShare::new(&cluster.topology, routes, FaultSchedule::default());
    let n = cluster.gpus.len();
    let mut id = 0;
    for offset in 1..n {
        for from in 0..n {
            let [from, to] = [cluster.gpus[from], cluster.gpus[(from + offset) % n]];
            network.start(Time::ZERO, Flow { id: FlowId::new(id), from, to, bytes: Bytes::new(bytes(id as u64)) });
            id += 1;
        }
    }
    let mut arrived = Vec::new();
    let mut last = Time::ZERO;
    loop {
        match network.advance_until(Time::FAR_FUTURE, &mut arrived) {
            Time::FAR_FUTURE => return last,
            now => last = now,
        }
        arrived.clear();
    }
}

fn flows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flow");
    group.sample_size(10);
    let tree = cluster(256, "topologies/ft2.toml", &["switch.radix=32"]);
    for policy in [RoutingChoice::Static, RoutingChoice::Ecmp, RoutingChoice::Adaptive] {
        let id = BenchmarkId::new("256 hosts, fat tree, 65280 flows of 1 MB", format!("{policy:?}"));
        group.bench_function(id, |b| b.iter(|| black_box(all_to_all(&tree, policy, |_| 1_000_000))));
    }
    // No two flows are alike, so that every one is an event of its own.
    let small = cluster(64, "topologies/ft2.toml", &["switch.radix=16"]);
    let mut sizes = Seed(1).stream("sizes");
    let sizes: Vec<u64> = (0..64 * 63).map(|_| 500_000 + u64::from(sizes.below(1_000_000))).collect();
    for policy in [RoutingChoice::Static, RoutingChoice::Ecmp] {
        let id = BenchmarkId::new("64 hosts, fat tree, 4032 flows of 0.5 to 1.5 MB", format!("{policy:?}"));
        group.bench_function(id, |b| b.iter(|| black_box(all_to_all(&small, policy, |at| sizes[at as usize]))));
    }
    for n in [1024, 2048] {
        let star = cluster(n, "topologies/star.toml", &["switch.radix=4096"]);
        let id = BenchmarkId::new("all-to-all of 1 MB per GPU on one switch", n);
        let piece = 1_000_000 / u64::from(n);
        group.bench_function(id, |b| b.iter(|| black_box(all_to_all(&star, RoutingChoice::Static, |_| piece))));
    }
    group.finish();
}

criterion_group!(benches, flows);
criterion_main!(benches);
