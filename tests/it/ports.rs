//! NICs with several ports, what a fabric's switches and shape decide, and keys that nothing reads.

use crate::cli::root;
use octoplane::hardware::NodeSpec;
use octoplane::network::{FaultSpec, PacketSpec};
use octoplane::routing::{NicPorts, RoutingChoice, RoutingSpec};
use octoplane::run::{READ_BY, simulate};
use octoplane::scenario::{NetworkChoice, Scenario, WorkloadSpec, load};
use octoplane::topology::{TopologySpec, measure_spec};
use octoplane::units::{Bytes, BytesPerSec, Count};
use octoplane::validate::SystemsSpec;
use octoplane::workload::{Collective, Protocol};

const NETWORKS: [NetworkChoice; 3] = [NetworkChoice::Analytic, NetworkChoice::Flow, NetworkChoice::Packet];

/// Rate of a NIC, all its ports together.
const RATE: u64 = 50_000_000_000;

fn scenario(file: &str, nodes: u32) -> Scenario {
    let sets = [format!("nodes={nodes}")];
    load::<Scenario>(&root().join("scenarios").join(file), &sets).unwrap().value
}

/// Shapes whose ports lead to one leaf, to planes of their own, or to two leaves of a rack. A rack has two nodes of eight NICs.
fn fabric(shape: &str, ports: u32) -> TopologySpec {
    let (file, keys) = match shape {
        "one leaf" => ("ft2", vec![format!("shape.fat_tree.endpoints_per_leaf={}", 16 * ports)]),
        "planes" => (
            "mpft_multi_port",
            vec![
                format!("shape.multi_plane_fat_tree.planes={ports}"),
                format!("shape.multi_plane_fat_tree.ports_per_nic={ports}"),
                "shape.multi_plane_fat_tree.endpoints_per_plane=64".to_owned(),
                "shape.multi_plane_fat_tree.endpoints_per_leaf=16".to_owned(),
            ],
        ),
        _ => (
            "mrft_2048",
            vec![
                "shape.multi_rail_fat_tree.rails=2".to_owned(),
                "shape.multi_rail_fat_tree.endpoints_per_rail=128".to_owned(),
                format!("shape.multi_rail_fat_tree.endpoints_per_leaf={}", 8 * ports),
            ],
        ),
    };
    let sets = [keys, vec!["switch.radix=256".to_owned()]].concat();
    load::<TopologySpec>(&root().join(format!("topologies/{file}.toml")), &sets).unwrap().value
}

/// The same scenario with NICs of so many ports that have `RATE` together.
fn with_ports(scenario: &Scenario, shape: &str, ports: u32) -> Scenario {
    let mut scenario = scenario.clone();
    let nics = scenario.hardware.nics.as_mut().unwrap();
    nics.nic.ports = Count::new(ports).unwrap();
    nics.nic.port_bandwidth_per_direction = BytesPerSec::new(RATE / u64::from(ports));
    scenario.topology = Some(fabric(shape, ports));
    scenario
}

fn seconds(scenario: &Scenario) -> f64 {
    simulate(scenario).unwrap().timeline.end().as_ps() as f64 * 1e-12
}

fn workloads() -> Vec<(String, Scenario)> {
    let collective = scenario("collectives/all_reduce_h100.toml", 3);
    let of_kind = |kind: Collective, bytes: u64| {
        let mut scenario = collective.clone();
        let WorkloadSpec::Collective(spec) = &mut scenario.workload else { panic!("a collective") };
        (spec.kind, spec.bytes) = (kind, Bytes::new(bytes));
        (spec.algorithm, spec.protocol) = (None, Some(Protocol::Simple));
        (format!("{kind:?}"), scenario)
    };
    vec![
        of_kind(Collective::Send, 16 << 20),
        of_kind(Collective::AllToAll, 12 << 20),
        of_kind(Collective::AllGather, 48 << 20),
        ("exchange".to_owned(), scenario("moe/deepep_low_latency_h100.toml", 3)),
    ]
}

/// Without contention, any number of ports gives the answer of one under every network model, and these agree.
#[test]
fn ports_of_a_nic_are_worth_their_sum_under_every_network_model() {
    let mut off = Vec::new();
    for (name, scenario) in workloads() {
        for shape in ["one leaf", "planes", "two leaves"] {
            let time = |ports, network| {
                let mut scenario = with_ports(&scenario, shape, ports);
                scenario.network = network;
                seconds(&scenario)
            };
            let closed = time(1, NetworkChoice::Analytic);
            for network in NETWORKS {
                let one = time(1, network);
                for ports in [1, 2, 4] {
                    let took = time(ports, network);
                    if (took / one - 1.0).abs() > 0.03 || (took / closed - 1.0).abs() > 0.08 {
                        off.push(format!("{name}, {shape}, {ports} ports, {network:?}: {took}, {one}, {closed}"));
                    }
                }
            }
        }
    }
    assert!(off.is_empty(), "with so many ports, with one, and analytic with one:\n{}", off.join("\n"));
}

/// Two ports of 200G at two leaves of the rack are as good as one of 400G, however many racks there are.
#[test]
fn a_rack_with_two_leaves_serves_dual_port_nics_as_one_leaf_does_single_port_ones() {
    for policy in [None, Some(RoutingChoice::Static), Some(RoutingChoice::Adaptive)] {
        for nodes in [2, 3, 5] {
            let mut scenario = scenario("collectives/all_reduce_h100.toml", nodes);
            (scenario.network, scenario.routing.policy) = (NetworkChoice::Flow, policy);
            let dual = seconds(&with_ports(&scenario, "two leaves", 2));
            let one = seconds(&with_ports(&scenario, "one leaf", 1));
            assert!((dual / one - 1.0).abs() < 0.03, "{nodes} nodes, {policy:?}: {dual} s, {one} s with one port");
        }
    }
}

#[test]
fn one_port_carries_a_transfer_where_that_is_asked_for() {
    let (_, send) = workloads().swap_remove(0);
    for network in NETWORKS {
        let mut scenario = with_ports(&send, "planes", 4);
        scenario.network = network;
        let all = seconds(&scenario);
        scenario.routing.nic_ports = NicPorts::Single;
        let slower = seconds(&scenario) / all;
        assert!((3.5..4.1).contains(&slower), "{network:?}: {slower}");
    }
}

/// Every key of the tables that describe networks is in the list of who reads it, and says so where it is not read.
#[test]
fn a_key_that_the_network_does_not_read_is_refused_or_noted() {
    let keys = |table: &str, schema: schemars::Schema| -> Vec<String> {
        let keys = schema.as_value()["properties"].as_object().unwrap().keys();
        keys.map(|key| format!("{table}.{key}")).collect()
    };
    let mut all = keys("routing", schemars::schema_for!(RoutingSpec));
    all.extend(keys("packet", schemars::schema_for!(PacketSpec)));
    all.extend(keys("fault", schemars::schema_for!(FaultSpec)));
    let fault = r#"fault=[{target={plane=0},effect="down",from="1 us",until="2 us"}]"#;
    for key in all {
        let (_, read_by) = READ_BY.iter().find(|(name, _)| *name == key).unwrap_or_else(|| panic!("{key} is listed"));
        let sets: &[&str] = match key.as_str() {
            "routing.policy" => &[r#"routing.policy="ecmp""#],
            "routing.detour" => &[r#"routing.detour="valiant""#],
            "routing.flowlet_gap" => &[r#"routing.flowlet_gap="1 us""#],
            "routing.nic_ports" => &[r#"routing.nic_ports="single""#],
            "routing.forward" => &[r#"routing.forward="scale_up""#],
            "packet.post_by" => &[r#"packet.post_by="cpu""#],
            "packet.scale_up_unit" => &[r#"packet.scale_up_unit="8 KiB""#],
            "packet.relay_buffer" => &[r#"packet.relay_buffer="64 KiB""#],
            _ => &[fault],
        };
        let file = if key == "routing.detour" { "topologies/slim_fly_q29.toml" } else { "topologies/ft2.toml" };
        let loaded = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            let mut scenario =
                load::<Scenario>(&root().join("scenarios/collectives/all_reduce_h100.toml"), &sets).unwrap().value;
            scenario.nodes = Count::new(2).unwrap();
            let small = ["shape.slim_fly.q=5".to_owned()];
            let sets = if file.contains("slim") { &small[..] } else { &[] };
            scenario.topology = Some(load::<TopologySpec>(&root().join(file), sets).unwrap().value);
            let WorkloadSpec::Collective(spec) = &mut scenario.workload else { panic!("a collective") };
            spec.bytes = Bytes::new(1 << 20);
            scenario
        };
        for network in NETWORKS {
            let (mut plain, mut with) = (loaded(&[]), loaded(sets));
            (plain.network, with.network) = (network, network);
            let noted = |scenario: &Scenario| {
                simulate(scenario)
                    .map(|outcome| (outcome.notes.iter().any(|note| note.contains(&key)), outcome.timeline.end()))
            };
            let (_, without) = noted(&plain).unwrap();
            match noted(&with) {
                _ if read_by.contains(&network) => {}
                Ok((says, end)) => assert!(says && end == without, "{key} under {network:?}: {says}, {end} {without}"),
                Err(refused) => assert!(refused.place.join(".").starts_with("fault"), "{key}: {refused:?}"),
            }
            if read_by.contains(&network) {
                let (says, _) = noted(&with).unwrap();
                assert!(!says, "{key} is read by {network:?}");
            }
        }
    }
}

#[test]
fn switches_decide_the_policy_unless_the_scenario_does_and_colliding_flows_are_noted() {
    let mut scenario = scenario("collectives/all_reduce_h100.toml", 8);
    scenario.network = NetworkChoice::Flow;
    scenario.topology = Some(fabric("one leaf", 1));
    let WorkloadSpec::Collective(spec) = &mut scenario.workload else { panic!("a collective") };
    (spec.kind, spec.bytes, spec.algorithm, spec.protocol) = (Collective::AllToAll, Bytes::new(64 << 20), None, None);
    let run = |policy: Option<RoutingChoice>, scenario: &Scenario| {
        let mut scenario = scenario.clone();
        scenario.routing.policy = policy;
        let outcome = simulate(&scenario).unwrap();
        let noted = outcome.notes.iter().any(|note| note.starts_with("flows collide"));
        (outcome.timeline.end(), noted)
    };
    let adaptive = run(Some(RoutingChoice::Adaptive), &scenario);
    assert!(!adaptive.1);
    assert_eq!(run(None, &scenario), adaptive, "InfiniBand switches route adaptively");
    let hashed = run(Some(RoutingChoice::Ecmp), &scenario);
    assert!(hashed.1 && hashed.0 > adaptive.0, "{hashed:?}");
    let mut ethernet = scenario.clone();
    let switch = load(&root().join("hardware/switches/roce_128x400g.toml"), &[]).unwrap().value;
    ethernet.topology.as_mut().unwrap().switch = Some(switch);
    assert_eq!(run(None, &ethernet), run(Some(RoutingChoice::Ecmp), &ethernet), "Ethernet switches hash");
}

/// A file, the table of its shape, the key that holds its size, and other values of its keys.
type Shape = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static [u32])]);

const SHAPES: &[Shape] = &[
    (
        "ft2",
        "fat_tree",
        "endpoints",
        &[
            ("layers", &[1, 2, 3]),
            ("endpoints", &[24, 48, 4096]),
            ("endpoints_per_leaf", &[8, 16]),
            ("oversubscription", &[2, 3]),
        ],
    ),
    (
        "mpft_multi_port",
        "multi_plane_fat_tree",
        "endpoints_per_plane",
        &[
            ("layers", &[1, 3]),
            ("planes", &[2, 8]),
            ("ports_per_nic", &[1, 2]),
            ("endpoints_per_plane", &[64, 32]),
            ("endpoints_per_leaf", &[8, 16]),
            ("oversubscription", &[2, 3]),
        ],
    ),
    (
        "mrft_2048",
        "multi_rail_fat_tree",
        "endpoints_per_rail",
        &[
            ("layers", &[1, 3]),
            ("rails", &[2, 4]),
            ("endpoints_per_rail", &[64, 32]),
            ("endpoints_per_leaf", &[8, 16]),
            ("oversubscription", &[2, 3]),
        ],
    ),
    ("slim_fly_q29", "slim_fly", "q", &[("q", &[5, 7]), ("endpoints_per_router", &[1, 2])]),
    ("nvlink_8", "nvlink_domain", "gpus", &[("gpus", &[4, 16]), ("switches", &[2, 3])]),
];

/// Each key of each shape changes the fabric, or is refused, or the answer says that it was built otherwise.
#[test]
fn no_key_of_a_shape_is_ignored_in_silence() {
    for (file, shape, size, keys) in SHAPES {
        let path = root().join(format!("topologies/{file}.toml"));
        let spec = |sets: &[String]| load::<TopologySpec>(&path, sets).ok().map(|loaded| loaded.value);
        let small: &[u32] = if *size == "q" { &[5] } else { &[24, 200] };
        for base in small {
            let base = format!("shape.{shape}.{size}={base}");
            let plain = spec(std::slice::from_ref(&base)).unwrap();
            let built = measure_spec(&plain).unwrap();
            for (key, value) in keys.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value))) {
                let Some(changed) = spec(&[base.clone(), format!("shape.{shape}.{key}={value}")]) else { continue };
                let Ok(measures) = measure_spec(&changed) else { continue };
                let says = measures.notes.iter().any(|note| note.contains(key));
                let place = format!("{base}, {key} = {value}");
                assert!(changed == plain || says || measures != built, "{place} changes nothing, and nothing says so");
            }
        }
    }
}

#[test]
fn no_system_has_nics_that_are_faster_than_the_switch_ports_of_its_fabric() {
    let systems = load::<SystemsSpec>(&root().join("validation/systems.toml"), &[]).unwrap().value;
    for system in systems.system {
        let node = load::<NodeSpec>(&root().join(&system.node), &[]).unwrap().value;
        let (Some(nics), Some(fabric)) = (node.nics, system.fabric) else { continue };
        let fabric = load::<TopologySpec>(&root().join(&fabric), &[]).unwrap().value;
        let (port, switch) =
            (nics.nic.port_bandwidth_per_direction, fabric.switch.unwrap().port_bandwidth_per_direction);
        assert!(port <= switch, "{:?}: ports of {port} at switches of {switch}", system.names);
    }
}

/// More nodes never make a collective of a given size faster.
#[test]
fn an_all_gather_takes_no_less_time_on_more_nodes() {
    let mut wrong = Vec::new();
    for bytes in [64_u64 << 20, 1 << 30] {
        for network in [NetworkChoice::Analytic, NetworkChoice::Flow] {
            let mut last = (0, 0.0);
            for nodes in [16, 32, 40, 48, 56, 64] {
                let mut scenario = scenario("collectives/all_reduce_h100.toml", nodes);
                let one = Count::ONE;
                (scenario.hardware.gpus, scenario.network) = (one, network);
                scenario.hardware.nics.as_mut().unwrap().count = one;
                scenario.topology = Some(load::<TopologySpec>(&root().join("topologies/ft2.toml"), &[]).unwrap().value);
                let WorkloadSpec::Collective(spec) = &mut scenario.workload else { panic!("a collective") };
                (spec.kind, spec.bytes, spec.algorithm, spec.protocol) =
                    (Collective::AllGather, Bytes::new(bytes), None, None);
                let time = seconds(&scenario);
                if time < last.1 {
                    wrong
                        .push(format!("{bytes} B, {network:?}: {time} s on {nodes} nodes, {} s on {}", last.1, last.0));
                }
                last = (nodes, time);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
