//! Serving over time: requests that arrive, and the pools of GPUs that serve them.
//!
//! This module draws requests and describes pools. It must not know how long a step takes, nor who serves what when.

mod requests;
mod spec;

pub use requests::{Request, Requests};
pub use spec::{
    ArrivalsChoice, CacheMemory, CacheSpec, CapitalSpec, ColocationSpec, ContextsChoice, DecodePoolSpec, GatherSpec,
    LengthsChoice, PrefillPoolSpec, ServingSpec, TraceRow,
};
