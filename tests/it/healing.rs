//! Links that break and heal while data is under way: flows and packets give the same answer.

use crate::cli::root;
use crate::packet::{makespan, run};
use crate::routing::fabric_spec;
use octoplane::hardware::NodeSpec;
use octoplane::id::LinkId;
use octoplane::network::{FairShare, FaultSchedule, LinkChange, NetworkModel, PacketModel, PacketParams, PacketSpec};
use octoplane::rng::{RandomStream, Seed};
use octoplane::routing::{Routes, RoutingChoice, RoutingSpec};
use octoplane::run::simulate;
use octoplane::scenario::{Scenario, load};
use octoplane::topology::{Cluster, DeviceKind, LinkKind, TopologySpec, build_cluster};
use octoplane::units::{Bytes, Duration, Fraction, Time};

const NODES: usize = 4;
const GPUS: usize = 4;

/// Nodes of four H800 with a NIC in each of four planes.
struct Machine {
    cluster: Cluster,
    node: NodeSpec,
    fabric: TopologySpec,
}

impl Machine {
    fn new() -> Machine {
        let sets = [format!("gpus={GPUS}"), format!("nics.count={GPUS}")];
        let node = load::<NodeSpec>(&root().join("hardware/nodes/dgx_h800.toml"), &sets).unwrap().value;
        let shape = format!("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = {GPUS}\nendpoints_per_leaf = 2");
        let fabric = fabric_spec(&shape, 8);
        Machine { cluster: build_cluster(&node, NODES as u32, Some(&fabric)).unwrap(), node, fabric }
    }

    /// Both directions of what joins a plane to its NICs, of all nodes or of one.
    fn cables(&self, plane: u32, node: Option<usize>) -> Vec<LinkId> {
        let topology = &self.cluster.topology;
        let belongs = |&(id, link): &(LinkId, &octoplane::topology::Link)| {
            let (from, to) = topology.ends(id);
            let [from, to] = [from, to].map(|end| topology.device(end));
            let (nic, leaf) = if from.kind == DeviceKind::Nic { (from, to) } else { (to, from) };
            link.kind == LinkKind::Endpoint && leaf.plane == plane && node.is_none_or(|node| nic.group as usize == node)
        };
        topology.links().filter(belongs).map(|(id, _)| id).collect()
    }

    /// The times to the end of an all-to-all of `bytes` from each GPU to each of other nodes, in the flow and the packet model.
    fn both(&self, routing: RoutingSpec, bytes: u64, relay_buffer: Bytes, faults: &FaultSchedule) -> [Duration; 2] {
        let n = NODES * GPUS;
        let pairs = (GPUS..n).flat_map(|step| (0..n).map(move |from| (from, (from + step) % n, bytes)));
        let sends: Vec<_> = pairs.filter(|(from, to, _)| from / GPUS != to / GPUS).collect();
        let topology = &self.cluster.topology;
        let spec = PacketSpec { relay_buffer, ..PacketSpec::default() };
        let params = PacketParams::new(&self.node, Some(&self.fabric), &spec).unwrap();
        let routes = Routes::with(topology, routing, 1, &[]);
        let mut flow = FairShare::new(topology, routes, faults.clone());
        let mut packet = PacketModel::new(topology, params, routing, 1, faults.clone());
        let models: [&mut dyn NetworkModel; 2] = [&mut flow, &mut packet];
        models.map(|model| {
            let arrived = run(model, &self.cluster.gpus, &sends);
            assert_eq!((arrived.len(), model.stranded().len()), (sends.len(), 0));
            makespan(&arrived)
        })
    }
}

/// What happens to a plane, or to its cable to one node: what is left of the rate, from when to when, in thousandths of the time that
/// the healthy network takes.
#[derive(Clone, Debug)]
struct Fault {
    plane: u32,
    node: Option<usize>,
    share: f64,
    from: u64,
    lasts: u64,
}

fn schedule(machine: &Machine, faults: &[Fault], healthy: Duration) -> FaultSchedule {
    let mut changes = Vec::new();
    for fault in faults {
        let at = |thousandths: u64| Time::from_ps(healthy.as_ps() / 1000 * thousandths);
        for (at, share) in [(at(fault.from), fault.share), (at(fault.from + fault.lasts), 1.0)] {
            let share = Fraction::new(share).unwrap();
            changes.extend(machine.cables(fault.plane, fault.node).into_iter().map(|link| LinkChange {
                at,
                link,
                share,
            }));
        }
    }
    changes.sort_by_key(|change| (change.at, change.link));
    FaultSchedule::new(changes)
}

/// Faults of different planes, so that one is always left.
fn faults(draws: &mut RandomStream) -> Vec<Fault> {
    let mut fault = |plane| {
        let node = [None, Some(draws.below(NODES as u32) as usize)][draws.below(2) as usize];
        let share = [0.0, 0.0, 0.25, 0.5][draws.below(4) as usize];
        Fault { plane, node, share, from: draws.below(900).into(), lasts: (50 + draws.below(850)).into() }
    };
    let first = fault(0);
    let more = 1 + (first.from % (GPUS as u64 - 1)) as u32;
    std::iter::once(first.clone()).chain((1..more).map(fault)).collect()
}

const POLICIES: [RoutingChoice; 4] =
    [RoutingChoice::Static, RoutingChoice::Ecmp, RoutingChoice::Adaptive, RoutingChoice::Spray];

/// How far packets may end from flows in one case and in the mean of all, in parts of the time that flows take: data that relays hold,
/// and shares of single packets where few flows meet.
const EACH: f64 = 0.5;
const MEAN: f64 = 0.12;

#[test]
fn packets_end_when_flows_do_whatever_breaks_and_heals() {
    let machine = Machine::new();
    let mut draws = Seed(1).stream("faults");
    let (buffer, bytes) = (Bytes::new(128 << 10), 1 << 20);
    let mut all = Vec::new();
    for case in 0..40 {
        let routing = RoutingSpec { policy: Some(POLICIES[case % 4]), ..RoutingSpec::default() };
        let faults = faults(&mut draws);
        let [healthy, packets] = machine.both(routing, bytes, buffer, &FaultSchedule::default());
        assert!((packets / healthy - 1.0).abs() < 0.05, "{healthy} and {packets} where nothing breaks");
        let [flow, packet] = machine.both(routing, bytes, buffer, &schedule(&machine, &faults, healthy));
        let off = packet / flow - 1.0;
        println!("{off:+.3} {:?} {flow} {packet} {faults:?}", routing.policy);
        assert!(off.abs() <= EACH, "{flow} by flows, {packet} by packets under {:?}: {faults:?}", routing.policy);
        all.push(off.abs());
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    assert!(mean <= MEAN, "{mean} in the mean");
}

/// The time of a shipped scenario with overlays.
fn time_of(sets: &[String]) -> f64 {
    let scenario = load::<Scenario>(&root().join("scenarios/faults/plane_down.toml"), sets).unwrap().value;
    (simulate(&scenario).unwrap().timeline.end() - Time::ZERO).as_ps() as f64
}

#[test]
fn a_plane_that_is_down_for_a_while_costs_the_same_by_flows_and_by_packets() {
    for policy in ["static", "ecmp", "adaptive", "spray"] {
        let [flow, packet] = ["flow", "packet"]
            .map(|network| time_of(&[format!("network=\"{network}\""), format!("routing.policy=\"{policy}\"")]));
        println!("{policy}: {flow} {packet}");
        assert!((packet / flow - 1.0).abs() < 0.06, "{policy}: {flow} ps by flows, {packet} ps by packets");
    }
}

#[test]
fn what_a_relay_holds_is_what_its_buffer_takes() {
    let with = |kib: u32| {
        let overlays = ["network=\"packet\"".into(), "routing.policy=\"static\"".into()];
        time_of(&[&overlays[..], &[format!("packet.relay_buffer=\"{kib} KiB\"")]].concat())
    };
    // When the plane is back, what a relay holds still leaves by its own NIC at 44 GB/s: 24 us for each MiB.
    let [small, large] = [with(256), with(16 << 10)];
    assert!(large - small > 200e6 && large - small < 900e6, "{small} and {large} ps");
}
