//! Serving over time: requests that arrive, and the workers that serve them.
//!
//! `scheduler`, `kv_cache` and `router` are policies, one file each; `worker` joins them over the queues of one copy of a deployment. This module
//! must not know how long a step takes.

mod decoding;
mod kv_cache;
mod queues;
mod requests;
mod router;
mod scheduler;
mod sequence;
mod spec;
mod worker;

pub use decoding::DecodingSet;
pub use kv_cache::{KvCache, ReservingCache};
pub use queues::{PendingPrompt, RequestQueues};
pub use requests::{PromptBlocks, Request, Requests};
pub use router::{LeastLoaded, Router, WorkerLoad};
pub use scheduler::{Fcfs, FcfsLimits, Gather, ScheduledBatch, Scheduler};
pub use sequence::{Sequence, StepEnd, StepLoad};
pub use spec::{
    ArrivalsChoice, CacheMemory, CacheSpec, CapitalSpec, ColocationSpec, ContextsChoice, DecodePoolSpec, GatherSpec,
    LengthsChoice, PrefillPoolSpec, ServingSpec, TraceRow,
};
pub use worker::{EngineWorker, WorkerShape};
