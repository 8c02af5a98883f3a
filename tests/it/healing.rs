//! Links that break and heal while data is under way: flows and packets give the same answer.

use crate::cli::root;
use crate::packet::{makespan, run};
use crate::routing::fabric_spec;
use octoplane::hardware::NodeSpec;
use octoplane::id::LinkId;
use octoplane::network::{FairShare, FaultSchedule, LinkChange, NetworkModel, PacketModel, PacketParams, PacketSpec};
use octoplane::routing::{ForwardChoice, Routes, RoutingChoice, RoutingSpec};
use octoplane::scenario::load;
use octoplane::topology::{Cluster, DeviceKind, LinkKind, TopologySpec, build_cluster};
use octoplane::units::{Bytes, Duration, Fraction, Time};
use proptest::prelude::*;

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
fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let share = prop_oneof![2 => Just(0.0), 1 => Just(0.25), 1 => Just(0.5)];
    let one = (prop::option::of(0..NODES), share, 0_u64..900, 50_u64..900);
    prop::collection::vec(one, 1..GPUS).prop_map(|faults| {
        let fault = |(plane, (node, share, from, lasts))| Fault { plane, node, share, from, lasts };
        (0..).zip(faults).map(fault).collect()
    })
}

fn policies() -> impl Strategy<Value = RoutingSpec> {
    let choices = [RoutingChoice::Static, RoutingChoice::Ecmp, RoutingChoice::Adaptive, RoutingChoice::Spray];
    prop::sample::select(choices.to_vec()).prop_map(|policy| RoutingSpec { policy, ..RoutingSpec::default() })
}

/// How far packets may end from flows, in parts of the time that flows take.
const TOLERANCE: f64 = 0.10;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn packets_end_when_flows_do_whatever_breaks_and_heals(faults in faults(), routing in policies()) {
        let machine = Machine::new();
        let buffer = Bytes::new(128 << 10);
        let bytes = 1 << 20;
        let [healthy, _] = machine.both(routing, bytes, buffer, &FaultSchedule::default());
        let [flow, packet] = machine.both(routing, bytes, buffer, &schedule(&machine, &faults, healthy));
        let off = packet / flow - 1.0;
        if std::env::var("SHOW").is_ok() { println!("{off:+.3} {:?} {healthy} {flow} {packet} {faults:?}", routing.policy); return Ok(()); }
        prop_assert!(off.abs() <= TOLERANCE, "{} by flows, {} by packets", flow, packet);
    }
}

#[test]
fn a_relay_holds_no_more_than_its_buffer() {
    let machine = Machine::new();
    let routing = RoutingSpec { forward: ForwardChoice::OwnNic, ..RoutingSpec::default() };
    let [healthy, _] = machine.both(routing, 1 << 20, Bytes::new(1 << 20), &FaultSchedule::default());
    let fault = |lasts| [Fault { plane: 0, node: None, share: 0.0, from: 200, lasts }];
    let cost = |buffer: u64, lasts| {
        let faults = schedule(&machine, &fault(lasts), healthy);
        let [flow, packet] = machine.both(routing, 1 << 20, Bytes::new(buffer), &faults);
        [flow - healthy, packet.saturating_sub(healthy)]
    };
    // Half of the outage is lost, as two GPUs share a NIC meanwhile; and what a relay holds when the plane is back, on top.
    for lasts in [100, 300, 500] {
        let [flow, packet] = cost(64 << 10, lasts);
        println!("{lasts}: {flow} {packet}");
    }
    for buffer in [16, 64, 256, 1024, 4096] {
        let [flow, packet] = cost(buffer << 10, 300);
        println!("{buffer} KiB: {flow} {packet}");
    }
}
