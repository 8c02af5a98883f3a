//! Rings and trees over nodes: closed forms, what the tuner expects against what turns out, and how operations grow.

use crate::communication::{Machine, machine, machine_on};
use octoplane::engine;
use octoplane::gpu::Instant;
use octoplane::network::Analytic;
use octoplane::routing::Routes;
use octoplane::units::{Bytes, Duration, Time};
use octoplane::workload::{
    Algorithm, Choice, Collective, CollectiveWorkload, Group, OpGraph, Protocol, Workload, choose, expected,
};

const ALL_REDUCE: Collective = Collective::AllReduce;

/// Every eighth GPU, or whichever share has one of each node: a data-parallel group.
fn one_of_each_node(machine: &Machine) -> Group {
    let per_node = machine.cluster.gpus.len() / machine.cluster.nodes as usize;
    let members: Vec<usize> = (0..machine.cluster.gpus.len()).step_by(per_node).collect();
    Group::of(&machine.cluster, &members, Some(&machine.costs))
}

fn time(machine: &Machine, group: &Group, choice: Choice, bytes: Bytes) -> Duration {
    let mut workload = CollectiveWorkload::chosen(ALL_REDUCE, choice, group.clone(), bytes);
    let mut network = Analytic::new(&machine.cluster.topology);
    engine::run(&mut workload, &mut Instant, &mut network, &machine.cluster.topology).unwrap().end() - Time::ZERO
}

fn operations(group: &Group, choice: Choice, bytes: Bytes) -> usize {
    let mut graph = OpGraph::default();
    CollectiveWorkload::chosen(ALL_REDUCE, choice, group.clone(), bytes).advance(Time::ZERO, &[], &mut graph).unwrap();
    graph.len()
}

/// Everything that can be asked for here.
fn possible(group: &Group, bytes: Bytes) -> Vec<Choice> {
    let algorithms =
        [Algorithm::Ring, Algorithm::Tree, Algorithm::Hierarchical, Algorithm::HierarchicalTree].into_iter();
    let all = algorithms.flat_map(|algorithm| {
        [Protocol::Ll, Protocol::Ll128, Protocol::Simple].map(|protocol| (Some(algorithm), Some(protocol)))
    });
    all.filter_map(|(algorithm, protocol)| choose(ALL_REDUCE, group, bytes, algorithm, protocol)).collect()
}

#[test]
fn a_tree_over_nodes_posts_once_per_level_up_and_down() {
    for levels in 1..=5 {
        let machine = machine("dgx_h100", 1 << levels, 1);
        let (group, costs) = (machine.group(), &machine.costs);
        let way = group.between.unwrap().trees;
        let half = Bytes::new(4);
        let step = costs.network.step + costs.ll.before_wire(half) + way.latency;
        let closed = costs.launch + costs.ll.start + step * (2 * levels);
        let chosen = choose(ALL_REDUCE, &group, half * 2, None, None).unwrap();
        let tree = Choice { algorithm: Algorithm::Tree, protocol: Protocol::Ll };
        let time = time(&machine, &group, tree, half * 2);
        // A few bytes of the other tree may be before those of this one on a port.
        let off = time.as_ps().abs_diff(closed.as_ps());
        assert!(off < 5_000, "{levels} levels: {time}, {closed} expected");
        if levels > 1 {
            assert_eq!(chosen, tree, "{levels} levels");
        }
    }
}

#[test]
fn what_the_tuner_expects_turns_out() {
    for (nodes, gpus) in [(2, 1), (5, 1), (16, 1), (32, 1), (4, 4), (16, 4)] {
        let machine = machine("dgx_h100", nodes, gpus);
        let group = machine.group();
        for bytes in [8, 64 << 10, 4 << 20, 256 << 20].map(Bytes::new) {
            for choice in possible(&group, bytes) {
                let expected = expected(ALL_REDUCE, &group, bytes, choice).unwrap().as_secs();
                let time = time(&machine, &group, choice, bytes).as_secs();
                let off = expected / time;
                // A tree of which some hops stay in the node is thought slower than it is, as its chunks are few.
                assert!(
                    (0.85..1.25).contains(&off),
                    "{nodes} x {gpus}, {bytes}: {choice:?} {expected} s, took {time} s"
                );
            }
        }
    }
}

/// On a direct network the way from the first rank to the last is one of many.
#[test]
fn the_tuner_knows_the_ways_that_algorithms_use_on_any_fabric() {
    let dragonfly =
        "[shape.dragonfly]\nrouters_per_group = 4\nendpoints_per_router = 2\nglobal_links_per_router = 2\ngroups = 5";
    let dragonfly = crate::routing::fabric_spec(dragonfly, 64);
    let slim_fly = crate::routing::fabric_spec("[shape.slim_fly]\nq = 5\nendpoints_per_router = 2", 64);
    let tree = crate::routing::fabric_spec("[shape.fat_tree]\nlayers = 3\nendpoints_per_leaf = 2", 8);
    for (fabric, nodes) in [(dragonfly, 39), (slim_fly, 21), (tree, 37)] {
        let machine = machine_on(&fabric, "dgx_h100", nodes, 1);
        let group = machine.group();
        let mut routes = Routes::new(&machine.cluster.topology);
        let mut latency = |a: usize, b: usize| routes.path(group.ranks[a], group.ranks[b]).unwrap().latency;
        let (n, ways) = (group.len(), group.between.unwrap());
        let farthest = (1..n).map(|to| latency(0, to)).max().unwrap();
        let round: Duration = (0..n).map(|at| latency(at, (at + 1) % n)).sum();
        assert_eq!((ways.peers.latency, ways.ring, ways.ends.latency), (farthest, ways.rails, latency(0, n - 1)));
        assert_eq!(ways.ring.latency.as_ps(), round.as_ps().div_ceil(n as u64));
        for bytes in [8, 4 << 20].map(Bytes::new) {
            for choice in possible(&group, bytes) {
                let expected = expected(ALL_REDUCE, &group, bytes, choice).unwrap().as_secs();
                let off = expected / time(&machine, &group, choice, bytes).as_secs();
                assert!((0.85..1.25).contains(&off), "{}, {bytes}: {choice:?} {off}", fabric.name);
            }
        }
    }
}

#[test]
fn nothing_that_can_be_asked_for_is_faster_by_an_eighth() {
    for (nodes, gpus) in [(2, 1), (5, 1), (16, 1), (32, 1), (4, 4), (16, 4), (8, 8)] {
        let machine = machine("dgx_h100", nodes, gpus);
        for group in [machine.group(), one_of_each_node(&machine)] {
            for bytes in [8, 4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20].map(Bytes::new) {
                let chosen = choose(ALL_REDUCE, &group, bytes, None, None).unwrap();
                let ours = time(&machine, &group, chosen, bytes);
                for other in possible(&group, bytes) {
                    let theirs = time(&machine, &group, other, bytes);
                    let ratio = ours.as_secs() / theirs.as_secs();
                    let place = format!("{} of {nodes} x {gpus}, {bytes}", group.len());
                    assert!(ratio < 1.12, "{place}: {chosen:?} takes {ours}, {other:?} {theirs}");
                }
            }
        }
    }
}

#[test]
fn groups_with_more_ranks_in_some_nodes_have_trees_and_lose_no_byte() {
    let machine = machine("dgx_h100", 8, 8);
    // Three of node 0, one each of the others.
    let members: Vec<usize> = [0, 1, 2].into_iter().chain((8..64).step_by(8)).collect();
    let group = Group::of(&machine.cluster, &members, Some(&machine.costs));
    let (n, bytes) = (members.len() as u64, Bytes::new(10 * 1000));
    let chosen = choose(ALL_REDUCE, &group, bytes, None, None).unwrap();
    assert_eq!(chosen.algorithm, Algorithm::Tree);
    let bare = Choice { algorithm: Algorithm::Tree, protocol: Protocol::Bare };
    let mut workload = CollectiveWorkload::chosen(ALL_REDUCE, bare, group.clone(), bytes);
    let mut network = Analytic::new(&machine.cluster.topology);
    let timeline = engine::run(&mut workload, &mut Instant, &mut network, &machine.cluster.topology).unwrap();
    assert_eq!(timeline.bytes_sent(), bytes * (2 * (n - 1)));
    let ring = Choice { algorithm: Algorithm::Ring, ..chosen };
    assert!(time(&machine, &group, chosen, bytes) < time(&machine, &group, ring, bytes));
}

#[test]
fn operations_grow_with_ranks_and_parts_and_not_with_their_square() {
    let bytes = Bytes::new(1 << 30);
    for nodes in [32, 64, 128, 256] {
        let machine = machine("dgx_h100", nodes, 8);
        let group = machine.group();
        let ranks = group.len();
        let chosen = choose(ALL_REDUCE, &group, bytes, None, None).unwrap();
        // Of each of 32 parts a rank sends seven times before and after its tree, and there on average four times; with posting
        // and copying three operations each.
        let operations = operations(&group, chosen, bytes);
        assert!(operations <= ranks * 32 * 3 * (7 + 4 + 7 + 1), "{nodes} nodes: {operations} of {chosen:?}");
    }
    let rings = |nodes| {
        let machine = machine("dgx_h100", nodes, 8);
        let choice = Choice { algorithm: Algorithm::Hierarchical, protocol: Protocol::Simple };
        operations(&machine.group(), choice, bytes)
    };
    // Four times as many nodes have four times as many ranks and steps; parts become fewer instead.
    assert!(rings(64) < rings(16) * 8, "{} and {}", rings(16), rings(64));
}

#[test]
fn nics_carry_the_flags_of_a_protocol_with_its_data() {
    let machine = machine("dgx_h100", 4, 1);
    assert_eq!(machine.costs.network.wire_share.get(), 1.0, "else headers come on top");
    let sent = |protocol| {
        let choice = Choice { algorithm: Algorithm::Ring, protocol };
        machine.run(ALL_REDUCE, choice, Bytes::new(4 * 15_000)).bytes_sent().get()
    };
    let data = 6 * 4 * 15_000;
    assert_eq!(sent(Protocol::Bare), data);
    // Four bytes of flag with four of data; eight with 120; none.
    let carried = [Protocol::Ll, Protocol::Ll128, Protocol::Simple].map(sent);
    assert_eq!(carried, [2 * data, data / 15 * 16, data]);
}
