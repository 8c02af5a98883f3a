//! What a timeline means: step time, throughput, where the time went, and what it costs.
//!
//! Everything is computed from the timeline and from what the step was asked to do. This module must not know files or how
//! the spans came about.

mod better;
mod busy;
mod catalog;
mod collective;
mod convert;
mod decode;
mod fabric;
mod facts;
mod in_chunks;
mod kernels;
mod links;
mod metric;
mod moe;
mod occupied;
mod outcome;
mod pipeline;
mod prefill;
mod serving;
mod steady;
mod training;
mod union;

pub use crate::workload::{Served, ServedStep};
pub use better::Better;
pub use busy::{Breakdown, PathShare, PhaseTime, PortUse, breakdown};
pub use catalog::{
    MetricDef, catalog, metric_names, named_collective, named_decode, named_fabric, named_moe_exchange, named_pipeline,
    named_prefill, named_serving, named_training, run_metrics,
};
pub use collective::{CollectiveMetrics, collective_metrics};
pub use convert::unit_factor;
pub use decode::{DecodeFacts, DecodeMetrics, decode_metrics};
pub use fabric::FabricMetrics;
pub use facts::{ExpertExchange, Facts, Ideal, MeasuredError};
pub use kernels::{KernelTime, kernel_times};
pub use links::{CutOff, KindLoad, LinkLoad, cut_off, kind_loads, link_loads};
pub use metric::Metric;
pub use moe::{MoeExchangeFacts, MoeExchangeMetrics, moe_exchange_metrics};
pub use outcome::{Folding, Level, Memory, Metrics, Outcome, Part, Symmetry};
pub use pipeline::{PipelineMetrics, pipeline_metrics};
pub use prefill::{PrefillFacts, PrefillMetrics, prefill_metrics};
pub use serving::{ServingFacts, ServingMetrics, Spread, serving_metrics};
pub use steady::Window;
pub use training::{ChunkTime, RankTime, TrainingFacts, TrainingMetrics, training_metrics};
