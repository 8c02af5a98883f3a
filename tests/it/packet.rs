//! The packet model: closed forms where there is one, and what must hold for any traffic.

use crate::routing::{fabric_spec, nodes};
use octoplane::hardware::{NodeSpec, WireSpec};
use octoplane::id::{DeviceId, FlowId, LinkId};
use octoplane::network::{
    Analytic, Arrived, FairShare, FaultSchedule, Flow, LinkChange, NetworkModel, PacketModel, PacketParams, PacketSpec,
    PostBy,
};
use octoplane::routing::{DetourChoice, NicPorts, Routes, RoutingChoice, RoutingSpec};
use octoplane::scenario::load;
use octoplane::topology::{Cluster, DeviceKind, LinkKind, Topology, TopologySpec, build_cluster, build_fabric};
use octoplane::units::{Bytes, BytesPerSec, Duration, Fraction, Time};
use proptest::prelude::*;
use std::path::Path;

pub(crate) const PACKET: u64 = 4096;

/// Packets without headers, so that every fidelity moves the same bytes.
pub(crate) fn bare() -> WireSpec {
    WireSpec { payload: Bytes::new(PACKET), header: Bytes::ZERO }
}

pub(crate) fn routing(policy: RoutingChoice) -> RoutingSpec {
    RoutingSpec { policy: Some(policy), ..RoutingSpec::default() }
}

fn packets<'t>(topology: &'t Topology, spec: &TopologySpec, routing: RoutingSpec) -> PacketModel<'t> {
    let params = PacketParams::of_fabric(spec, bare()).unwrap();
    PacketModel::new(topology, params, routing, 1, FaultSchedule::default())
}

pub(crate) fn nics(topology: &Topology) -> Vec<DeviceId> {
    topology.devices_of(DeviceKind::Nic).collect()
}

/// A transfer between two of the endpoints, in bytes.
pub(crate) type Send = (usize, usize, u64);

/// Starts all `sends` at once and runs to the end.
pub(crate) fn run(model: &mut dyn NetworkModel, ends: &[DeviceId], sends: &[Send]) -> Vec<Arrived> {
    start(model, ends, sends);
    finish(model, Vec::new())
}

fn start(model: &mut dyn NetworkModel, ends: &[DeviceId], sends: &[Send]) {
    for (id, &(from, to, bytes)) in sends.iter().enumerate() {
        let flow = Flow { id: FlowId::new(id), from: ends[from], to: ends[to], bytes: Bytes::new(bytes) };
        model.start(Time::ZERO, flow);
    }
}

/// Runs to the end after what has `arrived`; all arrivals by their flows.
fn finish(model: &mut dyn NetworkModel, mut arrived: Vec<Arrived>) -> Vec<Arrived> {
    while model.advance_until(Time::FAR_FUTURE, &mut arrived) != Time::FAR_FUTURE {}
    arrived.sort_by_key(|arrived| arrived.flow);
    arrived
}

/// The same, and no buffer holds more than it may while data is under way.
pub(crate) fn run_watched(model: &mut PacketModel<'_>, ends: &[DeviceId], sends: &[Send]) -> Vec<Arrived> {
    start(model, ends, sends);
    let mut arrived = Vec::new();
    for microsecond in 1..=100 {
        let limit = Time::ZERO + Duration::from_ns(1_000 * microsecond);
        while model.advance_until(limit, &mut arrived) < limit {}
        assert!(model.buffers_fit(), "at {limit}");
    }
    finish(model, arrived)
}

/// Routing by `policy`, with the detour where the fabric is a direct network and has any.
pub(crate) fn routing_on(topology: &Topology, policy: RoutingChoice, detour: DetourChoice) -> RoutingSpec {
    let direct = topology.devices_of(DeviceKind::Router).next().is_some();
    let detour = if direct { detour } else { DetourChoice::Minimal };
    RoutingSpec { policy: Some(policy), detour, ..RoutingSpec::default() }
}

pub(crate) fn makespan(arrived: &[Arrived]) -> Duration {
    arrived.iter().map(|arrived| arrived.end).max().unwrap() - Time::ZERO
}

pub(crate) fn line() -> BytesPerSec {
    BytesPerSec::new(50_000_000_000)
}

#[test]
fn one_flow_takes_its_closed_form_at_every_fidelity() {
    for (layers, hops) in [(1, 2_u64), (2, 4), (3, 6)] {
        let spec = fabric_spec(&format!("[shape.fat_tree]\nlayers = {layers}"), 8);
        let topology = build_fabric(&spec).unwrap();
        let ends = nics(&topology);
        for bytes in [1, 64, PACKET, PACKET + 1, 1_000_000] {
            let sends = [(0, ends.len() - 1, bytes)];
            let path = Routes::new(&topology).path(ends[0], *ends.last().unwrap()).unwrap();
            assert_eq!(path.links.len() as u64, hops);
            let closed = path.latency + Bytes::new(bytes) / line();
            let analytic = makespan(&run(&mut Analytic::new(&topology), &ends, &sends));
            let flow = &mut FairShare::new(&topology, Routes::new(&topology), FaultSchedule::default());
            let flow = makespan(&run(flow, &ends, &sends));
            let packet = makespan(&run(&mut packets(&topology, &spec, routing(RoutingChoice::Static)), &ends, &sends));
            assert_eq!(analytic, closed);
            // Picoseconds of rounding for each packet.
            let slack = Duration::from_ps(bytes / PACKET + hops + 1);
            assert!(analytic <= flow + slack && flow <= packet + slack, "{analytic} {flow} {packet}");
            assert!(packet <= closed + slack, "cut through, nothing is added: {packet} after {closed}");
        }
    }
}

/// One H800 and its NIC in each of `count` nodes.
fn real_nodes(count: u32) -> (Cluster, NodeSpec, TopologySpec) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sets = ["gpus=1".into(), "nics.count=1".into()];
    let node = load::<NodeSpec>(&root.join("hardware/nodes/dgx_h800.toml"), &sets).unwrap().value;
    let fabric = load::<TopologySpec>(&root.join("topologies/ft2.toml"), &[]).unwrap().value;
    (build_cluster(&node, count, Some(&fabric)).unwrap(), node, fabric)
}

#[test]
fn real_hardware_gives_the_closed_form_within_one_packet_a_hop() {
    let (cluster, node, fabric) = real_nodes(64);
    let params = PacketParams::new(&node, Some(&fabric), &PacketSpec::default()).unwrap();
    let topology = &cluster.topology;
    for to in [1, 63] {
        let path = Routes::new(topology).path(cluster.gpus[0], cluster.gpus[to]).unwrap();
        for bytes in [64, 100_000, 10_000_000] {
            let mut model = PacketModel::new(topology, params, RoutingSpec::default(), 1, FaultSchedule::default());
            let packet = makespan(&run(&mut model, &cluster.gpus, &[(0, to, bytes)]));
            let closed = path.latency + Bytes::new(bytes) / path.narrowest;
            let packets = Bytes::new(PACKET) / path.narrowest * path.links.len() as u64;
            assert!(closed <= packet && packet <= closed + packets, "{bytes} B: {packet} after {closed}");
        }
    }
}

#[test]
fn table_5_latencies_come_out_of_64_byte_messages() {
    // arXiv 2505.09343, table 5, InfiniBand: 2.8 us behind one leaf, 3.7 us across leaves.
    let (cluster, node, fabric) = real_nodes(64);
    let params = PacketParams::new(&node, Some(&fabric), &PacketSpec::default()).unwrap();
    for (to, expected) in [(1, 2800), (63, 3700)] {
        let mut model =
            PacketModel::new(&cluster.topology, params, RoutingSpec::default(), 1, FaultSchedule::default());
        let took = makespan(&run(&mut model, &cluster.gpus, &[(0, to, 64)]));
        let over = took.saturating_sub(Duration::from_ns(expected));
        assert!(took >= Duration::from_ns(expected) && over < Duration::from_ns(20), "{took}");
    }
}

#[test]
fn incast_keeps_the_last_link_busy_and_shares_it_evenly() {
    let spec = fabric_spec("[shape.fat_tree]\nlayers = 2", 8);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let bytes = 64 * PACKET;
    let sends: Vec<Send> = (1..ends.len()).map(|from| (from, 0, bytes)).collect();
    let arrived = run(&mut packets(&topology, &spec, routing(RoutingChoice::Adaptive)), &ends, &sends);
    let path = Routes::new(&topology).path(ends[1], ends[0]).unwrap();
    let all = Bytes::new(bytes * sends.len() as u64) / line();
    let span = makespan(&arrived);
    assert!(span >= path.latency + all && span <= path.latency + all + Bytes::new(4 * PACKET) / line(), "{span}");
    // Round robin at the last leaf gives each of its seven inputs a seventh: three neighbours, and four spines with all others.
    let first = arrived.iter().map(|arrived| arrived.end).min().unwrap() - Time::ZERO;
    let seven = Bytes::new(7 * bytes) / line();
    // The neighbours begin while nobody else has arrived.
    assert!((first / seven - 1.0).abs() < 0.05, "{first} against {seven}");
}

/// Every endpoint sends `bytes` to another, no two to the same.
pub(crate) fn permutation(n: usize, bytes: u64, seed: u64) -> Vec<Send> {
    let mut to: Vec<usize> = (0..n).collect();
    let mut rng = octoplane::rng::Seed(seed).stream("permutation");
    for at in (1..n).rev() {
        to.swap(at, rng.below(at as u32 + 1) as usize);
    }
    to.into_iter().enumerate().filter(|(from, to)| from != to).map(|(from, to)| (from, to, bytes)).collect()
}

#[test]
fn a_permutation_reaches_line_rate_under_adaptive_routing_and_not_under_hashing() {
    let spec = fabric_spec("[shape.fat_tree]\nlayers = 2", 16);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let bytes = 4_000_000;
    let ideal = Bytes::new(bytes) / line();
    let took = |policy, sends: &[Send]| makespan(&run(&mut packets(&topology, &spec, routing(policy)), &ends, sends));
    let shift: Vec<Send> = (0..ends.len()).map(|from| (from, (from + ends.len() / 2) % ends.len(), bytes)).collect();
    let part = |time: Duration| ideal / time;
    assert!(part(took(RoutingChoice::Adaptive, &shift)) > 0.97);
    assert!(part(took(RoutingChoice::Static, &shift)) > 0.97, "a shift is what static routing is made for");
    let random = permutation(ends.len(), bytes, 5);
    // At full load queues at the last hop cost something.
    assert!(part(took(RoutingChoice::Adaptive, &random)) > 0.85);
    assert!(part(took(RoutingChoice::Spray, &random)) > 0.80);
    // Hashing puts two to four flows on the fullest link.
    for sends in [&shift, &random] {
        assert!(part(took(RoutingChoice::Ecmp, sends)) < 0.55);
    }
}

#[test]
fn a_blocked_packet_holds_up_those_behind_it() {
    // Many flood endpoint 0, by the first spine as static routing has it. Endpoint 9 sends to endpoint 4, whose own link is
    // idle, by the same spine: its packets share buffers with those of its neighbours to 0.
    let spec = fabric_spec("[shape.fat_tree]\nlayers = 2", 8);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let bytes = 200 * PACKET;
    let alone = [(9, 4, bytes)];
    let mut flood: Vec<Send> = (8..ends.len()).filter(|&from| from != 9).map(|from| (from, 0, bytes)).collect();
    flood.insert(0, alone[0]);
    let end = |sends: &[Send]| {
        let arrived = run(&mut packets(&topology, &spec, routing(RoutingChoice::Static)), &ends, sends);
        arrived[0].end - Time::ZERO
    };
    assert!(end(&flood) > end(&alone) * 2, "a victim of congestion that it has no part in");
}

#[test]
fn messages_are_posted_one_after_the_other() {
    let (cluster, node, fabric) = real_nodes(2);
    let end = |post_by, count: u64| {
        let spec = PacketSpec { post_by, ..PacketSpec::default() };
        let params = PacketParams::new(&node, Some(&fabric), &spec).unwrap();
        let mut model =
            PacketModel::new(&cluster.topology, params, RoutingSpec::default(), 1, FaultSchedule::default());
        let sends: Vec<Send> = (0..count).map(|_| (0, 1, 8)).collect();
        makespan(&run(&mut model, &cluster.gpus, &sends))
    };
    let packet = node.nics.as_ref().unwrap().nic.packet.as_ref().unwrap();
    for (post_by, interval) in [(PostBy::Gpu, packet.post_by_gpu), (PostBy::Cpu, packet.post_by_cpu)] {
        assert_eq!(end(post_by, 1001), end(post_by, 1) + interval * 1000, "{post_by:?}");
    }
}

#[test]
fn congestion_control_keeps_queues_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sets = ["gpus=1".into(), "nics.count=1".into()];
    let mut node = load::<NodeSpec>(&root.join("hardware/nodes/dgx_h800.toml"), &sets).unwrap().value;
    node.nics.as_mut().unwrap().nic = load(&root.join("hardware/nics/connectx7_400g_roce.toml"), &[]).unwrap().value;
    let fabric: TopologySpec = load(&root.join("topologies/ft2_roce_8192.toml"), &[]).unwrap().value;
    let cluster = build_cluster(&node, 17, Some(&fabric)).unwrap();
    let run_with = |controlled: bool| {
        let mut params = PacketParams::new(&node, Some(&fabric), &PacketSpec::default()).unwrap();
        params.congestion = params.congestion.filter(|_| controlled);
        let mut model =
            PacketModel::new(&cluster.topology, params, RoutingSpec::default(), 1, FaultSchedule::default());
        let sends: Vec<Send> = (1..17).map(|from| (from, 0, 4_000_000)).collect();
        let arrived = run(&mut model, &cluster.gpus, &sends);
        (makespan(&arrived), model.tally())
    };
    let (free, free_tally) = run_with(false);
    let (controlled, tally) = run_with(true);
    assert!(free_tally.marked > 0 && tally.marked > 0);
    assert!(tally.marked * 2 < free_tally.marked, "{tally:?} against {free_tally:?}");
    // Pauses keep the link busy whatever the end points do; control gives away some of it.
    assert!(free <= controlled && controlled < free * 3, "{free} and {controlled}");
}

#[test]
fn detours_spread_what_shortest_ways_pile_up() {
    // All endpoints of a group send to the next group, over the one link between them.
    let shape = "[shape.dragonfly]\nrouters_per_group = 4\nendpoints_per_router = 2\n\
                 global_links_per_router = 2\ngroups = 9";
    let spec = fabric_spec(shape, 8);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let group = 8;
    let sends: Vec<Send> = (0..ends.len()).map(|from| (from, (from + group) % ends.len(), 100 * PACKET)).collect();
    let took = |detour| {
        let routing = RoutingSpec { detour, ..routing(RoutingChoice::Adaptive) };
        makespan(&run(&mut packets(&topology, &spec, routing), &ends, &sends))
    };
    let [minimal, valiant, ugal] = [DetourChoice::Minimal, DetourChoice::Valiant, DetourChoice::Ugal].map(took);
    assert!(valiant * 5 < minimal * 4, "{valiant} against {minimal}");
    assert!(ugal * 5 < minimal * 4, "{ugal} against {minimal}");
    // Where there is nothing to go round, UGAL goes straight and Valiant pays for its detours.
    let neighbours: Vec<Send> = (0..ends.len()).map(|from| (from, from ^ 2, 100 * PACKET)).collect();
    let took = |detour| {
        let routing = RoutingSpec { detour, ..routing(RoutingChoice::Adaptive) };
        makespan(&run(&mut packets(&topology, &spec, routing), &ends, &neighbours))
    };
    assert!(took(DetourChoice::Ugal) < took(DetourChoice::Valiant));
}

#[test]
fn many_ports_carry_one_transfer_unless_it_is_held_to_one() {
    let shape = "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4\nendpoints_per_plane = 8\nports_per_nic = 4";
    let spec = fabric_spec(shape, 8);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let bytes = 1000 * PACKET;
    let took = |nic_ports| {
        let routing = RoutingSpec { nic_ports, ..RoutingSpec::default() };
        makespan(&run(&mut packets(&topology, &spec, routing), &ends, &[(0, 7, bytes)]))
    };
    let one = took(NicPorts::Single);
    for all in [took(NicPorts::QueuePairs), took(NicPorts::Spray)] {
        assert!((one / all - 4.0).abs() < 0.5, "{one} through one port, {all} through four");
    }
}

fn link_down(topology: &Topology, at: Time, links: &[LinkId], share: f64) -> Vec<LinkChange> {
    let share = Fraction::new(share).unwrap();
    let mut both: Vec<LinkId> = links.iter().flat_map(|&link| [link, topology.opposite(link)]).collect();
    both.sort_unstable();
    both.dedup();
    both.into_iter().map(|link| LinkChange { at, link, share }).collect()
}

fn with_faults<'t>(topology: &'t Topology, spec: &TopologySpec, changes: Vec<LinkChange>) -> PacketModel<'t> {
    let params = PacketParams::of_fabric(spec, bare()).unwrap();
    PacketModel::new(topology, params, routing(RoutingChoice::Adaptive), 1, FaultSchedule::new(changes))
}

#[test]
fn packets_on_a_link_that_dies_are_sent_again_by_another_way() {
    let spec = fabric_spec("[shape.fat_tree]\nlayers = 2", 8);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let uplinks: Vec<LinkId> =
        topology.links().filter(|(_, link)| link.kind == LinkKind::Fabric).map(|(id, _)| id).collect();
    let sends = permutation(ends.len(), 300 * PACKET, 3);
    let healthy = makespan(&run(&mut with_faults(&topology, &spec, Vec::new()), &ends, &sends));
    let down = link_down(&topology, Time::from_ps(10_000_000), &uplinks[..4], 0.0);
    let mut model = with_faults(&topology, &spec, down);
    let arrived = run(&mut model, &ends, &sends);
    assert_eq!(arrived.len(), sends.len());
    let tally = model.tally();
    let sent: u64 = sends.iter().map(|(_, _, bytes)| bytes).sum();
    assert_eq!(tally.delivered, sent);
    assert_eq!(tally.injected, sent + tally.lost);
    assert!(tally.lost > 0, "something was on the links that died");
    assert!(makespan(&arrived) > healthy, "half of the uplinks of a leaf are gone");
}

#[test]
fn a_disconnected_pair_is_stranded_and_goes_on_when_it_can() {
    let spec = fabric_spec("[shape.fat_tree]\nlayers = 1", 4);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let cable = topology.out_links(ends[1]).next().unwrap().0;
    let (cut, heal) = (Time::from_ps(3_000_000), Time::from_ps(50_000_000));
    let sends = [(0, 1, 100 * PACKET), (2, 3, 100 * PACKET)];
    let mut changes = link_down(&topology, cut, &[cable], 0.0);
    let mut model = with_faults(&topology, &spec, changes.clone());
    let arrived = run(&mut model, &ends, &sends);
    assert_eq!(arrived.iter().map(|arrived| arrived.flow).collect::<Vec<_>>(), [FlowId::new(1)]);
    let stranded = model.stranded();
    assert_eq!((stranded.len(), stranded[0].flow), (1, FlowId::new(0)));
    changes.extend(link_down(&topology, heal, &[cable], 1.0));
    let mut model = with_faults(&topology, &spec, changes);
    let arrived = run(&mut model, &ends, &sends);
    assert_eq!(arrived.len(), 2);
    assert!(arrived[0].end > heal);
    assert_eq!(model.stranded(), []);
}

#[test]
fn other_planes_do_not_notice_a_broken_one() {
    let planes = "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 8\nendpoints_per_leaf = 2";
    let cluster = nodes(6, planes, 8);
    let topology = &cluster.topology;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let node = load::<NodeSpec>(&root.join("hardware/nodes/dgx_h800.toml"), &[]).unwrap().value;
    let params = PacketParams::new(&node, Some(&fabric_spec(planes, 8)), &PacketSpec::default()).unwrap();
    let all: Vec<Send> = (0..48).map(|from| (from, (from + 8) % 48, 100 * PACKET)).collect();
    let is_plane_3 = |id: DeviceId| {
        let device = topology.device(id);
        device.kind.is_fabric_switch() && device.plane == 3
    };
    let links = topology.links().map(|(id, _)| id);
    let broken = |&id: &LinkId| is_plane_3(topology.ends(id).0) && is_plane_3(topology.ends(id).1);
    let broken: Vec<LinkId> = links.filter(broken).collect();
    let run_with = |sends: &[Send], changes| {
        let schedule = FaultSchedule::new(changes);
        let mut model = PacketModel::new(topology, params, routing(RoutingChoice::Adaptive), 1, schedule);
        run(&mut model, &cluster.gpus, sends)
    };
    let down = || link_down(topology, Time::from_ps(5_000_000), &broken, 0.0);
    let others: Vec<Send> = all.iter().copied().filter(|(from, ..)| from % 8 != 3).collect();
    assert_eq!(run_with(&others, Vec::new()), run_with(&others, down()), "to the picosecond");
    // What used the broken plane goes by a neighbour's NIC, and takes longer for it.
    let (healthy, faulty) = (run_with(&all, Vec::new()), run_with(&all, down()));
    assert_eq!(faulty.len(), 48);
    // Two nodes share a leaf, so that the ways from every second one to the next cross spines.
    let crosses = |flow: usize| flow % 8 == 3 && (flow / 8) % 2 == 1;
    let later = |at: usize| faulty[at].end > healthy[at].end;
    assert!((0..48).filter(|&at| crosses(at)).all(later));
}

pub(crate) fn shape() -> impl Strategy<Value = (&'static str, u32)> {
    prop_oneof![
        Just(("[shape.fat_tree]\nlayers = 1", 8)),
        Just(("[shape.fat_tree]\nlayers = 2", 4)),
        Just(("[shape.fat_tree]\nlayers = 2\noversubscription = 3", 8)),
        Just(("[shape.fat_tree]\nlayers = 3", 4)),
        Just(("[shape.multi_rail_fat_tree]\nlayers = 2\nrails = 2", 8)),
        Just(("[shape.slim_fly]\nq = 5", 16)),
        Just((
            "[shape.dragonfly]\nrouters_per_group = 3\nendpoints_per_router = 1\nglobal_links_per_router = 1\ngroups = 4",
            8
        )),
    ]
}

fn any_routing() -> impl Strategy<Value = (RoutingChoice, DetourChoice)> {
    let policy = prop_oneof![
        Just(RoutingChoice::Static),
        Just(RoutingChoice::Ecmp),
        Just(RoutingChoice::Adaptive),
        Just(RoutingChoice::Spray)
    ];
    let detour = prop_oneof![Just(DetourChoice::Minimal), Just(DetourChoice::Valiant), Just(DetourChoice::Ugal)];
    (policy, detour)
}

pub(crate) fn traffic() -> impl Strategy<Value = Vec<(u16, u16, u64)>> {
    let bytes = prop_oneof![0_u64..200, 4000_u64..4200, 1_u64..400_000];
    proptest::collection::vec((any::<u16>(), any::<u16>(), bytes), 1..60)
}

/// The endpoints that random numbers stand for.
pub(crate) fn sends_of(traffic: &[(u16, u16, u64)], n: usize) -> Vec<Send> {
    let pair = |&(from, to, bytes): &(u16, u16, u64)| {
        let (from, to) = (usize::from(from) % n, usize::from(to) % (n - 1));
        (from, if to >= from { to + 1 } else { to }, bytes)
    };
    traffic.iter().map(pair).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_arrives_and_nothing_is_faster_than_its_hardware(
        (shape, radix) in shape(), (policy, detour) in any_routing(), traffic in traffic()
    ) {
        let spec = fabric_spec(shape, radix);
        let topology = build_fabric(&spec).unwrap();
        let ends = nics(&topology);
        let sends = sends_of(&traffic, ends.len());
        let routing = routing_on(&topology, policy, detour);
        let mut model = packets(&topology, &spec, routing);
        let arrived = run_watched(&mut model, &ends, &sends);
        // No deadlock, nothing lost; that no credit and no packet is left behind, the model itself asserts.
        prop_assert_eq!(arrived.len(), sends.len());
        let tally = model.tally();
        let sent: u64 = sends.iter().map(|(_, _, bytes)| bytes).sum();
        prop_assert_eq!((tally.injected, tally.delivered, tally.lost), (sent, sent, 0));
        // No link above capacity: neither over the whole run nor while it was busy.
        let span = makespan(&arrived);
        for used in model.link_use() {
            let rate = topology.link(used.link).bandwidth;
            prop_assert!(used.carried <= rate.over(span), "{:?} in {}", used, span);
            prop_assert!(used.busy <= span);
        }
        // Each flow by itself takes at least its closed form.
        for (flow, &(from, to, bytes)) in arrived.iter().zip(&sends) {
            let path = Routes::new(&topology).path(ends[from], ends[to]).unwrap();
            let closed = path.latency + Bytes::new(bytes) / line();
            prop_assert!(flow.end - Time::ZERO >= closed);
        }
        // Same input, same output.
        let mut again = packets(&topology, &spec, routing);
        prop_assert_eq!(run(&mut again, &ends, &sends), arrived);
        prop_assert_eq!(again.tally(), tally);
    }

    #[test]
    fn more_detail_is_never_faster(
        (shape, radix) in shape(), ecmp in any::<bool>(), gathers in any::<bool>(), traffic in traffic()
    ) {
        let spec = fabric_spec(shape, radix);
        let topology = build_fabric(&spec).unwrap();
        let ends = nics(&topology);
        // All from one or all to one: with a single bottleneck, fair shares are the fastest way. Elsewhere they are not, and
        // buffers may let the packet model end a little earlier.
        let apart = |&(at, _, bytes): &(u16, u16, u64)| {
            let other = 1 + usize::from(at) % (ends.len() - 1);
            if gathers { (other, 0, bytes) } else { (0, other, bytes) }
        };
        let sends: Vec<Send> = traffic.iter().map(apart).collect();
        let routing = routing(if ecmp { RoutingChoice::Ecmp } else { RoutingChoice::Static });
        let routes = || Routes::with(&topology, routing, 1, &[]);
        let analytic = makespan(&run(&mut Analytic::with(&topology, routes()), &ends, &sends));
        let mut flow = FairShare::new(&topology, routes(), FaultSchedule::default());
        let flow = makespan(&run(&mut flow, &ends, &sends));
        let packet = makespan(&run(&mut packets(&topology, &spec, routing), &ends, &sends));
        // Who is served last differs: in order, in turns, packet by packet. The last may have the longest way or the shortest.
        let latency = |&(from, to, _): &Send| routes().path(ends[from], ends[to]).unwrap().latency;
        let (short, long) = (sends.iter().map(latency).min().unwrap(), sends.iter().map(latency).max().unwrap());
        let slack = long.saturating_sub(short) + Bytes::new(6 * PACKET) / line();
        prop_assert!(analytic <= flow + slack, "{} {}", analytic, flow);
        prop_assert!(flow <= packet + slack, "{} {}", flow, packet);
    }

    #[test]
    fn faults_lose_nothing(
        (shape, radix) in shape(), traffic in traffic(), hits in proptest::collection::vec((any::<u16>(), 0_u64..20), 1..12)
    ) {
        let spec = fabric_spec(shape, radix);
        let topology = build_fabric(&spec).unwrap();
        let ends = nics(&topology);
        let sends = sends_of(&traffic, ends.len());
        let mut changes: Vec<LinkChange> = Vec::new();
        for (hit, at) in hits {
            let link = LinkId::new(usize::from(hit) % topology.n_links());
            let down = Time::from_ps(at * 1_000_000);
            // Everything heals in the end, so that everything arrives.
            for (at, share) in [(down, 0.0), (down + Duration::from_ns(7_000), 0.5), (Time::from_ps(40_000_000), 1.0)] {
                changes.extend(link_down(&topology, at, &[link], share));
            }
        }
        changes.sort_by_key(|change| (change.at, change.link));
        changes.dedup_by_key(|change| (change.at, change.link));
        let mut model = with_faults(&topology, &spec, changes);
        let arrived = run(&mut model, &ends, &sends);
        prop_assert_eq!(arrived.len(), sends.len());
        let tally = model.tally();
        prop_assert_eq!(tally.delivered, sends.iter().map(|(_, _, bytes)| bytes).sum::<u64>());
        prop_assert_eq!(tally.injected, tally.delivered + tally.lost);
        prop_assert_eq!(model.stranded(), []);
    }
}

// --- Seeds ----------------------------------------------------------------------------------------------------------

/// When each flow of an uneven permutation arrives on a fabric under a policy, drawn from a seed.
fn ends_under(
    shape: &str,
    params: &dyn Fn(&TopologySpec) -> PacketParams,
    routing: RoutingSpec,
    seed: u64,
) -> Vec<Time> {
    // Buffers take a while to fill up to where switches mark.
    let long = if params(&fabric_spec(shape, 8)).congestion.is_some() { 100 } else { 1 };
    let spec = fabric_spec(shape, 8);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let sends: Vec<Send> =
        [permutation(ends.len(), long * 40 * PACKET, 5), permutation(ends.len(), long * 25 * PACKET, 8)].concat();
    let mut model = PacketModel::new(&topology, params(&spec), routing, seed, FaultSchedule::default());
    let mut arrived = run(&mut model, &ends, &sends);
    arrived.sort_by_key(|arrived| arrived.flow);
    arrived.into_iter().map(|arrived| arrived.end).collect()
}

#[test]
fn every_random_choice_is_drawn_from_the_seed() {
    const TREE: &str = "[shape.fat_tree]\nlayers = 2";
    const DIRECT: &str =
        "[shape.dragonfly]\nrouters_per_group = 4\nendpoints_per_router = 2\nglobal_links_per_router = 1\ngroups = 5";
    let plain = |spec: &TopologySpec| PacketParams::of_fabric(spec, bare()).unwrap();
    let marked = |spec: &TopologySpec| crate::congestion::ethernet(spec, true);
    let minimal = DetourChoice::Minimal;
    let (fixed, hashed, adaptive, spray) =
        (RoutingChoice::Static, RoutingChoice::Ecmp, RoutingChoice::Adaptive, RoutingChoice::Spray);
    let flowlets = RoutingSpec { flowlet_gap: Some(Duration::from_ns(200)), ..routing(adaptive) };
    let with = |policy, detour| RoutingSpec { detour, ..routing(policy) };
    type Params<'a> = &'a dyn Fn(&TopologySpec) -> PacketParams;
    let random: [(&str, &str, Params<'_>, RoutingSpec); 9] = [
        ("ECMP", TREE, &plain, with(hashed, minimal)),
        ("adaptive", TREE, &plain, with(adaptive, minimal)),
        ("flowlets", TREE, &plain, flowlets),
        ("spray", TREE, &plain, with(spray, minimal)),
        ("Valiant", DIRECT, &plain, with(fixed, DetourChoice::Valiant)),
        ("UGAL", DIRECT, &plain, with(fixed, DetourChoice::Ugal)),
        ("Valiant, sprayed", DIRECT, &plain, with(spray, DetourChoice::Valiant)),
        ("adaptive UGAL", DIRECT, &plain, with(adaptive, DetourChoice::Ugal)),
        ("marks of congestion", TREE, &marked, with(fixed, minimal)),
    ];
    for (what, shape, params, routing) in random {
        let [one, again, other] = [1, 1, 2].map(|seed| ends_under(shape, params, routing, seed));
        assert_eq!(one, again, "{what}: the same seed gives the same answer");
        assert_ne!(one, other, "{what}: another seed gives another answer");
    }
    for (what, shape) in [("static on a tree", TREE), ("static on a direct network", DIRECT)] {
        let [one, other] = [1, 2].map(|seed| ends_under(shape, &plain, with(fixed, minimal), seed));
        assert_eq!(one, other, "{what}: nothing is drawn");
    }
}
