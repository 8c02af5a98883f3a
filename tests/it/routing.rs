//! Routing: which ways exist, that they cannot deadlock, and how policies share them out.

use octoplane::id::{CableId, DeviceId, LinkId};
use octoplane::routing::{
    DetourChoice, Direction, ForwardChoice, NextHops, Routes, RoutingChoice, RoutingSpec, next_lane,
};
use octoplane::topology::{Cluster, DeviceKind, Topology, TopologySpec, build_cluster, build_fabric};
use std::collections::{BTreeMap, BTreeSet};

const TREE_2: &str = "[shape.fat_tree]\nlayers = 2";
const TREE_3: &str = "[shape.fat_tree]\nlayers = 3";
const SLIM_FLY: &str = "[shape.slim_fly]\nq = 5";
pub(crate) const DRAGONFLY: &str = "[shape.dragonfly]\nrouters_per_group = 4\nendpoints_per_router = 2\n\
                         global_links_per_router = 2\ngroups = 9";

/// A fabric of one shape, of `radix`-port switches.
pub(crate) fn fabric_spec(shape: &str, radix: u32) -> TopologySpec {
    let text = format!(
        r#"
        name = "test"
        switch = {{ name = "test", radix = {radix}, port_bandwidth_per_direction = "400 Gb/s", latency = "300 ns",
                    power = "1000 W", packet = {{ buffer = "128 KiB", flow_control = "credits" }} }}
        endpoint_cable = {{ name = "short", latency = "15 ns", power = "1 W" }}
        switch_cable = {{ name = "long", latency = "150 ns", power = "20 W" }}
        {shape}
        "#
    );
    toml::from_str(&text).unwrap()
}

pub(crate) fn fabric(shape: &str, radix: u32) -> Topology {
    build_fabric(&fabric_spec(shape, radix)).unwrap()
}

/// Nodes of eight GPUs, eight NICs and an NVLink domain on a fabric.
pub(crate) fn nodes(count: u32, shape: &str, radix: u32) -> Cluster {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let node = octoplane::scenario::load(&folder.join("hardware/nodes/dgx_h800.toml"), &[]).unwrap();
    build_cluster(&node.value, count, Some(&fabric_spec(shape, radix))).unwrap()
}

fn endpoints(topology: &Topology) -> Vec<DeviceId> {
    let gpus: Vec<DeviceId> = topology.devices_of(DeviceKind::Gpu).collect();
    if gpus.is_empty() { topology.devices_of(DeviceKind::Nic).collect() } else { gpus }
}

/// The network that stands for each shipped shape, small enough to follow every way.
pub(crate) fn every_shape() -> Vec<(&'static str, Topology)> {
    let ring = octoplane::scenario::load::<TopologySpec>(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/explicit_ring.toml"),
        &[],
    );
    let planes = "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 8\nendpoints_per_leaf = 2";
    let rails = "[shape.multi_rail_fat_tree]\nlayers = 2\nrails = 8";
    let ports = "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4\nendpoints_per_plane = 8\nports_per_nic = 4";
    let domain = "[shape.nvlink_domain]\ngpus = 8\nswitches = 4\nbandwidth_per_direction = \"450 GB/s\"\n\
                  latency = \"600 ns\"";
    vec![
        ("star", fabric("[shape.fat_tree]\nlayers = 1", 16)),
        ("two layers", fabric(TREE_2, 8)),
        ("three layers", fabric(TREE_3, 4)),
        ("planes of nodes", nodes(6, planes, 8).topology),
        ("rails of nodes", nodes(6, rails, 64).topology),
        ("ports in planes", fabric(ports, 8)),
        ("slim fly", fabric(SLIM_FLY, 16)),
        ("dragonfly", fabric(DRAGONFLY, 8)),
        ("ring", build_fabric(&ring.unwrap().value).unwrap()),
        ("scale-up domain", fabric(domain, 8)),
    ]
}

/// A buffer that packets wait in: the far end of a cable, on one virtual lane.
pub(crate) type Channel = (CableId, u8);

/// Which channel a packet in another may wait for.
#[derive(Default)]
pub(crate) struct Waits(pub(crate) BTreeMap<Channel, BTreeSet<Channel>>);

impl Waits {
    /// Follows every way from `start` to `to`, and returns the channels in which packets arrive there.
    fn follow(&mut self, next: &NextHops<'_>, start: (DeviceId, Option<Channel>), to: DeviceId) -> BTreeSet<Channel> {
        let mut arrived = BTreeSet::new();
        let mut open = vec![start];
        let mut seen = BTreeSet::new();
        while let Some((at, held)) = open.pop() {
            if at == to {
                arrived.extend(held);
                continue;
            }
            for &hop in next.hops(at, to) {
                let cable = next.cables().get(hop);
                let lane =
                    held.map_or(0, |(by, lane)| next_lane(lane, next.cables().get(by).direction, cable.direction));
                let wanted = (hop, lane);
                if let Some(held) = held {
                    self.0.entry(held).or_default().insert(wanted);
                }
                if seen.insert(wanted) {
                    open.push((cable.to, Some(wanted)));
                }
            }
        }
        arrived
    }

    /// Whether the waits can be put in an order, so that none closes a circle.
    pub(crate) fn are_acyclic(&self) -> bool {
        let mut incoming: BTreeMap<Channel, usize> = BTreeMap::new();
        for wanted in self.0.values().flatten() {
            *incoming.entry(*wanted).or_default() += 1;
        }
        let held = self.0.keys().copied();
        let mut free: Vec<Channel> = held.filter(|channel| !incoming.contains_key(channel)).collect();
        let mut left = incoming.len();
        while let Some(channel) = free.pop() {
            for wanted in self.0.get(&channel).into_iter().flatten() {
                let count = incoming.get_mut(wanted).unwrap();
                *count -= 1;
                if *count == 0 {
                    left -= 1;
                    free.push(*wanted);
                }
            }
        }
        left == 0
    }

    fn lanes(&self) -> u8 {
        self.0.iter().flat_map(|(held, wanted)| wanted.iter().chain([held])).map(|(_, lane)| lane + 1).max().unwrap()
    }
}

pub(crate) fn waits(topology: &Topology, forward: ForwardChoice, usable: &[bool], detours: bool) -> (Waits, u8) {
    let mut next = NextHops::new(topology, forward, usable);
    let ends = endpoints(topology);
    let mut waits = Waits::default();
    let middles: Vec<DeviceId> = topology.devices_of(DeviceKind::Router).filter(|_| detours).collect();
    ends.iter().chain(&middles).for_each(|&id| next.prepare(id));
    for &to in &ends {
        for &from in ends.iter().filter(|&&from| from != to) {
            waits.follow(&next, (from, None), to);
        }
    }
    // What arrives at a router from anywhere goes on to anywhere.
    if detours {
        let firsts = ends.iter().step_by(7);
        for &middle in &middles {
            let mut held = BTreeSet::new();
            firsts.clone().for_each(|&from| held.extend(waits.follow(&next, (from, None), middle)));
            for channel in held {
                ends.iter().step_by(5).for_each(|&to| {
                    waits.follow(&next, (middle, Some(channel)), to);
                });
            }
        }
    }
    (waits, next.lanes())
}

#[test]
fn no_cycle_of_waits_can_form_on_any_shape() {
    for (name, topology) in every_shape() {
        for forward in [ForwardChoice::OwnNic, ForwardChoice::ScaleUp] {
            let (waits, lanes) = waits(&topology, forward, &[], false);
            assert!(waits.are_acyclic(), "{name} can deadlock");
            assert!(waits.lanes() <= lanes, "{name} uses {} of {lanes} lanes", waits.lanes());
        }
    }
}

#[test]
fn the_check_sees_a_deadlock() {
    // Without a change of lane, a ring of four routers is the textbook case.
    let (_, ring) = every_shape().into_iter().find(|(name, _)| *name == "ring").unwrap();
    let (mut waits, _) = waits(&ring, ForwardChoice::OwnNic, &[], false);
    let flat = |(cable, _): Channel| (cable, 0);
    let mut one_lane: BTreeMap<Channel, BTreeSet<Channel>> = BTreeMap::new();
    for (held, wanted) in std::mem::take(&mut waits.0) {
        one_lane.entry(flat(held)).or_default().extend(wanted.into_iter().map(flat));
    }
    assert!(!Waits(one_lane).are_acyclic());
}

#[test]
fn detours_by_any_router_cannot_deadlock_either() {
    for shape in [SLIM_FLY, DRAGONFLY] {
        let topology = fabric(shape, 16);
        let (waits, lanes) = waits(&topology, ForwardChoice::OwnNic, &[], true);
        assert!(waits.are_acyclic(), "{shape}");
        assert!(waits.lanes() <= 2 * lanes, "{shape}: {} of 2 x {lanes} lanes", waits.lanes());
    }
}

#[test]
fn trees_with_dead_links_cannot_deadlock() {
    let topology = fabric(TREE_3, 4);
    for dead in 0..topology.n_links() / 2 {
        // Both directions of three connections, far apart.
        let is_dead = |link: usize| [dead, dead + 17, dead + 31].contains(&(link / 2));
        let usable: Vec<bool> = (0..topology.n_links()).map(|link| !is_dead(link)).collect();
        let (waits, lanes) = waits(&topology, ForwardChoice::OwnNic, &usable, false);
        assert!(waits.are_acyclic(), "links {dead}");
        assert!(waits.lanes() <= lanes);
    }
}

#[test]
fn lanes_are_those_that_the_shape_needs() {
    let lanes = |topology: &Topology| waits(topology, ForwardChoice::OwnNic, &[], false).1;
    for (name, topology) in every_shape() {
        let expected = match name {
            "slim fly" => 2,
            "dragonfly" => 3,
            "ring" => 2,
            // A GPU of the far node forwards over NVLink: up again after the way down.
            "planes of nodes" => 2,
            _ => 1,
        };
        // Two hops between routers take two lanes: the first rides on the lane of the way up.
        assert_eq!(lanes(&topology), expected, "{name}");
    }
}

fn routes<'t>(topology: &'t Topology, policy: RoutingChoice) -> Routes<'t> {
    Routes::with(topology, RoutingSpec { policy: Some(policy), ..RoutingSpec::default() }, 1, &[])
}

#[test]
fn static_routing_gives_every_flow_of_a_shift_a_link_of_its_own() {
    for (shape, radix) in [(TREE_2, 8), (TREE_3, 8), ("[shape.fat_tree]\nlayers = 2\nendpoints = 16", 16)] {
        let topology = fabric(shape, radix);
        let ends = endpoints(&topology);
        let mut routes = routes(&topology, RoutingChoice::Static);
        for shift in 1..ends.len() {
            let mut used: BTreeMap<LinkId, u32> = BTreeMap::new();
            for (at, &from) in ends.iter().enumerate() {
                for link in routes.path(from, ends[(at + shift) % ends.len()]).unwrap().links {
                    *used.entry(link).or_default() += 1;
                }
            }
            let crowded = used.iter().find(|&(&link, &flows)| flows > topology.link(link).cables);
            assert_eq!(crowded, None, "{shape}, shift by {shift}");
        }
    }
}

#[test]
fn hashing_collides_where_static_routing_does_not() {
    let topology = fabric(TREE_2, 32);
    let ends = endpoints(&topology);
    let mut routes = routes(&topology, RoutingChoice::Ecmp);
    let mut used: BTreeMap<LinkId, u32> = BTreeMap::new();
    for (at, &from) in ends.iter().enumerate() {
        for link in routes.path(from, ends[(at + ends.len() / 2) % ends.len()]).unwrap().links {
            *used.entry(link).or_default() += 1;
        }
    }
    // 16 flows of each leaf thrown on 16 uplinks: the fullest of 32 leaves' uplinks has three to eight of them.
    let fullest = used.values().max().unwrap();
    assert!((3..=8).contains(fullest), "{fullest} flows on one link");
}

#[test]
fn shares_add_up_at_every_tier_under_every_policy() {
    for (name, topology) in every_shape() {
        let ends = endpoints(&topology);
        for policy in [RoutingChoice::Static, RoutingChoice::Ecmp, RoutingChoice::Adaptive, RoutingChoice::Spray] {
            let mut routes = routes(&topology, policy);
            for &to in ends.iter().skip(1).step_by(5) {
                let shares = routes.shares(ends[0], to, 2).unwrap();
                let mut balance = vec![0.0; topology.n_devices()];
                for share in &shares {
                    let (from, to) = topology.ends(share.link);
                    balance[from.index()] += share.part;
                    balance[to.index()] -= share.part;
                }
                for (id, _) in topology.devices() {
                    let expected = f64::from(u8::from(id == ends[0])) - f64::from(u8::from(id == to));
                    assert!((balance[id.index()] - expected).abs() < 1e-9, "{name}, {policy:?}: {}", topology.name(id));
                }
                let path = routes.path(ends[0], to).unwrap();
                let hops: f64 = shares.iter().map(|share| share.part).sum();
                assert!((hops - path.links.len() as f64).abs() < 1e-9, "{name}, {policy:?}: all ways are equally long");
            }
        }
    }
}

#[test]
fn detours_use_more_links_and_load_them_evenly() {
    let topology = fabric(SLIM_FLY, 16);
    let ends = endpoints(&topology);
    let spec = RoutingSpec { detour: DetourChoice::Valiant, ..RoutingSpec::default() };
    let mut routes = Routes::with(&topology, spec, 1, &[]);
    let shares = routes.shares(ends[0], *ends.last().unwrap(), 1).unwrap();
    let hops: f64 = shares.iter().map(|share| share.part).sum();
    // Two endpoint links, and twice the average distance of 49 of 50 routers: 7 at one hop and 42 at two.
    let expected = 2.0 + 2.0 * f64::from(7 + 42 * 2) / 50.0;
    assert!((hops - expected).abs() < 1e-9, "{hops} against {expected}");
}

#[test]
fn dead_links_are_avoided_and_a_disconnected_pair_is_told() {
    let topology = fabric(TREE_2, 4);
    let ends = endpoints(&topology);
    let spec = RoutingSpec { policy: Some(RoutingChoice::Adaptive), ..RoutingSpec::default() };
    let (from, to) = (ends[0], *ends.last().unwrap());
    let uplinks: Vec<LinkId> = Routes::with(&topology, spec, 1, &[])
        .shares(from, to, 1)
        .unwrap()
        .into_iter()
        .map(|share| share.link)
        .filter(|&link| topology.device(topology.ends(link).1).kind == DeviceKind::Spine)
        .collect();
    assert_eq!(uplinks.len(), 2);
    let usable = |dead: &[LinkId]| -> Vec<bool> { topology.links().map(|(id, _)| !dead.contains(&id)).collect() };
    let left = Routes::with(&topology, spec, 1, &usable(&uplinks[..1])).shares(from, to, 1).unwrap();
    assert!(left.iter().all(|share| share.link != uplinks[0] && (share.part - 1.0).abs() < 1e-9));
    assert_eq!(Routes::with(&topology, spec, 1, &usable(&uplinks)).shares(from, to, 1), None);
    assert_eq!(Routes::with(&topology, spec, 1, &usable(&uplinks)).path(from, to), None);
}

#[test]
fn a_gpu_forwards_at_the_end_that_is_asked_for() {
    let planes = "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 8\nendpoints_per_leaf = 2";
    let cluster = nodes(6, planes, 8);
    let through = |forward| {
        let spec = RoutingSpec { forward, ..RoutingSpec::default() };
        let path =
            Routes::with(&cluster.topology, spec, 1, &[]).path(cluster.gpus[0], cluster.gpus[8 * 5 + 3]).unwrap();
        let ends: Vec<DeviceId> = path.links.iter().map(|&link| cluster.topology.ends(link).1).collect();
        ends.into_iter().filter(|&end| cluster.topology.device(end).kind == DeviceKind::Gpu).collect::<Vec<_>>()
    };
    assert_eq!(through(ForwardChoice::OwnNic), [cluster.gpus[8 * 5], cluster.gpus[8 * 5 + 3]]);
    assert_eq!(through(ForwardChoice::ScaleUp), [cluster.gpus[3], cluster.gpus[8 * 5 + 3]]);
    let same_node = Routes::new(&cluster.topology).path(cluster.gpus[0], cluster.gpus[1]).unwrap();
    assert_eq!(same_node.links.len(), 2);
}

#[test]
fn directions_follow_the_tiers() {
    let topology = fabric(TREE_3, 4);
    let next = NextHops::new(&topology, ForwardChoice::OwnNic, &[]);
    let up = next.cables().iter().filter(|(_, cable)| cable.direction == Direction::Up).count();
    assert_eq!(2 * up, next.cables().len());
}
