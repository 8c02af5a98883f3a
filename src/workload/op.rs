//! Operations: what they do, what they belong to, and where they run.
//!
//! This module must not know how long anything takes.

use super::Kernel;
use super::collective::{Algorithm, Collective, Protocol};
use crate::id::{CollectiveId, DeviceId, StreamId};
use crate::units::{Bytes, Duration};
use std::fmt;

pub use super::graph::OpGraph;

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
