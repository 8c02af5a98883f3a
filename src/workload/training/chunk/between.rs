//! What the GPUs of a chunk send each other: tokens to experts and back, and pieces of hidden states among those of a
//! tensor-parallel group.

use super::{Chunk, Front, Lowering, Side, join, label};
use crate::units::{Bytes, Duration};
use crate::workload::collective::desk::Desk;
use crate::workload::collective::{Algorithm, Collective, Protocol};
use crate::workload::moe::{Direction, MoeExchange};
use crate::workload::op::{Chosen, Label, Op, Phase, Work};
use crate::workload::training::{uneven, wire};

impl Lowering<'_> {
    /// An all-to-all, after the one before it.
    pub(super) fn exchange(&mut self, side: Side, phase: Phase, way: Direction, after: &Front) -> Front {
        let Some(traffic) = self.chunk.traffic.filter(|_| self.chunk.gpus.len() > 1) else { return after.clone() };
        let mut ready = after.clone();
        join(&mut ready, self.exchanged.clone());
        if self.in_turn() {
            join(&mut ready, self.computed.clone());
        }
        let label = label(phase, side);
        // Gradients go the ways that tokens went, in numbers that are known.
        let counts = phase == Phase::Dispatch;
        let exchange = if counts { &self.chunk.counting } else { &self.chunk.exchange };
        let received = match exchange {
            Some(kernels) => self.by_kernels(&kernels.with_loads(&self.loads(side)), label, way, &ready),
            None => {
                let amount = (traffic, self.kernels.own_tokens());
                wire::exchange(self.chunk, self.graph, (label, way), amount, &self.loads(side), &ready)
            }
        };
        self.exchanged = received.clone();
        received
    }

    /// The loads of the experts of all GPUs in a layer.
    fn loads(&self, side: Side) -> Vec<f64> {
        let Chunk { loads, simulated, gpus, per_node, .. } = self.chunk;
        uneven::of_group(loads, simulated, (gpus.len(), *per_node), (side.number, side.layer))
    }

    /// The all-to-all as communication kernels do it, on channels that all of them share.
    fn by_kernels(&mut self, kernels: &MoeExchange, label: Label, way: Direction, ready: &Front) -> Front {
        let mut front = vec![Vec::new(); self.chunk.gpus.len()];
        let streams = std::mem::take(&mut self.channels);
        let mut desk = Desk::resumed(self.graph, &kernels.group, label, streams);
        let costs = &kernels.costs.normal;
        let [count, wait] = if label.phase == Phase::Dispatch {
            [costs.count_token * self.kernels.own_tokens(), costs.count_wait]
        } else {
            [Duration::ZERO; 2]
        };
        for (&rank, ready) in self.chunk.simulated.iter().zip(ready) {
            let counted = desk.software((rank, 0), count, ready);
            let met = desk.software((rank, 0), self.chunk.skew, &counted);
            front[rank] = desk.software((rank, 0), wait, &met);
        }
        let mut received = kernels.pass(&mut desk, way, &front);
        self.channels = desk.into_streams();
        self.chunk.simulated.iter().map(|&rank| std::mem::take(&mut received[rank])).collect()
    }

    /// All-gather and reduce-scatter of the hidden states over the tensor-parallel group, as rings.
    pub(super) fn over_tp(&mut self, side: Side) {
        let piece = self.chunk.precision.activations.bytes(self.chunk.model.hidden.wide() * self.kernels.own_tokens());
        let ring = Ring { phase: Phase::TensorParallel, stride: 1, members: self.chunk.tp as usize, rounds: 2, piece };
        self.around(side, ring);
    }

    /// All-gather of keys and values, or reduce-scatter of their gradients, over the GPUs that share sequences, as a ring. Adding up what
    /// comes is not charged.
    pub(super) fn over_cp(&mut self, side: Side) {
        let (stride, members) = (self.chunk.tp as usize, self.chunk.cp as usize);
        let piece = self.kernels.keys_and_values();
        self.around(side, Ring { phase: Phase::ContextParallel, stride, members, rounds: 1, piece });
    }

    /// Passes pieces on from member to member until each was at all of them, in every round; the pass goes on from the last.
    fn around(&mut self, side: Side, ring: Ring) {
        let Ring { phase, stride, members, rounds, piece } = ring;
        if members == 1 {
            return;
        }
        let label = label(phase, side);
        let (algorithm, protocol, bytes) = (Algorithm::Ring, Protocol::Bare, Bytes::new(piece.get() * members as u64));
        for collective in [Collective::ReduceScatter, Collective::AllGather].into_iter().rev().take(rounds) {
            self.graph.chose(Chosen { collective, algorithm, protocol, ranks: members, bytes });
        }
        let tag = self.graph.collective();
        let folded = self.chunk.simulated.len() < self.chunk.gpus.len();
        let mut held = if side.number == 0 { self.forward.clone() } else { self.backward.clone() };
        for _ in 0..rounds * (members - 1) {
            let mut received = vec![Vec::new(); held.len()];
            for (place, &rank) in self.chunk.simulated.iter().enumerate() {
                let size = stride * members;
                let next = rank - rank % size + (rank + stride) % size;
                let work = Work::Send { from: self.chunk.gpus[rank], to: self.chunk.gpus[next], bytes: piece };
                let sent = self.graph.push(Op { work, label, stream: None, collective: Some(tag) }, &held[place]);
                received[if folded { place } else { next }].push(sent);
            }
            held = received;
        }
        *(if side.number == 0 { &mut self.forward } else { &mut self.backward }) = held;
    }
}

/// Pieces on their way round GPUs of a group that are `stride` apart.
struct Ring {
    phase: Phase,
    stride: usize,
    members: usize,
    rounds: usize,
    /// What each passes on at every step.
    piece: Bytes,
}
