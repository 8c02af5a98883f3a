//! A training step in two levels: chunks, each simulated once down to kernels and transfers, then the pipeline over the times
//! that were found.

mod chunks;
mod groups;
mod replicas;
mod update;

use super::exchange::no_mover;
use super::power::NodePower;
use super::seen::with_parts;
use super::watch::{Observer, Watcher};
use super::{build, footprint, reserve};
use crate::invalid::Invalid;
use crate::metrics::{
    ChunkTime, Folding, Memory, Metrics, Outcome, Part, Symmetry, TrainingFacts, pipeline_metrics, training_metrics,
};
use crate::model::{FlopConvention, ModelSpec};
use crate::parallelism::{Plan, RankLoad, TrainingLoad, training_memory};
use crate::scenario::Scenario;
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::units::{Bytes, Duration, Time};
use crate::workload::{
    Action, ChunkWork, PipelineSpec, Schedule, ScheduleSpec, StageShape, Step, StepWorkload, TrainingSpec,
};
use chunks::{Chunks, Found};
use groups::weaker;
use replicas::Replicas;
use std::ops::Range;

/// A training step as it was checked.
struct Job<'a> {
    scenario: &'a Scenario,
    spec: &'a TrainingSpec,
    model: &'a ModelSpec,
    plan: Plan,
    schedule: Schedule,
    /// The layers of each stage.
    cut: Vec<Range<u32>>,
}

/// Runs a training step.
pub(super) fn simulate(
    scenario: &Scenario,
    spec: &TrainingSpec,
    cluster: Cluster,
    watcher: &mut Watcher<'_>,
) -> Result<Outcome, Invalid> {
    check_faults(scenario, &cluster)?;
    let job = Job::new(scenario, spec, &cluster)?;
    let memory = job.memory(cluster.gpus_per_node)?;
    let mut chunks = Chunks::new(&job, &cluster)?;
    let times: Vec<Vec<Duration>> =
        (0..job.plan.pp()).map(|rank| chunks.times(rank, watcher)).collect::<Result<_, _>>()?;
    let (folding, symmetry) = (chunks.folding(), chunks.symmetry().clone());
    let Found { chunks: chunk_times, actions, timelines } = chunks.into_found();
    let replicas = Replicas::new(&job, &cluster)?;
    let updates = update::updates(&job, &cluster, &replicas.ranks);
    let step = Step {
        schedule: job.schedule.clone(),
        times,
        replicas: replicas
            .ranks
            .iter()
            .map(|replica| replica.iter().map(|rank| cluster.gpus[rank.index()]).collect())
            .collect(),
        handed_over: job.handed_over(),
        updates: Some(updates),
        software: update::update_software(&job),
    };
    watcher.begin(|| "pipeline".to_owned());
    let seen = with_parts(&cluster, &replicas.shares);
    let mut timeline = run_step(scenario, step, seen.as_ref().unwrap_or(&cluster), watcher)?;
    // A chunk that does not end ends no step.
    timeline.stranded.extend(timelines.iter().flat_map(|chunk| &chunk.stranded));
    let facts = TrainingFacts {
        tokens: spec.global_batch.wide() * spec.sequence.wide(),
        gpus: cluster.gpus.len() as u64,
        ranks: job.plan.pp() as usize,
        per_token: [FlopConvention::CAUSAL, FlopConvention::NONCAUSAL]
            .map(|convention| convention.training_per_token(job.model, spec.sequence)),
        peak: scenario.hardware.gpu.tensor.bf16,
        rent: scenario.hardware.gpu.rent,
        power: NodePower::of(scenario).total() * scenario.nodes.wide(),
        run_billion_tokens: spec.run_billion_tokens.map(|tokens| tokens.wide()),
        chunks: chunk_times,
        actions,
    };
    let metrics = training_metrics(&timeline, facts);
    let parts = parts(&metrics.chunks, timelines);
    let metrics = Metrics::Training(metrics);
    let folding = weaker(folding, replicas.folding);
    let (memory, notes) = (Some(memory), replicas.note(scenario.symmetry).into_iter().collect());
    Ok(Outcome { timeline, metrics, memory, symmetry, folding, cluster, parts, notes })
}

/// Refuses faults that come or go: chunks are simulated once and stand for all that are like them, whenever these run.
fn check_faults(scenario: &Scenario, cluster: &Cluster) -> Result<(), Invalid> {
    let faults = build::faults(scenario, cluster)?;
    let Some(change) = faults.changes().iter().find(|change| change.at > Time::ZERO) else { return Ok(()) };
    let after = change.at - Time::ZERO;
    let message = format!("a training step takes faults that are there all the time, and one changes after {after}");
    let help =
        "leave out `from`, `until` and `flapping`, or use faults that come and go with a collective or an exchange";
    Err(Invalid::at("fault", message).help(help))
}

/// What happened in each chunk; the one on which the step spends most comes first.
fn parts(chunks: &[ChunkTime], timelines: Vec<Timeline>) -> Vec<Part> {
    let spent = |chunk: &ChunkTime| chunk.time * chunk.count as u64;
    let mut order: Vec<(&ChunkTime, Timeline)> = chunks.iter().zip(timelines).collect();
    order.sort_by_key(|(chunk, _)| std::cmp::Reverse(spent(chunk)));
    let part = |(chunk, timeline): (&ChunkTime, Timeline)| Part {
        name: chunk.name.clone(),
        timeline,
        count: chunk.count as u64,
        at: chunk.first,
    };
    order.into_iter().map(part).collect()
}

/// Runs one chunk of a training step by itself.
pub(super) fn simulate_chunk(scenario: &Scenario, spec: &TrainingSpec, work: ChunkWork) -> Result<Timeline, Invalid> {
    let cluster = build::cluster(scenario)?;
    let job = Job::new(scenario, spec, &cluster)?;
    Chunks::new(&job, &cluster)?.timeline(work, &mut Watcher::new(Observer::default()))
}

/// Runs a pipeline schedule over given times, every GPU one rank.
pub(super) fn simulate_pipeline(
    scenario: &Scenario,
    spec: &PipelineSpec,
    cluster: Cluster,
    watcher: &mut Watcher<'_>,
) -> Result<Outcome, Invalid> {
    let ranks = cluster.gpus.len();
    let schedule = Schedule::new(spec.schedule, ranks as u32, spec.micro_batches.get())
        .map_err(|invalid| invalid.under("workload.pipeline"))?;
    let time = |action: &Action| match action {
        Action::Forward(_) => spec.forward,
        Action::Backward(_) => spec.backward_input + spec.backward_weight,
        Action::BackwardInput(_) => spec.backward_input,
        Action::BackwardWeight(_) => spec.backward_weight,
        Action::Overlapped { .. } => spec.overlapped(),
    };
    let times = schedule.ranks().iter().map(|actions| actions.iter().map(time).collect()).collect();
    let replicas = vec![cluster.gpus.clone()];
    let step =
        Step { schedule, times, replicas, handed_over: spec.handed_over, updates: None, software: Default::default() };
    let timeline = run_step(scenario, step, &cluster, watcher)?;
    let metrics = Metrics::Pipeline(pipeline_metrics(&timeline, spec, ranks));
    let (symmetry, folding, parts) = (Symmetry::all(ranks), Folding::None, Vec::new());
    Ok(Outcome { timeline, metrics, memory: None, symmetry, folding, cluster, parts, notes: Vec::new() })
}

fn run_step(
    scenario: &Scenario,
    step: Step,
    cluster: &Cluster,
    watcher: &mut Watcher<'_>,
) -> Result<Timeline, Invalid> {
    let mut kernels = build::kernels(scenario, cluster)?;
    footprint::run(scenario, cluster, &mut StepWorkload::new(step), kernels.as_mut(), watcher)
}

impl<'a> Job<'a> {
    fn new(scenario: &'a Scenario, spec: &'a TrainingSpec, cluster: &Cluster) -> Result<Job<'a>, Invalid> {
        let model = scenario.model.as_ref().ok_or_else(|| {
            let invalid = Invalid::at("", "a training step needs a [model] table, and there is none");
            invalid.help("for example `[model]` with `extends = \"../models/deepseek_v3.toml\"`")
        })?;
        model.check().map_err(|invalid| invalid.under("model"))?;
        let plan = scenario.parallelism.check(cluster.gpus.len() as u32, model);
        let plan = plan.map_err(|invalid| invalid.under("parallelism"))?;
        let refuse = |place: &str, message: String, help: &str| Err(Invalid::at(place, message).help(help));
        if plan.expert_tp() > 1 {
            let message = format!("experts cut over {} GPUs are not trained", plan.expert_tp());
            return refuse("parallelism.expert_tp", message, "leave `expert_tp` out");
        }
        let pieces = if plan.cp() > 1 { 2 * u64::from(plan.cp()) } else { 1 };
        if !spec.sequence.wide().is_multiple_of(pieces * u64::from(plan.tp())) {
            let message = format!("{} tokens in {pieces} pieces for tp {} GPUs each", spec.sequence, plan.tp());
            return refuse("workload.training.sequence", message, "every GPU needs as many tokens");
        }
        let per_micro_batch = u64::from(plan.replicas()) * spec.micro_batch.wide();
        if !spec.global_batch.wide().is_multiple_of(per_micro_batch) {
            let message = format!(
                "{} sequences for {} replicas with micro-batches of {}",
                spec.global_batch,
                plan.replicas(),
                spec.micro_batch
            );
            return refuse("workload.training.global_batch", message, "every replica needs as many micro-batches");
        }
        if spec.communication_sms >= scenario.hardware.gpu.sms.get() {
            let message = format!("{} of {} SMs", spec.communication_sms, scenario.hardware.gpu.sms);
            return refuse("workload.training.communication_sms", message, "leave some SMs to compute with");
        }
        let exchanged = model.moe.is_some() && plan.ep() > 1;
        if let Some(software) = scenario.hardware.communication.as_ref().filter(|_| exchanged)
            && software.experts.on(spec.communication_sms).is_none()
        {
            return Err(no_mover(software).under("workload.training.communication_sms"));
        }
        let micro_batches = u32::try_from(spec.global_batch.wide() / per_micro_batch).expect("a count is small");
        let schedule = Schedule::new(spec.schedule, plan.pp(), micro_batches);
        let schedule = schedule.map_err(|invalid| invalid.under("workload.training"))?;
        if schedule.stages() > model.layers.get() {
            let message = format!("{} stages for the {} layers of {}", schedule.stages(), model.layers, model.name);
            return refuse("workload.training.schedule", message, "use fewer ranks, or fewer chunks per rank");
        }
        let cut = plan.cut(model.layers, schedule.stages());
        Ok(Job { scenario, spec, model, plan, schedule, cut })
    }

    /// The stages that `rank` holds, by chunk.
    fn stages(&self, rank: u32) -> Vec<u32> {
        (0..self.schedule.chunks()).map(|chunk| self.schedule.stage(rank, chunk)).collect()
    }

    fn shape(&self, stage: u32) -> StageShape {
        StageShape::new(self.model, self.cut[stage as usize].clone(), self.spec.mtp)
    }

    /// Ranks of a pipeline that hold a stage.
    fn copies(&self) -> u32 {
        if self.spec.schedule == ScheduleSpec::DualPipe { 2 } else { 1 }
    }

    /// The memory of the fullest GPU, checked against what there is.
    fn memory(&self, per_node: u32) -> Result<Memory, Invalid> {
        let rank = |rank| RankLoad { stages: self.stages(rank), kept: self.schedule.kept(rank) };
        let load = TrainingLoad {
            micro_batch_tokens: self.spec.micro_batch.wide() * self.spec.sequence.wide() / u64::from(self.plan.cp()),
            stages: self.schedule.stages(),
            ranks: (0..self.plan.pp()).map(rank).collect(),
            copies: self.copies(),
            recompute: self.spec.recompute,
            mtp: self.spec.mtp,
            optimizer: self.spec.optimizer,
            reserve: reserve::of_training(self.scenario, self.spec, &self.plan, per_node),
        };
        let precision = self.scenario.precision.unwrap_or_default();
        let used = training_memory(self.model, &self.plan, &precision, &load);
        let capacity = reserve::budget(self.scenario);
        used.fits(capacity).map_err(|invalid| invalid.under("parallelism"))?;
        Ok(Memory { used, capacity })
    }

    /// What a GPU hands to the next stage: its part of the hidden states.
    fn handed_over(&self) -> Bytes {
        let shared = u64::from(self.plan.tp() * self.plan.cp());
        let tokens = self.spec.micro_batch.wide() * self.spec.sequence.wide() / shared;
        let precision = self.scenario.precision.unwrap_or_default();
        precision.activations.bytes(tokens * self.model.hidden.wide())
    }
}
