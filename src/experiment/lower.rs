//! From a scenario to what its GPUs are to do.

use super::{Known, build, exchange, inference};
use crate::gpu::Taken;
use crate::invalid::Invalid;
use crate::metrics::{Folding, Memory, MoeExchangeFacts, Symmetry};
use crate::scenario::{CollectiveSpec, Scenario, WorkloadSpec};
use crate::topology::Cluster;
use crate::workload::{Algorithm, CollectiveWorkload, Group, Protocol, Workload, choose};

/// What is to be done, and what was found out about it.
pub(super) struct Job {
    /// What is simulated by itself; the slowest decides.
    pub(super) cases: Vec<CaseRun>,
    pub(super) symmetry: Symmetry,
    pub(super) memory: Option<Memory>,
    /// What an exchange of tokens moves, for workloads that are one.
    pub(super) exchange: Option<MoeExchangeFacts>,
    /// What communication takes from what is computed beside it.
    pub(super) taken: Taken,
}

/// GPUs that are simulated by themselves.
pub(super) struct CaseRun {
    pub(super) workload: Box<dyn Workload>,
    pub(super) folding: Folding,
    /// The cluster as they see it, where others have a share of it.
    pub(super) seen: Option<Cluster>,
}

/// Lowers the scenario's workload.
pub(super) fn job(scenario: &Scenario, cluster: &Cluster, known: &Known) -> Result<Job, Invalid> {
    match &scenario.workload {
        WorkloadSpec::Decode(spec) => inference::decode(scenario, spec, cluster, known),
        WorkloadSpec::Prefill(spec) => inference::prefill(scenario, spec, cluster, known),
        WorkloadSpec::Serving(_) => unreachable!("serving is simulated in levels"),
        WorkloadSpec::Collective(spec) => collective(scenario, spec, cluster),
        WorkloadSpec::MoeExchange(spec) => exchange::job(scenario, spec, cluster),
        WorkloadSpec::Training(_) | WorkloadSpec::Pipeline(_) => unreachable!("lowered in two levels of their own"),
    }
}

fn collective(scenario: &Scenario, spec: &CollectiveSpec, cluster: &Cluster) -> Result<Job, Invalid> {
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
    let mut routes = build::routes(scenario, cluster)?;
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
    Ok(Job {
        cases: vec![CaseRun { workload: Box::new(workload), folding: Folding::None, seen: None }],
        symmetry: Symmetry::all(gpus),
        memory: None,
        exchange: None,
        taken: Taken::default(),
    })
}
