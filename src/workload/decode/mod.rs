//! One decode step with expert parallelism and overlapping micro-batches.
//!
//! In every layer the compute stream of a GPU takes, in this order, the attention of each micro-batch and then the experts of
//! each micro-batch: while one micro-batch's tokens travel, the other computes (arXiv 2505.09343, section 2.3.1). Transfers
//! occupy the network, not the stream. This module must not know how long anything takes.

pub(super) mod kernels;
mod spec;
mod traffic;

pub use kernels::Batch;
pub use spec::{CopyPer, DecodeSpec, ExpertsSpec, MtpSpec, RunOn};
pub use traffic::{ExpertTraffic, expert_traffic};

use super::op::{Label, Op, OpGraph, Phase, Stream, Work};
use super::{Kernel, Workload};
use crate::dtype::Dtype;
use crate::id::{CollectiveId, DeviceId, OpId, StreamId};
use crate::model::{ModelSpec, MoeSpec, PrecisionSpec};
use crate::parallelism::Plan;
use crate::units::{Bytes, Time};
use kernels::Shapes;

/// Everything that decides the operations of a step.
#[derive(Clone, Debug)]
pub struct DecodeStep {
    /// The model.
    pub model: ModelSpec,
    /// Number formats.
    pub precision: PrecisionSpec,
    /// Batch, context, experts.
    pub spec: DecodeSpec,
    /// How it is spread over GPUs; those of a tensor-parallel group are neighbours in rank order.
    pub plan: Plan,
    /// The GPUs of the expert-parallel group, in rank order. For a dense model, those of the tensor-parallel group.
    pub gpus: Vec<DeviceId>,
    /// The CPU that runs routed experts, where one does.
    pub cpu: Option<DeviceId>,
    /// The places in `gpus` of those that are simulated: all, or one that stands for all. What that one sends then
    /// stands for what it receives as well.
    pub simulated: Vec<usize>,
    /// For each simulated GPU, the places in `gpus` of all the others, in the order in which it sends to them.
    pub peers: Vec<Vec<usize>>,
    /// Expert traffic of each micro-batch.
    pub traffic: Vec<Option<ExpertTraffic>>,
}

impl DecodeStep {
    /// Whether one GPU stands for all.
    fn folded(&self) -> bool {
        self.simulated.len() < self.gpus.len()
    }

    /// Positions per request that pass through the model in one step.
    pub fn queries(spec: &DecodeSpec) -> u64 {
        1 + spec.mtp.as_ref().map_or(0, |mtp| mtp.drafted.wide())
    }

    /// Requests of each micro-batch, per GPU: equal parts, the first ones take the remainder.
    pub fn requests(spec: &DecodeSpec) -> Vec<u64> {
        let (all, parts) = (spec.requests_per_gpu.wide(), spec.micro_batches.wide());
        (0..parts).map(|part| all / parts + u64::from(part < all % parts)).collect()
    }

    /// Tokens that a request gains per step, on average: its own, and every drafted one whose predecessors were all accepted.
    pub fn tokens_per_step(spec: &DecodeSpec) -> f64 {
        let Some(mtp) = &spec.mtp else { return 1.0 };
        let (mut tokens, mut chance) = (1.0, 1.0);
        for _ in 0..mtp.drafted.get() {
            chance *= mtp.acceptance.get();
            tokens += chance;
        }
        tokens
    }
}

/// Lowers a decode step to operations, once.
pub struct DecodeWorkload {
    step: DecodeStep,
    started: bool,
}

impl DecodeWorkload {
    /// The workload of one step.
    pub fn new(step: DecodeStep) -> DecodeWorkload {
        assert_eq!(step.traffic.len(), step.spec.micro_batches.index(), "traffic is known for every micro-batch");
        DecodeWorkload { step, started: false }
    }
}

impl Workload for DecodeWorkload {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) {
        if !std::mem::replace(&mut self.started, true) {
            Lowering::new(&self.step, graph).step();
        }
    }
}

/// What an operation of a simulated GPU may have to wait for: one list per GPU.
type Front = Vec<Vec<OpId>>;

struct Lowering<'a> {
    step: &'a DecodeStep,
    shapes: Shapes<'a>,
    graph: &'a mut OpGraph,
    /// Compute stream of each simulated GPU.
    streams: Vec<StreamId>,
    cpu: Option<StreamId>,
    batches: Vec<Batch>,
    /// Per micro-batch: the sum of the copies that come back from experts, which opens the next thing that it computes.
    /// Queued any earlier, it would keep the other micro-batch waiting for this one's combine.
    owed: Vec<Option<(Label, Kernel)>>,
}

impl<'a> Lowering<'a> {
    fn new(step: &'a DecodeStep, graph: &'a mut OpGraph) -> Lowering<'a> {
        let stream = |rank: usize| Stream { device: step.gpus[rank], rank, name: "compute" };
        let streams = step.simulated.iter().map(|&rank| graph.stream(stream(rank))).collect();
        let cpu = step.cpu.map(|device| graph.stream(Stream { device, rank: 0, name: "experts" }));
        let queries = DecodeStep::queries(&step.spec);
        let tp = u64::from(step.plan.tp());
        let batch = |requests| Batch { requests: requests * tp, queries, context: step.spec.context.wide() };
        let batches = DecodeStep::requests(&step.spec).into_iter().map(batch).collect();
        let shapes = Shapes { model: &step.model, precision: &step.precision, tp };
        let owed = vec![None; step.spec.micro_batches.index()];
        Lowering { step, shapes, graph, streams, cpu, batches, owed }
    }

    /// The whole step: embedding, layers, head, and the draft of the next tokens.
    fn step(&mut self) {
        let layers = self.step.model.layers.get();
        let all: Vec<Batch> = self.batches.clone();
        let mut fronts: Vec<Front> = Vec::new();
        for (micro_batch, batch) in (0..).zip(&all) {
            let label = Label { phase: Phase::Embedding, layer: 0, micro_batch };
            let kernels = [self.shapes.embedding(batch.tokens())];
            fronts.push(self.compute(label, &kernels, &vec![Vec::new(); self.streams.len()]));
        }
        for layer in 0..layers {
            self.layer(layer, &all, &mut fronts);
        }
        self.head(layers - 1, &all, &mut fronts);
        let drafted = self.step.spec.mtp.as_ref().map_or(0, |mtp| mtp.drafted.get());
        let drafting: Vec<Batch> = all.iter().map(|batch| Batch { queries: 1, ..*batch }).collect();
        for module in 0..drafted {
            let layer = layers + module;
            for (micro_batch, front) in (0..).zip(&mut fronts) {
                let label = Label { phase: Phase::Head, layer, micro_batch };
                let kernels = [self.shapes.mtp_projection(drafting[micro_batch as usize].tokens())];
                *front = self.compute(label, &kernels, front);
            }
            self.layer(layer, &drafting, &mut fronts);
            self.head(layer, &drafting, &mut fronts);
        }
    }

    /// One layer: attention of every micro-batch, then the feed-forward network of every micro-batch.
    fn layer(&mut self, layer: u32, batches: &[Batch], fronts: &mut [Front]) {
        let step = self.step;
        let moe = step.model.moe.as_ref().filter(|moe| layer >= moe.first_dense_layers);
        for (micro_batch, (batch, front)) in (0..).zip(batches.iter().zip(fronts.iter_mut())) {
            let label = |phase| Label { phase, layer, micro_batch };
            let kernels = self.shapes.attention(*batch);
            *front = self.compute(label(Phase::Attention), &kernels, front);
            *front = self.reduce_over_tp(label(Phase::TensorParallel), batch.tokens(), front);
            if let Some(moe) = moe {
                *front = self.dispatch(label(Phase::Dispatch), moe, *batch, front);
            }
        }
        for (micro_batch, (batch, front)) in (0..).zip(batches.iter().zip(fronts.iter_mut())) {
            let label = |phase| Label { phase, layer, micro_batch };
            match moe {
                Some(moe) => *front = self.experts(label(Phase::Experts), moe, *batch, front),
                None => {
                    let width = step.model.dense_intermediate.expect("a checked model has what its layers need").wide();
                    let kernels = self.shapes.dense_ffn(batch.tokens(), width);
                    *front = self.compute(label(Phase::DenseFfn), &kernels, front);
                    *front = self.reduce_over_tp(label(Phase::TensorParallel), batch.tokens(), front);
                }
            }
        }
    }

    fn head(&mut self, layer: u32, batches: &[Batch], fronts: &mut [Front]) {
        for (micro_batch, (batch, front)) in (0..).zip(batches.iter().zip(fronts.iter_mut())) {
            let kernels = self.shapes.head(batch.tokens());
            *front = self.compute(Label { phase: Phase::Head, layer, micro_batch }, &kernels, front);
        }
    }

    /// Router and dispatch; the replicated shared expert computes while tokens travel. Returns what the routed experts wait for.
    fn dispatch(&mut self, label: Label, moe: &MoeSpec, batch: Batch, front: &Front) -> Front {
        let tokens = batch.tokens() / self.shapes.tp;
        let gate = self.shapes.gate(tokens, moe.routed_experts.wide());
        let routed = self.compute(Label { phase: Phase::Gate, ..label }, &gate, front);
        let mut received = self.exchange(label, tokens, self.dispatched_row(), &routed);
        if moe.shared_experts > 0 && self.step.plan.shared_everywhere() {
            let width = u64::from(moe.shared_experts) * moe.intermediate.wide();
            let kernels = self.shapes.shared_experts(tokens, width);
            let done = self.compute(Label { phase: Phase::SharedExpert, ..label }, &kernels, &routed);
            received.iter_mut().zip(done).for_each(|(received, done)| received.extend(done));
        }
        received
    }

    /// Routed experts and combine.
    fn experts(&mut self, label: Label, moe: &MoeSpec, batch: Batch, front: &Front) -> Front {
        let tokens = batch.tokens() / self.shapes.tp;
        let traffic = self.traffic(label.micro_batch);
        // Drafting passes fewer positions than verification, for which the traffic was worked out.
        let verified = self.batches[label.micro_batch as usize].tokens() / self.shapes.tp;
        let rows = (traffic.rows * tokens).div_ceil(verified);
        let kernels = self.shapes.experts(traffic.experts_hit, rows, moe.intermediate.wide());
        let done = match self.cpu {
            Some(stream) => vec![self.chain(stream, label, &kernels, &front[0])],
            None => self.compute(label, &kernels, front),
        };
        let combined = values_per_row(self.step.model.hidden.wide(), self.step.precision.combine);
        let sum = self.shapes.sum_copies(tokens, moe.experts_per_token.wide());
        self.owed[label.micro_batch as usize] = Some((label, sum));
        self.exchange(Label { phase: Phase::Combine, ..label }, tokens, combined, &done)
    }

    fn traffic(&self, micro_batch: u32) -> ExpertTraffic {
        self.step.traffic[micro_batch as usize].expect("a mixture of experts has traffic")
    }

    /// What one copy of a token occupies on its way to an expert.
    fn dispatched_row(&self) -> Bytes {
        let hidden = self.step.model.hidden.wide();
        let scales = self.step.precision.dispatch_scale_group.map_or(0, |group| hidden.div_ceil(group.wide()));
        values_per_row(hidden, self.step.precision.dispatch) + values_per_row(scales, Dtype::Fp32)
    }

    /// Moves the travelling copies of `tokens` tokens, `row` each: to the CPU and back, or evenly over all peers.
    fn exchange(&mut self, label: Label, tokens: u64, row: Bytes, after: &Front) -> Front {
        let mut received = after.clone();
        let tag = self.graph.collective();
        if let Some(cpu) = self.step.cpu {
            let gpu = self.step.gpus[self.step.simulated[0]];
            let (from, to) = if label.phase == Phase::Dispatch { (gpu, cpu) } else { (cpu, gpu) };
            // One copy of a token serves all experts of a CPU, and one sum comes back.
            received[0] = vec![self.send(label, tag, from, to, row * tokens, &after[0])];
            return received;
        }
        let copies = copies(self.traffic(label.micro_batch).copies_per_token, tokens);
        for (place, (&rank, peers)) in self.step.simulated.iter().zip(&self.step.peers).enumerate() {
            let (each, rest) = share(copies, row, peers.len());
            for (turn, &peer) in peers.iter().enumerate() {
                let bytes = Bytes::new(each + u64::from((turn as u64) < rest));
                let (from, to) = (self.step.gpus[rank], self.step.gpus[peer]);
                let sent = self.send(label, tag, from, to, bytes, &after[place]);
                // A GPU that stands for all receives when its likes do, which is when what it sends arrives.
                received[if self.step.folded() { place } else { peer }].push(sent);
            }
        }
        received
    }

    fn send(
        &mut self,
        label: Label,
        tag: CollectiveId,
        from: DeviceId,
        to: DeviceId,
        bytes: Bytes,
        after: &[OpId],
    ) -> OpId {
        let work = Work::Send { from, to, bytes };
        self.graph.push(Op { work, label, stream: None, collective: Some(tag) }, after)
    }

    /// A chain of kernels on every simulated GPU.
    fn compute(&mut self, label: Label, kernels: &[Kernel], after: &Front) -> Front {
        if let Some((owed, sum)) = self.owed[label.micro_batch as usize].take() {
            let summed = self.compute(owed, &[sum], after);
            return self.compute(label, kernels, &summed);
        }
        let streams = self.streams.clone();
        streams.iter().zip(after).map(|(&stream, after)| self.chain(stream, label, kernels, after)).collect()
    }

    fn chain(&mut self, stream: StreamId, label: Label, kernels: &[Kernel], after: &[OpId]) -> Vec<OpId> {
        let mut after = after.to_vec();
        for &kernel in kernels {
            let op = Op { work: Work::Compute(kernel), label, stream: Some(stream), collective: None };
            after = vec![self.graph.push(op, &after)];
        }
        after
    }

    /// Ring all-reduce of the activations over the tensor-parallel group.
    fn reduce_over_tp(&mut self, label: Label, tokens: u64, front: &Front) -> Front {
        let tp = self.shapes.tp as usize;
        if tp == 1 {
            return front.clone();
        }
        let bytes = values_per_row(self.step.model.hidden.wide(), Dtype::Bf16) * tokens;
        let chunk = Bytes::new(bytes.get().div_ceil(tp as u64));
        let tag = self.graph.collective();
        let mut held = front.clone();
        for _ in 0..2 * (tp - 1) {
            let mut received = vec![Vec::new(); held.len()];
            for (place, &rank) in self.step.simulated.iter().enumerate() {
                let next = rank - rank % tp + (rank + 1) % tp;
                let (from, to) = (self.step.gpus[rank], self.step.gpus[next]);
                let sent = self.send(label, tag, from, to, chunk, &held[place]);
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

/// Copies of `tokens` tokens that travel, rounded up to whole ones.
fn copies(per_token: f64, tokens: u64) -> u64 {
    let copies = per_token * tokens as f64;
    copies as u64 + u64::from(copies > (copies as u64) as f64)
}

/// The bytes of `copies` rows in equal parts for `peers` peers, and how many of these get one byte more.
fn share(copies: u64, row: Bytes, peers: usize) -> (u64, u64) {
    let (all, peers) = (copies * row.get(), (peers as u64).max(1));
    (all / peers, all % peers)
}
