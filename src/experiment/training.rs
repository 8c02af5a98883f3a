//! A training step in two levels: chunks, each simulated once down to kernels and transfers, then the pipeline over the times
//! that were found.

mod chunks;
mod groups;
mod replicas;
mod update;

use super::case::{CaseRun, Ran};
use super::moe_exchange::no_mover;
use super::power::NodePower;
use super::watch::{Observer, Watcher};
use super::{Answer, Experiment, Known, bounded, build, reserve};
use crate::invalid::Invalid;
use crate::metrics::{ChunkTime, Folding, Memory, Metrics, Part, Symmetry, TrainingFacts, training_metrics};
use crate::model::{FlopConvention, ModelSpec};
use crate::parallelism::{Plan, RankLoad, TrainingLoad, training_memory};
use crate::scenario::{Scenario, WorkloadSpec};
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::units::{Bytes, Duration, Time};
use crate::workload::{ChunkWork, Schedule, ScheduleSpec, StageShape, Step, StepWorkload, TrainingSpec};
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

/// A training step that is ready to run: its chunks have been simulated.
pub(super) struct Training<'a> {
    job: Job<'a>,
    cluster: &'a Cluster,
    memory: Memory,
    found: Found,
    folding: Folding,
    symmetry: Symmetry,
    notes: Vec<String>,
    case: Option<CaseRun<'static>>,
}

/// Prepares the step that `spec` asks for: simulates its chunks.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &'a TrainingSpec,
    cluster: &'a Cluster,
    watcher: &Watcher<'_>,
) -> Result<Training<'a>, Invalid> {
    check_faults(scenario, cluster)?;
    let job = Job::new(scenario, spec, cluster)?;
    let memory = job.memory(cluster.gpus_per_node)?;
    let mut chunks = Chunks::new(&job, cluster, watcher.known())?;
    let times: Vec<Vec<Duration>> =
        (0..job.plan.pp()).map(|rank| chunks.times(rank, watcher)).collect::<Result<_, _>>()?;
    let (folding, symmetry) = (chunks.folding(), chunks.symmetry().clone());
    let found = chunks.into_found();
    let replicas = Replicas::new(&job, cluster, watcher.known())?;
    let step = Step {
        schedule: job.schedule.clone(),
        times,
        replicas: replicas
            .ranks
            .iter()
            .map(|replica| replica.iter().map(|rank| cluster.gpus[rank.index()]).collect())
            .collect(),
        handed_over: job.handed_over(),
        updates: Some(update::updates(&job, cluster, &replicas.ranks)),
        software: update::update_software(&job),
    };
    watcher.begin(|| "pipeline".to_owned());
    let notes = replicas.note(scenario.symmetry).into_iter().collect();
    let workload = Box::new(StepWorkload::new(step));
    let case = CaseRun { folding: replicas.folding, shares: replicas.shares, ..CaseRun::of(workload) };
    Ok(Training { job, cluster, memory, found, folding, symmetry, notes, case: Some(case) })
}

impl Experiment for Training<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        self.case.take().expect("a step runs once").run(self.job.scenario, self.cluster, watcher)
    }

    fn answer(self: Box<Self>, ran: &mut Ran, _: &Watcher<'_>) -> Result<Answer, Invalid> {
        let Training { job, cluster, memory, found, folding, symmetry, notes, .. } = *self;
        let Job { scenario, spec, .. } = job;
        let Found { chunks, actions, timelines } = found;
        // A chunk that does not end ends no step.
        ran.timeline.stranded.extend(timelines.iter().flat_map(|chunk| &chunk.stranded));
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
            chunks,
            actions,
        };
        let metrics = training_metrics(&ran.timeline, facts);
        let parts = parts(&metrics.chunks, timelines);
        let folding = weaker(folding, ran.folding);
        Ok(Answer { metrics: Metrics::Training(metrics), memory: Some(memory), symmetry, folding, parts, notes })
    }
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

/// Runs one chunk of the training step that the scenario describes: what happens on one of its GPUs, or on all.
///
/// # Errors
/// When the scenario asks for what cannot be, and where it describes no training step.
pub(crate) fn simulate_chunk(scenario: &Scenario, work: ChunkWork) -> Result<Timeline, Invalid> {
    let WorkloadSpec::Training(spec) = &scenario.workload else {
        return Err(Invalid::at("workload", "only a training step has chunks"));
    };
    bounded(|| {
        let cluster = build::cluster(scenario)?;
        let job = Job::new(scenario, spec, &cluster)?;
        let known = Known::default();
        let watcher = Watcher::new(Observer::default(), &known);
        Chunks::new(&job, &cluster, &known)?.timeline(work, &watcher)
    })
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
