//! One chunk of a pipeline: a stage forward, backward, or one stage forward while another goes backward.
//!
//! Where two passes overlap, their layers take turns on the compute stream so that each all-to-all has computation of the
//! other pass to hide behind, in the order of figure 4 of arXiv 2412.19437, which is also that of a recorded chunk
//! (h800_train_chunk_phases.csv): attention forward, MLP backward by input, by weights, MLP forward, attention backward by
//! input, by weights. All-to-alls of a GPU follow one another, because they share its communication SMs.

mod between;
mod turns;

use super::kernels::{Load, Training};
use super::spec::{BesideExchanges, CastChoice, LossChoice};
use super::stage::{Block, StageShape};
use super::uneven::Loads;
use super::wire::TrainingTraffic;
use crate::id::{DeviceId, OpId, StreamId};
use crate::invalid::Invalid;
use crate::model::{ModelSpec, PrecisionSpec};
use crate::parallelism::RecomputeSpec;
use crate::units::{Duration, Time};
use crate::workload::collective::desk::Streams;
use crate::workload::inference::kernels::Shapes;
use crate::workload::moe::{Direction, MoeExchange};
use crate::workload::op::{Label, Op, OpGraph, Phase, Stream, Work};
use crate::workload::{Kernel, Workload};
use turns::{Turn, turns};

/// What a chunk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChunkWork {
    /// A forward pass.
    Forward(StageShape),
    /// A full backward pass.
    Backward(StageShape),
    /// Gradients of inputs.
    BackwardInput(StageShape),
    /// Gradients of weights.
    BackwardWeight(StageShape),
    /// A forward and a full backward pass, overlapped.
    Overlapped {
        /// The stage that goes forward.
        forward: StageShape,
        /// The stage that goes backward.
        backward: StageShape,
    },
}

/// Everything that decides the operations of a chunk.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The model.
    pub model: ModelSpec,
    /// Number formats.
    pub precision: PrecisionSpec,
    /// GPUs of a tensor-parallel group; they are neighbours in rank order.
    pub tp: u64,
    /// Tensor-parallel groups that share each sequence, neighbours as well.
    pub cp: u64,
    /// Sequences of a micro-batch that they share.
    pub sequences: u64,
    /// Tokens per sequence.
    pub length: u64,
    /// What the backward pass computes again.
    pub recompute: RecomputeSpec,
    /// How values are narrowed for products.
    pub casts: CastChoice,
    /// How the loss is computed.
    pub loss: LossChoice,
    /// What goes on beside exchanges where no other pass does.
    pub beside_exchanges: BesideExchanges,
    /// How long a GPU waits for those that it exchanges tokens with, on average.
    pub skew: Duration,
    /// Routed experts on a GPU.
    pub experts: u64,
    /// Loads of the experts of each simulated GPU.
    pub loads: Vec<Loads>,
    /// Where a token travels, for models with experts.
    pub traffic: Option<TrainingTraffic>,
    /// The GPUs of the expert-parallel group, in rank order; for a dense model, those of the tensor-parallel group.
    pub gpus: Vec<DeviceId>,
    /// How many of them share a node.
    pub per_node: usize,
    /// The places in `gpus` of those that are simulated: all, or one that stands for all.
    pub simulated: Vec<usize>,
    /// The kernels that exchange tokens with experts; without them, transfers cost the wire alone.
    pub exchange: Option<MoeExchange>,
    /// The same where numbers of tokens have to be found out first.
    pub counting: Option<MoeExchange>,
    /// What is done.
    pub work: ChunkWork,
}

/// Lowers chunks to operations, once: those that groups of GPUs run at the same time.
pub struct ChunkWorkload {
    chunks: Vec<Chunk>,
    started: bool,
}

impl ChunkWorkload {
    /// The workload of one chunk of each group.
    pub fn side_by_side(chunks: Vec<Chunk>) -> ChunkWorkload {
        ChunkWorkload { chunks, started: false }
    }
}

impl Workload for ChunkWorkload {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        if !std::mem::replace(&mut self.started, true) {
            for chunk in &self.chunks {
                Lowering::new(chunk, graph).all();
            }
        }
        Ok(())
    }
}

/// What an operation of a simulated GPU may have to wait for: one list per GPU.
pub(super) type Front = Vec<Vec<OpId>>;

/// One of the passes of a chunk.
#[derive(Clone, Copy)]
struct Side {
    /// 0 forward, 1 backward: what labels call a micro-batch.
    number: u32,
    layer: u32,
}

struct Lowering<'a> {
    chunk: &'a Chunk,
    kernels: Training<'a>,
    graph: &'a mut OpGraph,
    streams: Vec<StreamId>,
    /// What the passes wait for.
    forward: Front,
    backward: Front,
    /// What the next all-to-all waits for: the one before it.
    exchanged: Front,
    /// What was computed last, where all-to-alls wait for that and kernels for all-to-alls.
    computed: Front,
    number: [u32; 2],
    /// Streams of communication software.
    channels: Streams,
}

impl<'a> Lowering<'a> {
    fn new(chunk: &'a Chunk, graph: &'a mut OpGraph) -> Lowering<'a> {
        let stream = |rank: usize| Stream { device: chunk.gpus[rank], rank, name: "compute" };
        let streams: Vec<StreamId> = chunk.simulated.iter().map(|&rank| graph.stream(stream(rank))).collect();
        let shapes = Shapes { model: &chunk.model, precision: &chunk.precision, tp: chunk.tp };
        let own = chunk.sequences * chunk.length / chunk.tp / chunk.cp;
        let visits = chunk.model.moe.as_ref().map_or(0, |moe| moe.experts_per_token.wide());
        let load = Load {
            sequences: chunk.sequences,
            length: chunk.length,
            cp: chunk.cp,
            experts: chunk.experts,
            rows: own * visits,
            received: chunk.traffic.map_or(0, |traffic| traffic.received(own)),
        };
        let kernels = Training { shapes, load, recompute: chunk.recompute, casts: chunk.casts, loss: chunk.loss };
        let nothing = vec![Vec::new(); streams.len()];
        let (forward, backward, exchanged, computed) = (nothing.clone(), nothing.clone(), nothing.clone(), nothing);
        Lowering {
            chunk,
            kernels,
            graph,
            streams,
            forward,
            backward,
            exchanged,
            computed,
            number: [0; 2],
            channels: Streams::new(),
        }
    }

    fn all(&mut self) {
        let modules_are_moe = self.chunk.model.moe.is_some();
        let blocks = |shape: StageShape| shape.blocks(modules_are_moe);
        let reversed = |shape: StageShape| blocks(shape).into_iter().rev().collect::<Vec<Block>>();
        match self.chunk.work {
            ChunkWork::Forward(shape) => blocks(shape).into_iter().for_each(|block| self.pass_forward(block)),
            ChunkWork::Backward(shape) => reversed(shape).into_iter().for_each(|block| self.pass_backward(block, true)),
            ChunkWork::BackwardInput(shape) => {
                reversed(shape).into_iter().for_each(|block| self.pass_backward(block, false));
            }
            ChunkWork::BackwardWeight(shape) => reversed(shape).into_iter().for_each(|block| self.weights(block)),
            ChunkWork::Overlapped { forward, backward } => self.overlapped(blocks(forward), reversed(backward)),
        }
    }

    fn overlapped(&mut self, forward: Vec<Block>, backward: Vec<Block>) {
        for turn in turns(forward, backward) {
            match turn {
                Turn::Forward(block) => self.pass_forward(block),
                Turn::Backward(block) => self.pass_backward(block, true),
                Turn::Pair(one, other) => self.pair(one, other),
            }
        }
    }

    /// One layer forward and one backward.
    fn pair(&mut self, forward: Block, backward: Block) {
        let (one, other) = (self.next_side(0), self.next_side(1));
        let gradients = self.combine_backward(other, backward);
        self.attention_forward(one);
        let tokens = self.dispatch(one, forward);
        self.ffn_input(other, backward, gradients);
        self.dispatch_backward(other, backward);
        self.ffn_weights(other, backward);
        self.ffn_forward(one, forward, tokens);
        self.combine(one, forward);
        self.attention_input(other);
        self.attention_weights(other);
    }

    fn next_side(&mut self, number: u32) -> Side {
        let layer = &mut self.number[number as usize];
        *layer += 1;
        Side { number, layer: *layer - 1 }
    }

    fn pass_forward(&mut self, block: Block) {
        let side = self.next_side(0);
        match block {
            Block::Embedding => self.step(side, Phase::Embedding, &self.kernels.embedding_forward()),
            Block::Head => self.step(side, Phase::Head, &self.kernels.head_forward()),
            Block::Projection => self.step(side, Phase::Head, &self.kernels.projection_forward()),
            Block::Dense | Block::Moe => {
                self.attention_forward(side);
                let tokens = self.dispatch(side, block);
                self.ffn_forward(side, block, tokens);
                self.combine(side, block);
            }
        }
    }

    fn pass_backward(&mut self, block: Block, with_weights: bool) {
        let side = self.next_side(1);
        match block {
            Block::Embedding => {}
            Block::Head => self.step(side, Phase::HeadBackward, &self.kernels.head_input()),
            Block::Projection => self.step(side, Phase::HeadBackward, &self.kernels.projection_input()),
            Block::Dense | Block::Moe => {
                if self.chunk.recompute == RecomputeSpec::Full {
                    self.layer_again(side, block);
                }
                let gradients = self.combine_backward(side, block);
                self.ffn_input(side, block, gradients);
                if with_weights && self.in_turn() {
                    self.ffn_weights(side, block);
                }
                self.dispatch_backward(side, block);
                if with_weights && !self.in_turn() {
                    self.ffn_weights(side, block);
                }
                self.attention_input(side);
            }
        }
        if with_weights {
            match block {
                Block::Dense | Block::Moe => self.attention_weights(side),
                Block::Embedding | Block::Head | Block::Projection => self.weights_at(side, block),
            }
        }
    }

    /// Computes a layer again from its input, as a part of the backward pass; its output is not needed.
    fn layer_again(&mut self, side: Side, block: Block) {
        self.attention_forward(side);
        let tokens = self.dispatch(side, block);
        self.ffn_forward(side, block, tokens);
    }

    /// What the next operation of a pass waits for.
    fn front(&mut self, side: Side) -> &mut Front {
        if side.number == 0 { &mut self.forward } else { &mut self.backward }
    }

    fn weights(&mut self, block: Block) {
        let side = self.next_side(1);
        self.weights_at(side, block);
    }

    fn weights_at(&mut self, side: Side, block: Block) {
        match block {
            Block::Embedding => self.step(side, Phase::HeadBackward, &self.kernels.embedding_weights()),
            Block::Head => self.step(side, Phase::HeadBackward, &self.kernels.head_weights()),
            Block::Projection => self.step(side, Phase::HeadBackward, &self.kernels.projection_weights()),
            Block::Dense | Block::Moe => {
                self.ffn_weights(side, block);
                self.attention_weights(side);
            }
        }
    }

    fn attention_forward(&mut self, side: Side) {
        let [projections, rest] = self.kernels.attention_forward();
        self.step(side, Phase::Attention, &projections);
        self.over_cp(side);
        self.step(side, Phase::Attention, &rest);
        self.over_tp(side);
    }

    /// The dense network; or the shared expert, which does not wait for what is dispatched, and the routed ones, which do.
    fn ffn_forward(&mut self, side: Side, block: Block, dispatched: Front) {
        if block == Block::Dense {
            self.step(side, Phase::DenseFfn, &self.kernels.dense_forward());
            self.over_tp(side);
            return;
        }
        self.step(side, Phase::SharedExpert, &self.kernels.shared_forward());
        join(self.front(side), dispatched);
        self.step_each(side, Phase::Experts, &self.by_load(side, |kernels| kernels.routed_forward()));
    }

    /// Router and dispatch: when tokens are where their experts are.
    fn dispatch(&mut self, side: Side, block: Block) -> Front {
        if block == Block::Dense {
            return vec![Vec::new(); self.streams.len()];
        }
        self.step(side, Phase::Gate, &self.kernels.gate_forward());
        let routed = self.front(side).clone();
        self.exchange(side, Phase::Dispatch, Direction::Dispatch, &routed)
    }

    fn combine(&mut self, side: Side, block: Block) {
        if block == Block::Moe {
            let done = self.front(side).clone();
            *self.front(side) = self.exchange(side, Phase::Combine, Direction::Combine, &done);
        }
    }

    /// When the gradients of experts' outputs are where the experts are.
    fn combine_backward(&mut self, side: Side, block: Block) -> Front {
        if block == Block::Dense {
            return vec![Vec::new(); self.streams.len()];
        }
        let ready = self.front(side).clone();
        self.exchange(side, Phase::CombineBackward, Direction::Dispatch, &ready)
    }

    /// The gradient of the shared expert does not travel, and those of the routed ones wait for what is dispatched.
    fn ffn_input(&mut self, side: Side, block: Block, dispatched: Front) {
        if block == Block::Dense {
            self.step(side, Phase::FfnBackward, &self.kernels.dense_input());
            self.over_tp(side);
            return;
        }
        self.step(side, Phase::FfnBackward, &self.kernels.shared_input());
        join(self.front(side), dispatched);
        self.step_each(side, Phase::FfnBackward, &self.by_load(side, |kernels| kernels.routed_input()));
    }

    fn dispatch_backward(&mut self, side: Side, block: Block) {
        if block == Block::Moe {
            let done = self.front(side).clone();
            *self.front(side) = self.exchange(side, Phase::DispatchBackward, Direction::Combine, &done);
            // Gradients of the router do not travel, but are added to what comes back.
        }
    }

    fn ffn_weights(&mut self, side: Side, block: Block) {
        let kernels = match block {
            Block::Dense => vec![self.kernels.dense_weights(); self.streams.len()],
            _ => self.by_load(side, |kernels| kernels.expert_weights()),
        };
        self.aside(side, Phase::FfnWeights, &kernels);
    }

    fn attention_input(&mut self, side: Side) {
        if self.chunk.model.moe.is_some() {
            self.step(side, Phase::AttentionBackward, &self.kernels.gate_backward());
        }
        let [again, gradients, rest] = self.kernels.attention_input();
        self.step(side, Phase::AttentionBackward, &again);
        self.over_cp(side);
        self.step(side, Phase::AttentionBackward, &gradients);
        self.over_cp(side);
        self.step(side, Phase::AttentionBackward, &rest);
        self.over_tp(side);
    }

    fn attention_weights(&mut self, side: Side) {
        let kernels = vec![self.kernels.attention_weights(); self.streams.len()];
        self.aside(side, Phase::AttentionWeights, &kernels);
    }

    /// Kernels of routed experts, for each GPU those of its load.
    fn by_load(&self, side: Side, kernels: fn(&Training<'_>) -> Vec<Kernel>) -> Vec<Vec<Kernel>> {
        let of = |loads: &Loads| kernels(&self.kernels.with_load(loads.of(side.number, side.layer)));
        self.chunk.loads.iter().map(of).collect()
    }

    /// Kernels that the pass goes on from, the same on every GPU.
    fn step(&mut self, side: Side, phase: Phase, kernels: &[Kernel]) {
        self.step_each(side, phase, &vec![kernels.to_vec(); self.streams.len()]);
    }

    /// Kernels that the pass goes on from, GPU by GPU.
    fn step_each(&mut self, side: Side, phase: Phase, kernels: &[Vec<Kernel>]) {
        let front = self.front(side).clone();
        *self.front(side) = self.compute(side, phase, kernels, &front);
    }

    /// Kernels that nothing in the chunk waits for: they only take their turn on the stream.
    fn aside(&mut self, side: Side, phase: Phase, kernels: &[Vec<Kernel>]) {
        let nothing = vec![Vec::new(); self.streams.len()];
        self.compute(side, phase, kernels, &nothing);
    }

    /// Whether exchanges take their turn among kernels.
    fn in_turn(&self) -> bool {
        let alone = !matches!(self.chunk.work, ChunkWork::Overlapped { .. });
        alone && self.chunk.beside_exchanges == BesideExchanges::Nothing
    }

    fn compute(&mut self, side: Side, phase: Phase, kernels: &[Vec<Kernel>], after: &Front) -> Front {
        let label = label(phase, side);
        let mut after = after.clone();
        if self.in_turn() {
            join(&mut after, self.exchanged.clone());
        }
        let chain = |graph: &mut OpGraph, stream: StreamId, kernels: &Vec<Kernel>, after: &Vec<OpId>| {
            let mut after = after.clone();
            for &kernel in kernels {
                let op = Op { work: Work::Compute(kernel), label, stream: Some(stream), collective: None };
                after = vec![graph.push(op, &after)];
            }
            after
        };
        let gpus = self.streams.iter().zip(kernels).zip(&after);
        let done: Front = gpus.map(|((&stream, kernels), after)| chain(self.graph, stream, kernels, after)).collect();
        self.computed.clone_from(&done);
        done
    }
}

fn label(phase: Phase, side: Side) -> Label {
    Label { phase, layer: side.layer, micro_batch: side.number }
}

/// Waits for `more` as well, for each operation once.
fn join(front: &mut Front, more: Front) {
    for (front, more) in front.iter_mut().zip(more) {
        front.extend(more);
        front.sort_unstable();
        front.dedup();
    }
}
