//! What travels in a step: tokens to their experts and back, and partial sums within a tensor-parallel group.

use super::lowering::{Front, Lowering};
use crate::dtype::Dtype;
use crate::units::{Bytes, Count};
use crate::workload::collective::desk::Desk;
use crate::workload::collective::{Algorithm, Collective, Protocol, choose_in_engine, expand};
use crate::workload::moe::{Direction, MoeExchange, RowFormat};
use crate::workload::op::{Chosen, Label};

impl Lowering<'_> {
    /// Moves the travelling copies of `tokens` tokens of each GPU; each joins when its operations in `after` have finished.
    pub(super) fn exchange(&mut self, label: Label, direction: Direction, tokens: u64, after: &Front) -> Front {
        let row = self.row(direction);
        if let Some(cpu) = self.step.cpu {
            let tag = self.graph.collective();
            let gpu = self.step.gpus[self.step.simulated[0]];
            let way = if direction == Direction::Dispatch { (gpu, cpu) } else { (cpu, gpu) };
            // One copy of a token serves all experts of a CPU, and one sum comes back.
            return vec![vec![self.send(label, tag, way, row * tokens, &after[0])]];
        }
        match &self.step.exchanges[label.micro_batch as usize] {
            Some(exchange) => self.by_kernels(exchange, label, direction, tokens, after),
            None => self.by_wire(label, row, tokens, after),
        }
    }

    /// What one copy of a token occupies on its way.
    fn row(&self, direction: Direction) -> Bytes {
        let (hidden, precision) = (self.step.model.hidden.wide(), &self.step.precision);
        match direction {
            Direction::Dispatch => {
                let scales = precision.dispatch_scale_group.map_or(0, |group| hidden.div_ceil(group.wide()));
                values_per_row(hidden, precision.dispatch) + values_per_row(scales, Dtype::Fp32)
            }
            Direction::Combine => RowFormat::combine(precision).bytes(self.step.model.hidden),
        }
    }

    /// By the kernels of a library, with the software around their transfers.
    fn by_kernels(
        &mut self,
        exchange: &MoeExchange,
        label: Label,
        direction: Direction,
        tokens: u64,
        after: &Front,
    ) -> Front {
        let mut front: Front = vec![Vec::new(); exchange.group.len()];
        for (place, &rank) in self.step.simulated.iter().enumerate() {
            front[rank].clone_from(&after[place]);
        }
        // Drafting passes fewer positions than verification, for which the exchange was described.
        let mut exchange = exchange.clone();
        exchange.spec.tokens_per_gpu = Count::new(tokens as u32).expect("a micro-batch has tokens");
        let streams = self.software.remove(&(label.micro_batch, direction)).unwrap_or_default();
        let mut desk = Desk::resumed(self.graph, &exchange.group, label, streams);
        if direction == Direction::Dispatch {
            front = exchange.prepare(&mut desk, &front);
        }
        let mut received = exchange.pass(&mut desk, direction, &front);
        self.software.insert((label.micro_batch, direction), desk.into_streams());
        self.step.simulated.iter().map(|&rank| std::mem::take(&mut received[rank])).collect()
    }

    /// Evenly over all peers, at the cost of the wire alone.
    fn by_wire(&mut self, label: Label, row: Bytes, tokens: u64, after: &Front) -> Front {
        let step = self.step;
        let mut received = after.clone();
        let tag = self.graph.collective();
        let traffic = step.traffic[label.micro_batch as usize].as_ref().expect("a mixture of experts has traffic");
        let copies = (traffic.copies_per_token * tokens as f64).ceil() as u64;
        for (place, (&rank, peers)) in step.simulated.iter().zip(&step.peers).enumerate() {
            let (each, rest) = share(copies, row, peers.len());
            for (turn, &peer) in peers.iter().enumerate() {
                let bytes = Bytes::new(each + u64::from((turn as u64) < rest));
                let way = (step.gpus[rank], step.gpus[peer]);
                let sent = self.send(label, tag, way, bytes, &after[place]);
                // A GPU that stands for all receives when its likes do, which is when what it sends arrives.
                received[if step.folded() { place } else { peer }].push(sent);
            }
        }
        received
    }

    /// All-reduce of the activations of `tokens` tokens over the tensor-parallel group.
    pub(super) fn all_reduce(&mut self, label: Label, tokens: u64, front: &Front) -> Front {
        let bytes = values_per_row(self.step.model.hidden.wide(), Dtype::Bf16) * tokens;
        if self.step.tensor_groups.iter().all(Option::is_none) {
            return self.ring(label, bytes, front);
        }
        let tp = self.shapes.tp as usize;
        let mut reduced = front.clone();
        for (place, &rank) in self.step.simulated.iter().enumerate() {
            let group = self.step.tensor_groups[place].as_ref().expect("all groups are known or none");
            // The first of a group writes its collective down for all; one that stands for all is joined by its likes.
            let (leader, folded) = (rank % tp == 0, self.step.folded());
            if !leader && !folded {
                continue;
            }
            let joining: Front =
                if folded { vec![front[place].clone(); tp] } else { front[place..place + tp].to_vec() };
            let choice = choose_in_engine(group, bytes);
            let ended = expand(self.graph, (Collective::AllReduce, choice), group, bytes, &joining, label);
            if folded {
                reduced[place].clone_from(&ended[rank % tp]);
            } else {
                reduced[place..place + tp].clone_from_slice(&ended);
            }
        }
        reduced
    }

    /// A plain ring, at the cost of the wire alone.
    fn ring(&mut self, label: Label, bytes: Bytes, front: &Front) -> Front {
        let tp = self.shapes.tp as usize;
        let (algorithm, protocol) = (Algorithm::Ring, Protocol::Bare);
        self.graph.chose(Chosen { collective: Collective::AllReduce, algorithm, protocol, ranks: tp, bytes });
        let chunk = Bytes::new(bytes.get().div_ceil(tp as u64));
        let tag = self.graph.collective();
        let mut held = front.clone();
        for _ in 0..2 * (tp - 1) {
            let mut received = vec![Vec::new(); held.len()];
            for (place, &rank) in self.step.simulated.iter().enumerate() {
                let next = rank - rank % tp + (rank + 1) % tp;
                let way = (self.step.gpus[rank], self.step.gpus[next]);
                let sent = self.send(label, tag, way, chunk, &held[place]);
                received[if self.step.folded() { place } else { next }].push(sent);
            }
            held = received;
        }
        held
    }
}

fn values_per_row(columns: u64, dtype: Dtype) -> Bytes {
    Bytes::from_bits(u128::from(columns) * u128::from(dtype.bits()))
}

/// The bytes of `copies` rows in equal parts for `peers` peers, and how many of these get one byte more.
fn share(copies: u64, row: Bytes, peers: usize) -> (u64, u64) {
    let (all, peers) = (copies * row.get(), (peers as u64).max(1));
    (all / peers, all % peers)
}
