//! Who takes part in a collective, how they are joined, and the software that they run.

use super::tree;
use crate::hardware::CollectiveCosts;
use crate::id::DeviceId;
use crate::routing::Routes;
use crate::topology::{Cluster, DeviceKind};
use crate::units::{BytesPerSec, Duration};
use std::collections::BTreeMap;

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
    /// The ways between nodes, where there are several.
    pub between: Option<WaysBetween>,
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

/// The ways between nodes, by what uses them: which hops a ring, a tree or an exchange takes depends on the fabric, and so does how
/// long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaysBetween {
    /// From each rank to the next in a ring over all ranks, on average: a piece passes all of them.
    pub ring: Way,
    /// From each node to the next in a ring over nodes, between ranks of equal index, on average.
    pub rails: Way,
    /// The slowest one in two trees over nodes.
    pub trees: Way,
    /// From the first rank to the rank of another node that is farthest from it.
    pub peers: Way,
    /// From the first rank to the last.
    pub ends: Way,
}

/// Hops of a ring, a tree or an exchange that are looked at, evenly spread: enough to meet every kind of hop that a fabric has.
const HOPS_MAX: usize = 512;

/// How the hops of an algorithm come to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hops {
    /// A piece passes all of them in turn.
    InTurn,
    /// The slowest is waited for.
    Slowest,
}

impl Group {
    /// Ranks that nothing is known of but their devices: transfers cost the wire alone.
    pub fn bare(ranks: Vec<DeviceId>) -> Group {
        let n = ranks.len();
        Group { ranks, nodes: vec![0; n], switches: vec![None; n], inside: None, between: None, costs: None }
    }

    /// The `members` of a cluster with static routes, by their place in it.
    pub fn of(cluster: &Cluster, members: &[usize], costs: Option<&CollectiveCosts>) -> Group {
        Group::routed(cluster, &mut Routes::new(&cluster.topology), members, costs)
    }

    /// The `members` of a cluster, by their place in it, between which data takes `routes`.
    pub fn routed(
        cluster: &Cluster,
        routes: &mut Routes<'_>,
        members: &[usize],
        costs: Option<&CollectiveCosts>,
    ) -> Group {
        let mut group = Group::without_ways(cluster, members, costs);
        let neighbour = (1..group.len()).find(|&rank| group.together(0, rank));
        group.inside = neighbour.and_then(|to| way(routes, group.ranks[0], group.ranks[to]));
        group.between = group.ways_between(routes);
        group
    }

    /// The `members` of a cluster, by their place in it, for exchanges, which choose nothing by the ways between them.
    pub fn without_ways(cluster: &Cluster, members: &[usize], costs: Option<&CollectiveCosts>) -> Group {
        let ranks: Vec<DeviceId> = members.iter().map(|&gpu| cluster.gpus[gpu]).collect();
        let nodes: Vec<usize> = members.iter().map(|&gpu| cluster.node_of(gpu)).collect();
        let topology = &cluster.topology;
        let home = |device: DeviceId| topology.device(device).group;
        let domains: BTreeMap<u32, DeviceId> =
            topology.devices_of(DeviceKind::NvSwitch).map(|switch| (home(switch), switch)).collect();
        let switches = ranks.iter().map(|&rank| domains.get(&home(rank)).copied()).collect();
        Group { ranks, nodes, switches, inside: None, between: None, costs: costs.cloned() }
    }

    /// The ways between nodes that algorithms use, where there are several.
    fn ways_between(&self, routes: &mut Routes<'_>) -> Option<WaysBetween> {
        let n = self.len();
        let last = (0..n).rev().find(|&rank| !self.together(0, rank))?;
        let nodes = self.in_nodes();
        let heads: Vec<usize> = nodes.iter().map(|node| node[0]).collect();
        let next = |members: &[usize]| -> Vec<(usize, usize)> {
            (0..members.len()).map(|at| (members[at], members[(at + 1) % members.len()])).collect()
        };
        let edges = |parents: &[Option<usize>], members: &[usize]| -> Vec<(usize, usize)> {
            let edge = |(at, parent): (usize, &Option<usize>)| parent.map(|parent| (members[at], members[parent]));
            parents.iter().enumerate().filter_map(edge).collect()
        };
        let all: Vec<usize> = (0..n).collect();
        let trees = tree::over(self).iter().flat_map(|parents| edges(parents, &all)).collect();
        let peers = (1..n).map(|to| (0, to)).collect();
        let mut of = |hops: Vec<(usize, usize)>, which| self.hops_between(routes, &hops, which);
        Some(WaysBetween {
            ring: of(next(&all), Hops::InTurn)?,
            rails: of(next(&heads), Hops::InTurn)?,
            trees: of(trees, Hops::Slowest)?,
            peers: of(peers, Hops::Slowest)?,
            ends: of(vec![(0, last)], Hops::Slowest)?,
        })
    }

    /// What those of `hops` that lead to other nodes come to.
    fn hops_between(&self, routes: &mut Routes<'_>, hops: &[(usize, usize)], which: Hops) -> Option<Way> {
        let far: Vec<(usize, usize)> = hops.iter().copied().filter(|&(a, b)| !self.together(a, b)).collect();
        let looked_at = far.len().min(HOPS_MAX);
        let hop = |index: usize| far[index * far.len() / looked_at];
        let ways: Option<Vec<Way>> =
            (0..looked_at).map(|index| way(routes, self.ranks[hop(index).0], self.ranks[hop(index).1])).collect();
        let ways = ways?;
        let rate = ways.iter().map(|way| way.rate).min()?;
        let latency = match which {
            Hops::InTurn => ways.iter().map(|way| way.latency).sum::<Duration>().part_of(ways.len() as u64),
            Hops::Slowest => ways.iter().map(|way| way.latency).max()?,
        };
        Some(Way { latency, rate })
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

/// What is known of the way between two devices.
fn way(routes: &mut Routes<'_>, from: DeviceId, to: DeviceId) -> Option<Way> {
    let path = routes.path(from, to)?;
    Some(Way { latency: path.latency, rate: path.narrowest })
}
