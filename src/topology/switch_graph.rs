//! The switches of a topology alone, with the endpoints collapsed onto them: what bisection and distance work on.

use super::graph::{DeviceKind, LinkKind, Topology};
use crate::id::DeviceId;

/// Switches and the bundles between them, in a form that is fast to walk.
pub(super) struct SwitchGraph {
    /// The switches, in order of id.
    pub switches: Vec<DeviceId>,
    /// For each switch, where its part of `peers` starts; one more entry ends the last part.
    starts: Vec<u32>,
    /// The switches that each switch is linked to, with the link's bandwidth in bytes per second.
    peers: Vec<(u32, u64)>,
    /// Every endpoint that has a link to a switch, in order of id, with the bandwidth of its link to each.
    pub endpoints: Vec<(DeviceId, Vec<(u32, u64)>)>,
}

impl SwitchGraph {
    /// The switches of the fabric or, where there is none, of the scale-up domain.
    pub fn new(topology: &Topology) -> SwitchGraph {
        let has_fabric = topology.devices().any(|(_, device)| device.kind.is_fabric_switch());
        let is_switch =
            |kind: DeviceKind| if has_fabric { kind.is_fabric_switch() } else { kind == DeviceKind::NvSwitch };
        let attaches = if has_fabric { LinkKind::Endpoint } else { LinkKind::ScaleUp };
        let mut place = vec![u32::MAX; topology.n_devices()];
        let mut switches = Vec::new();
        for (id, _) in topology.devices().filter(|(_, device)| is_switch(device.kind)) {
            place[id.index()] = switches.len() as u32;
            switches.push(id);
        }
        let mut graph = SwitchGraph { switches, starts: vec![0], peers: Vec::new(), endpoints: Vec::new() };
        let switch_links = |from: DeviceId| {
            let links = topology.out_links(from).map(|(link, to)| (place[to.index()], topology.link(link)));
            links.filter(|(to, _)| *to != u32::MAX)
        };
        for &id in &graph.switches {
            graph.peers.extend(switch_links(id).map(|(to, link)| (to, link.bandwidth.get())));
            graph.starts.push(graph.peers.len() as u32);
        }
        for (id, _) in topology.devices().filter(|(id, _)| place[id.index()] == u32::MAX) {
            let links = switch_links(id).filter(|(_, link)| link.kind == attaches);
            let ports: Vec<_> = links.map(|(to, link)| (to, link.bandwidth.get())).collect();
            if !ports.is_empty() {
                graph.endpoints.push((id, ports));
            }
        }
        graph
    }

    /// Number of switches.
    pub fn len(&self) -> usize {
        self.switches.len()
    }

    /// Number of directed links between switches.
    pub fn n_links(&self) -> usize {
        self.peers.len()
    }

    /// The switches that `at` is linked to, with the bandwidth of each link.
    pub fn peers(&self, at: usize) -> &[(u32, u64)] {
        &self.peers[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// The switches that endpoints attach to; all of them where there are no endpoints.
    pub fn attached(&self) -> Vec<usize> {
        let mut used = vec![self.endpoints.is_empty(); self.len()];
        for (place, _) in self.endpoints.iter().flat_map(|(_, ports)| ports) {
            used[*place as usize] = true;
        }
        (0..self.len()).filter(|&at| used[at]).collect()
    }

    /// The number of parts that no link between switches joins: the planes of a fabric.
    pub fn components(&self) -> u64 {
        let mut seen = vec![false; self.len()];
        let mut components = 0;
        let mut open = Vec::new();
        for start in 0..self.len() {
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            components += 1;
            open.push(start);
            while let Some(at) = open.pop() {
                for &(peer, _) in self.peers(at) {
                    if !std::mem::replace(&mut seen[peer as usize], true) {
                        open.push(peer as usize);
                    }
                }
            }
        }
        components
    }
}
