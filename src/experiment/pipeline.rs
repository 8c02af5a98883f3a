//! A pipeline schedule over given times, every GPU one rank.

use super::case::{CaseRun, Ran};
use super::watch::Watcher;
use super::{Answer, Experiment};
use crate::invalid::Invalid;
use crate::metrics::{Metrics, Symmetry, pipeline_metrics};
use crate::scenario::Scenario;
use crate::topology::Cluster;
use crate::workload::{Action, PipelineSpec, Schedule, Step, StepWorkload};

/// A schedule that is ready to run.
pub(super) struct Pipeline<'a> {
    scenario: &'a Scenario,
    cluster: &'a Cluster,
    spec: &'a PipelineSpec,
    ranks: usize,
    step: Option<Step>,
}

/// Prepares the schedule that `spec` asks for.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &'a PipelineSpec,
    cluster: &'a Cluster,
) -> Result<Pipeline<'a>, Invalid> {
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
    let (handed_over, software) = (spec.handed_over, Default::default());
    let step = Step { schedule, times, replicas, handed_over, updates: None, software };
    Ok(Pipeline { scenario, cluster, spec, ranks, step: Some(step) })
}

impl Experiment for Pipeline<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        let step = self.step.take().expect("a schedule runs once");
        CaseRun::of(Box::new(StepWorkload::new(step))).run(self.scenario, self.cluster, watcher)
    }

    fn answer(self: Box<Self>, ran: &mut Ran, _: &Watcher<'_>) -> Result<Answer, Invalid> {
        Ok(Answer {
            metrics: Metrics::Pipeline(pipeline_metrics(&ran.timeline, self.spec, self.ranks)),
            memory: None,
            symmetry: Symmetry::all(self.ranks),
            folding: ran.folding,
            parts: Vec::new(),
            notes: Vec::new(),
        })
    }
}
