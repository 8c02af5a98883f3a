//! Shortest paths of a topology, worked out per destination when they are first asked for.

use crate::id::{DeviceId, LinkId};
use crate::topology::{Device, DeviceKind, LinkKind, Topology};
use crate::units::{BytesPerSec, Duration};
use std::collections::{BTreeMap, VecDeque};

const UNREACHED: u16 = u16::MAX;

/// Routes from anywhere to the destinations asked for.
pub struct Routes<'t> {
    topology: &'t Topology,
    /// Hops to go, per destination and then per device.
    distances: BTreeMap<DeviceId, Vec<u16>>,
}

/// A chosen route and what it amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The links, in order of travel.
    pub links: Vec<LinkId>,
    /// Latency of all links together.
    pub latency: Duration,
    /// The rate that the slowest link reaches.
    pub narrowest: BytesPerSec,
    /// The link on which data leaves the node: the NIC's cable, or the GPU's port where no NIC is passed.
    pub port: LinkId,
}

impl<'t> Routes<'t> {
    /// Routes over `topology`.
    pub fn new(topology: &'t Topology) -> Routes<'t> {
        Routes { topology, distances: BTreeMap::new() }
    }

    /// The shortest path that destination-based static routing takes; none where `to` cannot be reached.
    pub fn path(&mut self, from: DeviceId, to: DeviceId) -> Option<Path> {
        assert_ne!(from, to, "a path leads somewhere else");
        let topology = self.topology;
        let distances = self.distances.entry(to).or_insert_with(|| distances_to(topology, to));
        if distances[from.index()] == UNREACHED {
            return None;
        }
        let mut links = Vec::with_capacity(usize::from(distances[from.index()]));
        let mut at = from;
        while at != to {
            let (link, next) = pick_static(topology, at, to, distances);
            links.push(link);
            at = next;
        }
        Some(measured(topology, links))
    }
}

/// Hops from every device to `to`. CPUs do not forward.
fn distances_to(topology: &Topology, to: DeviceId) -> Vec<u16> {
    let mut distances = vec![UNREACHED; topology.n_devices()];
    distances[to.index()] = 0;
    let mut queue = VecDeque::from([to]);
    while let Some(at) = queue.pop_front() {
        if at != to && topology.device(at).kind == DeviceKind::Cpu {
            continue;
        }
        let next = distances[at.index()] + 1;
        for (_, before) in topology.in_links(at) {
            if distances[before.index()] == UNREACHED {
                distances[before.index()] = next;
                queue.push_back(before);
            }
        }
    }
    distances
}

/// Static routing: the destination alone decides among equally short next hops, so that flows to different places spread
/// and flows to one place share a way. A GPU leaves through its own NIC rather than through a neighbour's.
fn pick_static(topology: &Topology, at: DeviceId, to: DeviceId, distances: &[u16]) -> (LinkId, DeviceId) {
    let here = distances[at.index()];
    // A CPU is somewhere to go to, never a way to somewhere else.
    let leads_on = |next: DeviceId| next == to || topology.device(next).kind != DeviceKind::Cpu;
    let nearer = |&(_, next): &(LinkId, DeviceId)| distances[next.index()] < here && leads_on(next);
    let mut hops: Vec<_> = topology.out_links(at).filter(nearer).collect();
    hops.sort_unstable();
    let own_nic = |link: LinkId| topology.link(link).kind == LinkKind::Host;
    if topology.device(at).kind == DeviceKind::Gpu && hops.iter().any(|&(link, _)| own_nic(link)) {
        hops.retain(|&(link, _)| own_nic(link));
    }
    assert!(!hops.is_empty(), "{} is nearer to {} than all its neighbours", topology.device(at), topology.device(to));
    hops[turn(topology.device(to)) % hops.len()]
}

/// A number under which neighbouring destinations take turns over equal ways, as destination-based routing of trees does
/// (d-mod-k): GPUs of one node differ in their index, same-index GPUs of neighbouring nodes in their node.
fn turn(to: &Device) -> usize {
    to.group as usize + to.index as usize
}

fn measured(topology: &Topology, links: Vec<LinkId>) -> Path {
    let link = |&id: &LinkId| topology.link(id);
    let port = links.iter().find(|id| link(id).kind == LinkKind::Endpoint).unwrap_or(&links[0]);
    Path {
        latency: links.iter().map(|id| link(id).latency).sum(),
        narrowest: links.iter().map(|id| link(id).achievable).min().expect("a path has links"),
        port: *port,
        links,
    }
}
