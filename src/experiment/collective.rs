//! One collective over all GPUs, in groups side by side.

use super::case::{CaseRun, Ran};
use super::watch::Watcher;
use super::{Answer, Experiment, Known, build};
use crate::invalid::Invalid;
use crate::metrics::{Metrics, Symmetry, collective_metrics};
use crate::scenario::{CollectiveSpec, Scenario};
use crate::topology::Cluster;
use crate::workload::{Algorithm, CollectiveWorkload, Group, Protocol, choose};

/// A collective that is ready to run.
pub(super) struct CollectiveRun<'a> {
    scenario: &'a Scenario,
    cluster: &'a Cluster,
    spec: &'a CollectiveSpec,
    gpus: usize,
    case: Option<CaseRun<'static>>,
}

/// Prepares the collective that `spec` asks for.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &'a CollectiveSpec,
    cluster: &'a Cluster,
    known: &Known,
) -> Result<CollectiveRun<'a>, Invalid> {
    let (gpus, groups) = (cluster.gpus.len(), spec.groups.index());
    if gpus < 2 {
        let invalid = Invalid::at("nodes", "a collective needs at least two GPUs, and the cluster has one");
        return Err(invalid.help("add nodes, or use a node with more GPUs"));
    }
    if !gpus.is_multiple_of(groups) || gpus / groups < 2 {
        let message = format!("{gpus} GPUs in {groups} groups");
        let invalid = Invalid::at("workload.collective.groups", message);
        return Err(invalid.help("groups are equally large, and hold at least two GPUs each"));
    }
    let costs = scenario.hardware.communication.as_ref().map(|software| &software.collectives);
    let mut chosen = Vec::new();
    let mut routes = build::routes(scenario, cluster, known)?;
    for first in 0..groups {
        let members: Vec<usize> = (first..gpus).step_by(groups).collect();
        let group = Group::routed(cluster, &mut routes, &members, costs);
        let choice = choose(spec.kind, &group, spec.bytes, spec.algorithm, spec.protocol).ok_or_else(|| {
            let wanted = [spec.algorithm.map(Algorithm::name), spec.protocol.map(Protocol::name)];
            let wanted: Vec<&str> = wanted.into_iter().flatten().collect();
            let message = format!("{} cannot run as {} here", spec.kind.name(), wanted.join(" with "));
            let invalid = Invalid::at("workload.collective", message);
            invalid.help("leave `algorithm` and `protocol` out to see what is chosen")
        })?;
        chosen.push((choice, group));
    }
    let workload = CollectiveWorkload::side_by_side(spec.kind, chosen, spec.bytes);
    Ok(CollectiveRun { scenario, cluster, spec, gpus, case: Some(CaseRun::of(Box::new(workload))) })
}

impl Experiment for CollectiveRun<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        self.case.take().expect("a collective runs once").run(self.scenario, self.cluster, watcher)
    }

    fn answer(self: Box<Self>, ran: &mut Ran, _: &Watcher<'_>) -> Result<Answer, Invalid> {
        let CollectiveRun { spec, gpus, .. } = *self;
        let metrics = collective_metrics(&ran.timeline, spec.kind, gpus / spec.groups.index(), spec.bytes);
        Ok(Answer {
            metrics: Metrics::Collective(metrics),
            memory: None,
            symmetry: Symmetry::all(gpus),
            folding: ran.folding,
            parts: Vec::new(),
            notes: Vec::new(),
        })
    }
}
