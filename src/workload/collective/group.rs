//! Who takes part in a collective, how they are joined, and the software that they run.

use crate::hardware::CollectiveCosts;
use crate::id::DeviceId;
use crate::routing::Routes;
use crate::topology::{Cluster, DeviceKind};
use crate::units::{BytesPerSec, Duration};

/// The ranks of a collective, those of a node next to each other.
#[derive(Clone, Debug)]
pub struct Group {
    /// The devices, in rank order.
    pub ranks: Vec<DeviceId>,
    /// The node of each rank.
    pub nodes: Vec<usize>,
    /// The switch of each rank's scale-up domain, where it has one.
    pub switches: Vec<Option<DeviceId>>,
    /// The way between two ranks of a node, where there are two.
    pub inside: Option<Way>,
    /// The way from the first rank to the last one of another node, where there are several nodes: in a tree of switches no other
    /// one is longer.
    pub between: Option<Way>,
    /// What software costs; without it transfers cost the wire alone.
    pub costs: Option<CollectiveCosts>,
}

/// What is known of a way before anything travels on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Latency.
    pub latency: Duration,
    /// The rate that its slowest link reaches.
    pub rate: BytesPerSec,
}

impl Group {
    /// Ranks that nothing is known of but their devices: transfers cost the wire alone.
    pub fn bare(ranks: Vec<DeviceId>) -> Group {
        let n = ranks.len();
        Group { ranks, nodes: vec![0; n], switches: vec![None; n], inside: None, between: None, costs: None }
    }

    /// The `members` of a cluster, by their place in it.
    pub fn of(cluster: &Cluster, members: &[usize], costs: Option<&CollectiveCosts>) -> Group {
        let ranks: Vec<DeviceId> = members.iter().map(|&gpu| cluster.gpus[gpu]).collect();
        let nodes: Vec<usize> = members.iter().map(|&gpu| cluster.node_of(gpu)).collect();
        let mut domain = vec![None; cluster.nodes as usize];
        for switch in cluster.topology.devices_of(DeviceKind::NvSwitch) {
            domain[cluster.topology.device(switch).group as usize] = Some(switch);
        }
        let switches = nodes.iter().map(|&node| domain[node]).collect();
        let mut routes = Routes::new(&cluster.topology);
        let mut way = |to: Option<usize>| {
            let path = routes.path(ranks[0], ranks[to?])?;
            Some(Way { latency: path.latency, rate: path.narrowest })
        };
        let inside = way((1..ranks.len()).find(|&rank| nodes[rank] == nodes[0]));
        let between = way((1..ranks.len()).rev().find(|&rank| nodes[rank] != nodes[0]));
        Group { ranks, nodes, switches, inside, between, costs: costs.cloned() }
    }

    /// Number of ranks.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Whether nobody takes part.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// Whether two ranks are in one node.
    pub fn together(&self, a: usize, b: usize) -> bool {
        self.nodes[a] == self.nodes[b]
    }

    /// Whether all ranks are in one node.
    pub fn is_one_node(&self) -> bool {
        self.nodes.iter().all(|&node| node == self.nodes[0])
    }

    /// The ranks of each node.
    pub fn in_nodes(&self) -> Vec<Vec<usize>> {
        let mut nodes: Vec<Vec<usize>> = Vec::new();
        for rank in 0..self.len() {
            match nodes.last_mut() {
                Some(node) if self.together(node[0], rank) => node.push(rank),
                _ => nodes.push(vec![rank]),
            }
        }
        nodes
    }

    /// The ranks of each node, where several nodes have equally many of them and more than one.
    pub fn by_node(&self) -> Option<Vec<Vec<usize>>> {
        let nodes = self.in_nodes();
        let equal = nodes.iter().all(|node| node.len() == nodes[0].len());
        (nodes.len() > 1 && nodes[0].len() > 1 && equal).then_some(nodes)
    }
}
