//! A prefill step as users and operators see it.

use super::busy::{Breakdown, Busy};
use super::decode::Computers;
use crate::timeline::Timeline;
use crate::units::{Duration, Time, UsdPerHour};

/// What the step was asked to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrefillFacts {
    /// Positions that are computed per GPU.
    pub tokens_per_gpu: u64,
    /// Positions of each prompt that are computed.
    pub prompt: u64,
    /// Positions of each prompt that are found in the cache.
    pub cached: u64,
    /// GPUs of a node.
    pub gpus_per_node: u64,
    /// What a GPU costs.
    pub rent: Option<UsdPerHour>,
}

/// A prefill step in the field's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefillMetrics {
    /// From the start of the step to the first token of its last prompt: what the step adds to TTFT.
    pub step: Duration,
    /// Computed positions per second of one GPU.
    pub tokens_per_sec_per_gpu: f64,
    /// Computed positions per second of one node.
    pub tokens_per_sec_per_node: f64,
    /// The same with those that are found in the cache.
    pub input_tokens_per_sec_per_node: f64,
    /// Work that a simulated GPU did per second of the step, over all kernels.
    pub flops_per_sec: f64,
    /// Dollars per million computed positions, at the rent of the GPUs alone.
    pub usd_per_million_tokens: Option<f64>,
    /// Where the time went.
    pub breakdown: Breakdown,
}

/// Measures a prefill step.
pub fn prefill_metrics(timeline: &Timeline, facts: &PrefillFacts) -> PrefillMetrics {
    let step = timeline.end() - Time::ZERO;
    let per_gpu = facts.tokens_per_gpu as f64 / step.as_secs();
    let per_node = per_gpu * facts.gpus_per_node as f64;
    let usd = |rent: UsdPerHour| rent.as_f64() / 3600.0 / per_gpu * 1e6;
    let (mut busy, mut computers) = (Busy::new(timeline), Computers::new(timeline));
    for span in timeline.spans() {
        busy.push(&span);
        computers.push(&span);
    }
    PrefillMetrics {
        step,
        tokens_per_sec_per_gpu: per_gpu,
        tokens_per_sec_per_node: per_node,
        input_tokens_per_sec_per_node: per_node * (facts.prompt + facts.cached) as f64 / facts.prompt as f64,
        flops_per_sec: computers.flops_per_sec(timeline),
        usd_per_million_tokens: facts.rent.map(usd),
        breakdown: busy.finish(timeline),
    }
}
