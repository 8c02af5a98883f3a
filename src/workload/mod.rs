//! What is to be done: operations and their order, collectives as sends, and the steps of models.
//!
//! A workload is asked for operations as time passes; it computes no durations and must not know which processor or
//! network model will take them.

mod collective;
mod gate;
mod graph;
mod inference;
mod kernel;
mod moe;
mod op;
mod packed;
mod serving;
mod training;

pub use collective::{
    Algorithm, Choice, Collective, CollectiveWorkload, Group, Protocol, Way, WaysBetween, choose, choose_in_engine,
    expand, expected,
};
pub use gate::{GateChoice, GateDraws, GateSample, GateShape, sample_choice, sample_gate};
pub use graph::{GraphSize, OpGraph, UNFINISHED_BYTES};
pub use inference::{
    BalanceChoice, Batch, ContextSpec, Contexts, CopyPer, DecodeSpec, Decoding, Exchange, ExpertTraffic, ExpertsSpec,
    InferenceStep, InferenceWorkload, LaunchChoice, LeastStep, MtpSpec, PrefillSpec, Prompts, ReachChoice, RunOn,
    ScheduleChoice, SharedOn, expert_traffic, parts,
};
pub use kernel::{DecodeAttention, Gemm, GroupedGemm, Kernel, Pass, PrefillAttention, RowLayout, Rows};
pub use moe::{Copies, ExchangeKernels, MoeExchange, MoeExchangeSpec, MoeExchangeWorkload, RowFormat};
pub use op::{Chosen, Label, Op, Phase, Stream, Work};
pub use packed::{Interned, PackedOp};
pub use serving::{
    ArrivalsChoice, CacheMemory, CacheSpec, CapitalSpec, ColocationSpec, ContextsChoice, DecodePoolSpec, DecodingSet,
    EngineWorker, Fcfs, FcfsLimits, Fleet, Gather, GatherSpec, Handover, KvBeside, KvCache, KvPart, KvPath,
    LeastLoaded, LengthsChoice, PendingPrompt, PoolKind, PrefillPoolSpec, PromptBlocks, Request, RequestQueues,
    RequestTrace, Requests, ReservingCache, Router, ScheduledBatch, Scheduler, Sequence, Served, ServedStep,
    ServingRecord, ServingSpec, ServingWorkload, StepEnd, StepLoad, StepOracle, TraceRow, WorkerId, WorkerLoad,
    WorkerShape,
};
pub use training::{
    Action, BesideExchanges, CastChoice, Chunk, ChunkWork, ChunkWorkload, Loads, LossChoice, Part, PipelineSpec, Ring,
    Schedule, ScheduleSpec, StageShape, Step, StepWorkload, TrainingSpec, TrainingTraffic, Uneven, Unit, Update,
    UpdateSoftware, stages, training_traffic,
};

use crate::id::OpId;
use crate::invalid::Invalid;
use crate::units::{Bytes, Time};

/// Where operations come from.
pub trait Workload {
    /// When the next operation arrives that waits for no other, if one is known.
    fn next_arrival(&self) -> Option<Time>;

    /// Adds what arrives by `now` and what follows from the operations that just finished.
    ///
    /// # Errors
    /// When what is to be done turns out to be impossible; the run ends with the finding.
    fn advance(&mut self, now: Time, done: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid>;

    /// What a device touches between two uses of the same weights, where what is done repeats; nothing else is still in a cache.
    fn between_uses(&self) -> Option<Bytes> {
        None
    }
}

impl<W: Workload + ?Sized> Workload for &mut W {
    fn next_arrival(&self) -> Option<Time> {
        (**self).next_arrival()
    }

    fn advance(&mut self, now: Time, done: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        (**self).advance(now, done, graph)
    }

    fn between_uses(&self) -> Option<Bytes> {
        (**self).between_uses()
    }
}
