//! Simulated equals a closed form that is written out here.

use crate::cli::root;
use octoplane::engine;
use octoplane::gpu::Instant;
use octoplane::hardware::NodeSpec;
use octoplane::id::{DeviceId, LinkId};
use octoplane::network::{Analytic, Arrived, Flow, NetworkModel};
use octoplane::routing::Routes;
use octoplane::scenario::load;
use octoplane::timeline::{Timeline, critical_path};
use octoplane::topology::{Cluster, LinkKind, Topology, TopologySpec, build_cluster};
use octoplane::units::{Bytes, BytesPerSec, Duration, Time};
use octoplane::workload::{Collective, CollectiveWorkload, Work};

/// `nodes` nodes of one H100 and one NIC each, on a star or on a two-layer fat tree.
pub(crate) fn cluster(nodes: u32, layers: u32) -> Cluster {
    cluster_on(nodes, &[format!("shape.fat_tree.layers={layers}")])
}

fn cluster_on(nodes: u32, fabric: &[String]) -> Cluster {
    let one = ["gpus=1", "nics.count=1", "nics.nic.efficiency=0.8"].map(str::to_owned);
    let node = load::<NodeSpec>(&root().join("hardware/nodes/dgx_h100.toml"), &one);
    let fabric = load::<TopologySpec>(&root().join("topologies/ft2.toml"), fabric);
    build_cluster(&node.unwrap().value, nodes, Some(&fabric.unwrap().value)).unwrap()
}

fn collective(cluster: &Cluster, kind: Collective, bytes: Bytes) -> Timeline {
    let mut workload = CollectiveWorkload::new(kind, cluster.gpus.clone(), bytes);
    let mut network = Analytic::new(&cluster.topology);
    engine::run(&mut workload, &mut Instant, &mut network, &cluster.topology).unwrap()
}

/// Latency and narrowest rate of the way between two GPUs, added up from the links by hand.
fn way(cluster: &Cluster, from: usize, to: usize) -> (Duration, BytesPerSec) {
    let path = Routes::new(&cluster.topology).path(cluster.gpus[from], cluster.gpus[to]).unwrap();
    let links = || path.links.iter().map(|&link| cluster.topology.link(link));
    (links().map(|link| link.latency).sum(), links().map(|link| link.achievable).min().unwrap())
}

const KB: u64 = 1000;

#[test]
fn one_flow_takes_latency_plus_bytes_over_the_narrowest_link() {
    for layers in [1, 2] {
        let cluster = cluster(8, layers);
        let mut network = Analytic::new(&cluster.topology);
        let bytes = Bytes::new(123_457);
        let flow = Flow { id: octoplane::id::FlowId::new(0), from: cluster.gpus[0], to: cluster.gpus[7], bytes };
        network.start(Time::from_ps(500), flow);
        let mut arrived: Vec<Arrived> = Vec::new();
        let at = network.advance_until(Time::FAR_FUTURE, &mut arrived);
        let (latency, rate) = way(&cluster, 0, 7);
        // 400 Gb/s, of which 80 % are reached here.
        assert_eq!(rate, BytesPerSec::new(40_000_000_000));
        assert_eq!(at, Time::from_ps(500) + latency + bytes / rate);
        assert_eq!((arrived.len(), arrived[0].end), (1, at));
    }
}

#[test]
fn latency_is_that_of_table_5() {
    // arXiv 2505.09343, table 5, InfiniBand: 2.8 us behind one leaf, 3.7 us across leaves, host links aside.
    let (same_leaf, _) = way(&cluster(8, 1), 0, 7);
    let across = cluster(64, 2);
    let (cross_leaf, _) = way(&across, 0, 63);
    assert_eq!(same_leaf, Duration::from_ns(2800));
    assert_eq!(cross_leaf, Duration::from_ns(3700));
}

#[test]
fn nothing_arrives_before_the_limit_and_the_limit_is_kept() {
    let cluster = cluster(2, 1);
    let mut network = Analytic::new(&cluster.topology);
    let flow = |id| Flow {
        id: octoplane::id::FlowId::new(id),
        from: cluster.gpus[0],
        to: cluster.gpus[1],
        bytes: Bytes::new(40 * KB),
    };
    network.start(Time::ZERO, flow(0));
    network.start(Time::ZERO, flow(1));
    let mut arrived = Vec::new();
    let limit = Time::from_ps(1000);
    assert_eq!(network.advance_until(limit, &mut arrived), limit);
    assert!(arrived.is_empty());
    let (latency, _) = way(&cluster, 0, 1);
    let one = Duration::from_ns(1000);
    assert_eq!(network.advance_until(Time::FAR_FUTURE, &mut arrived), Time::ZERO + latency + one);
    assert_eq!(network.advance_until(Time::FAR_FUTURE, &mut arrived), Time::ZERO + latency + one * 2);
    assert_eq!(arrived[1].waited_for, Some(arrived[0].flow), "the port serves one flow after the other");
    assert_eq!(network.advance_until(Time::FAR_FUTURE, &mut arrived), Time::FAR_FUTURE);
}

#[test]
fn a_ring_all_reduce_takes_two_n_minus_one_steps() {
    for (n, layers) in [(4, 1), (16, 1), (64, 2)] {
        let cluster = cluster(n, layers);
        let bytes = Bytes::new(u64::from(n) * 400 * KB);
        let steps = 2 * (u64::from(n) - 1);
        let end = collective(&cluster, Collective::AllReduce, bytes).end() - Time::ZERO;
        // On the tree the slowest hop of the ring decides every step: neighbours on different leaves.
        let slowest = (0..n as usize).map(|rank| way(&cluster, rank, (rank + 1) % n as usize).0);
        let chunk = Bytes::new(400 * KB) / BytesPerSec::new(40_000_000_000);
        if layers == 1 {
            assert_eq!(end, (slowest.max().unwrap() + chunk) * steps);
        } else {
            // Two hops of the ring cross leaves. A chunk goes round almost twice, and so meets each of them twice, or one of them
            // three times when it starts just before it.
            let (near, far) = (way(&cluster, 0, 1).0, way(&cluster, 31, 32).0);
            let crossings = crossings_max(n as u64, steps);
            assert_eq!(end, (near + chunk) * (steps - crossings) + (far + chunk) * crossings);
        }
    }
}

/// Largest number of leaf crossings on `steps` consecutive hops of a ring over leaves of 32.
fn crossings_max(n: u64, steps: u64) -> u64 {
    (0..n).map(|start| (start..start + steps).filter(|hop| (hop + 1) % 32 == 0).count() as u64).max().unwrap()
}

#[test]
fn reduce_scatter_and_all_gather_take_half_of_an_all_reduce() {
    let cluster = cluster(8, 1);
    let bytes = Bytes::new(8 * 400 * KB);
    let time = |kind| collective(&cluster, kind, bytes).end() - Time::ZERO;
    assert_eq!(time(Collective::AllGather) * 2, time(Collective::AllReduce));
    assert_eq!(time(Collective::ReduceScatter), time(Collective::AllGather));
}

#[test]
fn an_all_to_all_sends_n_minus_one_pieces_through_one_port() {
    for (n, layers) in [(4, 1), (16, 1), (64, 2)] {
        let cluster = cluster(n, layers);
        let bytes = Bytes::new(u64::from(n) * 40 * KB);
        let timeline = collective(&cluster, Collective::AllToAll, bytes);
        let piece = Bytes::new(40 * KB) / BytesPerSec::new(40_000_000_000);
        let last = (0..n as usize).map(|from| {
            // Rank `from` sends its last piece to the rank before it, after all others.
            let arrival = |offset: usize| way(&cluster, from, (from + offset) % n as usize).0 + piece * offset as u64;
            (1..n as usize).map(arrival).max().unwrap()
        });
        assert_eq!(timeline.end() - Time::ZERO, last.max().unwrap());
        let sent = u64::from(n) * (u64::from(n) - 1) * 40 * KB;
        assert_eq!(timeline.bytes_sent(), Bytes::new(sent));
    }
}

#[test]
fn bytes_that_do_not_divide_are_neither_lost_nor_added() {
    let cluster = cluster(8, 1);
    let sum = |kind| collective(&cluster, kind, Bytes::new(1003)).bytes_sent();
    assert_eq!(sum(Collective::AllToAll), Bytes::new(8 * 1003 - 1003), "each keeps the piece that is its own");
    assert_eq!(sum(Collective::AllGather), Bytes::new(7 * 1003));
    assert_eq!(sum(Collective::AllReduce), Bytes::new(2 * 7 * 1003));
}

#[test]
fn the_critical_path_adds_up_and_spans_of_a_place_never_overlap() {
    let cluster = cluster(64, 2);
    for kind in [Collective::AllReduce, Collective::AllToAll, Collective::AllGather, Collective::Send] {
        let timeline = collective(&cluster, kind, Bytes::new(1_000_003));
        let path = critical_path(&timeline);
        assert_eq!(path[0].from, Time::ZERO);
        assert_eq!(path.last().unwrap().until, timeline.end());
        assert!(path.windows(2).all(|pair| pair[0].until == pair[1].from), "segments follow each other");
        let mut spans: Vec<_> = timeline.spans().collect();
        spans.sort_by_key(|span| (span.place, span.start));
        let apart =
            |pair: &[octoplane::timeline::Span]| pair[0].place != pair[1].place || pair[0].released <= pair[1].start;
        assert!(spans.windows(2).all(apart), "a port serves one flow at a time");
        no_link_above_capacity(&cluster.topology, &timeline);
    }
}

/// No port moves more than its rate allows in the time that it is occupied.
fn no_link_above_capacity(topology: &Topology, timeline: &Timeline) {
    for &(port, _) in &timeline.ports {
        let rate: BytesPerSec = topology.link(port).achievable;
        let end: Duration = timeline.end() - Time::ZERO;
        let passed = |span: octoplane::timeline::Span| match (span.place, span.work) {
            (octoplane::timeline::Place::Port(at), Work::Send { bytes, .. }) if at == port => bytes,
            _ => Bytes::ZERO,
        };
        let bytes: Bytes = timeline.spans().map(passed).sum();
        assert!(bytes <= rate.over(end), "{bytes} through a port of {rate} in {end}");
    }
}

#[test]
fn routes_are_as_long_as_the_tree_is_deep_and_spread_over_spines() {
    let cluster = cluster_on(64, &["shape.fat_tree.endpoints=2048".into()]);
    let mut routes = Routes::new(&cluster.topology);
    let mut hops = |from: usize, to: usize| routes.path(cluster.gpus[from], cluster.gpus[to]).unwrap().links;
    // GPU, NIC, leaf, NIC, GPU; across leaves also a spine and the other leaf.
    assert_eq!(hops(0, 1).len(), 4);
    assert_eq!(hops(0, 63).len(), 6);
    let uplinks: std::collections::BTreeSet<LinkId> = (32..64).map(|to| hops(0, to)[2]).collect();
    let kinds: Vec<LinkKind> = uplinks.iter().map(|&link| cluster.topology.link(link).kind).collect();
    assert!(kinds.iter().all(|&kind| kind == LinkKind::Fabric));
    let spines: std::collections::BTreeSet<DeviceId> =
        uplinks.iter().map(|&link| cluster.topology.ends(link).1).collect();
    assert_eq!(spines.len(), 32, "static routing takes each of the 32 spines for one of 32 neighbouring destinations");
}
