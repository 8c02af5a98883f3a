//! The flow model against closed forms, against a naive solver, and under faults.

use crate::cli::root;
use crate::packet::nics;
use crate::routing::fabric_spec;
use octoplane::engine;
use octoplane::gpu::Instant;
use octoplane::hardware::NodeSpec;
use octoplane::id::{DeviceId, FlowId, LinkId};
use octoplane::network::{
    Analytic, Arrived, FairShare, FaultSchedule, Flow, LinkChange, LinkUse, NetworkModel, Stranded,
};
use octoplane::routing::{ForwardChoice, Routes, RoutingChoice, RoutingSpec};
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, WorkloadSpec, load};
use octoplane::topology::{
    Device, DeviceKind, Link, LinkKind, Topology, TopologyBuilder, TopologySpec, build_cluster, build_fabric,
};
use octoplane::units::{Bytes, BytesPerSec, Duration, Fraction, Time};
use octoplane::workload::{Collective, CollectiveWorkload, Protocol};
use proptest::prelude::*;

/// One picosecond per byte at a rate of 1.
const RATE: u64 = 1_000_000_000_000;

/// Devices by number, joined by links of so many bytes per picosecond and so many picoseconds of latency.
#[derive(Clone, Debug)]
struct Net {
    kinds: Vec<DeviceKind>,
    links: Vec<(usize, usize, u64, u64)>,
}

impl Net {
    fn build(&self) -> Topology {
        let mut builder = TopologyBuilder::default();
        let device = |(index, &kind): (usize, &DeviceKind)| {
            builder.device(Device { kind, group: 0, plane: 0, index: index as u32 })
        };
        let ids: Vec<DeviceId> = self.kinds.iter().enumerate().map(device).collect();
        for &(a, b, rate, latency) in &self.links {
            let in_fabric = self.kinds[a].is_fabric_switch() && self.kinds[b].is_fabric_switch();
            let kind = if in_fabric { LinkKind::Fabric } else { LinkKind::Endpoint };
            let rate = BytesPerSec::new(rate * RATE);
            let latency = Duration::from_ps(latency);
            builder.connect(ids[a], ids[b], Link { kind, bandwidth: rate, achievable: rate, latency, cables: 1 });
        }
        builder.finish()
    }

    /// NICs `0..n` around the switch `n`.
    fn star(n: usize, rate: u64) -> Net {
        let mut kinds = vec![DeviceKind::Nic; n];
        kinds.push(DeviceKind::Leaf);
        Net { kinds, links: (0..n).map(|nic| (nic, n, rate, 5)).collect() }
    }

    /// Switches in a row, with `nics` at each: NIC `s * nics + i` is the `i`-th at switch `s`.
    fn row(switches: usize, nics: usize, rate: u64, trunk: u64) -> Net {
        let n = switches * nics;
        let mut kinds = vec![DeviceKind::Nic; n];
        kinds.extend(vec![DeviceKind::Router; switches]);
        let mut links: Vec<_> = (0..n).map(|nic| (nic, n + nic / nics, rate, 5)).collect();
        links.extend((1..switches).map(|at| (n + at - 1, n + at, trunk, 7)));
        Net { kinds, links }
    }

    /// Two leaves of `nics` NICs each under `spines` spines.
    fn tree(nics: usize, spines: usize, rate: u64) -> Net {
        let n = 2 * nics;
        let mut kinds = vec![DeviceKind::Nic; n];
        kinds.extend([DeviceKind::Leaf, DeviceKind::Leaf]);
        kinds.extend(vec![DeviceKind::Spine; spines]);
        let mut links: Vec<_> = (0..n).map(|nic| (nic, n + nic / nics, rate, 5)).collect();
        links.extend((0..2 * spines).map(|at| (n + at % 2, n + 2 + at / 2, rate, 7)));
        Net { kinds, links }
    }
}

/// When a transfer starts, its ends, and its bytes.
type Sent = (u64, usize, usize, u64);

struct Ran {
    arrived: Vec<Arrived>,
    stranded: Vec<Stranded>,
    links: Vec<LinkUse>,
}

impl Ran {
    /// When each flow had entered the network, in order of flow.
    fn entered(&self) -> Vec<u64> {
        self.sorted().iter().map(|flow| flow.injected.as_ps()).collect()
    }

    fn ended(&self) -> Vec<u64> {
        self.sorted().iter().map(|flow| flow.end.as_ps()).collect()
    }

    fn sorted(&self) -> Vec<Arrived> {
        let mut arrived = self.arrived.clone();
        arrived.sort_by_key(|flow| flow.flow);
        arrived
    }
}

/// Hands the transfers, which are in order of start, to `network`, and runs it to its end.
fn run(network: &mut dyn NetworkModel, sent: &[Sent]) -> Ran {
    let mut arrived = Vec::new();
    for (id, &(start, from, to, bytes)) in sent.iter().enumerate() {
        let start = Time::from_ps(start);
        while network.advance_until(start, &mut arrived) < start {}
        let [from, to] = [from, to].map(DeviceId::new);
        network.start(start, Flow { id: FlowId::new(id), from, to, bytes: Bytes::new(bytes) });
    }
    while network.advance_until(Time::FAR_FUTURE, &mut arrived) < Time::FAR_FUTURE {}
    Ran { stranded: network.stranded(), links: network.link_use(), arrived }
}

fn flows(topology: &Topology, sent: &[Sent]) -> Ran {
    flows_with(topology, RoutingSpec::default(), FaultSchedule::default(), sent)
}

fn flows_with(topology: &Topology, routing: RoutingSpec, faults: FaultSchedule, sent: &[Sent]) -> Ran {
    let routes = Routes::with(topology, routing, 1, &[]);
    run(&mut FairShare::new(topology, routes, faults), sent)
}

fn policy(policy: RoutingChoice) -> RoutingSpec {
    RoutingSpec { policy: Some(policy), ..RoutingSpec::default() }
}

#[test]
fn one_flow_takes_latency_plus_bytes_over_rate() {
    let topology = Net::row(3, 1, 4, 2).build();
    let ran = flows(&topology, &[(100, 0, 2, 1001)]);
    // 1001 bytes at 2 bytes per picosecond round up to 501; two end links of 5 and two trunks of 7.
    assert_eq!((ran.entered(), ran.ended()), (vec![601], vec![601 + 24]));
    assert_eq!(ran.arrived[0].start, Time::from_ps(100));
    assert_eq!(topology.ends(ran.arrived[0].port).0, DeviceId::new(0));
}

#[test]
fn two_flows_share_and_the_rest_gets_what_is_left() {
    let topology = Net::star(4, 1).build();
    // Both leave NIC 0: half the rate each, then the longer one has all of it.
    assert_eq!(flows(&topology, &[(0, 0, 1, 1000), (0, 0, 2, 3000)]).entered(), [2000, 4000]);
    // The third shares neither with the first two and has the whole rate.
    assert_eq!(flows(&topology, &[(0, 0, 1, 1000), (0, 0, 2, 1000), (0, 3, 0, 1000)]).entered(), [2000, 2000, 1000]);
}

#[test]
fn late_arrivals_take_their_share_from_then_on() {
    let topology = Net::star(3, 1).build();
    // 600 alone, then 400 and 400 at half rate until 1400, then 600 alone.
    assert_eq!(flows(&topology, &[(0, 0, 1, 1000), (600, 0, 2, 1000)]).entered(), [1400, 2000]);
    assert_eq!(flows(&topology, &[(0, 0, 1, 1000), (1000, 0, 2, 1000)]).entered(), [1000, 2000]);
}

#[test]
fn incast_divides_the_port_of_the_receiver() {
    for n in [2, 7, 64] {
        let topology = Net::star(n + 1, 1).build();
        let sent: Vec<Sent> = (1..=n).map(|from| (0, from, 0, 5000)).collect();
        let ran = flows(&topology, &sent);
        assert!(ran.entered().iter().all(|&end| end == 5000 * n as u64));
        assert_eq!(ran.arrived.len(), n);
    }
}

#[test]
fn in_a_parking_lot_the_long_flow_gets_the_least_share() {
    // The long flow passes three trunks of 6, and each trunk carries one short flow more than the one before.
    let topology = Net::row(4, 6, 12, 6).build();
    let mut sent = vec![(0, 0, 18, 12_000)];
    for trunk in 0..3 {
        sent.extend((0..=trunk).map(|at| (0, 6 * trunk + 1 + at, 6 * (trunk + 1) + at, 12_000)));
    }
    let entered = flows(&topology, &sent).entered();
    // Three short ones and the long one share the last trunk: 1.5 each. The others get what that leaves: 4.5 alone on the first
    // trunk, 2.25 each on the second.
    assert_eq!(entered[0], 8000);
    assert_eq!(entered[1], 2667, "12000 / 4.5, rounded up");
    assert_eq!(entered[2..4], [5334, 5334], "12000 / 2.25, rounded up");
    assert_eq!(entered[4..], [8000; 3]);
}

#[test]
fn flows_that_split_take_the_part_of_each_way_that_they_use() {
    let net = Net::tree(4, 2, 2);
    let topology = net.build();
    for choice in [RoutingChoice::Adaptive, RoutingChoice::Spray] {
        let run = |sent: &[Sent]| flows_with(&topology, policy(choice), FaultSchedule::default(), sent);
        // One flow splits over both spines and is held up by its own port only.
        assert_eq!(run(&[(0, 0, 4, 1000)]).entered(), [500]);
        // Four flows fill both spines: half of each spine's 2 for four halves of a flow.
        let four: Vec<Sent> = (0..4).map(|at| (0, at, 4 + at, 1000)).collect();
        assert_eq!(run(&four).entered(), [1000; 4]);
        // A flow that passes no spine is not held up.
        let five = [&four[..3], &[(0, 3, 0, 3000)]].concat();
        // Three of 4/3 each; the fourth enters leaf 0 alone.
        assert_eq!(run(&five).entered(), [750, 750, 750, 1500]);
        let carried = run(&four).links;
        let up: Vec<u64> = carried
            .iter()
            .filter(|used| topology.link(used.link).kind == LinkKind::Fabric)
            .map(|used| used.carried.get())
            .collect();
        assert_eq!(up, [2000; 4], "both spines carry half of all, up and down");
    }
}

#[test]
fn collectives_take_as_long_as_in_the_analytic_model() {
    for (net, n) in [(Net::star(16, 1), 16), (Net::tree(8, 8, 1), 16)] {
        let topology = net.build();
        let ranks: Vec<DeviceId> = (0..n).map(DeviceId::new).collect();
        for kind in [Collective::AllReduce, Collective::AllGather, Collective::AllToAll, Collective::Send] {
            for bytes in [0, 15, 16_000, 123_456] {
                let time = |network: &mut dyn NetworkModel| {
                    let mut workload = CollectiveWorkload::new(kind, ranks.clone(), Bytes::new(bytes));
                    engine::run(&mut workload, &mut Instant, network, &topology).unwrap().end()
                };
                let analytic = time(&mut Analytic::new(&topology));
                let mut fair = FairShare::new(&topology, Routes::new(&topology), FaultSchedule::default());
                let fair = time(&mut fair);
                // Pieces that differ by a byte do not fill all spines alike.
                if topology.n_links() == 2 * n || bytes % n as u64 == 0 {
                    assert_eq!(fair, analytic, "{kind:?} of {bytes}");
                }
                assert!(fair >= analytic && fair.as_ps() <= analytic.as_ps() + 8, "{kind:?} of {bytes}");
            }
        }
    }
}

// --- Faults ---------------------------------------------------------------------------------------------------------

/// The changes of both directions of the links between two devices: when, and what share is left.
fn changes(topology: &Topology, a: usize, b: usize, shares: &[(u64, f64)]) -> Vec<LinkChange> {
    let [a, b] = [a, b].map(DeviceId::new);
    let links = topology.out_links(a).chain(topology.in_links(a)).filter(|&(_, other)| other == b);
    let change = |link: LinkId| {
        let change = move |&(at, share): &(u64, f64)| LinkChange {
            at: Time::from_ps(at),
            link,
            share: Fraction::new(share).unwrap(),
        };
        shares.iter().map(change).collect::<Vec<_>>()
    };
    links.flat_map(|(link, _)| change(link)).collect()
}

fn schedule(mut changes: Vec<LinkChange>) -> FaultSchedule {
    changes.sort_by_key(|change| (change.at, change.link));
    FaultSchedule::new(changes)
}

#[test]
fn a_degraded_link_is_slower_for_as_long_as_it_is_degraded() {
    let topology = Net::star(3, 1).build();
    let faults = schedule(changes(&topology, 0, 3, &[(200, 0.25), (600, 1.0)]));
    let ran = flows_with(&topology, RoutingSpec::default(), faults, &[(0, 0, 1, 1000), (0, 2, 1, 100)]);
    // 100 at half rate until 200, when the second ends; 100 at a quarter until 600; the other 800 at full rate.
    assert_eq!(ran.entered(), [1400, 200]);
}

#[test]
fn a_flapping_link_carries_while_it_is_up() {
    let topology = Net::star(2, 1).build();
    let flaps: Vec<(u64, f64)> = (0..10).flat_map(|n| [(100 * n + 60, 0.0), (100 * n + 100, 1.0)]).collect();
    let faults = schedule(changes(&topology, 0, 2, &flaps));
    let ran = flows_with(&topology, RoutingSpec::default(), faults, &[(0, 0, 1, 150)]);
    // 60 in each of the first two periods, 30 in the third.
    assert_eq!(ran.entered(), [230]);
    assert_eq!(ran.arrived[0].start, Time::ZERO);
    assert_eq!(ran.links.iter().map(|used| used.carried.get()).collect::<Vec<_>>(), [150, 150], "nothing counts twice");
    assert!(ran.stranded.is_empty());
}

#[test]
fn who_is_cut_off_is_named_with_the_time_and_the_others_go_on() {
    let topology = Net::star(3, 1).build();
    let faults = schedule(changes(&topology, 0, 3, &[(400, 0.0)]));
    let ran =
        flows_with(&topology, RoutingSpec::default(), faults, &[(0, 0, 1, 1000), (0, 2, 1, 1000), (500, 0, 2, 9)]);
    let stranded = |flow, since| Stranded { flow: FlowId::new(flow), since: Time::from_ps(since) };
    assert_eq!(ran.stranded, [stranded(0, 400), stranded(2, 500)]);
    // 200 until 400, then alone.
    assert_eq!((ran.arrived.len(), ran.arrived[0].injected), (1, Time::from_ps(1200)));
}

#[test]
fn a_way_that_comes_back_revives_what_waits_for_it() {
    let topology = Net::star(2, 1).build();
    let faults = schedule(changes(&topology, 1, 2, &[(0, 0.0), (5000, 1.0)]));
    let ran = flows_with(&topology, RoutingSpec::default(), faults, &[(10, 0, 1, 100)]);
    assert_eq!(ran.entered(), [5100]);
    assert_eq!(ran.arrived[0].start, Time::from_ps(5000), "it could not begin before");
}

#[test]
fn traffic_takes_another_way_where_there_is_one() {
    let topology = Net::tree(2, 2, 1).build();
    // NICs 0 and 1, leaves 4 and 5, spines 6 and 7: static routing sends neighbours over different spines.
    let sent = [(0, 0, 2, 1000), (0, 1, 3, 1000)];
    assert_eq!(flows(&topology, &sent).entered(), [1000, 1000]);
    for spine in [6, 7] {
        let faults = schedule(changes(&topology, 4, spine, &[(300, 0.0)]));
        let ran = flows_with(&topology, RoutingSpec::default(), faults, &sent);
        // From 300 on both share the other spine: 700 each at half rate.
        assert_eq!(ran.entered(), [1700, 1700]);
        let through = |link: LinkId| topology.link(link).kind == LinkKind::Fabric;
        let fabric: u64 = ran.links.iter().filter(|used| through(used.link)).map(|used| used.carried.get()).sum();
        assert_eq!(fabric, 2 * 2000, "every byte went up once and down once");
    }
}

/// `planes` stars of `nics` NICs each, with nothing between them.
fn planes(planes: usize, nics: usize) -> Net {
    let n = planes * nics;
    let mut kinds = vec![DeviceKind::Nic; n];
    kinds.extend(vec![DeviceKind::Leaf; planes]);
    Net { kinds, links: (0..n).map(|nic| (nic, n + nic / nics, 3, 5)).collect() }
}

#[test]
fn the_failure_of_a_plane_leaves_the_others_untouched() {
    let (count, nics) = (4, 6);
    let topology = planes(count, nics).build();
    let mut sent: Vec<Sent> = Vec::new();
    for at in 0..400_u64 {
        let (plane, from) = (at as usize % count, at as usize * 7 % nics);
        let to = (from + 1 + at as usize * 3 % (nics - 1)) % nics;
        sent.push((at * 37, plane * nics + from, plane * nics + to, 1000 + at * 17 % 997));
    }
    let healthy = flows(&topology, &sent).sorted();
    let mut failed = Vec::new();
    for nic in 0..nics {
        failed.extend(changes(&topology, nic, count * nics, &[(5001, 0.0)]));
    }
    let ran = flows_with(&topology, RoutingSpec::default(), schedule(failed), &sent);
    let others: Vec<Arrived> = healthy.iter().filter(|flow| flow.flow.index() % count != 0).copied().collect();
    let kept: Vec<Arrived> = ran.sorted().into_iter().filter(|flow| flow.flow.index() % count != 0).collect();
    assert_eq!(others, kept);
    assert!(!ran.stranded.is_empty() && ran.stranded.iter().all(|flow| flow.flow.index() % count == 0));
    assert_eq!(ran.stranded.len() + ran.arrived.len(), sent.len(), "nothing is lost");
}

#[test]
fn what_a_lost_plane_carried_is_spread_over_all_others_where_packets_part() {
    let sets = ["nodes=16", "workload.collective.bytes=\"1 GiB\""].map(String::from);
    let loaded = load::<Scenario>(&root().join("scenarios/faults/plane_down.toml"), &sets).unwrap().value;
    let time = |policy: RoutingChoice, protocol: Option<Protocol>, lost: usize| {
        let mut scenario = loaded.clone();
        scenario.routing.policy = Some(policy);
        scenario.fault.iter_mut().for_each(|fault| (fault.from, fault.until) = (Duration::ZERO, None));
        scenario.fault.truncate(lost);
        let WorkloadSpec::Collective(collective) = &mut scenario.workload else { panic!("a collective") };
        collective.protocol = protocol;
        simulate(&scenario).unwrap().timeline.end().as_ps() as f64
    };
    for protocol in [Some(Protocol::Bare), None] {
        for policy in [RoutingChoice::Adaptive, RoutingChoice::Spray] {
            // Seven ports of a node carry what eight carried.
            let slower = time(policy, protocol, 1) / time(policy, protocol, 0);
            assert!((slower / (8.0 / 7.0) - 1.0).abs() < 0.01, "{policy:?} {protocol:?}: {slower}");
        }
        // By destination, all that is for one GPU comes over the same plane.
        let fixed = time(RoutingChoice::Static, protocol, 1) / time(RoutingChoice::Static, protocol, 0);
        assert!(fixed > 1.2, "{protocol:?}: {fixed}");
    }
}

#[test]
fn flows_take_the_ways_that_routing_names_on_a_large_fabric_too() {
    let node = load::<NodeSpec>(&root().join("hardware/nodes/dgx_h800.toml"), &[]).unwrap().value;
    let fabric = load::<TopologySpec>(&root().join("topologies/mpft_2048.toml"), &[]).unwrap().value;
    let cluster = build_cluster(&node, 40, Some(&fabric)).unwrap();
    let topology = &cluster.topology;
    for choice in [RoutingChoice::Static, RoutingChoice::Adaptive] {
        let mut routes = Routes::with(topology, policy(choice), 1, &[]);
        let mut expected = vec![0.0; topology.n_links()];
        let mut sent = Vec::new();
        let from_and_to = |&from: &DeviceId| cluster.gpus.iter().map(move |&to| (from, to));
        for (from, to) in cluster.gpus.iter().step_by(5).flat_map(from_and_to).filter(|(from, to)| from != to) {
            sent.push((0, from.index(), to.index(), 1000));
            for share in routes.shares(from, to, 1).unwrap() {
                expected[share.link.index()] += share.part * 1000.0;
            }
        }
        let ran = flows_with(topology, policy(choice), FaultSchedule::default(), &sent);
        let mut carried = vec![0.0; topology.n_links()];
        ran.links.iter().for_each(|used| carried[used.link.index()] = used.carried.get() as f64);
        for (link, (carried, expected)) in carried.iter().zip(&expected).enumerate() {
            assert!((carried - expected).abs() <= 1.0, "{choice:?}, link {link}: {carried} of {expected}");
        }
    }
}

// --- Against a naive solver -----------------------------------------------------------------------------------------

/// Max-min fair rates by the definition: find the cable with the least share, fix who passes it, and again.
fn naive_rates(capacities: &[f64], ways: &[Vec<(usize, f64)>]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; ways.len()];
    while rates.iter().any(Option::is_none) {
        let share = |link: usize| {
            let (mut left, mut parts) = (capacities[link], 0.0);
            for (way, rate) in ways.iter().zip(&rates) {
                for &(_, part) in way.iter().filter(|(at, _)| *at == link) {
                    match rate {
                        Some(rate) => left -= part * rate,
                        None => parts += part,
                    }
                }
            }
            (parts > 1e-12).then(|| left.max(0.0) / parts)
        };
        let least = (0..capacities.len()).filter_map(|link| share(link).map(|share| (share, link)));
        let (share, link) = least.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        for (way, rate) in ways.iter().zip(&mut rates) {
            if rate.is_none() && way.iter().any(|&(at, _)| at == link) {
                *rate = Some(share);
            }
        }
    }
    rates.into_iter().flatten().collect()
}

/// When each flow has entered the network, all rates worked out anew at every event.
fn naive(topology: &Topology, routing: RoutingSpec, sent: &[Sent]) -> Vec<f64> {
    let capacities: Vec<f64> = topology.links().map(|(_, link)| link.achievable.get() as f64 / RATE as f64).collect();
    let mut routes = Routes::with(topology, routing, 1, &[]);
    let mut way = |&(_, from, to, _): &Sent| -> Vec<(usize, f64)> {
        let shares = routes.shares(DeviceId::new(from), DeviceId::new(to), 1).unwrap();
        shares.into_iter().map(|share| (share.link.index(), share.part)).collect()
    };
    let ways: Vec<Vec<(usize, f64)>> = sent.iter().map(&mut way).collect();
    let mut left: Vec<f64> = sent.iter().map(|flow| flow.3 as f64).collect();
    let mut ends = vec![f64::NAN; sent.len()];
    let (mut now, mut started) = (0.0, 0);
    let mut active: Vec<usize> = Vec::new();
    loop {
        while started < sent.len() && sent[started].0 as f64 <= now {
            active.push(started);
            started += 1;
        }
        let of_active: Vec<Vec<(usize, f64)>> = active.iter().map(|&flow| ways[flow].clone()).collect();
        let rates = naive_rates(&capacities, &of_active);
        let ending = active.iter().zip(&rates).map(|(&flow, rate)| now + left[flow] / rate);
        let next_start = sent.get(started).map(|flow| flow.0 as f64);
        let Some(next) = ending.chain(next_start).min_by(f64::total_cmp) else { return ends };
        for (&flow, rate) in active.iter().zip(&rates) {
            left[flow] -= rate * (next - now);
        }
        now = next;
        active.retain(|&flow| {
            let ended = left[flow] <= 1e-6;
            if ended {
                ends[flow] = now;
            }
            !ended
        });
    }
}

fn nets() -> impl Strategy<Value = Net> {
    let rates = prop::collection::vec(1_u64..9, 40);
    let shape = prop_oneof![
        (3_usize..9).prop_map(|n| Net::star(n, 1)),
        (2_usize..5, 1_usize..4).prop_map(|(switches, nics)| Net::row(switches, nics, 1, 1)),
        (2_usize..5, 1_usize..4).prop_map(|(nics, spines)| Net::tree(nics, spines, 1)),
    ];
    (shape, rates).prop_map(|(mut net, rates)| {
        for (link, rate) in net.links.iter_mut().zip(rates.iter().cycle()) {
            link.2 = *rate;
        }
        net
    })
}

fn traffic(net: Net) -> impl Strategy<Value = (Net, Vec<Sent>)> {
    let nics = net.kinds.iter().filter(|kind| **kind == DeviceKind::Nic).count();
    let one = (0_u64..20_000, 0..nics, 1..nics, 1_u64..30_000);
    prop::collection::vec(one, 1..40).prop_map(move |mut sent| {
        sent.sort();
        // Starts of some are the same, so that flows also come together.
        let place = |&(start, from, offset, bytes): &Sent| (start / 4000 * 4000, from, (from + offset) % nics, bytes);
        (net.clone(), sent.iter().map(place).collect())
    })
}

fn policies() -> impl Strategy<Value = RoutingSpec> {
    let choices = [RoutingChoice::Static, RoutingChoice::Ecmp, RoutingChoice::Adaptive, RoutingChoice::Spray];
    prop::sample::select(choices.to_vec())
        .prop_map(|choice| RoutingSpec { forward: ForwardChoice::OwnNic, ..policy(choice) })
}

/// Random breaks and repairs of links of `net`: which, from when to when, to what share.
fn breaks() -> impl Strategy<Value = Vec<(usize, u64, u64, f64)>> {
    let share = prop_oneof![Just(0.0), Just(0.5)];
    prop::collection::vec((0_usize..100, 0_u64..40_000, 1_u64..20_000, share), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn rates_are_those_of_the_naive_solver((net, sent) in nets().prop_flat_map(traffic), routing in policies()) {
        let topology = net.build();
        let ran = flows_with(&topology, routing, FaultSchedule::default(), &sent);
        let expected = naive(&topology, routing, &sent);
        for (flow, (entered, expected)) in ran.entered().into_iter().zip(expected).enumerate() {
            // Every event before may have been rounded up by one picosecond.
            let slack = 1.0 + 2.0 * sent.len() as f64;
            prop_assert!((entered as f64 - expected).abs() <= slack, "flow {flow}: {entered} for {expected}");
        }
    }

    #[test]
    fn bytes_are_conserved_and_no_link_exceeds_its_capacity(
        (net, sent) in nets().prop_flat_map(traffic),
        routing in policies(),
        breaks in breaks(),
    ) {
        let topology = net.build();
        let mut all = Vec::new();
        let mut broken: Vec<usize> = Vec::new();
        for (link, from, length, share) in breaks {
            let link = link % net.links.len();
            if !broken.contains(&link) {
                broken.push(link);
                let (a, b, ..) = net.links[link];
                all.extend(changes(&topology, a, b, &[(from, share), (from + length, 1.0)]));
            }
        }
        let faults = schedule(all);
        let ran = flows_with(&topology, routing, faults.clone(), &sent);
        prop_assert!(ran.stranded.is_empty(), "every link comes back");
        prop_assert_eq!(ran.arrived.len(), sent.len(), "each arrives once");
        for used in &ran.links {
            let most = topology.link(used.link).achievable.over(used.busy);
            prop_assert!(used.carried <= most + Bytes::new(sent.len() as u64), "{:?} of {}", used, most);
        }
        let kind = |used: &&LinkUse| topology.device(topology.ends(used.link).0).kind == DeviceKind::Nic;
        let left: u64 = ran.links.iter().filter(kind).map(|used| used.carried.get()).sum();
        prop_assert_eq!(left, sent.iter().map(|flow| flow.3).sum::<u64>(), "each byte leaves its NIC once");
        for (arrived, &(start, .., bytes)) in ran.sorted().iter().zip(&sent) {
            let rate = topology.link(arrived.port).achievable;
            prop_assert!(arrived.start >= Time::from_ps(start) && arrived.injected >= arrived.start);
            prop_assert!(arrived.injected >= arrived.start + Duration::from_ps(bytes / (rate.get() / RATE)));
        }
        let again = flows_with(&topology, routing, faults, &sent);
        prop_assert_eq!(ran.arrived, again.arrived);
    }

    /// The analytic model serves a port in turn, so that single flows compare only alone; what holds is that all of a port's
    /// data takes at least as long.
    #[test]
    fn no_port_is_done_before_the_analytic_model_is((net, sent) in nets().prop_flat_map(traffic)) {
        let topology = net.build();
        for flow in sent.iter().map(|&(_, from, to, bytes)| [(0, from, to, bytes)]) {
            let analytic = run(&mut Analytic::new(&topology), &flow);
            prop_assert_eq!(flows(&topology, &flow).ended(), analytic.ended(), "alone");
        }
        let same: Vec<Sent> = sent.iter().map(|&(_, from, to, _)| (0, from, to, 1000)).collect();
        let last = |ran: &Ran, from: usize| {
            let of_port = |flow: &&Arrived| sent[flow.flow.index()].1 == from;
            ran.arrived.iter().filter(of_port).map(|flow| flow.injected).max()
        };
        let (fair, analytic) = (flows(&topology, &same), run(&mut Analytic::new(&topology), &same));
        for from in 0..net.kinds.len() {
            prop_assert!(last(&fair, from) >= last(&analytic, from));
        }
    }
}

/// Flows of an all-to-all of hashed transfers between `hosts` on a two-layer tree, and how often they are looked at.
fn visits_of_all_to_all(radix: u32, hosts: u32) -> (u64, u64) {
    let node = ["gpus=1".into(), "nics.count=1".into()];
    let node = load::<NodeSpec>(&root().join("hardware/nodes/dgx_h100.toml"), &node).unwrap().value;
    let radix = [format!("switch.radix={radix}")];
    let fabric = load::<TopologySpec>(&root().join("topologies/ft2.toml"), &radix).unwrap().value;
    let cluster = build_cluster(&node, hosts, Some(&fabric)).unwrap();
    let (topology, gpus, n) = (&cluster.topology, &cluster.gpus, hosts as usize);
    let routes = Routes::with(topology, policy(RoutingChoice::Ecmp), 1, &[]);
    let mut network = FairShare::new(topology, routes, FaultSchedule::default());
    let pairs = (1..n).flat_map(|step| (0..n).map(move |from| (from, (from + step) % n)));
    let sent: Vec<Sent> = pairs.map(|(from, to)| (0, gpus[from].index(), gpus[to].index(), 16_384)).collect();
    assert_eq!(run(&mut network, &sent).arrived.len(), sent.len());
    (sent.len() as u64, network.visits())
}

#[test]
fn work_of_a_hashed_all_to_all_grows_with_the_square_of_its_flows_at_most() {
    let [small, large] = [(8, 32), (16, 128)].map(|(radix, hosts)| visits_of_all_to_all(radix, hosts));
    let [more, visits] = [large.0 as f64 / small.0 as f64, large.1 as f64 / small.1 as f64];
    println!("{small:?} {large:?}: {visits:.1} times the work for {more:.1} times the flows");
    // All flows are under way at once, and each that ends changes what others get; to look at all flows of every cable that it leaves would
    // be worse than the square.
    assert!(visits < 1.2 * more * more, "{visits} times the work for {more} times the flows");
}

#[test]
fn hashes_of_the_flow_model_are_drawn_from_the_seed_and_nothing_else_is_drawn() {
    let spec = fabric_spec("[shape.fat_tree]\nlayers = 2", 8);
    let topology = build_fabric(&spec).unwrap();
    let ends = nics(&topology);
    let n = ends.len();
    let sent: Vec<Sent> = (0..n).map(|at| (0, ends[at].index(), ends[(5 * at + 9) % n].index(), 100_000)).collect();
    let entered = |choice, seed| {
        let routes = Routes::with(&topology, policy(choice), seed, &[]);
        run(&mut FairShare::new(&topology, routes, FaultSchedule::default()), &sent).entered()
    };
    for choice in [RoutingChoice::Static, RoutingChoice::Ecmp, RoutingChoice::Adaptive, RoutingChoice::Spray] {
        assert_eq!(entered(choice, 1), entered(choice, 1), "{choice:?}");
        // Adaptive routing and spray are shares of all ways here, and leave nothing to chance.
        assert_eq!(entered(choice, 1) != entered(choice, 2), choice == RoutingChoice::Ecmp, "{choice:?}");
    }
}
