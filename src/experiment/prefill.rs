//! One prefill step of a deployment.

use super::case::{CaseRun, Ran, kernels, slowest};
use super::deployment::{Asked, Deployment, Lowered, StepShape};
use super::watch::Watcher;
use super::{Answer, Experiment, Known, notes, reserve};
use crate::invalid::Invalid;
use crate::metrics::{Memory, Metrics, PrefillFacts, Symmetry, prefill_metrics};
use crate::model::AttentionForm;
use crate::parallelism::InferenceLoad;
use crate::scenario::Scenario;
use crate::topology::Cluster;
use crate::units::Duration;
use crate::workload::{Batch, PrefillSpec, RunOn, parts};

/// A prefill step that is ready to run.
pub(super) struct Prefill<'a> {
    deployment: Deployment<'a>,
    spec: &'a PrefillSpec,
    cases: Vec<CaseRun<'static>>,
    memory: Memory,
    symmetry: Symmetry,
    shape: StepShape<'a>,
}

/// Prepares the step that `spec` asks for.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &'a PrefillSpec,
    cluster: &'a Cluster,
    known: &Known,
) -> Result<Prefill<'a>, Invalid> {
    let deployment = Deployment::of(scenario, cluster)?;
    let asked = step(spec, &deployment)?;
    let memory = asked.memory(&deployment)?;
    let Lowered { cases, symmetry } = deployment.step(&asked.shape, known)?;
    Ok(Prefill { deployment, spec, cases, memory, symmetry, shape: asked.shape })
}

/// The step that `spec` asks for.
pub(super) fn step<'a>(spec: &'a PrefillSpec, deployment: &Deployment<'_>) -> Result<Asked<'a>, Invalid> {
    let (tp, prompt, cached) = (u64::from(deployment.plan.tp()), spec.prompt.wide(), u64::from(spec.cached));
    let tokens = spec.tokens_per_gpu.wide() * tp;
    let prompts = tokens / prompt;
    if !tokens.is_multiple_of(prompt) || prompts < spec.micro_batches.wide() {
        let message =
            format!("{tokens} tokens of {tp} GPUs as prompts of {prompt} in {} micro-batches", spec.micro_batches);
        let invalid = Invalid::at("workload.prefill.tokens_per_gpu", message);
        return Err(invalid.help("tp x tokens_per_gpu is a multiple of `prompt`, with one prompt for each micro-batch"));
    }
    let batch = |prompts: u64| Batch::prompts(prompts, prompt, cached);
    let shape = StepShape {
        batches: parts(prompts, spec.micro_batches.wide()).into_iter().map(batch).collect(),
        filled: 1.0,
        drafted: 0,
        schedule: spec.schedule,
        launch: spec.launch,
        experts: &spec.experts,
        place: "workload.prefill",
    };
    let load = InferenceLoad {
        requests: prompts,
        context: prompt + cached,
        step_tokens: tokens,
        form: AttentionForm::Expanded,
        mtp: false,
        experts_on_cpu: spec.experts.run_on == RunOn::Cpu,
        reserve: reserve::of_step(deployment, &shape),
    };
    Ok(Asked { shape, load, place: "workload.prefill.tokens_per_gpu" })
}

impl Experiment for Prefill<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        slowest(self.deployment.scenario, self.deployment.cluster, std::mem::take(&mut self.cases), watcher)
    }

    fn answer(self: Box<Self>, ran: &mut Ran, watcher: &Watcher<'_>) -> Result<Answer, Invalid> {
        let Prefill { deployment, spec, memory, symmetry, shape, .. } = *self;
        let (scenario, cluster) = (deployment.scenario, deployment.cluster);
        let facts = PrefillFacts {
            tokens_per_gpu: spec.tokens_per_gpu.wide(),
            prompt: spec.prompt.wide(),
            cached: u64::from(spec.cached),
            gpus_per_node: u64::from(cluster.gpus_per_node),
            rent: scenario.hardware.gpu.rent,
        };
        let mut kernels = kernels(scenario, cluster, (deployment.taken(&shape), Duration::ZERO), watcher.known())?;
        Ok(Answer {
            metrics: Metrics::Prefill(prefill_metrics(&ran.timeline, &facts)),
            memory: Some(memory),
            symmetry,
            folding: ran.folding,
            parts: Vec::new(),
            notes: notes::of_kernels(&ran.timeline, &mut kernels),
        })
    }
}
