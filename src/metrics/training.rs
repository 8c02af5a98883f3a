//! A training step as people who train see it, in the rows of arXiv 2505.09343, table 4.

use super::busy::{Breakdown, PathShare, PhaseTime};
use super::in_chunks::InChunks;
use super::kernels::KernelTime;
use super::links::KindLoad;
use crate::id::DeviceId;
use crate::timeline::{Span, Timeline};
use crate::units::{Duration, Flops, FlopsPerSec, Time, Usd, UsdPerHour, Watts};
use crate::workload::Phase;

/// What the step was asked to do, and what it ran on.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingFacts {
    /// Tokens of a step.
    pub tokens: u64,
    /// GPUs of the cluster.
    pub gpus: u64,
    /// Pipeline ranks of a replica; those of the first replica come first in the timeline.
    pub ranks: usize,
    /// Work per token, counted with causal attention and with the whole attention matrix.
    pub per_token: [Flops; 2],
    /// BF16 peak of a GPU, which MFU is measured against.
    pub peak: FlopsPerSec,
    /// What a GPU costs.
    pub rent: Option<UsdPerHour>,
    /// Most that the whole cluster draws: GPUs, CPUs, NICs, the rest of the nodes, switches and cables.
    pub power: Watts,
    /// Tokens of the whole training run, in billions.
    pub run_billion_tokens: Option<u64>,
    /// What chunks there are.
    pub chunks: Vec<ChunkTime>,
    /// Which of them each pipeline rank takes, in this order.
    pub actions: Vec<Vec<usize>>,
}

/// A kind of chunk, as it was simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkTime {
    /// What it does: "F&B: 4 MoE | 4 MoE".
    pub name: String,
    /// How many of them a step has, over all ranks of a replica.
    pub count: usize,
    /// Load of the experts of the GPU that decides how long it takes, over that of an average one: the mean of many draws where one
    /// GPU stands for all, the greatest of one draw where all are simulated.
    pub busiest: f64,
    /// How long it takes.
    pub time: Duration,
    /// Time during which its GPU computes.
    pub computing: Duration,
    /// Time during which transfers of its GPU are under way.
    pub communicating: Duration,
    /// Time during which they are under way and nothing is computed.
    pub exposed: Duration,
    /// Time of each phase of its layers.
    pub phases: Vec<PhaseTime>,
    /// What it waited for; the parts add up to its time.
    pub critical_path: Vec<PathShare>,
    /// Its kernels on one GPU, those that take longest first.
    pub kernels: Vec<KernelTime>,
    /// On which GPU a step first has it, and when.
    pub first: Option<(DeviceId, Time)>,
    /// How busy links are meanwhile.
    pub links: Vec<KindLoad>,
}

/// How one pipeline rank spends a step. The parts add up to the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankTime {
    /// Forward passes by themselves.
    pub forward: Duration,
    /// Waiting for other ranks, from the start of the step to the end of the last rank's last chunk.
    pub bubble: Duration,
    /// Backward passes by themselves: full ones, and gradients of inputs.
    pub backward: Duration,
    /// Gradients of weights by themselves.
    pub weight: Duration,
    /// Overlapped forward and backward passes.
    pub overlapped: Duration,
    /// From the end of the last rank's last chunk to the end of the step.
    pub optimizer: Duration,
    /// Communication that nothing hides, inside its chunks: a part of what these take.
    pub exposed: Duration,
    /// Chunks: forward, overlapped, full backward, by input, by weights.
    pub counts: [usize; 5],
}

/// A training step in the field's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingMetrics {
    /// From the first chunk to the last gathered weight.
    pub step: Duration,
    /// Tokens per day of the whole cluster.
    pub tokens_per_day: f64,
    /// Tokens per second of one GPU.
    pub tokens_per_sec_per_gpu: f64,
    /// Work per GPU and second, by causal and by whole attention.
    pub flops_per_sec: [f64; 2],
    /// That over the BF16 peak.
    pub mfu: [f64; 2],
    /// How each pipeline rank spends the step.
    pub ranks: Vec<RankTime>,
    /// The chunks that the pipeline is made of.
    pub chunks: Vec<ChunkTime>,
    /// GPU hours for a trillion tokens.
    pub gpu_hours_per_trillion_tokens: f64,
    /// Dollars per step, at the rent of the GPUs alone.
    pub usd_per_step: Option<Usd>,
    /// GPU hours of the whole run.
    pub run_gpu_hours: Option<f64>,
    /// Dollars for the whole run, at the rent of the GPUs alone.
    pub run_usd: Option<f64>,
    /// Energy of a step in kWh, if every part drew the most it may.
    pub kwh_per_step: f64,
    /// Kernels of a GPU of pipeline rank 0, those inside its chunks included.
    pub kernels: Vec<KernelTime>,
    /// Where the time went, inside chunks as well.
    pub breakdown: Breakdown,
}

impl TrainingMetrics {
    /// The part of the step for which pipeline ranks wait for others, on average.
    pub fn bubble_share(&self) -> f64 {
        self.bubble_mean() / self.step.as_secs()
    }

    /// How long pipeline ranks wait for others, on average, in seconds.
    pub fn bubble_mean(&self) -> f64 {
        self.ranks.iter().map(|rank| rank.bubble.as_secs()).sum::<f64>() / self.ranks.len() as f64
    }
}

/// Measures a training step.
pub fn training_metrics(timeline: &Timeline, mut facts: TrainingFacts) -> TrainingMetrics {
    let inside = InChunks::new(timeline, &facts.chunks, &facts.actions);
    let (breakdown, kernels, first) = (inside.breakdown(), inside.kernels(), inside.first());
    let mut ranks = rank_times(timeline, facts.ranks);
    ranks.iter_mut().zip(inside.exposed()).for_each(|(rank, exposed)| rank.exposed = exposed);
    facts.chunks.iter_mut().zip(first).for_each(|(chunk, first)| chunk.first = first);
    let step = timeline.end() - Time::ZERO;
    let secs = step.as_secs();
    let gpus = facts.gpus as f64;
    let rate = facts.tokens as f64 / secs;
    let flops_per_sec = facts.per_token.map(|flops| flops.as_f64() * rate / gpus);
    let gpu_hours_per_trillion = 1e12 / rate * gpus / 3600.0;
    let run_gpu_hours = facts.run_billion_tokens.map(|billions| gpu_hours_per_trillion * billions as f64 / 1e3);
    let usd = |rent: UsdPerHour| rent.over(step) * facts.gpus;
    TrainingMetrics {
        step,
        tokens_per_day: rate * 86_400.0,
        tokens_per_sec_per_gpu: rate / gpus,
        flops_per_sec,
        mfu: flops_per_sec.map(|flops| flops / facts.peak.get() as f64),
        ranks,
        gpu_hours_per_trillion_tokens: gpu_hours_per_trillion,
        usd_per_step: facts.rent.map(usd),
        run_gpu_hours,
        run_usd: run_gpu_hours.zip(facts.rent).map(|(hours, rent)| hours * rent.as_f64()),
        kwh_per_step: facts.power.as_f64() / 1e3 * secs / 3600.0,
        chunks: facts.chunks,
        kernels,
        breakdown,
    }
}

/// How each of the first `ranks` streams spends its time.
pub(super) fn rank_times(timeline: &Timeline, ranks: usize) -> Vec<RankTime> {
    let mut times = vec![RankTime::default(); ranks];
    let mut pipeline_end = Time::ZERO;
    for span in timeline.spans() {
        let crate::timeline::Place::Stream(stream) = span.place else { continue };
        let Some((part, kind)) = of_phase(span.label.phase) else { continue };
        pipeline_end = pipeline_end.max(span.released);
        let Some(time) = times.get_mut(stream.index()) else { continue };
        *part(time) += lasted(&span);
        time.counts[kind] += 1;
    }
    for time in &mut times {
        let busy = time.forward + time.backward + time.weight + time.overlapped;
        time.bubble = pipeline_end - Time::ZERO - busy;
        time.optimizer = timeline.end() - pipeline_end;
    }
    times
}

type PartOf = fn(&mut RankTime) -> &mut Duration;

/// The row and the count that chunks of `phase` belong to.
fn of_phase(phase: Phase) -> Option<(PartOf, usize)> {
    let part: (PartOf, usize) = match phase {
        Phase::Forward => (|time| &mut time.forward, 0),
        Phase::Overlapped => (|time| &mut time.overlapped, 1),
        Phase::Backward => (|time| &mut time.backward, 2),
        Phase::BackwardInput => (|time| &mut time.backward, 3),
        Phase::BackwardWeight => (|time| &mut time.weight, 4),
        _ => return None,
    };
    Some(part)
}

fn lasted(span: &Span) -> Duration {
    span.released - span.start
}
