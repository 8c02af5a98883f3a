//! A decode step as users and operators see it.

use super::busy::{Breakdown, Intervals, breakdown};
use crate::id::DeviceId;
use crate::timeline::{Place, Span, Timeline};
use crate::units::{Duration, PS_PER_SEC, Time, UsdPerHour};
use crate::workload::{Phase, Work};
use std::collections::BTreeSet;

/// What the step was asked to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeFacts {
    /// Requests in flight per GPU.
    pub requests_per_gpu: f64,
    /// Tokens that a request gains per step, on average.
    pub tokens_per_step: f64,
    /// GPUs of a node.
    pub gpus_per_node: u64,
    /// What a GPU costs.
    pub rent: Option<UsdPerHour>,
}

/// A decode step in the field's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeMetrics {
    /// From the start of the step to the last sampled token.
    pub step: Duration,
    /// Time per output token of a request: the step over the tokens that it yields.
    pub tpot: Duration,
    /// Output tokens per second of one request: 1 / TPOT.
    pub tokens_per_sec_per_user: f64,
    /// Output tokens per second of one GPU: requests per GPU / TPOT.
    pub tokens_per_sec_per_gpu: f64,
    /// Output tokens per second of one node.
    pub tokens_per_sec_per_node: f64,
    /// Work that the simulated GPU did per second of the step, over all kernels.
    pub flops_per_sec: f64,
    /// Time that dispatch and combine of one micro-batch occupy the port of a GPU, in the first layer that has experts.
    pub ep_step: Option<Duration>,
    /// The same for all micro-batches of that layer.
    pub ep_layer: Option<Duration>,
    /// Dollars per million output tokens, at the rent of the GPUs alone.
    pub usd_per_million_tokens: Option<f64>,
    /// Where the time went.
    pub breakdown: Breakdown,
}

/// Measures a decode step.
pub fn decode_metrics(timeline: &Timeline, facts: &DecodeFacts) -> DecodeMetrics {
    let step = timeline.end() - Time::ZERO;
    let tpot = Duration::rounded_up(step.as_ps() as f64 / facts.tokens_per_step);
    let per_user = if tpot == Duration::ZERO { f64::INFINITY } else { PS_PER_SEC as f64 / tpot.as_ps() as f64 };
    let per_gpu = per_user * facts.requests_per_gpu;
    let usd = |rent: UsdPerHour| rent.as_f64() / 3600.0 / per_gpu * 1e6;
    DecodeMetrics {
        step,
        tpot,
        tokens_per_sec_per_user: per_user,
        tokens_per_sec_per_gpu: per_gpu,
        tokens_per_sec_per_node: per_gpu * facts.gpus_per_node as f64,
        flops_per_sec: flops_per_sec(timeline),
        ep_step: expert_exchange(timeline, Some(0)),
        ep_layer: expert_exchange(timeline, None),
        usd_per_million_tokens: facts.rent.map(usd),
        breakdown: breakdown(timeline),
    }
}

/// Work of all kernels per second of the run and per processor that computes.
pub(super) fn flops_per_sec(timeline: &Timeline) -> f64 {
    let computer = |span: &Span| match (span.work, span.place) {
        (Work::Compute(_), Place::Stream(stream)) => Some(timeline.streams[stream.index()].device),
        _ => None,
    };
    let computers: BTreeSet<DeviceId> = timeline.spans.iter().filter_map(computer).collect();
    timeline.flops().as_f64() / computers.len().max(1) as f64 / (timeline.end() - Time::ZERO).as_secs()
}

/// Time that dispatch and combine of the first layer with experts occupy the port of the first GPU (or of the CPU that
/// answers it): of one micro-batch, or of all.
fn expert_exchange(timeline: &Timeline, micro_batch: Option<u32>) -> Option<Duration> {
    let first = timeline.streams.first()?.device;
    let of = |phase: Phase| timeline.spans.iter().filter(move |span| span.label.phase == phase).filter_map(sent);
    let layer = of(Phase::Dispatch).map(|sent| sent.span.label.layer).min()?;
    let counts =
        |span: &Span| span.label.layer == layer && micro_batch.is_none_or(|wanted| span.label.micro_batch == wanted);
    let dispatch = of(Phase::Dispatch).filter(|sent| sent.from == first && counts(sent.span));
    let answers = of(Phase::Combine).all(|sent| sent.from != first);
    let combine = of(Phase::Combine)
        .filter(|sent| counts(sent.span) && if answers { sent.to == first } else { sent.from == first });
    let mut spans: Vec<&Span> = dispatch.chain(combine).map(|sent| sent.span).collect();
    // Transfers that share a port at the same time occupy it once.
    spans.sort_by_key(|span| (span.place, span.start));
    let mut occupied = Duration::ZERO;
    for of_place in spans.chunk_by(|a, b| a.place == b.place) {
        occupied += Intervals::new(of_place.iter().map(|span| (span.start, span.released))).length();
    }
    Some(occupied)
}

/// A transfer and its ends.
struct Sent<'a> {
    span: &'a Span,
    from: DeviceId,
    to: DeviceId,
}

fn sent(span: &Span) -> Option<Sent<'_>> {
    match span.work {
        Work::Send { from, to, .. } => Some(Sent { span, from, to }),
        _ => None,
    }
}
