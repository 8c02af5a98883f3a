//! A decode step as users and operators see it.

use super::busy::{Breakdown, Busy};
use super::union::Union;
use crate::id::DeviceId;
use crate::timeline::{Place, Span, Timeline};
use crate::units::{Duration, PS_PER_SEC, Time, UsdPerHour};
use crate::workload::{Label, Phase, Stream, Work};
use std::collections::{BTreeMap, BTreeSet};

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
    let (mut busy, mut computers, mut exchange) =
        (Busy::new(timeline), Computers::new(timeline), ExpertExchange::new(timeline));
    for span in timeline.spans() {
        busy.push(&span);
        computers.push(&span);
        exchange.push(&span);
    }
    DecodeMetrics {
        step,
        tpot,
        tokens_per_sec_per_user: per_user,
        tokens_per_sec_per_gpu: per_gpu,
        tokens_per_sec_per_node: per_gpu * facts.gpus_per_node as f64,
        flops_per_sec: computers.flops_per_sec(timeline),
        ep_step: exchange.occupied(Some(0)),
        ep_layer: exchange.occupied(None),
        usd_per_million_tokens: facts.rent.map(usd),
        breakdown: busy.finish(timeline),
    }
}

/// Finds the processors that compute.
pub(super) struct Computers<'a> {
    streams: &'a [Stream],
    found: BTreeSet<DeviceId>,
}

impl<'a> Computers<'a> {
    pub(super) fn new(timeline: &'a Timeline) -> Computers<'a> {
        Computers { streams: &timeline.streams, found: BTreeSet::new() }
    }

    pub(super) fn push(&mut self, span: &Span) {
        if let (Work::Compute(_), Place::Stream(stream)) = (span.work, span.place) {
            self.found.insert(self.streams[stream.index()].device);
        }
    }

    /// Work of all kernels per second of the run and per processor that computes.
    pub(super) fn flops_per_sec(&self, timeline: &Timeline) -> f64 {
        timeline.flops().as_f64() / self.found.len().max(1) as f64 / (timeline.end() - Time::ZERO).as_secs()
    }
}

/// Finds the time that dispatch and combine of the first layer with experts occupy the port of the first GPU (or of the CPU that answers
/// it).
struct ExpertExchange {
    first: Option<DeviceId>,
    /// The first layer with a dispatch, if there is any.
    layer: Option<u32>,
    /// Whether all combining is done by others.
    answers: bool,
    /// Transfers from and to the first GPU.
    ours: Vec<Sent>,
}

/// A transfer of tokens to experts, or of their results back.
struct Sent {
    label: Label,
    from: DeviceId,
    to: DeviceId,
    place: Place,
    start: Time,
    released: Time,
}

impl ExpertExchange {
    fn new(timeline: &Timeline) -> ExpertExchange {
        let first = timeline.streams.first().map(|stream| stream.device);
        ExpertExchange { first, layer: None, answers: true, ours: Vec::new() }
    }

    fn push(&mut self, span: &Span) {
        let Span { label, place, start, released, .. } = *span;
        let (Work::Send { from, to, .. }, Some(first)) = (span.work, self.first) else { return };
        match label.phase {
            Phase::Dispatch => self.layer = Some(self.layer.map_or(label.layer, |layer| layer.min(label.layer))),
            Phase::Combine => self.answers &= from != first,
            _ => return,
        }
        if from == first || to == first {
            self.ours.push(Sent { label, from, to, place, start, released });
        }
    }

    /// How long it is of one micro-batch, or of all.
    fn occupied(&self, micro_batch: Option<u32>) -> Option<Duration> {
        let (first, layer) = (self.first?, self.layer?);
        let counts = |sent: &&Sent| {
            let side = if sent.label.phase == Phase::Combine && self.answers { sent.to } else { sent.from };
            let label = sent.label;
            side == first && label.layer == layer && micro_batch.is_none_or(|wanted| label.micro_batch == wanted)
        };
        // Transfers that share a port at the same time occupy it once.
        let mut places: BTreeMap<Place, Union> = BTreeMap::new();
        for sent in self.ours.iter().filter(counts) {
            places.entry(sent.place).or_default().add(sent.start, sent.released);
        }
        Some(places.values().map(Union::length).sum())
    }
}
