//! The bandwidth between the two halves of a fabric's endpoints, by maximum flow (Dinic 1970).
//!
//! The halves are those of the endpoints' order, so that this is the bandwidth of one natural bisection, not the least
//! over all of them. Endpoints are collapsed onto their switches; no flow passes through an endpoint.

use super::switch_graph::SwitchGraph;
use crate::units::BytesPerSec;

/// Steps of the search before it is given up for a bound: a few seconds of work.
const BUDGET: u64 = 2_000_000_000;

/// How a bisection bandwidth was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BisectionMethod {
    /// Maximum flow: exact.
    MaxFlow,
    /// All cables between switches whose endpoints, or most of them, are in different halves: an upper bound, for
    /// networks that are too large for the exact figure.
    CrossingCables,
}

/// The bandwidth from the first half of the endpoints to the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bisection {
    /// In one direction.
    pub bandwidth: BytesPerSec,
    /// As a part of what the smaller half could send at the rate of its links.
    pub full_fraction: f64,
    /// How it was found.
    pub method: BisectionMethod,
}

/// The bisection of the endpoints in their order; none with fewer than two of them.
pub(super) fn bisection(graph: &SwitchGraph) -> Option<Bisection> {
    if graph.endpoints.len() < 2 {
        return None;
    }
    let half = graph.endpoints.len() / 2;
    let mut rates = vec![[0_u64; 2]; graph.len()];
    for (at, (_, ports)) in graph.endpoints.iter().enumerate() {
        for &(place, bandwidth) in ports {
            rates[place as usize][usize::from(at >= half)] += bandwidth;
        }
    }
    let full = (0..2).map(|side| rates.iter().map(|rate| rate[side]).sum::<u64>()).min().expect("two halves");
    let (flow, method) = match FlowNetwork::new(graph, &rates).max_flow(BUDGET) {
        Some(flow) => (flow, BisectionMethod::MaxFlow),
        None => (crossing(graph, &rates).min(full), BisectionMethod::CrossingCables),
    };
    Some(Bisection { bandwidth: BytesPerSec::new(flow), full_fraction: flow as f64 / full as f64, method })
}

/// The cables between the switches that lean to the first half and all others: one cut, hence an upper bound. What
/// switches with endpoints of both halves pass on inside counts too.
fn crossing(graph: &SwitchGraph, rates: &[[u64; 2]]) -> u64 {
    let first: Vec<bool> = rates.iter().map(|rate| rate[0] > rate[1]).collect();
    let inside = rates.iter().map(|rate| rate[0].min(rate[1])).sum::<u64>();
    let cables = (0..graph.len()).filter(|&at| first[at]).flat_map(|at| graph.peers(at));
    inside + cables.filter(|(peer, _)| !first[*peer as usize]).map(|(_, bandwidth)| bandwidth).sum::<u64>()
}

/// A flow network in the residual form: arc `i ^ 1` is the reverse of arc `i`.
struct FlowNetwork {
    /// For each vertex, where its part of `arcs` starts; the last two vertices are the source and the sink.
    starts: Vec<u32>,
    /// The arcs that leave each vertex.
    arcs: Vec<u32>,
    to: Vec<u32>,
    free: Vec<u64>,
    levels: Vec<u32>,
    steps: u64,
}

impl FlowNetwork {
    fn new(graph: &SwitchGraph, rates: &[[u64; 2]]) -> FlowNetwork {
        let (source, sink) = (graph.len() as u32, graph.len() as u32 + 1);
        let mut ends = Vec::with_capacity(graph.n_links() / 2 + 2 * graph.len());
        for at in 0..graph.len() {
            // Connections are symmetric, so one arc each way stands for both directed links.
            let peers = graph.peers(at).iter().filter(|(peer, _)| (*peer as usize) > at);
            ends.extend(peers.map(|&(peer, bandwidth)| (at as u32, peer, bandwidth, bandwidth)));
        }
        for (at, rate) in (0..).zip(rates) {
            ends.push((source, at, rate[0], 0));
            ends.push((at, sink, rate[1], 0));
        }
        ends.retain(|(_, _, there, back)| there + back > 0);
        let mut starts = vec![0_u32; graph.len() + 3];
        for &(a, b, ..) in &ends {
            starts[a as usize + 1] += 1;
            starts[b as usize + 1] += 1;
        }
        (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
        let mut fill = starts.clone();
        let mut network = FlowNetwork {
            starts,
            arcs: vec![0; 2 * ends.len()],
            to: Vec::with_capacity(2 * ends.len()),
            free: Vec::with_capacity(2 * ends.len()),
            levels: Vec::new(),
            steps: 0,
        };
        for (a, b, there, back) in ends {
            for (from, to, free) in [(a, b, there), (b, a, back)] {
                network.arcs[fill[from as usize] as usize] = network.to.len() as u32;
                fill[from as usize] += 1;
                network.to.push(to);
                network.free.push(free);
            }
        }
        network
    }

    /// The maximum flow from source to sink; none when it takes more than `budget` steps.
    fn max_flow(&mut self, budget: u64) -> Option<u64> {
        let mut flow = 0;
        while self.level() {
            flow += self.blocking_flow(budget)?;
        }
        Some(flow)
    }

    fn source(&self) -> usize {
        self.starts.len() - 3
    }

    fn sink(&self) -> usize {
        self.starts.len() - 2
    }

    fn out(&self, vertex: usize) -> std::ops::Range<usize> {
        self.starts[vertex] as usize..self.starts[vertex + 1] as usize
    }

    /// Numbers the vertices by their distance from the source over arcs with room; whether the sink is reached.
    fn level(&mut self) -> bool {
        self.levels = vec![u32::MAX; self.starts.len() - 1];
        let source = self.source();
        self.levels[source] = 0;
        let mut row = vec![source];
        let mut depth = 0;
        while !row.is_empty() && self.levels[self.sink()] == u32::MAX {
            depth += 1;
            let mut next = Vec::new();
            for vertex in row {
                for slot in self.out(vertex) {
                    let arc = self.arcs[slot] as usize;
                    let to = self.to[arc] as usize;
                    if self.free[arc] > 0 && self.levels[to] == u32::MAX {
                        self.levels[to] = depth;
                        next.push(to);
                    }
                }
            }
            row = next;
        }
        self.steps += self.arcs.len() as u64;
        self.levels[self.sink()] != u32::MAX
    }

    /// Fills every shortest path: walks from the source along ascending levels, backing out of dead ends for good.
    fn blocking_flow(&mut self, budget: u64) -> Option<u64> {
        let (source, sink) = (self.source(), self.sink());
        let mut current: Vec<u32> = self.starts[..=sink].to_vec();
        let mut path: Vec<usize> = Vec::new();
        let mut flow = 0;
        let mut at = source;
        loop {
            self.steps += 1;
            if self.steps > budget {
                return None;
            }
            if at == sink {
                flow += self.augment(&mut path);
                at = path.last().map_or(source, |&arc| self.to[arc] as usize);
            }
            let end = self.starts[at + 1];
            let slot = current[at];
            if slot == end {
                let Some(arc) = path.pop() else { return Some(flow) };
                at = self.to[arc ^ 1] as usize;
                current[at] += 1;
                continue;
            }
            let arc = self.arcs[slot as usize] as usize;
            let to = self.to[arc] as usize;
            if self.free[arc] > 0 && self.levels[to] == self.levels[at] + 1 {
                path.push(arc);
                at = to;
            } else {
                current[at] += 1;
            }
        }
    }

    /// Sends what fits along `path` and cuts it off before its first full arc.
    fn augment(&mut self, path: &mut Vec<usize>) -> u64 {
        let fits = path.iter().map(|&arc| self.free[arc]).min().expect("a path has arcs");
        for &arc in path.iter() {
            self.free[arc] -= fits;
            self.free[arc ^ 1] += fits;
        }
        let full = path.iter().position(|&arc| self.free[arc] == 0).expect("the narrowest arc is full");
        path.truncate(full);
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::testing::{fabric, spec};
    use crate::topology::{measure_spec, switch_graph::SwitchGraph};

    #[test]
    fn a_full_tree_has_full_bisection_and_an_oversubscribed_one_its_share() {
        for (shape, fraction) in [
            ("[shape.fat_tree]\nlayers = 1", 1.0),
            ("[shape.fat_tree]\nlayers = 2", 1.0),
            ("[shape.fat_tree]\nlayers = 2\nendpoints = 24", 1.0),
            ("[shape.fat_tree]\nlayers = 3", 1.0),
            ("[shape.fat_tree]\nlayers = 3\nendpoints = 96", 1.0),
            ("[shape.fat_tree]\nlayers = 2\noversubscription = 3", 1.0 / 3.0),
            ("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 2\nports_per_nic = 2", 1.0),
            ("[shape.multi_rail_fat_tree]\nlayers = 2\nrails = 4", 1.0),
        ] {
            let bisection = measure_spec(&spec(shape, 8)).expect("legal").bisection.expect("endpoints");
            assert_eq!(bisection.method, BisectionMethod::MaxFlow);
            assert_eq!(bisection.full_fraction, fraction, "{shape}");
        }
    }

    /// Whatever the number of endpoints, a tree is built so that none of its leaves or pods is short of cables.
    #[test]
    fn a_tree_of_any_size_keeps_full_bisection() {
        for endpoints in 2..=128 {
            for layers in [2, 3] {
                let shape = format!("[shape.fat_tree]\nlayers = {layers}\nendpoints = {endpoints}");
                if layers == 2 && endpoints > 32 {
                    continue;
                }
                let graph = SwitchGraph::new(&fabric(&shape, 8));
                assert_eq!(bisection(&graph).expect("endpoints").full_fraction, 1.0, "{shape}");
            }
        }
    }

    /// With every group in one half, only global links cross: 2 x 2 group pairs of one cable each.
    #[test]
    fn a_dragonfly_is_cut_at_its_global_links() {
        let shape = "[shape.dragonfly]\nrouters_per_group = 3\nendpoints_per_router = 3\n\
                     global_links_per_router = 1\ngroups = 4";
        let topology = fabric(shape, 8);
        let graph = SwitchGraph::new(&topology);
        let exact = bisection(&graph).expect("endpoints");
        assert_eq!(exact.bandwidth, BytesPerSec::new(4 * 50_000_000_000));
        let mut rates = vec![[0, 1]; 6];
        rates.splice(0..0, vec![[1, 0]; 6]);
        assert_eq!(crossing(&graph, &rates), exact.bandwidth.get());
    }

    #[test]
    fn a_search_without_budget_gives_up() {
        let graph = SwitchGraph::new(&fabric("[shape.fat_tree]\nlayers = 2", 8));
        let rates = vec![[1, 1]; graph.len()];
        assert_eq!(FlowNetwork::new(&graph, &rates).max_flow(3), None);
    }
}
