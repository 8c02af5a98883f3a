//! From a step to operations: stages of layers, in the order of the schedule.

use super::kernels::Shapes;
use super::{Batch, InferenceStep, LaunchChoice, ScheduleChoice, SharedOn};
use crate::id::{CollectiveId, DeviceId, OpId, StreamId};
use crate::model::MoeSpec;
use crate::units::Bytes;
use crate::workload::Kernel;
use crate::workload::collective::desk::Streams;
use crate::workload::kernel::RowLayout;
use crate::workload::moe::{Direction, ExchangeKernels};
use crate::workload::op::{Label, Op, OpGraph, Phase, Stream, Work};
use std::collections::BTreeMap;

/// What an operation of a simulated GPU may have to wait for: one list per GPU.
pub(super) type Front = Vec<Vec<OpId>>;

/// Stages of a layer.
const STAGES: usize = 5;
/// Stages by which a micro-batch follows the one before it in the five-stage schedule.
const LAG: usize = 2;

pub(super) struct Lowering<'a> {
    pub(super) step: &'a InferenceStep,
    pub(super) shapes: Shapes<'a>,
    pub(super) graph: &'a mut OpGraph,
    /// Compute stream of each simulated GPU.
    streams: Vec<StreamId>,
    /// The thread of the host that launches kernels, for each simulated GPU, where it does so one by one.
    hosts: Vec<StreamId>,
    /// The stream of the shared expert of each simulated GPU, where it has one of its own.
    shared: Vec<StreamId>,
    pub(super) cpu: Option<StreamId>,
    /// Streams of communication software, by micro-batch and direction.
    pub(super) software: BTreeMap<(u32, Direction), Streams>,
    /// Per micro-batch: what its next operation waits for.
    fronts: Vec<Front>,
    /// Per micro-batch: the sum of the copies that come back from experts, which opens the next thing that it computes.
    /// Queued any earlier, it would keep the other micro-batch waiting for this one's combine.
    owed: Vec<Option<(Label, Kernel)>>,
    /// Per micro-batch: the end of the shared expert where it computes beside the routed ones, which the sum of all waits for.
    apart: Vec<Option<Front>>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(step: &'a InferenceStep, graph: &'a mut OpGraph) -> Lowering<'a> {
        let mut stream =
            |name, rank: usize| graph.stream(Stream { device: step.gpus[rank], rank: step.first + rank, name });
        let streams = step.simulated.iter().map(|&rank| stream("compute", rank)).collect();
        let hosts = match step.launch {
            LaunchChoice::Graph => Vec::new(),
            LaunchChoice::Stream { .. } => step.simulated.iter().map(|&rank| stream("launch", rank)).collect(),
        };
        let shared = match step.shared_on {
            SharedOn::Compute => Vec::new(),
            SharedOn::OwnStream => step.simulated.iter().map(|&rank| stream("shared expert", rank)).collect(),
        };
        let cpu = step.cpu.map(|device| graph.stream(Stream { device, rank: 0, name: "experts" }));
        let shapes = Shapes { model: &step.model, precision: &step.precision, tp: u64::from(step.plan.tp()) };
        let parts = step.batches.len();
        let fronts = vec![vec![Vec::new(); step.simulated.len()]; parts];
        let software = BTreeMap::new();
        let (owed, apart) = (vec![None; parts], vec![None; parts]);
        Lowering { step, shapes, graph, streams, hosts, shared, cpu, software, fronts, owed, apart }
    }

    /// The whole step: embedding, layers, head, and the draft of the next tokens.
    pub(super) fn step(&mut self) {
        let layers = self.step.model.layers.get();
        let all: Vec<Batch> = self.step.batches.clone();
        for (micro_batch, batch) in (0..).zip(&all) {
            let label = Label { phase: Phase::Embedding, layer: 0, micro_batch };
            self.compute(label, &[self.shapes.embedding(batch.tokens())]);
        }
        self.layers(0..layers, &all);
        self.head(layers - 1, &all);
        let drafting: Vec<Batch> = all.iter().map(Batch::drafting).collect();
        for layer in layers..layers + self.step.drafted {
            for (micro_batch, batch) in (0..).zip(&drafting) {
                let label = Label { phase: Phase::Head, layer, micro_batch };
                self.compute(label, &[self.shapes.mtp_projection(batch.tokens())]);
            }
            self.layers(layer..layer + 1, &drafting);
            self.head(layer, &drafting);
        }
    }

    /// Layers, in the order of the schedule.
    fn layers(&mut self, layers: std::ops::Range<u32>, batches: &[Batch]) {
        match self.step.schedule {
            ScheduleChoice::InTurn => {
                for layer in layers {
                    for stages in [0..3, 3..STAGES] {
                        for (micro_batch, &batch) in (0..).zip(batches) {
                            stages.clone().for_each(|stage| self.stage(stage, layer, micro_batch, batch));
                        }
                    }
                }
            }
            ScheduleChoice::FiveStage => {
                let all = layers.len() * STAGES;
                for turn in 0..all + LAG * (batches.len() - 1) {
                    for (micro_batch, &batch) in (0..).zip(batches) {
                        let Some(at) = turn.checked_sub(LAG * micro_batch as usize).filter(|&at| at < all) else {
                            continue;
                        };
                        let layer = layers.start + (at / STAGES) as u32;
                        self.stage(at % STAGES, layer, micro_batch, batch);
                    }
                }
            }
        }
    }

    /// One stage of one micro-batch in a layer. The last one, the sum of what came back, is computed with what comes next.
    fn stage(&mut self, stage: usize, layer: u32, micro_batch: u32, batch: Batch) {
        let moe = self.step.model.moe.as_ref().filter(|moe| layer >= moe.first_dense_layers);
        let label = |phase| Label { phase, layer, micro_batch };
        match (stage, moe) {
            (0, _) => {
                let kernels = self.shapes.attention(batch).before;
                self.compute(label(Phase::Attention), &kernels);
            }
            (1, _) => {
                let kernels = self.shapes.attention(batch).core;
                self.compute(label(Phase::Attention), &kernels);
                self.reduce_over_tp(label(Phase::TensorParallel), batch.tokens());
                if let Some(moe) = moe {
                    let tokens = batch.tokens().div_ceil(self.shapes.tp);
                    let gate = self.shapes.gate(tokens, moe);
                    self.compute(label(Phase::Gate), &gate);
                }
            }
            (2 | 3, Some(moe)) if self.step.experts_reduced => self.reduced_experts(stage, label, moe, batch),
            (2, Some(moe)) => self.dispatch(label(Phase::Dispatch), moe, batch),
            (3, Some(moe)) => self.experts(label(Phase::Experts), moe, batch),
            (3, None) => {
                let width =
                    self.step.model.dense_intermediate.expect("a checked model has what its layers need").wide();
                let kernels = self.shapes.dense_ffn(batch.tokens(), width);
                self.compute(label(Phase::DenseFfn), &kernels);
                self.reduce_over_tp(label(Phase::TensorParallel), batch.tokens());
            }
            _ => {}
        }
    }

    fn head(&mut self, layer: u32, batches: &[Batch]) {
        for (micro_batch, batch) in (0..).zip(batches) {
            let kernels = self.shapes.head(batch.sampled());
            self.compute(Label { phase: Phase::Head, layer, micro_batch }, &kernels);
        }
    }

    /// Dispatch; the replicated shared expert computes while tokens travel, or longer where it has a stream of its own.
    fn dispatch(&mut self, label: Label, moe: &MoeSpec, batch: Batch) {
        let tokens = batch.tokens().div_ceil(self.shapes.tp);
        let routed = self.fronts[label.micro_batch as usize].clone();
        let mut received = self.exchange(label, Direction::Dispatch, tokens, &routed);
        if moe.shared_experts > 0 && self.step.plan.shared_everywhere() {
            let width = u64::from(moe.shared_experts) * moe.intermediate.wide();
            let kernels = self.shapes.shared_experts(tokens, width);
            self.shared_expert(Label { phase: Phase::SharedExpert, ..label }, &kernels);
            if self.shared.is_empty() {
                join(&mut received, &self.fronts[label.micro_batch as usize]);
            }
        }
        self.fronts[label.micro_batch as usize] = received;
    }

    /// Routed experts and combine.
    fn experts(&mut self, label: Label, moe: &MoeSpec, batch: Batch) {
        let step = self.step;
        let micro_batch = label.micro_batch as usize;
        let tokens = batch.tokens().div_ceil(self.shapes.tp);
        let traffic = step.traffic[micro_batch].as_ref().expect("a mixture of experts has traffic");
        // Drafting passes fewer positions than verification, for which the traffic was worked out.
        let whole = step.batches[micro_batch].tokens().div_ceil(self.shapes.tp);
        let layout = if batch.prompts.requests > 0 { RowLayout::Contiguous } else { RowLayout::Masked };
        let width = moe.intermediate.wide();
        let kernels = |&gpu: &usize| {
            let gpu = gpu % step.plan.ep() as usize;
            let (rows, received) = (traffic.rows_of(gpu, tokens, whole), traffic.received(gpu, tokens, whole));
            let mut kernels = self.experts_of(layout, &rows, received, width);
            if layout == RowLayout::Contiguous {
                kernels.push(self.shapes.sum_of_experts(rows.iter().sum(), received));
            }
            kernels
        };
        let kernels: Vec<Vec<Kernel>> = step.simulated.iter().map(kernels).collect();
        match self.cpu {
            Some(stream) => {
                let after = self.fronts[micro_batch][0].clone();
                self.fronts[micro_batch] = vec![self.chain((stream, None), label, &kernels[0], &after)];
            }
            None => self.compute_each(label, &kernels),
        }
        // Normal kernels add up what comes back on the SMs that they hold.
        let exchange = step.exchanges[micro_batch].as_ref();
        let summed = exchange.is_some_and(|exchange| exchange.spec.kernels == ExchangeKernels::Normal);
        let copies = if summed { 1 } else { moe.experts_per_token.wide() };
        self.owed[micro_batch] = Some((label, self.shapes.sum_copies(tokens, copies)));
        let done = self.fronts[micro_batch].clone();
        let label = Label { phase: Phase::Combine, ..label };
        self.fronts[micro_batch] = self.exchange(label, Direction::Combine, tokens, &done);
        self.join_shared_expert(micro_batch);
    }

    /// The shared expert, on the stream of all kernels or on its own.
    fn shared_expert(&mut self, label: Label, kernels: &[Kernel]) {
        if self.shared.is_empty() {
            return self.compute(label, kernels);
        }
        let micro_batch = label.micro_batch as usize;
        let mut ends = self.fronts[micro_batch].clone();
        for (place, end) in ends.iter_mut().enumerate() {
            let on = (self.shared[place], self.hosts.get(place).copied());
            *end = self.chain(on, label, kernels, end);
        }
        self.apart[micro_batch] = Some(ends);
    }

    /// What follows waits for the shared expert too, where that computes beside.
    fn join_shared_expert(&mut self, micro_batch: usize) {
        if let Some(ends) = self.apart[micro_batch].take() {
            join(&mut self.fronts[micro_batch], &ends);
        }
    }

    /// Kernels of the experts of a GPU; where their rows lie one after the other, received tokens are copied to their places first.
    fn experts_of(&self, layout: RowLayout, rows: &[u64], received: u64, width: u64) -> Vec<Kernel> {
        let copied = layout == RowLayout::Contiguous;
        let copy = copied.then(|| self.shapes.copy_for_experts(received, rows.iter().sum()));
        copy.into_iter().chain(self.shapes.experts(layout, rows, width)).collect()
    }

    /// Experts of a tensor-parallel group, whose GPUs have all its tokens: each runs its own ones, or its part of them, and its part
    /// of the shared one.
    fn reduced_experts(&mut self, stage: usize, label: impl Fn(Phase) -> Label, moe: &MoeSpec, batch: Batch) {
        let (tp, tokens) = (self.shapes.tp, batch.tokens());
        let micro_batch = label(Phase::Experts).micro_batch as usize;
        if stage == 2 {
            let width = u64::from(moe.shared_experts) * moe.intermediate.wide() / tp;
            if width > 0 {
                let kernels = self.shapes.shared_experts(tokens, width);
                self.shared_expert(label(Phase::SharedExpert), &kernels);
            }
            return;
        }
        let step = self.step;
        let traffic = step.traffic[micro_batch].as_ref().expect("a mixture of experts has traffic");
        let layout = if batch.prompts.requests > 0 { RowLayout::Contiguous } else { RowLayout::Indexed };
        let whole = step.batches[micro_batch].tokens();
        let own = moe.experts_per_token.wide().div_ceil(u64::from(step.plan.ep()));
        let width = moe.intermediate.wide() / u64::from(step.plan.expert_tp());
        let kernels = |&gpu: &usize| {
            let rows = traffic.rows_of(gpu / step.plan.expert_tp() as usize, tokens, whole);
            let mut kernels = self.experts_of(layout, &rows, tokens, width);
            kernels.push(self.shapes.sum_copies(tokens, own));
            kernels
        };
        let kernels: Vec<Vec<Kernel>> = step.simulated.iter().map(kernels).collect();
        self.compute_each(label(Phase::Experts), &kernels);
        self.join_shared_expert(micro_batch);
        self.reduce_over_tp(label(Phase::TensorParallel), tokens);
    }

    pub(super) fn send(
        &mut self,
        label: Label,
        tag: CollectiveId,
        (from, to): (DeviceId, DeviceId),
        bytes: Bytes,
        after: &[OpId],
    ) -> OpId {
        let work = Work::Send { from, to, bytes };
        self.graph.push(Op { work, label, stream: None, collective: Some(tag) }, after)
    }

    /// The same chain of kernels on every simulated GPU.
    fn compute(&mut self, label: Label, kernels: &[Kernel]) {
        let kernels = vec![kernels.to_vec(); self.streams.len()];
        self.compute_each(label, &kernels);
    }

    /// A chain of kernels on every simulated GPU.
    fn compute_each(&mut self, label: Label, kernels: &[Vec<Kernel>]) {
        let micro_batch = label.micro_batch as usize;
        if let Some((owed, sum)) = self.owed[micro_batch].take() {
            self.compute(owed, &[sum]);
        }
        for (place, kernels) in kernels.iter().enumerate() {
            let after = self.fronts[micro_batch][place].clone();
            let on = (self.streams[place], self.hosts.get(place).copied());
            self.fronts[micro_batch][place] = self.chain(on, label, kernels, &after);
        }
    }

    /// Kernels one after the other on a stream; each waits for its launch where a host launches them one by one.
    fn chain(
        &mut self,
        (stream, host): (StreamId, Option<StreamId>),
        label: Label,
        kernels: &[Kernel],
        after: &[OpId],
    ) -> Vec<OpId> {
        let mut after = after.to_vec();
        for &kernel in kernels {
            if let (Some(host), LaunchChoice::Stream { per_kernel }) = (host, self.step.launch) {
                let launch = Op { work: Work::HostDelay(per_kernel), label, stream: Some(host), collective: None };
                after.push(self.graph.push(launch, &[]));
            }
            let op = Op { work: Work::Compute(kernel), label, stream: Some(stream), collective: None };
            after = vec![self.graph.push(op, &after)];
        }
        after
    }

    /// All-reduce of the activations over the tensor-parallel group.
    fn reduce_over_tp(&mut self, label: Label, tokens: u64) {
        if self.shapes.tp > 1 {
            let front = self.fronts[label.micro_batch as usize].clone();
            self.fronts[label.micro_batch as usize] = self.all_reduce(label, tokens, &front);
        }
    }
}

/// Lets what waits for `front` wait for `others` too.
fn join(front: &mut Front, others: &Front) {
    front.iter_mut().zip(others).for_each(|(front, other)| front.extend(other));
}
