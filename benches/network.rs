//! How fast packets move. Not a test: nothing fails when it is slow.
//!
//! Throughput is in packet hops: one packet over one cable. `benches/README.md` has the commands and what they gave.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use octoplane::hardware::WireSpec;
use octoplane::id::{DeviceId, FlowId};
use octoplane::network::{FaultSchedule, Flow, NetworkModel, PacketModel, PacketParams, Tally};
use octoplane::rng::Seed;
use octoplane::routing::{RoutingChoice, RoutingSpec};
use octoplane::topology::{DeviceKind, Topology, TopologySpec, build_fabric};
use octoplane::units::{Bytes, Time};
use std::hint::black_box;

/// A fat tree of 400 Gb/s InfiniBand for `hosts` endpoints.
fn tree(layers: u32, radix: u32, hosts: u32) -> (TopologySpec, Topology) {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let sets = [
        format!("shape.fat_tree.layers={layers}"),
        format!("shape.fat_tree.endpoints={hosts}"),
        format!("switch.radix={radix}"),
    ];
    let spec: TopologySpec =
        octoplane::scenario::load(&root.join("topologies/ft2.toml"), &sets).expect("a shipped topology loads").value;
    let topology = build_fabric(&spec).expect("a tree is built");
    (spec, topology)
}

/// From whom, to whom, how many bytes.
type Send = (usize, usize, u64);

fn permutation(hosts: usize, bytes: u64) -> Vec<Send> {
    let mut to: Vec<usize> = (0..hosts).collect();
    let mut rng = Seed(7).stream("permutation");
    for at in (1..hosts).rev() {
        to.swap(at, rng.below(at as u32 + 1) as usize);
    }
    to.into_iter().enumerate().filter(|(from, to)| from != to).map(|(from, to)| (from, to, bytes)).collect()
}

/// Every host sends `bytes` in all, an equal part to each host.
fn all_to_all(hosts: usize, bytes: u64) -> Vec<Send> {
    let to = |from: usize| (1..hosts).map(move |step| (from, (from + step) % hosts, bytes / hosts as u64));
    (0..hosts).flat_map(to).collect()
}

fn run(spec: &TopologySpec, topology: &Topology, policy: RoutingChoice, sends: &[Send]) -> Tally {
    // MTU 4096 and the headers of InfiniBand.
    let wire = WireSpec { payload: Bytes::new(4096), header: Bytes::new(26) };
    let params = PacketParams::of_fabric(spec, wire).expect("the switch says what the model needs");
    let routing = RoutingSpec { policy: Some(policy), ..RoutingSpec::default() };
    let mut model = PacketModel::new(topology, params, routing, 1, FaultSchedule::default());
    let ends: Vec<DeviceId> = topology.devices_of(DeviceKind::Nic).collect();
    for (id, &(from, to, bytes)) in sends.iter().enumerate() {
        let flow = Flow { id: FlowId::new(id), from: ends[from], to: ends[to], bytes: Bytes::new(bytes) };
        model.start(Time::ZERO, flow);
    }
    let mut arrived = Vec::with_capacity(sends.len());
    while model.advance_until(Time::FAR_FUTURE, &mut arrived) != Time::FAR_FUTURE {}
    assert_eq!(arrived.len(), sends.len(), "all flows arrive");
    model.tally()
}

fn case(criterion: &mut Criterion, name: &str, tree: (u32, u32, u32), policy: RoutingChoice, sends: &[Send]) {
    let (spec, topology) = self::tree(tree.0, tree.1, tree.2);
    let mut group = criterion.benchmark_group("packet");
    group.sample_size(10);
    group.throughput(Throughput::Elements(run(&spec, &topology, policy, sends).hops));
    group.bench_function(name, |b| b.iter(|| black_box(run(&spec, &topology, policy, sends))));
    group.finish();
}

fn permutations(criterion: &mut Criterion) {
    let sends = permutation(1024, 4_000_000);
    for (name, policy) in [
        ("static", RoutingChoice::Static),
        ("ecmp", RoutingChoice::Ecmp),
        ("adaptive", RoutingChoice::Adaptive),
        ("spray", RoutingChoice::Spray),
    ] {
        case(criterion, &format!("permutation, 1024 hosts, 4 MB, {name}"), (3, 16, 1024), policy, &sends);
    }
    let sends = permutation(128, 4_000_000);
    case(criterion, "permutation, 128 hosts, 4 MB, adaptive", (3, 8, 128), RoutingChoice::Adaptive, &sends);
}

fn all_to_alls(criterion: &mut Criterion) {
    for hosts in [64, 128, 256, 512] {
        let sends = all_to_all(hosts, 1 << 20);
        let name = format!("all-to-all, {hosts} hosts, 1 MiB");
        case(criterion, &name, (2, 32, hosts as u32), RoutingChoice::Adaptive, &sends);
    }
}

criterion_group!(benches, permutations, all_to_alls);
criterion_main!(benches);
