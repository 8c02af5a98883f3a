//! An exchange of tokens with experts in the terms of its libraries.

use super::busy::{Breakdown, Busy};
use crate::timeline::Timeline;
use crate::units::{Bytes, Duration, Time};
use crate::workload::Phase;

/// What the exchange was asked to move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MoeExchangeFacts {
    /// Tokens of each GPU.
    pub tokens: u64,
    /// One copy of a token on its way to an expert.
    pub dispatch_row: Bytes,
    /// One copy of a result on its way back.
    pub combine_row: Bytes,
    /// GPUs that a token visits, on average.
    pub gpus_per_token: f64,
    /// Nodes that a token visits, on average.
    pub nodes_per_token: f64,
    /// Copies of a token that the library's own test counts when it prints a bandwidth.
    pub copies_per_token: f64,
}

/// An exchange of tokens with experts.
#[derive(Clone, Debug, PartialEq)]
pub struct MoeExchangeMetrics {
    /// Counting and announcing tokens, where that is a kernel of its own.
    pub prepare: Duration,
    /// From there to the last token at its expert.
    pub dispatch: Duration,
    /// From there to the last result back.
    pub combine: Duration,
    /// Bytes per second of dispatch that the library's own test would print. Normal kernels: copies for all nodes that tokens visit,
    /// the own one included; in a single node, copies for all GPUs that they visit. Low-latency kernels: a copy for each expert.
    pub dispatch_bandwidth: f64,
    /// The same of combine.
    pub combine_bandwidth: f64,
    /// GPUs that a token visits, on average.
    pub gpus_per_token: f64,
    /// Nodes that a token visits, on average.
    pub nodes_per_token: f64,
    /// Where the time went.
    pub breakdown: Breakdown,
}

/// Measures an exchange.
pub fn moe_exchange_metrics(timeline: &Timeline, facts: &MoeExchangeFacts) -> MoeExchangeMetrics {
    let mut busy = Busy::new(timeline);
    let mut last = [Time::ZERO; Phase::ALL.len()];
    for span in timeline.spans() {
        busy.push(&span);
        let end = &mut last[span.label.phase as usize];
        *end = span.end.max(*end);
    }
    let prepared = last[Phase::Gate as usize];
    let dispatched = last[Phase::Dispatch as usize].max(prepared);
    let combined = last[Phase::Combine as usize].max(dispatched);
    let (dispatch, combine) = (dispatched - prepared, combined - dispatched);
    let sent = facts.copies_per_token * facts.tokens as f64;
    let rate = |row: Bytes, time: Duration| sent * row.get() as f64 / time.as_secs();
    MoeExchangeMetrics {
        prepare: prepared - Time::ZERO,
        dispatch,
        combine,
        dispatch_bandwidth: rate(facts.dispatch_row, dispatch),
        combine_bandwidth: rate(facts.combine_row, combine),
        gpus_per_token: facts.gpus_per_token,
        nodes_per_token: facts.nodes_per_token,
        breakdown: busy.finish(timeline),
    }
}
