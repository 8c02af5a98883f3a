//! The two all-to-alls of a layer with experts where software costs nothing, as if hardware forwarded: over the fabric once per node that a token
//! visits, to the GPU of the sender's index, which forwards it inside the node once per GPU (arXiv 2412.19437, section
//! 3.2.2). The way back is the mirror image: results are summed inside the node before they cross the fabric.
//!
//! What each node gets is worked out from a sample of the gate, as an average over GPUs, times the load of its experts.

use super::chunk::{Chunk, Front};
use crate::dtype::Dtype;
use crate::id::{CollectiveId, OpId};
use crate::model::MoeSpec;
use crate::rng::RandomStream;
use crate::units::Bytes;
use crate::workload::gate::sample_gate;
use crate::workload::moe::Direction;
use crate::workload::op::{Label, Op, OpGraph, Work};

/// Tokens beyond which a sample of the gate adds nothing but time.
const SAMPLE: usize = 1 << 14;

/// What a token's trip to its experts takes, on average over tokens and GPUs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingTraffic {
    /// Other nodes that it visits.
    pub remote_nodes: f64,
    /// GPUs of those nodes that it visits beyond the one of its own GPU's index.
    pub forwarded: f64,
    /// Other GPUs of its own node that it visits.
    pub local: f64,
    /// GPUs that it visits, its own included.
    pub devices: f64,
}

/// The traffic of an expert-parallel group of `ep` GPUs, `per_node` of them on each node; experts are spread evenly.
pub fn training_traffic(moe: &MoeSpec, ep: u64, per_node: u64, rng: &mut RandomStream) -> TrainingTraffic {
    let sample = sample_gate(moe, SAMPLE, rng);
    let per_device = moe.routed_experts.wide().div_ceil(ep);
    let (mut nodes, mut forwarded, mut local, mut all) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut devices, mut visited) = (Vec::new(), Vec::new());
    for (token, experts) in (0..).zip(sample.tokens()) {
        let home = token % ep;
        devices.clear();
        devices.extend(experts.iter().map(|&expert| u64::from(expert) / per_device));
        devices.sort_unstable();
        devices.dedup();
        visited.clear();
        visited.extend(devices.iter().map(|device| device / per_node));
        visited.dedup();
        nodes += visited.iter().filter(|&&node| node != home / per_node).count() as u64;
        for device in &devices {
            match (device / per_node == home / per_node, device % per_node == home % per_node) {
                (true, false) => local += 1,
                (false, false) => forwarded += 1,
                (true | false, true) => {}
            }
        }
        all += devices.len() as u64;
    }
    let average = |sum: u64| sum as f64 / sample.len() as f64;
    TrainingTraffic {
        remote_nodes: average(nodes),
        forwarded: average(forwarded),
        local: average(local),
        devices: average(all),
    }
}

impl TrainingTraffic {
    /// Copies that cross the fabric, are forwarded, and stay in the node, of `tokens` tokens of one GPU, rounded up.
    pub(super) fn copies(&self, tokens: u64) -> (u64, u64, u64) {
        let of = |average: f64| (average * tokens as f64).ceil() as u64;
        (of(self.remote_nodes), of(self.forwarded), of(self.local))
    }

    /// Tokens that a GPU receives, each once, when each GPU has `tokens`.
    pub fn received(&self, tokens: u64) -> u64 {
        (self.devices * tokens as f64).ceil() as u64
    }
}

/// Adds one all-to-all of `tokens` tokens of every GPU, whose experts have `loads` times the work of an average one's: what each simulated GPU waits
/// for until its part has ended. There are other GPUs, so that this implies that what it was `ready` for has ended, too.
pub(super) fn exchange(
    chunk: &Chunk,
    graph: &mut OpGraph,
    (label, way): (Label, Direction),
    (traffic, tokens): (TrainingTraffic, u64),
    loads: &[f64],
    ready: &Front,
) -> Front {
    let (precision, hidden) = (&chunk.precision, chunk.model.hidden.wide());
    let row = match way {
        Direction::Dispatch => {
            let scales = precision.dispatch_scale_group.map_or(0, |group| hidden.div_ceil(group.wide()));
            precision.dispatch.bytes(hidden) + Dtype::Fp32.bytes(scales)
        }
        Direction::Combine => precision.combine.bytes(hidden),
    };
    let (remote, forwarded, local) = traffic.copies(tokens);
    let parts = Parts::new(chunk, row, [remote, forwarded, local]);
    let tag = graph.collective();
    let ended = vec![Vec::new(); ready.len()];
    let exchange = Exchange { chunk, graph, label, tag, parts, way, loads, ended };
    match way {
        Direction::Dispatch => exchange.dispatch(ready),
        Direction::Combine => exchange.combine(ready),
    }
}

/// What one GPU sends to each peer.
#[derive(Clone, Copy)]
struct Parts {
    nodes: usize,
    /// To the GPU of its index in another node.
    across: Bytes,
    /// Of what comes from one other node, to each GPU of its node.
    forwarded: Bytes,
    /// To each other GPU of its node.
    local: Bytes,
}

impl Parts {
    fn new(chunk: &Chunk, row: Bytes, [remote, forwarded, local]: [u64; 3]) -> Parts {
        let nodes = chunk.gpus.len() / chunk.per_node;
        let (others, peers) = ((nodes as u64 - 1).max(1), (chunk.per_node as u64 - 1).max(1));
        let each = |copies: u64, among: u64| Bytes::new((copies * row.get()).div_ceil(among));
        Parts {
            nodes,
            across: each(remote, others),
            forwarded: each(forwarded, others * peers),
            local: each(local, peers),
        }
    }
}

/// The sends of one all-to-all.
struct Exchange<'a> {
    chunk: &'a Chunk,
    graph: &'a mut OpGraph,
    label: Label,
    tag: CollectiveId,
    parts: Parts,
    way: Direction,
    /// Of each GPU's experts.
    loads: &'a [f64],
    /// What each simulated GPU has sent or received: its part has ended when all of it has arrived.
    ended: Front,
}

impl Exchange<'_> {
    fn folded(&self) -> bool {
        self.chunk.simulated.len() < self.chunk.gpus.len()
    }

    /// Sends `bytes` from the simulated GPU at `place`: who receives them, and when. Who stands for all receives when its likes do, which is
    /// when what it sends arrives.
    fn send(&mut self, place: usize, to: usize, bytes: Bytes, after: &[OpId]) -> (usize, OpId) {
        let from = self.chunk.simulated[place];
        let work = Work::Send { from: self.chunk.gpus[from], to: self.chunk.gpus[to], bytes };
        let sent = self.graph.push(Op { work, label: self.label, stream: None, collective: Some(self.tag) }, after);
        let receiver = if self.folded() { place } else { to };
        self.ended[place].push(sent);
        if receiver != place {
            self.ended[receiver].push(sent);
        }
        (receiver, sent)
    }

    /// What is sent of `bytes`, which is about the experts of who gets a dispatch or sends a combine. Who stands for all sends what it
    /// receives.
    fn weighed(&self, bytes: Bytes, from: usize, to: usize, load: impl Fn(&Self, usize) -> f64) -> Bytes {
        let receiver = if self.folded() { from } else { to };
        let visited = if self.way == Direction::Dispatch { receiver } else { from };
        Bytes::new((bytes.get() as f64 * load(self, visited)).ceil() as u64)
    }

    fn of_gpu(&self, gpu: usize) -> f64 {
        self.loads[gpu]
    }

    fn of_node(&self, gpu: usize) -> f64 {
        let per_node = self.chunk.per_node;
        let node = &self.loads[gpu - gpu % per_node..][..per_node];
        node.iter().sum::<f64>() / per_node as f64
    }

    /// The GPU of `rank`'s index in the node `hop` further on.
    fn across(&self, rank: usize, hop: usize) -> usize {
        (rank + hop * self.chunk.per_node) % self.chunk.gpus.len()
    }

    /// Sends `bytes` to every other GPU of the node.
    fn inside(&mut self, place: usize, bytes: Bytes, after: &[OpId]) -> Vec<(usize, OpId)> {
        let (rank, per_node) = (self.chunk.simulated[place], self.chunk.per_node);
        let node = rank - rank % per_node;
        let peers = (1..per_node).map(|turn| node + (rank + turn) % per_node);
        peers.map(|peer| self.send(place, peer, self.weighed(bytes, rank, peer, Self::of_gpu), after)).collect()
    }

    /// Sends `bytes` to the GPU of its index in the node `hop` further on.
    fn over_fabric(&mut self, place: usize, hop: usize, after: &[OpId]) -> (usize, OpId) {
        let rank = self.chunk.simulated[place];
        let there = self.across(rank, hop);
        self.send(place, there, self.weighed(self.parts.across, rank, there, Self::of_node), after)
    }

    /// Over the fabric first, then inside the node.
    fn dispatch(mut self, after: &Front) -> Front {
        for (place, after) in after.iter().enumerate() {
            self.inside(place, self.parts.local, after);
        }
        for hop in 1..self.parts.nodes {
            for (place, after) in after.iter().enumerate() {
                let (at, sent) = self.over_fabric(place, hop, after);
                self.inside(at, self.parts.forwarded, &[sent]);
            }
        }
        self.ended
    }

    /// Inside the node first, then over the fabric.
    fn combine(mut self, after: &Front) -> Front {
        for hop in 1..self.parts.nodes {
            let mut gathered = after.clone();
            for (place, after) in after.iter().enumerate() {
                for (at, sent) in self.inside(place, self.parts.forwarded, after) {
                    gathered[at].push(sent);
                }
            }
            for (place, gathered) in gathered.iter().enumerate() {
                self.over_fabric(place, hop, gathered);
            }
        }
        for (place, after) in after.iter().enumerate() {
            self.inside(place, self.parts.local, after);
        }
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;
    use crate::rng::Seed;

    #[test]
    fn node_limited_routing_crosses_the_fabric_at_most_four_times() {
        let model = published::deepseek_v3();
        let moe = model.moe.as_ref().expect("experts");
        let traffic = training_traffic(moe, 64, 8, &mut Seed(1).stream("gate"));
        // Between 3.5 and 4 of 8 nodes are visited, of which the own one is one in eight.
        assert!((3.5 * 7.0 / 8.0..4.0 * 7.0 / 8.0).contains(&traffic.remote_nodes), "{traffic:?}");
        // Each visited GPU is the own one, in the own node, at the own index of another node, or elsewhere.
        let found = traffic.devices * 7.0 / 8.0;
        assert!((traffic.local + traffic.forwarded - found).abs() < 0.05, "{traffic:?}");
        let one_node = training_traffic(moe, 8, 8, &mut Seed(1).stream("gate"));
        assert_eq!((one_node.remote_nodes, one_node.forwarded), (0.0, 0.0));
    }
}
