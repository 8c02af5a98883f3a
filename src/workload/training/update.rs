//! The end of a training step with ZeRO stage 1 (arXiv 1910.02054): gradients are reduced and scattered over the replicas of
//! the weights, each updates its part, the updated weights are gathered, and cast for the products of the next step.
//!
//! Gradients are clipped by their norm over all of the model: each GPU sums up the squares of what it has reduced, and these
//! sums are added over the whole cluster, in rounds between partners, before anyone updates. Adding up the pieces of gradients
//! themselves is not charged.

use super::step::Last;
use crate::hardware::on_wire;
use crate::id::{DeviceId, OpId, StreamId};
use crate::units::{Bytes, Duration, Fraction};
use crate::workload::Kernel;
use crate::workload::collective::{Algorithm, Collective, Protocol};
use crate::workload::op::{Chosen, Label, Op, OpGraph, Phase, Stream, Work};
use std::collections::BTreeMap;

/// What a GPU tells its partners: a sum in FP32.
const SUM: Bytes = Bytes::new(4);

/// What one pipeline rank does at the end of a step.
#[derive(Clone, Debug)]
pub struct Update {
    /// What is reduced and gathered: experts have fewer replicas than all else.
    pub rings: Vec<Ring>,
    /// The pass that sums up the squares of reduced gradients.
    pub norm: Kernel,
    /// For each simulated replica: with whom sums are exchanged, round by round.
    pub partners: Vec<Vec<DeviceId>>,
    /// The pass over gradients, master weights and moments.
    pub optimizer: Kernel,
    /// The pass that casts gathered weights, where products meet them in a narrower format.
    pub cast: Option<Kernel>,
}

/// What the software of collectives costs at the end of a step, beside the bytes that its protocols add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateSoftware {
    /// Once per collective.
    pub start: Duration,
    /// Whenever something is passed on to another node.
    pub step: Duration,
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
    /// Data per byte on the links of a node, and on those between nodes.
    pub shares: [Fraction; 2],
    /// For each simulated replica: the next member in its node, if there are others.
    pub inside: Vec<Option<DeviceId>>,
    /// For each simulated replica: the member of its index in the next node, if there are others.
    pub outside: Vec<Option<DeviceId>>,
}

/// Adds the end of the step. `last[replica][rank]` is what a rank did last.
pub(super) fn lower(
    (updates, software): (&[Update], UpdateSoftware),
    replicas: &[Vec<DeviceId>],
    last: &[Vec<Last>],
    graph: &mut OpGraph,
) {
    let places = replicas
        .iter()
        .enumerate()
        .flat_map(|(replica, gpus)| gpus.iter().enumerate().map(move |(rank, &gpu)| (gpu, (replica, rank))));
    let places: BTreeMap<DeviceId, (usize, usize)> = places.collect();
    let channel = |(rank, &device): (usize, &DeviceId)| Stream { device, rank, name: "communication" };
    let channels = replicas
        .iter()
        .map(|gpus| gpus.iter().enumerate().map(|gpu| graph.stream(channel(gpu))).collect::<Vec<StreamId>>());
    let channels = channels.collect();
    let mut end = End { updates, software, replicas, places, channels, graph };
    let mut held: Held = last.iter().map(|ranks| ranks.iter().map(|&(_, op)| vec![op]).collect()).collect();
    end.pass_round(Phase::GradientReduce, |ring| ring.gradients, &mut held);
    end.kernels(|update| Some(update.norm), Phase::Optimizer, last, &mut held);
    end.add_up(&mut held);
    end.kernels(|update| Some(update.optimizer), Phase::Optimizer, last, &mut held);
    end.pass_round(Phase::ParameterGather, |ring| ring.weights, &mut held);
    end.kernels(|update| update.cast, Phase::Optimizer, last, &mut held);
}

/// What each rank of each simulated replica holds last.
type Held = Vec<Vec<Vec<OpId>>>;

struct End<'a> {
    updates: &'a [Update],
    software: UpdateSoftware,
    replicas: &'a [Vec<DeviceId>],
    /// Replica and rank of each simulated GPU.
    places: BTreeMap<DeviceId, (usize, usize)>,
    /// The stream of each simulated GPU's communication software.
    channels: Vec<Vec<StreamId>>,
    graph: &'a mut OpGraph,
}

impl End<'_> {
    /// A kernel of every rank, after what it holds.
    fn kernels(
        &mut self,
        kernel: impl Fn(&Update) -> Option<Kernel>,
        phase: Phase,
        last: &[Vec<Last>],
        held: &mut Held,
    ) {
        for (replica, ranks) in last.iter().enumerate() {
            for (rank, &(stream, _)) in ranks.iter().enumerate() {
                let Some(kernel) = kernel(&self.updates[rank]) else { continue };
                let label = Label { phase, layer: rank as u32, micro_batch: 0 };
                let op = Op { work: Work::Compute(kernel), label, stream: Some(stream), collective: None };
                held[replica][rank] = vec![self.graph.push(op, &held[replica][rank])];
            }
        }
    }

    /// Software of a rank: what follows waits for it. No time, no operation.
    fn software(&mut self, (replica, rank): (usize, usize), phase: Phase, time: Duration, after: &[OpId]) -> Vec<OpId> {
        if time == Duration::ZERO {
            return after.to_vec();
        }
        let label = Label { phase, layer: rank as u32, micro_batch: 0 };
        let stream = Some(self.channels[replica][rank]);
        vec![self.graph.push(Op { work: Work::Software(time), label, stream, collective: None }, after)]
    }

    /// Every simulated GPU, by replica and rank.
    fn ranks(&self) -> Vec<(usize, usize)> {
        let of = |(replica, gpus): (usize, &Vec<DeviceId>)| (0..gpus.len()).map(move |rank| (replica, rank));
        self.replicas.iter().enumerate().flat_map(of).collect()
    }

    /// Adds one number over all GPUs: in every round each GPU hears from its partner what that one has. All begin together, because the
    /// first rank that has reduced waits for the last one in some round.
    fn add_up(&mut self, held: &mut Held) {
        let phase = Phase::Optimizer;
        let reduced: Vec<OpId> = held.iter().flatten().flatten().copied().collect();
        for (replica, rank) in self.ranks() {
            held[replica][rank] = self.software((replica, rank), phase, self.software.start, &reduced);
        }
        let tag = self.graph.collective();
        for round in 0..self.updates[0].partners[0].len() {
            let mut sent = BTreeMap::new();
            for (replica, rank) in self.ranks() {
                let after = self.software((replica, rank), phase, self.software.step, &held[replica][rank]);
                let to = self.updates[rank].partners[replica][round];
                let work = Work::Send { from: self.replicas[replica][rank], to, bytes: SUM };
                let label = Label { phase, layer: rank as u32, micro_batch: 0 };
                let op = self.graph.push(Op { work, label, stream: None, collective: Some(tag) }, &after);
                sent.insert((replica, rank), op);
            }
            for (replica, rank) in self.ranks() {
                // Who stands for all hears from its partner when it has told its own.
                let partner = self.places.get(&self.updates[rank].partners[replica][round]);
                let heard = partner.copied().unwrap_or((replica, rank));
                held[replica][rank] = vec![sent[&(replica, rank)], sent[&heard]];
            }
        }
    }

    /// Remembers which collective the rings of a kind of weights are, the longest for all.
    fn remember(&mut self, phase: Phase, kind: usize, bytes: &impl Fn(&Ring) -> Bytes) {
        let collective = match phase {
            Phase::GradientReduce => Collective::ReduceScatter,
            _ => Collective::AllGather,
        };
        let software = self.software.step > Duration::ZERO;
        let protocol = if software { Protocol::Simple } else { Protocol::Bare };
        let rings = self.updates.iter().map(|update| &update.rings[kind]);
        if let Some(ring) = rings.max_by_key(|ring| (ring.members, bytes(ring))) {
            let (ranks, bytes) = (ring.members as usize, bytes(ring));
            self.graph.chose(Chosen { collective, algorithm: Algorithm::Ring, protocol, ranks, bytes });
        }
    }

    /// Passes pieces of `bytes` round every ring, one kind of weights after the other: a reduce-scatter or an all-gather.
    ///
    /// As many rings as a node has members run at once, each of which leaves the node at another of them: of what a member
    /// passes on, one part in `per_node` goes to the next node.
    fn pass_round(&mut self, phase: Phase, bytes: impl Fn(&Ring) -> Bytes, held: &mut Held) {
        for kind in 0..self.updates[0].rings.len() {
            let members = |update: &Update| update.rings[kind].members;
            let steps = self.updates.iter().map(members).max().expect("a pipeline has ranks") - 1;
            // A dense model has no experts, and nothing of them to pass on.
            let nothing = self.updates.iter().all(|update| bytes(&update.rings[kind]) == Bytes::ZERO);
            if steps == 0 || nothing {
                continue;
            }
            for (replica, rank) in self.ranks() {
                held[replica][rank] = self.software((replica, rank), phase, self.software.start, &held[replica][rank]);
            }
            self.remember(phase, kind, &bytes);
            let tag = self.graph.collective();
            for step in 0..steps {
                let mut received: Held = held.iter().map(|ranks| vec![Vec::new(); ranks.len()]).collect();
                for (replica, rank) in self.ranks() {
                    let ring = &self.updates[rank].rings[kind];
                    if step + 1 >= ring.members {
                        received[replica][rank].extend(&held[replica][rank]);
                        continue;
                    }
                    let parts = ring.parts(replica, bytes(ring));
                    for (inside, part) in [true, false].into_iter().zip(parts) {
                        let Some((to, bytes)) = part else { continue };
                        let time = if inside { Duration::ZERO } else { self.software.step };
                        let after = self.software((replica, rank), phase, time, &held[replica][rank]);
                        let work = Work::Send { from: self.replicas[replica][rank], to, bytes };
                        let label = Label { phase, layer: rank as u32, micro_batch: 0 };
                        let op = Op { work, label, stream: None, collective: Some(tag) };
                        let sent = self.graph.push(op, &after);
                        // Who stands for all receives when its likes do.
                        let (replica, rank) = self.places.get(&to).copied().unwrap_or((replica, rank));
                        received[replica][rank].push(sent);
                    }
                }
                // A rank without weights of this kind has what it had.
                for (replica, rank) in self.ranks() {
                    if !received[replica][rank].is_empty() {
                        held[replica][rank] = std::mem::take(&mut received[replica][rank]);
                    }
                }
            }
        }
    }
}

impl Ring {
    /// What a member passes on at every step of `bytes` in all, inside its node and outside: to whom, and how much on the wire.
    fn parts(&self, replica: usize, bytes: Bytes) -> [Option<(DeviceId, Bytes)>; 2] {
        let piece = bytes.get().div_ceil(self.members);
        let (inside, outside) = (self.inside[replica], self.outside[replica]);
        let leaving = match (inside, outside) {
            (_, None) => 0,
            (None, Some(_)) => piece,
            (Some(_), Some(_)) => piece.div_ceil(self.per_node),
        };
        let part = |to: Option<DeviceId>, bytes: u64, share: Fraction| {
            to.filter(|_| bytes > 0).map(|to| (to, on_wire(Bytes::new(bytes), share)))
        };
        [part(inside, piece - leaving, self.shares[0]), part(outside, leaving, self.shares[1])]
    }
}
