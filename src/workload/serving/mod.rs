//! Serving over time: requests that arrive, and the workers that serve them.
//!
//! `scheduler`, `kv_cache` and `router` are policies, one file each; `worker` joins them over the queues of one copy of a deployment, and `workload`
//! brings all workers before the engine. This module must not know how long a step takes.

mod decoding;
mod fleet;
mod handover;
mod kv_cache;
mod ledger;
mod queues;
mod requests;
mod router;
mod scheduler;
mod sequence;
mod served;
mod spec;
mod worker;
mod workload;

pub use decoding::DecodingSet;
pub use fleet::{Fleet, PoolKind, WorkerId};
pub use handover::{Handover, KvBeside, KvPart, KvPath};
pub use kv_cache::{KvCache, ReservingCache};
pub use ledger::RequestTrace;
pub use queues::{PendingPrompt, RequestQueues};
pub use requests::{PromptBlocks, Request, Requests};
pub use router::{LeastLoaded, Router, WorkerLoad};
pub use scheduler::{Fcfs, FcfsLimits, Gather, ScheduledBatch, Scheduler};
pub use sequence::{Sequence, StepEnd, StepLoad};
pub use served::{Served, ServedStep};
pub use spec::{
    ArrivalsChoice, CacheMemory, CacheSpec, CapitalSpec, ColocationSpec, ContextsChoice, DecodePoolSpec, GatherSpec,
    LengthsChoice, PrefillPoolSpec, ServingSpec, TraceRow,
};
pub use worker::{EngineWorker, WorkerShape};
pub use workload::{ServingRecord, ServingWorkload, StepOracle};
