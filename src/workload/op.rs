//! Operations, and the growing graph that orders them.
//!
//! An operation runs when all it depends on has finished and, if it belongs to a stream, when it is the stream's oldest
//! unfinished one. This module must not know how long anything takes.

use super::Kernel;
use super::collective::{Algorithm, Collective, Protocol};
use crate::id::{CollectiveId, DeviceId, OpId, StreamId};
use crate::units::{Bytes, Duration, MemoryRoom, OutOfRange};
use std::collections::BTreeMap;
use std::fmt;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Runs a kernel on its stream's device.
    Compute(Kernel),
    /// Copies within the memory of its stream's device.
    Copy(Bytes),
    /// Moves data between two devices; the arrival ends the operation.
    Send {
        /// Where the data is.
        from: DeviceId,
        /// Where it goes.
        to: DeviceId,
        /// How much.
        bytes: Bytes,
    },
    /// Keeps its stream waiting for the host.
    HostDelay(Duration),
    /// Occupies its stream for a time that an experiment of its own has found.
    Known(Duration),
    /// Keeps its stream busy with communication software: launches, protocol steps, copies by SMs. How long is read from the
    /// hardware's description.
    Software(Duration),
}

/// What part of a model or collective an operation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Token embedding.
    Embedding,
    /// Attention with its norms and projections.
    Attention,
    /// Router: which experts each token visits.
    Gate,
    /// Tokens travel to their experts.
    Dispatch,
    /// Experts that every token visits, replicated on every GPU.
    SharedExpert,
    /// Routed experts.
    Experts,
    /// Expert outputs travel back.
    Combine,
    /// Dense feed-forward network.
    DenseFfn,
    /// All-reduce between tensor-parallel ranks.
    TensorParallel,
    /// Keys, values and their gradients travel between those that share a sequence.
    ContextParallel,
    /// Output head and sampling.
    Head,
    /// A collective or transfer of its own.
    Collective,
    /// Gradients travel the way that expert outputs came: a dispatch.
    CombineBackward,
    /// Gradient of the input of a feed-forward network.
    FfnBackward,
    /// Gradients of dispatched tokens travel back: a combine.
    DispatchBackward,
    /// Gradient of the weights of a feed-forward network.
    FfnWeights,
    /// Gradient of the input of attention.
    AttentionBackward,
    /// Gradient of the weights of attention.
    AttentionWeights,
    /// Gradients of head and embedding.
    HeadBackward,
    /// A forward pass of a pipeline stage.
    Forward,
    /// A forward and a backward pass of two stages, overlapped.
    Overlapped,
    /// A full backward pass of a stage.
    Backward,
    /// The gradient of a stage's input.
    BackwardInput,
    /// The gradient of a stage's weights.
    BackwardWeight,
    /// Activations or gradients travel to the next stage.
    Pipeline,
    /// Gradients are summed over data-parallel replicas.
    GradientReduce,
    /// Master weights and moments are updated.
    Optimizer,
    /// Updated weights travel to all replicas.
    ParameterGather,
    /// A step of an engine worker that computes prompts.
    PrefillStep,
    /// A step of an engine worker that decodes.
    DecodeStep,
    /// A step of an engine worker that does both.
    MixedStep,
    /// Keys and values travel to the worker that decodes.
    KvTransfer,
}

impl Phase {
    /// Every phase, in the order in which a step meets them.
    pub const ALL: [Phase; 32] = [
        Phase::Embedding,
        Phase::Attention,
        Phase::Gate,
        Phase::Dispatch,
        Phase::SharedExpert,
        Phase::Experts,
        Phase::Combine,
        Phase::DenseFfn,
        Phase::TensorParallel,
        Phase::ContextParallel,
        Phase::Head,
        Phase::Collective,
        Phase::CombineBackward,
        Phase::FfnBackward,
        Phase::DispatchBackward,
        Phase::FfnWeights,
        Phase::AttentionBackward,
        Phase::AttentionWeights,
        Phase::HeadBackward,
        Phase::Forward,
        Phase::Overlapped,
        Phase::Backward,
        Phase::BackwardInput,
        Phase::BackwardWeight,
        Phase::Pipeline,
        Phase::GradientReduce,
        Phase::Optimizer,
        Phase::ParameterGather,
        Phase::PrefillStep,
        Phase::DecodeStep,
        Phase::MixedStep,
        Phase::KvTransfer,
    ];

    /// Whether it is a step of an engine worker.
    pub const fn is_step(self) -> bool {
        matches!(self, Phase::PrefillStep | Phase::DecodeStep | Phase::MixedStep)
    }

    /// The name in reports and files.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Embedding => "embedding",
            Phase::Attention => "attention",
            Phase::Gate => "gate",
            Phase::Dispatch => "dispatch",
            Phase::SharedExpert => "shared expert",
            Phase::Experts => "experts",
            Phase::Combine => "combine",
            Phase::DenseFfn => "dense ffn",
            Phase::TensorParallel => "tensor parallel",
            Phase::ContextParallel => "context parallel",
            Phase::Head => "head",
            Phase::Collective => "collective",
            Phase::CombineBackward => "combine backward",
            Phase::FfnBackward => "ffn backward",
            Phase::DispatchBackward => "dispatch backward",
            Phase::FfnWeights => "ffn weights",
            Phase::AttentionBackward => "attention backward",
            Phase::AttentionWeights => "attention weights",
            Phase::HeadBackward => "head backward",
            Phase::Forward => "F",
            Phase::Overlapped => "F&B",
            Phase::Backward => "B",
            Phase::BackwardInput => "B input",
            Phase::BackwardWeight => "W",
            Phase::Pipeline => "pipeline",
            Phase::GradientReduce => "reduce gradients",
            Phase::Optimizer => "optimizer",
            Phase::ParameterGather => "gather weights",
            Phase::PrefillStep => "prefill step",
            Phase::DecodeStep => "decode step",
            Phase::MixedStep => "mixed step",
            Phase::KvTransfer => "KV transfer",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where in a step an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// What it belongs to.
    pub phase: Phase,
    /// Layer of the model, from 0; multi-token-prediction modules follow the last.
    pub layer: u32,
    /// Micro-batch of the step, from 0.
    pub micro_batch: u32,
}

impl Label {
    /// A label outside any layer and micro-batch.
    pub const fn of(phase: Phase) -> Label {
        Label { phase, layer: 0, micro_batch: 0 }
    }
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// What it does.
    pub work: Work,
    /// Where it stands.
    pub label: Label,
    /// The in-order queue that it occupies; a send occupies the network instead.
    pub stream: Option<StreamId>,
    /// The collective that it is part of.
    pub collective: Option<CollectiveId>,
}

/// An in-order queue of operations on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The device that runs it.
    pub device: DeviceId,
    /// The logical rank that owns it, for people.
    pub rank: usize,
    /// What it is for: "compute".
    pub name: &'static str,
}

/// A collective that was written down, and what was chosen for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    /// Which one.
    pub collective: Collective,
    /// How data moves between ranks.
    pub algorithm: Algorithm,
    /// What surrounds the data.
    pub protocol: Protocol,
    /// Ranks of the group.
    pub ranks: usize,
    /// Its size, as nccl-tests counts it.
    pub bytes: Bytes,
}

const NO_EDGE: u32 = u32::MAX;

/// How much there is to do in a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphSize {
    /// Operations, transfers among them.
    pub ops: u64,
    /// Transfers.
    pub sends: u64,
    /// What they move.
    pub bytes: u64,
}

/// Memory that an operation takes with what it waits for and its span.
const BYTES_PER_OP: u64 = 300;
/// What a transfer takes besides in a network model: 435 B in all, measured with all-to-alls, all-gathers and rings of 1,024 and 2,048
/// GPUs and with unfolded steps of decoding.
const BYTES_PER_SEND: u64 = 135;

impl GraphSize {
    /// Memory that simulating it takes, in bytes.
    pub const fn memory(&self) -> u64 {
        self.ops.saturating_mul(BYTES_PER_OP).saturating_add(self.sends.saturating_mul(BYTES_PER_SEND))
    }

    fn count(&mut self, op: &Op) {
        self.ops += 1;
        if let Work::Send { bytes, .. } = op.work {
            self.sends += 1;
            self.bytes = self.bytes.saturating_add(bytes.get());
        }
    }
}

/// Operations that are counted at most where there are too many to keep them.
const COUNTED_MAX: u64 = 1 << 31;

/// Operations and what they wait for. It only grows; finished operations stay as they are.
#[derive(Default)]
pub struct OpGraph {
    ops: Vec<Op>,
    streams: Vec<Stream>,
    /// Unfinished operations that each operation still waits for.
    waiting_for: Vec<u32>,
    finished: Vec<bool>,
    /// Dependents of each operation as a linked list through `edges`.
    first_edge: Vec<u32>,
    edges: Vec<(OpId, u32)>,
    /// New operations that wait for nothing that is left, and the latest operation whose end they follow.
    follows: Vec<(OpId, OpId)>,
    collectives: usize,
    size: GraphSize,
    room: Option<MemoryRoom>,
    /// How often each was written down.
    chosen: BTreeMap<Chosen, u64>,
}

impl OpGraph {
    /// A graph that keeps no more than fits into `room`. What goes beyond is only counted, and ends the simulation with the figure as
    /// soon as somebody asks.
    pub fn within(room: MemoryRoom) -> OpGraph {
        OpGraph { room: Some(room), ..OpGraph::default() }
    }

    /// How much was added so far.
    pub fn size(&self) -> GraphSize {
        self.size
    }

    /// Ends the simulation if there is more than fits into memory.
    pub fn check_room(&self) {
        if let Some(room) = self.room.filter(|room| self.size.memory() > room.bytes.get()) {
            OutOfRange::Memory { wanted: Bytes::new(self.size.memory()), room }.end();
        }
    }

    /// Counts an operation, and says whether it is kept.
    fn count(&mut self, op: &Op) -> bool {
        self.size.count(op);
        let keeps = self.room.is_none_or(|room| self.size.memory() <= room.bytes.get());
        if !keeps {
            // Whoever reads the figure needs nothing of what was kept.
            (self.ops, self.waiting_for, self.finished) = (Vec::new(), Vec::new(), Vec::new());
            (self.first_edge, self.edges) = (Vec::new(), Vec::new());
            if self.size.ops >= COUNTED_MAX {
                self.check_room();
            }
        }
        keeps
    }

    /// Adds a stream.
    pub fn stream(&mut self, stream: Stream) -> StreamId {
        self.streams.push(stream);
        StreamId::new(self.streams.len() - 1)
    }

    /// A fresh tag for the operations of one collective.
    pub fn collective(&mut self) -> CollectiveId {
        self.collectives += 1;
        CollectiveId::new(self.collectives - 1)
    }

    /// Remembers what was chosen for a collective that is written down.
    pub fn chose(&mut self, chosen: Chosen) {
        *self.chosen.entry(chosen).or_insert(0) += 1;
    }

    /// What was chosen for the collectives that were written down so far, and for how many.
    pub fn chosen(&self) -> &BTreeMap<Chosen, u64> {
        &self.chosen
    }

    /// Adds an operation that waits for all of `after`.
    pub fn push(&mut self, op: Op, after: &[OpId]) -> OpId {
        let is_send = matches!(op.work, Work::Send { .. });
        assert_eq!(op.stream.is_none(), is_send, "sends have no stream, all else has one: {op:?}");
        if !self.count(&op) {
            return OpId::new(self.size.ops as usize - 1);
        }
        let id = OpId::new(self.ops.len());
        let mut waiting_for = 0;
        for &earlier in after {
            assert!(earlier < id, "{id} waits for {earlier}, which is not older");
            if !self.finished[earlier.index()] {
                waiting_for += 1;
                let next = std::mem::replace(&mut self.first_edge[earlier.index()], self.edges.len() as u32);
                self.edges.push((id, next));
            }
        }
        if waiting_for == 0
            && let Some(&latest) = after.iter().max()
        {
            self.follows.push((id, latest));
        }
        self.ops.push(op);
        self.waiting_for.push(waiting_for);
        self.finished.push(false);
        self.first_edge.push(NO_EDGE);
        id
    }

    /// Of the operations that were added since somebody asked: those all of whose dependencies had finished before, each with the latest of these.
    pub fn take_follows(&mut self) -> Vec<(OpId, OpId)> {
        std::mem::take(&mut self.follows)
    }

    /// Marks `op` as finished and appends the operations that waited for nothing else to `ready`, oldest first.
    pub fn finish(&mut self, op: OpId, ready: &mut Vec<OpId>) {
        assert_eq!(self.waiting_for[op.index()], 0, "{op} finishes before what it waits for");
        assert!(!std::mem::replace(&mut self.finished[op.index()], true), "{op} finishes twice");
        let begin = ready.len();
        let mut edge = self.first_edge[op.index()];
        while edge != NO_EDGE {
            let (dependent, next) = self.edges[edge as usize];
            let left = &mut self.waiting_for[dependent.index()];
            *left -= 1;
            if *left == 0 {
                ready.push(dependent);
            }
            edge = next;
        }
        ready[begin..].reverse();
    }

    /// Operations that wait for `op`, latest first.
    pub fn waiting_for(&self, op: OpId) -> impl Iterator<Item = OpId> + '_ {
        let edge = |edge: u32| (edge != NO_EDGE).then(|| self.edges[edge as usize]);
        let first = edge(self.first_edge[op.index()]);
        std::iter::successors(first, move |&(_, next)| edge(next)).map(|(dependent, _)| dependent)
    }

    /// Whether `op` waits for nothing.
    pub fn is_ready(&self, op: OpId) -> bool {
        self.waiting_for[op.index()] == 0
    }

    /// The operation `id`.
    pub fn op(&self, id: OpId) -> &Op {
        &self.ops[id.index()]
    }

    /// Number of operations so far.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is no operation yet.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// How often an operation was to wait for another one.
    pub fn n_dependencies(&self) -> usize {
        self.edges.len()
    }

    /// Every stream, in order of id.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(after: &[OpId], graph: &mut OpGraph) -> OpId {
        let work = Work::Send { from: DeviceId::new(0), to: DeviceId::new(1), bytes: Bytes::new(1) };
        graph.push(Op { work, label: Label::of(Phase::Collective), stream: None, collective: None }, after)
    }

    #[test]
    fn more_than_fits_is_counted_and_refused_with_the_figure() {
        use crate::units::within_range;
        let room = MemoryRoom { bytes: Bytes::new(10 * (BYTES_PER_OP + BYTES_PER_SEND)), limit: "a test" };
        let pushed = |sends: usize| {
            let mut graph = OpGraph::within(room);
            let mut last = None;
            for _ in 0..sends {
                last = Some(send(last.as_slice(), &mut graph));
            }
            within_range(|| graph.check_room()).map(|()| graph.size().sends)
        };
        assert_eq!(pushed(10), Ok(10));
        let wanted = Bytes::new(1000 * (BYTES_PER_OP + BYTES_PER_SEND));
        assert_eq!(pushed(1000), Err(OutOfRange::Memory { wanted, room }));
    }

    #[test]
    fn what_finished_before_is_not_waited_for() {
        let mut graph = OpGraph::default();
        let first = send(&[], &mut graph);
        let second = send(&[first], &mut graph);
        let third = send(&[first, second], &mut graph);
        let mut ready = Vec::new();
        graph.finish(first, &mut ready);
        assert_eq!(ready, [second]);
        let late = send(&[first], &mut graph);
        assert!(graph.is_ready(late) && !graph.is_ready(third));
        graph.finish(second, &mut ready);
        assert_eq!(ready, [second, third]);
    }
}
