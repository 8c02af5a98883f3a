//! One decode step of a deployment.

use super::case::{CaseRun, Ran, kernels, slowest};
use super::deployment::{Asked, Deployment, Lowered, StepShape};
use super::watch::Watcher;
use super::{Answer, Experiment, Known, notes, reserve};
use crate::invalid::Invalid;
use crate::metrics::{DecodeFacts, Memory, Metrics, Symmetry, decode_metrics};
use crate::model::AttentionForm;
use crate::parallelism::InferenceLoad;
use crate::scenario::Scenario;
use crate::topology::Cluster;
use crate::units::Duration;
use crate::workload::{Batch, DecodeSpec, MtpSpec, RunOn};

/// A decode step that is ready to run.
pub(super) struct Decode<'a> {
    deployment: Deployment<'a>,
    spec: &'a DecodeSpec,
    cases: Vec<CaseRun<'static>>,
    memory: Memory,
    symmetry: Symmetry,
    shape: StepShape<'a>,
}

/// Prepares the step that `spec` asks for.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &'a DecodeSpec,
    cluster: &'a Cluster,
    known: &Known,
) -> Result<Decode<'a>, Invalid> {
    let deployment = Deployment::of(scenario, cluster)?;
    let asked = step(spec, &deployment)?;
    let memory = asked.memory(&deployment)?;
    let Lowered { cases, symmetry } = deployment.step(&asked.shape, known)?;
    Ok(Decode { deployment, spec, cases, memory, symmetry, shape: asked.shape })
}

/// The step that `spec` asks for.
pub(super) fn step<'a>(spec: &'a DecodeSpec, deployment: &Deployment<'_>) -> Result<Asked<'a>, Invalid> {
    // A tensor-parallel group serves the requests of all its GPUs.
    let tp = u64::from(deployment.plan.tp());
    let requests = spec.requests_of_group(tp)?;
    let (dealt, of) = match spec.requests_per_gpu {
        Some(each) => (each.wide(), "GPU"),
        None => (requests, "tensor-parallel group"),
    };
    if spec.micro_batches.wide() > dealt {
        let message = format!("{} micro-batches of {dealt} requests per {of}", spec.micro_batches);
        let invalid = Invalid::at("workload.decode.micro_batches", message);
        return Err(invalid.help("a micro-batch holds at least one request"));
    }
    let contexts = spec.contexts().map_err(|invalid| invalid.under("workload.decode.context"))?;
    let batch = |requests: u64| Batch::decoding(requests, spec.queries(), contexts);
    let shape = StepShape {
        batches: spec.dealt(tp)?.into_iter().map(batch).collect(),
        filled: 1.0,
        drafted: spec.mtp.as_ref().map_or(0, |mtp| mtp.drafted.get()),
        schedule: spec.schedule,
        launch: spec.launch,
        experts: &spec.experts,
        place: "workload.decode",
    };
    let load = InferenceLoad {
        requests,
        context: contexts.mean(),
        step_tokens: requests * spec.queries(),
        form: AttentionForm::Absorbed,
        mtp: spec.mtp.is_some(),
        experts_on_cpu: spec.experts.run_on == RunOn::Cpu,
        reserve: reserve::of_step(deployment, &shape),
    };
    let by_gpu = spec.requests_per_gpu.is_some();
    let place = if by_gpu { "workload.decode.requests_per_gpu" } else { "workload.decode.requests_per_group" };
    Ok(Asked { shape, load, place })
}

impl Experiment for Decode<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        slowest(self.deployment.scenario, self.deployment.cluster, std::mem::take(&mut self.cases), watcher)
    }

    fn answer(self: Box<Self>, ran: &mut Ran, watcher: &Watcher<'_>) -> Result<Answer, Invalid> {
        let Decode { deployment, spec, memory, symmetry, shape, .. } = *self;
        let (scenario, cluster) = (deployment.scenario, deployment.cluster);
        let tp = scenario.parallelism.tp.wide();
        let facts = DecodeFacts {
            requests_per_gpu: spec.requests_of_group(tp).unwrap_or(0) as f64 / tp as f64,
            tokens_per_step: MtpSpec::tokens_per_step(spec.mtp.as_ref()),
            gpus_per_node: u64::from(cluster.gpus_per_node),
            rent: scenario.hardware.gpu.rent,
        };
        let mut kernels = kernels(scenario, cluster, (deployment.taken(&shape), Duration::ZERO), watcher.known())?;
        Ok(Answer {
            metrics: Metrics::Decode(decode_metrics(&ran.timeline, &facts)),
            memory: Some(memory),
            symmetry,
            folding: ran.folding,
            parts: Vec::new(),
            notes: notes::of_kernels(&ran.timeline, &mut kernels),
        })
    }
}
