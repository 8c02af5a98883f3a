//! What must hold for any traffic over any shape while things break, with credits and with pauses; and how near to line rate a
//! random permutation comes.

use crate::packet::{
    PACKET, Send, bare, line, makespan, nics, permutation, routing, routing_on, run, run_watched, sends_of, shape,
    traffic,
};
use crate::routing::fabric_spec;
use octoplane::hardware::{NicSpec, SwitchSpec};
use octoplane::id::{DeviceId, LinkId};
use octoplane::network::{Arrived, FaultSchedule, LinkChange, NetworkModel, PacketModel, PacketParams};
use octoplane::routing::{DetourChoice, Routes, RoutingChoice};
use octoplane::scenario::load;
use octoplane::topology::{Topology, TopologySpec, build_fabric};
use octoplane::units::{Bytes, Duration, Fraction, Time};
use proptest::prelude::*;
use std::path::Path;

/// How packets are held back.
#[derive(Clone, Copy, Debug)]
enum Lossless {
    /// Credits of InfiniBand.
    Credits,
    /// Pauses of RoCE.
    Pauses,
    /// Pauses, and end points that slow down when packets are marked.
    Dcqcn,
}

fn params(spec: &TopologySpec, lossless: Lossless) -> PacketParams {
    let mut params = PacketParams::of_fabric(spec, bare()).unwrap();
    if matches!(lossless, Lossless::Credits) {
        return params;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let switch: SwitchSpec = load(&root.join("hardware/switches/roce_128x400g.toml"), &[]).unwrap().value;
    let nic: NicSpec = load(&root.join("hardware/nics/connectx7_400g_roce.toml"), &[]).unwrap().value;
    let packet = switch.packet.unwrap();
    (params.switch_buffer, params.flow_control, params.lanes) = (packet.buffer, packet.flow_control, packet.lanes());
    params.congestion = nic.packet.unwrap().congestion.filter(|_| matches!(lossless, Lossless::Dcqcn));
    params
}

fn any_lossless() -> impl Strategy<Value = Lossless> {
    prop_oneof![Just(Lossless::Credits), Just(Lossless::Pauses), Just(Lossless::Dcqcn)]
}

fn any_routing() -> impl Strategy<Value = (RoutingChoice, DetourChoice)> {
    let policy = prop_oneof![
        Just(RoutingChoice::Static),
        Just(RoutingChoice::Ecmp),
        Just(RoutingChoice::Adaptive),
        Just(RoutingChoice::Spray)
    ];
    (policy, prop_oneof![Just(DetourChoice::Minimal), Just(DetourChoice::Valiant), Just(DetourChoice::Ugal)])
}

/// A connection that goes down, in microseconds, and what is left of it later: none for good, a part, or all.
type Hit = (u16, u64, u8);

fn hits() -> impl Strategy<Value = Vec<Hit>> {
    proptest::collection::vec((any::<u16>(), 0_u64..20, 0_u8..4), 0..10)
}

/// What happens to links, and which are usable in the end.
fn changes(topology: &Topology, hits: &[Hit]) -> (Vec<LinkChange>, Vec<bool>) {
    let mut changes: Vec<LinkChange> = Vec::new();
    for &(link, at, then) in hits {
        let link = LinkId::new(usize::from(link) % topology.n_links());
        let down = Time::from_ps(at * 1_000_000);
        let mut add = |at, share| {
            let share = Fraction::new(share).unwrap();
            changes.extend([link, topology.opposite(link)].map(|link| LinkChange { at, link, share }));
        };
        add(down, 0.0);
        if then > 0 {
            add(down + Duration::from_ns(9_000), f64::from(then) / 3.0);
        }
    }
    changes.sort_by_key(|change| (change.at, change.link));
    changes.dedup_by_key(|change| (change.at, change.link));
    let mut usable = vec![true; topology.n_links()];
    changes.iter().for_each(|change| usable[change.link.index()] = !change.is_down());
    (changes, usable)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_hangs_and_who_is_cut_off_is_named(
        (shape, radix) in shape(), (policy, detour) in any_routing(), lossless in any_lossless(), traffic in traffic(),
        hits in hits()
    ) {
        let spec = fabric_spec(shape, radix);
        let topology = build_fabric(&spec).unwrap();
        let ends = nics(&topology);
        let sends = sends_of(&traffic, ends.len());
        let routing = routing_on(&topology, policy, detour);
        let (changes, usable) = changes(&topology, &hits);
        let model = || PacketModel::new(&topology, params(&spec, lossless), routing, 1, FaultSchedule::new(changes.clone()));
        let mut network = model();
        let arrived = run_watched(&mut network, &ends, &sends);
        // Who has not arrived is named, and has no way indeed.
        let stranded = network.stranded();
        let mut all: Vec<_> = arrived.iter().map(|flow| flow.flow).chain(stranded.iter().map(|flow| flow.flow)).collect();
        all.sort_unstable();
        prop_assert!(all.iter().map(|flow| flow.index()).eq(0..sends.len()), "each flow once: {:?}", all);
        let mut ways = Routes::with(&topology, routing, 1, &usable);
        for flow in &stranded {
            let (from, to, _) = sends[flow.flow.index()];
            prop_assert_eq!(ways.path(ends[from], ends[to]), None, "{} to {}", from, to);
        }
        // Every byte that has entered has arrived or was lost and sent again; no buffer overflows, no credit is kept.
        let tally = network.tally();
        prop_assert_eq!(tally.injected, tally.delivered + tally.lost);
        let of = |flow: &Arrived| sends[flow.flow.index()].2;
        let complete: u64 = arrived.iter().map(of).sum();
        let sent: u64 = sends.iter().map(|(_, _, bytes)| bytes).sum();
        prop_assert!(complete <= tally.delivered && tally.delivered <= sent);
        prop_assert!(!stranded.is_empty() || tally.delivered == sent);
        prop_assert_eq!(network.held_back(), Bytes::ZERO);
        // No link above capacity, while it was busy.
        for used in network.link_use() {
            prop_assert!(used.carried <= topology.link(used.link).bandwidth.over(used.busy), "{:?}", used);
        }
        let mut again = model();
        prop_assert_eq!(run(&mut again, &ends, &sends), arrived, "the same again");
    }
}

/// The part of the line rate that the last flow of a random permutation gets, and that flows get on average. Of every
/// `group` hosts, which hang on one leaf, `active` take part.
fn parts_of_line(layers: u32, (active, group): (usize, usize), bytes: u64, seed: u64) -> (f64, f64) {
    let spec = fabric_spec(&format!("[shape.fat_tree]\nlayers = {layers}"), 2 * group as u32);
    let topology = build_fabric(&spec).unwrap();
    let ends: Vec<DeviceId> =
        nics(&topology).into_iter().enumerate().filter(|(at, _)| at % group < active).map(|(_, end)| end).collect();
    let sends: Vec<Send> = permutation(ends.len(), bytes, seed);
    let params = params(&spec, Lossless::Credits);
    let mut model = PacketModel::new(&topology, params, routing(RoutingChoice::Adaptive), 1, FaultSchedule::default());
    let arrived = run(&mut model, &ends, &sends);
    let ideal = Bytes::new(bytes) / line();
    let mean = arrived.iter().map(|flow| ideal / (flow.end - Time::ZERO)).sum::<f64>() / arrived.len() as f64;
    (ideal / makespan(&arrived), mean)
}

#[test]
fn a_random_permutation_comes_near_line_rate_and_reaches_it_where_there_is_slack() {
    // The tree is non-blocking, and a schedule that gave every packet a way of its own would fill every cable. Adaptive routing
    // chooses on the way up, by the queues and credits of the own switch; on the way down there is one way only. Packets to
    // the hosts of one leaf come from many leaves that do not know of each other, so that now and then several choose the
    // same spine for the same leaf: its cable down gets a queue while that of another spine stands idle, and what a cable has
    // missed at full load it never catches up with. More layers add more such places. Buffers do not help (from 128 KiB to
    // 4 MiB nothing changes): the queues are short. What flows miss on average hardly grows with what they send, so that long
    // ones reach line rate; the last of all is the one that met most others.
    let (short, long) = (1000 * PACKET, 4000 * PACKET);
    let seeds = [1, 2, 3];
    let full: Vec<_> = seeds
        .iter()
        .flat_map(|&seed| [parts_of_line(2, (8, 8), short, seed), parts_of_line(3, (4, 4), short, seed)])
        .collect();
    assert!(full.iter().all(|&(last, mean)| last > 0.82 && mean > 0.92), "{full:?}");
    let longer: Vec<_> = seeds.iter().map(|&seed| parts_of_line(2, (8, 8), long, seed)).collect();
    assert!(longer.iter().all(|&(_, mean)| mean > 0.975), "{longer:?}");
    // Where a quarter of the hosts is silent, cables catch up: what is left are a few packets' time in queues at each hop.
    let slack: Vec<_> = seeds
        .iter()
        .flat_map(|&seed| [parts_of_line(2, (6, 8), short, seed), parts_of_line(3, (3, 4), short, seed)])
        .collect();
    assert!(slack.iter().all(|&(last, _)| last > 0.96), "{slack:?}");
}
