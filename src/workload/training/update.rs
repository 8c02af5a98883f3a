//! The end of a training step with ZeRO stage 1 (arXiv 1910.02054): gradients are reduced and scattered over the replicas of
//! the weights, each updates its part, and the updated weights are gathered.
//!
//! Gradients are clipped by their norm over all of the model, so that no rank updates before every rank has reduced. The sum
//! itself and the exchange of the norm, a number, are not charged.

use super::step::Last;
use crate::id::{DeviceId, OpId};
use crate::units::Bytes;
use crate::workload::Kernel;
use crate::workload::op::{Label, Op, OpGraph, Phase, Work};
use std::collections::BTreeMap;

/// What one pipeline rank does at the end of a step.
#[derive(Clone, Debug)]
pub struct Update {
    /// What is reduced and gathered: experts have fewer replicas than all else.
    pub rings: Vec<Ring>,
    /// The pass over gradients, master weights and moments.
    pub optimizer: Kernel,
}

/// Weights that several GPUs hold alike.
#[derive(Clone, Debug)]
pub struct Ring {
    /// GPUs that hold them.
    pub members: u64,
    /// How many of them share a node.
    pub per_node: u64,
    /// Gradients that each one starts with.
    pub gradients: Bytes,
    /// Weights that each one ends with.
    pub weights: Bytes,
    /// For each simulated replica: the next member in its node, if there are others.
    pub inside: Vec<Option<DeviceId>>,
    /// For each simulated replica: the member of its index in the next node, if there are others.
    pub outside: Vec<Option<DeviceId>>,
}

/// Adds the end of the step. `last[replica][rank]` is what a rank did last.
pub(super) fn lower(updates: &[Update], replicas: &[Vec<DeviceId>], last: &[Vec<Last>], graph: &mut OpGraph) {
    let places = replicas
        .iter()
        .enumerate()
        .flat_map(|(replica, gpus)| gpus.iter().enumerate().map(move |(rank, &gpu)| (gpu, (replica, rank))));
    let mut held: Held = last.iter().map(|ranks| ranks.iter().map(|&(_, op)| vec![op]).collect()).collect();
    let rings = Rings { updates, replicas, places: places.collect() };
    rings.pass_round(Phase::GradientReduce, |ring| ring.gradients, &mut held, graph);
    let reduced: Vec<OpId> = held.iter().flatten().flatten().copied().collect();
    for (replica, ranks) in last.iter().enumerate() {
        for (rank, &(stream, _)) in ranks.iter().enumerate() {
            let label = Label { phase: Phase::Optimizer, layer: rank as u32, micro_batch: 0 };
            let work = Work::Compute(updates[rank].optimizer);
            held[replica][rank] =
                vec![graph.push(Op { work, label, stream: Some(stream), collective: None }, &reduced)];
        }
    }
    rings.pass_round(Phase::ParameterGather, |ring| ring.weights, &mut held, graph);
}

/// What each rank of each simulated replica holds last.
type Held = Vec<Vec<Vec<OpId>>>;

struct Rings<'a> {
    updates: &'a [Update],
    replicas: &'a [Vec<DeviceId>],
    /// Replica and rank of each simulated GPU.
    places: BTreeMap<DeviceId, (usize, usize)>,
}

impl Rings<'_> {
    /// Passes pieces of `bytes` round every ring, one kind of weights after the other: a reduce-scatter or an all-gather.
    ///
    /// As many rings as a node has members run at once, each of which leaves the node at another of them: of what a member
    /// passes on, one part in `per_node` goes to the next node.
    fn pass_round(&self, phase: Phase, bytes: impl Fn(&Ring) -> Bytes, held: &mut Held, graph: &mut OpGraph) {
        for kind in 0..self.updates[0].rings.len() {
            let members = |update: &Update| update.rings[kind].members;
            let steps = self.updates.iter().map(members).max().expect("a pipeline has ranks") - 1;
            let tag = graph.collective();
            for step in 0..steps {
                let mut received: Held = held.iter().map(|ranks| vec![Vec::new(); ranks.len()]).collect();
                for (replica, gpus) in self.replicas.iter().enumerate() {
                    for (rank, &gpu) in gpus.iter().enumerate() {
                        let ring = &self.updates[rank].rings[kind];
                        if step + 1 >= ring.members {
                            received[replica][rank].extend(&held[replica][rank]);
                            continue;
                        }
                        let piece = bytes(ring).get().div_ceil(ring.members);
                        let outside =
                            if ring.inside[replica].is_none() { piece } else { piece.div_ceil(ring.per_node) };
                        let outside = if ring.outside[replica].is_none() { 0 } else { outside };
                        for (to, bytes) in [(ring.inside[replica], piece - outside), (ring.outside[replica], outside)] {
                            let Some(to) = to.filter(|_| bytes > 0) else { continue };
                            let work = Work::Send { from: gpu, to, bytes: Bytes::new(bytes) };
                            let label = Label { phase, layer: rank as u32, micro_batch: 0 };
                            let op = Op { work, label, stream: None, collective: Some(tag) };
                            let sent = graph.push(op, &held[replica][rank]);
                            // Who stands for all receives when its likes do.
                            let (replica, rank) = self.places.get(&to).copied().unwrap_or((replica, rank));
                            received[replica][rank].push(sent);
                        }
                    }
                }
                *held = received;
            }
        }
    }
}
