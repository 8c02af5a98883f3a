//! Collectives and expert exchanges: closed forms, conservation of bytes, the tuner, and what must grow with what.

use crate::cli::root;
use octoplane::engine;
use octoplane::gpu::Instant;
use octoplane::hardware::{CollectiveCosts, NodeSpec, ProtocolSpec, on_wire};
use octoplane::metrics::{Metrics, MoeExchangeMetrics};
use octoplane::network::{Analytic, FairShare, FaultSchedule, NetworkModel};
use octoplane::routing::Routes;
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use octoplane::timeline::Timeline;
use octoplane::topology::{Cluster, TopologySpec, build_cluster};
use octoplane::units::{Bytes, Duration, Time};
use octoplane::workload::{
    Algorithm, Choice, Collective, CollectiveWorkload, Group, Protocol, Way, choose, choose_in_engine,
};

pub(crate) struct Machine {
    pub(crate) cluster: Cluster,
    pub(crate) costs: CollectiveCosts,
}

pub(crate) fn machine(node: &str, nodes: u32, gpus: u32) -> Machine {
    let fabric = load::<TopologySpec>(&root().join("topologies/ft2.toml"), &[]).unwrap().value;
    machine_on(&fabric, node, nodes, gpus)
}

pub(crate) fn machine_on(fabric: &TopologySpec, node: &str, nodes: u32, gpus: u32) -> Machine {
    let sets = [format!("gpus={gpus}"), format!("nics.count={gpus}")];
    let node = load::<NodeSpec>(&root().join(format!("hardware/nodes/{node}.toml")), &sets).unwrap().value;
    let cluster = build_cluster(&node, nodes, Some(fabric)).unwrap();
    Machine { cluster, costs: node.communication.unwrap().collectives }
}

impl Machine {
    pub(crate) fn group(&self) -> Group {
        let members: Vec<usize> = (0..self.cluster.gpus.len()).collect();
        Group::of(&self.cluster, &members, Some(&self.costs))
    }

    pub(crate) fn run(&self, collective: Collective, choice: Choice, bytes: Bytes) -> Timeline {
        self.run_over(&mut Analytic::new(&self.cluster.topology), collective, choice, bytes)
    }

    fn run_over(
        &self,
        network: &mut dyn NetworkModel,
        collective: Collective,
        choice: Choice,
        bytes: Bytes,
    ) -> Timeline {
        let mut workload = CollectiveWorkload::chosen(collective, choice, self.group(), bytes);
        engine::run(&mut workload, &mut Instant, network, &self.cluster.topology).unwrap()
    }

    pub(crate) fn time(&self, collective: Collective, choice: Choice, bytes: Bytes) -> Duration {
        self.run(collective, choice, bytes).end() - Time::ZERO
    }

    pub(crate) fn auto(&self, collective: Collective, bytes: Bytes) -> Choice {
        choose(collective, &self.group(), bytes, None, None).unwrap()
    }
}

const RINGS: [(Collective, u64); 3] =
    [(Collective::AllReduce, 2), (Collective::AllGather, 1), (Collective::ReduceScatter, 1)];

fn step(spec: &ProtocolSpec, group: &Group, bytes: Bytes) -> Duration {
    let way = group.inside.unwrap();
    let wire = way.latency + on_wire(bytes, spec.wire_share) / way.rate;
    let copied = bytes / spec.copy_rate;
    if spec.overlapped { spec.step + wire.max(copied) } else { spec.step + copied + wire }
}

#[test]
fn a_ring_under_a_protocol_takes_its_start_and_its_steps() {
    let machine = machine("dgx_h100", 1, 8);
    let (group, costs) = (machine.group(), &machine.costs);
    for (protocol, spec) in [(Protocol::Ll, costs.ll), (Protocol::Ll128, costs.ll128), (Protocol::Simple, costs.simple)]
    {
        for (collective, passes) in RINGS {
            for bytes in [Bytes::new(8 * 64), Bytes::new(8 << 20)] {
                let piece = Bytes::new(bytes.get() / 8);
                let own = match collective {
                    Collective::AllGather => piece / spec.copy_rate,
                    _ => Duration::ZERO,
                };
                let expected = costs.launch + spec.start + own + step(&spec, &group, piece) * (7 * passes);
                let choice = Choice { algorithm: Algorithm::Ring, protocol };
                assert_eq!(machine.time(collective, choice, bytes), expected, "{collective:?} {protocol:?} {bytes}");
            }
        }
    }
}

#[test]
fn an_all_reduce_inside_the_switch_passes_each_port_once_and_an_eighth() {
    let machine = machine("dgx_h100", 1, 8);
    let (way, spec) = (machine.group().inside.unwrap(), machine.costs.in_switch.unwrap());
    let bytes = Bytes::new(64 << 20);
    let choice = Choice { algorithm: Algorithm::InSwitch, protocol: Protocol::Simple };
    let passed = on_wire(bytes + Bytes::new(bytes.get() / 8), spec.wire_share);
    let timeline = machine.run(Collective::AllReduce, choice, bytes);
    // Half of the way is up to the switch and half is down.
    let half = Duration::from_ps(way.latency.as_ps() / 2);
    assert_eq!(timeline.end() - Time::ZERO, machine.costs.launch + spec.start + passed / way.rate + half);
    assert_eq!(timeline.bytes_sent(), passed * 16);
}

#[test]
fn shots_to_peers_pass_every_port_and_are_added_up() {
    let machine = machine("dgx_h100", 1, 8);
    let (way, spec) = (machine.group().inside.unwrap(), machine.costs.peers.unwrap());
    let bytes = Bytes::new(1 << 20);
    let shot = |each: Bytes, added: Bytes| {
        (on_wire(each, spec.wire_share) / way.rate) * 7 + way.latency + added / spec.copy_rate
    };
    let piece = Bytes::new(bytes.get() / 8);
    let cases = [
        (Algorithm::OneShot, spec.launch + shot(bytes, bytes * 8), 8 * 7 * bytes.get()),
        (Algorithm::TwoShots, spec.launch + shot(piece, bytes) * 2, 2 * 7 * bytes.get()),
    ];
    for (algorithm, expected, moved) in cases {
        let time = machine.time(Collective::AllReduce, Choice { algorithm, protocol: Protocol::Ll }, bytes);
        let off = time.as_ps().abs_diff(expected.as_ps());
        assert!(off < 100_000, "{algorithm:?}: {time}, expected {expected}");
        let bare = machine.run(Collective::AllReduce, Choice { algorithm, protocol: Protocol::Bare }, bytes);
        assert_eq!(bare.bytes_sent().get(), moved, "{algorithm:?}");
    }
}

#[test]
fn engines_shoot_what_is_small_and_leave_the_rest_to_the_library() {
    let machine = machine("dgx_h100", 1, 8);
    let chosen = |bytes| choose_in_engine(&machine.group(), Bytes::new(bytes)).algorithm;
    assert_eq!(chosen(16 << 10), Algorithm::OneShot);
    assert_eq!(chosen(4 << 20), Algorithm::TwoShots);
    let large = Bytes::new(4 << 30);
    let library = machine.auto(Collective::AllReduce, large);
    assert!(!matches!(library.algorithm, Algorithm::OneShot | Algorithm::TwoShots), "the library has no shots");
    assert_eq!(choose_in_engine(&machine.group(), large), library);
    // Over several nodes there is no memory of peers to write to.
    let nodes = self::machine("dgx_h100", 2, 8);
    let over_nodes = choose_in_engine(&nodes.group(), Bytes::new(16 << 10)).algorithm;
    assert!(!matches!(over_nodes, Algorithm::OneShot | Algorithm::TwoShots), "{over_nodes:?}");
}

#[test]
fn a_tree_all_reduce_goes_up_and_down_once() {
    let machine = machine("dgx_h100", 1, 8);
    let choice = Choice { algorithm: Algorithm::Tree, protocol: Protocol::Bare };
    let way = machine.group().inside.unwrap();
    // Both halves pass three levels and the root's single child, up and down; a port that serves both trees may be late by
    // the pieces of one level each time.
    let level = way.latency + Bytes::new(1 << 20) / way.rate;
    let time = machine.time(Collective::AllReduce, choice, Bytes::new(2 << 20));
    assert!(level * 6 <= time && time <= level * 16, "{time} for levels of {level}");
}

#[test]
fn algorithms_move_what_they_must() {
    let machine = machine("dgx_h100", 4, 4);
    let (n, w) = (16, 16 * 4 * 1000);
    let sent = |collective, algorithm| {
        let choice = Choice { algorithm, protocol: Protocol::Bare };
        machine.run(collective, choice, Bytes::new(w)).bytes_sent().get()
    };
    for (collective, passes) in RINGS {
        for algorithm in [Algorithm::Ring, Algorithm::Hierarchical] {
            // Every piece reaches every rank once, and for an all-reduce twice.
            assert_eq!(sent(collective, algorithm), passes * (n - 1) * w, "{collective:?} {algorithm:?}");
        }
    }
    for algorithm in [Algorithm::Tree, Algorithm::HierarchicalTree] {
        assert_eq!(sent(Collective::AllReduce, algorithm), 2 * (n - 1) * w, "{algorithm:?}");
    }
    assert_eq!(sent(Collective::AllToAll, Algorithm::Direct), (n - 1) * w);
    // By rail, three quarters of what goes to other nodes takes the way inside the node as well.
    let (inside, between) = (n * 3 * w / n, n * 12 * w / n);
    assert_eq!(sent(Collective::AllToAll, Algorithm::ByRail), inside + between + between * 3 / 4);
}

#[test]
fn an_all_to_all_over_several_nodes_is_bound_by_the_nics() {
    // arXiv 2505.09343, Figure 5: algorithm bandwidth tends to B N / (N - 8) of the NIC's rate B.
    for nodes in [2, 4, 24] {
        let machine = machine("dgx_h800", nodes, 8);
        let bytes = Bytes::new(1 << 30);
        let choice = machine.auto(Collective::AllToAll, bytes);
        assert_eq!(choice.algorithm, Algorithm::ByRail);
        let n = f64::from(8 * nodes);
        let rate =
            machine.group().between.unwrap().peers.rate.get() as f64 * machine.costs.network.exchange_wire_share.get();
        let plateau = rate * n / (n - 8.0);
        let topology = &machine.cluster.topology;
        let mut shared = FairShare::new(topology, Routes::new(topology), FaultSchedule::default());
        let mut alone = Analytic::new(topology);
        let networks: [(&str, &mut dyn NetworkModel); 2] = [("flow", &mut shared), ("analytic", &mut alone)];
        for (name, network) in networks {
            let time = machine.run_over(network, Collective::AllToAll, choice, bytes).end() - Time::ZERO;
            let algbw = bytes.get() as f64 / time.as_secs();
            // What is gathered first hides behind nothing.
            assert!((0.94..=1.0).contains(&(algbw / plateau)), "{name}: {algbw} of {plateau} on {n} GPUs");
        }
    }
}

#[test]
fn levels_of_a_hierarchical_collective_work_at_the_same_time() {
    // Four GPUs of each node, where NVLink takes longer than the NICs, and two, where the NICs do.
    for gpus in [2, 4] {
        let machine = machine("dgx_h800", 8, gpus);
        let (group, costs) = (machine.group(), &machine.costs);
        let (bytes, g) = (Bytes::new(1 << 30), u64::from(gpus));
        let level = |passed: u64, share, way: Option<Way>| on_wire(Bytes::new(passed), share) / way.unwrap().rate;
        let inside = level(bytes.get() / g * (g - 1), costs.simple.wire_share, group.inside);
        let between = level(bytes.get() / g / 8 * 7, costs.network.wire_share, group.between.map(|ways| ways.rails));
        let choice = Choice { algorithm: Algorithm::Hierarchical, protocol: Protocol::Simple };
        let topology = &machine.cluster.topology;
        for (collective, passes) in RINGS {
            let mut shared = FairShare::new(topology, Routes::new(topology), FaultSchedule::default());
            let mut alone = Analytic::new(topology);
            let networks: [(&str, &mut dyn NetworkModel); 2] = [("flow", &mut shared), ("analytic", &mut alone)];
            for (name, network) in networks {
                let time = (machine.run_over(network, collective, choice, bytes).end() - Time::ZERO).as_secs();
                let least = inside.max(between).as_secs() * passes as f64;
                assert!((1.0..1.15).contains(&(time / least)), "{name} {collective:?}: {time} s of {least} s");
            }
        }
    }
}

#[test]
fn the_tuner_takes_what_turns_out_fastest() {
    for (node, nodes, gpus) in [("dgx_h100", 1, 8), ("gb200_nvl72", 1, 4), ("dgx_h100", 4, 8)] {
        let machine = machine(node, nodes, gpus);
        for collective in [Collective::AllReduce, Collective::AllGather, Collective::AllToAll] {
            for bytes in [1 << 10, 1 << 17, 1 << 22, 1 << 28].map(Bytes::new) {
                let chosen = machine.auto(collective, bytes);
                let time = machine.time(collective, chosen, bytes);
                for protocol in [Protocol::Ll, Protocol::Ll128, Protocol::Simple] {
                    let Some(other) = choose(collective, &machine.group(), bytes, None, Some(protocol)) else {
                        continue;
                    };
                    let slack = 1.0 + 0.15 * f64::from(nodes.min(2));
                    let limit = machine.time(collective, other, bytes).as_secs() * slack;
                    assert!(time.as_secs() <= limit, "{collective:?} {bytes}: {chosen:?} against {other:?}");
                }
            }
        }
    }
}

#[test]
fn protocols_change_from_words_to_chunks_as_messages_grow() {
    let machine = machine("dgx_h100", 1, 8);
    let protocol = |bytes: u64| machine.auto(Collective::AllGather, Bytes::new(bytes)).protocol;
    assert_eq!([1 << 10, 1 << 20, 1 << 28].map(protocol), [Protocol::Ll, Protocol::Ll128, Protocol::Simple]);
    let large = machine.auto(Collective::AllReduce, Bytes::new(1 << 28)).algorithm;
    assert_eq!(large, Algorithm::InSwitch, "eight GPUs reduce in the switch");
}

#[test]
fn more_data_and_more_ranks_never_take_less_time() {
    for collective in [Collective::AllReduce, Collective::AllGather, Collective::ReduceScatter, Collective::AllToAll] {
        let mut last_by_rank = Duration::ZERO;
        for gpus in [2, 4, 8] {
            let machine = machine("dgx_a100", 1, gpus);
            let mut last = Duration::ZERO;
            for shift in 6..28 {
                let bytes = Bytes::new(1 << shift);
                let time = machine.time(collective, machine.auto(collective, bytes), bytes);
                assert!(last <= time, "{collective:?} of {bytes} on {gpus}: {time} after {last}");
                last = time;
            }
            assert!(last_by_rank <= last, "{collective:?} on {gpus}");
            last_by_rank = last;
        }
    }
}

fn exchange(file: &str, sets: &[&str]) -> MoeExchangeMetrics {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    let scenario = load::<Scenario>(&root().join("scenarios/moe").join(file), &sets).unwrap();
    match simulate(&scenario.value).unwrap().metrics {
        Metrics::MoeExchange(metrics) => metrics,
        _ => panic!("an exchange was asked for"),
    }
}

#[test]
fn copies_per_token_come_out_of_the_gate() {
    // arXiv 2412.19437, section 3.2.2 and the figures derived from it: at most 4 nodes, 3.9 on average, and 7.4 GPUs.
    let found = exchange("deepep_normal_h800.toml", &[]);
    assert!((3.85..=4.0).contains(&found.nodes_per_token), "{}", found.nodes_per_token);
    assert!((7.3..=7.6).contains(&found.gpus_per_token), "{}", found.gpus_per_token);
    // Without a limit, 8 (1 - C(224,8) / C(256,8)) nodes.
    let free = exchange("deepep_normal_h800.toml", &["workload.moe_exchange.groups_per_token=8"]);
    let missed: f64 = (0..8).map(|i| f64::from(224 - i) / f64::from(256 - i)).product();
    assert!((free.nodes_per_token - 8.0 * (1.0 - missed)).abs() < 0.03, "{}", free.nodes_per_token);
    let limited = found.dispatch.as_secs() / free.dispatch.as_secs();
    assert!(limited < 0.85, "a limit on nodes spares the NIC, {limited}");
}

#[test]
fn one_gpu_stands_for_all_exactly() {
    for (file, sets) in [
        ("deepep_normal_h800.toml", ["nodes=2", "workload.moe_exchange.tokens_per_gpu=300"]),
        ("deepep_normal_h800.toml", ["nodes=1", "workload.moe_exchange.tokens_per_gpu=10"]),
        ("deepep_low_latency_h100.toml", ["nodes=2", "workload.moe_exchange.tokens_per_gpu=64"]),
        ("nvl72_one_sided.toml", ["hardware.gpus=8", "hardware.nics.count=8"]),
    ] {
        let folded = exchange(file, &sets);
        let all = exchange(file, &[sets[0], sets[1], "symmetry=\"unfold\""]);
        assert_eq!((folded.dispatch, folded.combine), (all.dispatch, all.combine), "{file} {sets:?}");
    }
}

#[test]
fn one_gpu_stands_for_all_where_these_share_nics() {
    let two_layers = "topology.extends=topologies/ft2.toml";
    let planes = ["topology.extends=topologies/mpft_2048.toml", "routing.forward=scale_up"];
    let few = "workload.moe_exchange.tokens_per_gpu=256";
    let cases: [(&str, &[&str]); 6] = [
        ("deepep_low_latency_h100.toml", &["nodes=2", "hardware.nics.count=4"]),
        ("deepep_low_latency_h100.toml", &["nodes=3", "hardware.nics.count=1"]),
        ("deepep_low_latency_h100.toml", &["nodes=2", planes[0], planes[1]]),
        ("deepep_low_latency_h100.toml", &["nodes=4", planes[0], planes[1]]),
        ("deepep_normal_h800.toml", &["nodes=4", few, two_layers, "hardware.nics.count=2"]),
        ("deepep_normal_h800.toml", &["nodes=2", few, planes[0], planes[1]]),
    ];
    for (file, sets) in cases {
        let (one, all) = (exchange(file, sets), exchange(file, &[sets, &["symmetry=unfold"]].concat()));
        for (what, one, all) in [("dispatch", one.dispatch, all.dispatch), ("combine", one.combine, all.combine)] {
            let ratio = one.as_secs() / all.as_secs();
            assert!((0.99..1.01).contains(&ratio), "{what} of {file} with {sets:?}: {one}, all {all}");
        }
    }
}

#[test]
fn traffic_is_as_much_as_tokens_visit_however_few_there_are() {
    // 256 experts on 128 GPUs, eight of which each token visits: with few tokens most GPUs see none of one's.
    let dispatch = |tokens: u32| {
        let sets = ["nodes=16".to_owned(), format!("workload.moe_exchange.tokens_per_gpu={tokens}")];
        exchange("deepep_low_latency_h100.toml", &[&sets[0], &sets[1]]).dispatch.as_secs()
    };
    let times: Vec<f64> = [1, 2, 3, 15, 16, 17, 32, 33, 64].map(dispatch).to_vec();
    assert!(times.is_sorted(), "{times:?}");
    // A copy of 7,168 + 224 B over 50 GB/s at most; each token sends 120 of 128 of its eight copies to other nodes.
    let token = 8.0 * (120.0 / 128.0) * 7392.0 / 50e9;
    for (fewer, more, n) in [(0, 1, 1.0), (3, 4, 1.0), (4, 5, 1.0), (6, 7, 1.0), (7, 8, 31.0)] {
        let each = (times[more] - times[fewer]) / n;
        assert!((token..1.25 * token).contains(&each), "{each} s for a token, {token} s at least");
    }
}

#[test]
fn exchanges_take_longer_with_more_tokens_nodes_and_skew_and_less_with_more_sms() {
    let normal = |sets: &[&str]| exchange("deepep_normal_h800.toml", sets);
    let whole = |m: &MoeExchangeMetrics| m.dispatch + m.combine;
    let tokens = ["8", "64", "512", "4096"];
    let by_tokens = tokens.map(|n| whole(&normal(&[&format!("workload.moe_exchange.tokens_per_gpu={n}")])));
    assert!(by_tokens.is_sorted(), "{by_tokens:?}");
    let by_sms = ["24", "12", "4"].map(|n| whole(&normal(&[&format!("workload.moe_exchange.sms={n}")])));
    assert!(by_sms.is_sorted() && by_sms[0] < by_sms[2], "{by_sms:?}");
    let latency = |sets: &[&str]| whole(&exchange("deepep_low_latency_h100.toml", sets));
    let by_nodes = ["1", "2", "4", "8"].map(|n| latency(&[&format!("nodes={n}")]));
    assert!(by_nodes.is_sorted(), "{by_nodes:?}");
    let even = latency(&["nodes=2"]);
    let skewed = latency(&["nodes=2", "workload.moe_exchange.gate.zipf.offset=4"]);
    assert!(skewed > even, "{skewed} against {even}");
    let flat = latency(&["nodes=2", "workload.moe_exchange.gate.zipf.offset=100000"]);
    assert!((flat.as_secs() / even.as_secs() - 1.0).abs() < 0.1, "{flat} against {even}");
}

/// A bandwidth is that of the library's own test: its published times and bandwidths come from the bytes that are counted here.
#[test]
fn low_latency_bandwidths_count_a_copy_per_expert_as_the_library_does() {
    let table = std::fs::read_to_string(root().join("validation/measurements/deepep_ll_sweep.csv")).unwrap();
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut compared = 0;
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |name: &str| cells[names.iter().position(|&other| other == name).unwrap()];
        let number = |name: &str| cell(name).parse::<f64>().unwrap();
        // The test leaves out ten visits at random, which are many of those of a few tokens.
        if cell("system") != "h100_sxm" || number("num_token") < 64.0 {
            continue;
        }
        let tokens = format!("workload.moe_exchange.tokens_per_gpu={}", cell("num_token"));
        let found = exchange("deepep_low_latency_h100.toml", &[&format!("nodes={}", cell("node_num")), &tokens]);
        for (name, time, bandwidth) in [
            ("dispatch", found.dispatch, found.dispatch_bandwidth),
            ("combine", found.combine, found.combine_bandwidth),
        ] {
            let measured = number(&format!("{name}_avg_t_us")) * number(&format!("{name}_bandwidth_gbps")) * 1e3;
            let ratio = time.as_secs() * bandwidth / measured;
            assert!((ratio - 1.0).abs() < 0.03, "{name} of {line}: {ratio}");
            compared += 1;
        }
    }
    assert!(compared >= 10, "{compared} bandwidths");
}

/// Every gate keeps to the nodes that it allows, so that balancing a gate never adds copies between nodes.
#[test]
fn no_gate_reaches_more_nodes_than_it_may() {
    let reached = |gate: &str, allowed: u32| {
        let sets =
            [format!("workload.moe_exchange.gate={gate}"), format!("workload.moe_exchange.groups_per_token={allowed}")];
        exchange("deepep_normal_h800.toml", &[&sets[0], &sets[1]])
    };
    for allowed in [1, 2, 4, 8] {
        let uniform = reached("uniform", allowed);
        for gate in ["balanced", "{zipf={offset=16}}"] {
            let found = reached(gate, allowed);
            assert!(found.nodes_per_token <= f64::from(allowed) + 1e-9, "{gate}: {}", found.nodes_per_token);
            // Evenly spaced experts share no GPU, so that more copies travel inside nodes; nothing else may cost more.
            let copies = |m: &MoeExchangeMetrics| (m.nodes_per_token, m.gpus_per_token);
            let ((nodes, gpus), (nodes_before, gpus_before)) = (copies(&found), copies(&uniform));
            let more = (nodes / nodes_before).max(gpus / gpus_before);
            let slower = found.dispatch.as_secs() / uniform.dispatch.as_secs();
            assert!(gate != "balanced" || slower < 1.05 * more, "{gate} over {allowed} nodes: {slower}, copies {more}");
        }
    }
}

#[test]
fn low_latency_between_nodes_is_bound_by_the_nic() {
    // Eight nodes, 256 tokens of 14336 B, 7 of 8 copies leave the node: start, then bytes over the NIC's rate.
    let metrics = exchange("deepep_low_latency_h100.toml", &["nodes=8", "workload.moe_exchange.tokens_per_gpu=256"]);
    let nic_bytes = 256.0 * 8.0 * 7.0 / 8.0 * 14336.0;
    let rate = nic_bytes / metrics.combine.as_secs();
    assert!((40e9..=47.5e9).contains(&rate), "{rate}");
}

#[test]
fn results_that_sms_encode_take_as_long_as_their_operations_on_the_lanes() {
    let time = |coding: &str, dtype: &str| {
        let set = format!("workload.moe_exchange.combine={{dtype=\"{dtype}\", scale_group=128, coding=\"{coding}\"}}");
        exchange("deepep_low_latency_h100.toml", &[&set]).combine.as_secs()
    };
    // 128 tokens visit 8 experts: 16 operations per value for LogFMT where it leaves and 13 where it arrives, 4 and 3 for a scale, on
    // 132 SMs with 128 lanes at 1.83 GHz.
    let values = 128.0 * 8.0 * 7168.0;
    let lanes = 132.0 * 128.0 * 1.83e9;
    let free = time("hardware", "fp8");
    for (coding, operations) in [("logfmt", 29.0), ("scaled", 7.0)] {
        let more = time(coding, "fp8") - free;
        assert!((more / (values * operations / lanes) - 1.0).abs() < 1e-3, "{coding}: {more:e} s more");
    }
    // What is not narrowed is not encoded.
    assert_eq!(time("logfmt", "bf16"), time("hardware", "bf16"));
}

#[test]
fn twenty_sms_that_encode_and_decode_hold_up_a_combine() {
    let time = |coding: &str, sms: &str| {
        let format = format!("workload.moe_exchange.combine={{dtype=\"fp8\", scale_group=128, coding=\"{coding}\"}}");
        exchange("deepep_normal_h800.toml", &[&format, &format!("workload.moe_exchange.sms={sms}")]).combine.as_secs()
    };
    let (free, scaled, logfmt) = (time("hardware", "20"), time("scaled", "20"), time("logfmt", "20"));
    assert!(free <= scaled && scaled < logfmt, "{free} {scaled} {logfmt}");
    assert!(time("logfmt", "40") < 0.8 * logfmt && time("logfmt", "10") > 1.5 * logfmt);
}
