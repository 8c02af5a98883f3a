//! One exchange of tokens with experts over all GPUs.

use super::case::{CaseRun, Ran, slowest};
use super::representative::{Case, Together, UNEVEN_GATE, expert_phases, representatives};
use super::watch::Watcher;
use super::{Answer, Experiment, Known};
use crate::hardware::{CommunicationSpec, Lanes};
use crate::invalid::Invalid;
use crate::metrics::{Metrics, MoeExchangeFacts, Symmetry, moe_exchange_metrics};
use crate::rng::Seed;
use crate::scenario::Scenario;
use crate::topology::Cluster;
use crate::workload::{Copies, ExchangeKernels, GateChoice, Group, MoeExchange, MoeExchangeSpec, MoeExchangeWorkload};

const PLACE: &str = "workload.moe_exchange";

/// An exchange that is ready to run.
pub(super) struct Exchanging<'a> {
    scenario: &'a Scenario,
    cluster: &'a Cluster,
    cases: Vec<CaseRun<'static>>,
    symmetry: Symmetry,
    facts: MoeExchangeFacts,
}

/// Prepares the exchange that `spec` asks for.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &MoeExchangeSpec,
    cluster: &'a Cluster,
    known: &Known,
) -> Result<Exchanging<'a>, Invalid> {
    check(scenario, spec, cluster)?;
    let software = scenario.hardware.communication.as_ref().expect("checked above");
    let members: Vec<usize> = (0..cluster.gpus.len()).collect();
    let per_node = cluster.gpus_per_node as usize;
    let mut rng = Seed(scenario.seed).stream("exchange");
    let copies = Copies::sample(spec, members.len(), per_node, &mut rng);
    let facts = MoeExchangeFacts {
        tokens: spec.tokens_per_gpu.wide(),
        dispatch_row: spec.dispatch.bytes(spec.hidden),
        combine_row: spec.combine.bytes(spec.hidden),
        gpus_per_token: copies.gpus_per_token(),
        nodes_per_token: copies.nodes_per_token(),
        copies_per_token: spec.kernels.copies_counted(&copies, cluster.nodes),
    };
    let found = representatives(scenario, cluster, &together(spec, members.len(), per_node), known)?;
    let group = Group::without_ways(cluster, &members, Some(&software.collectives));
    let run = |case: Case| {
        let exchange = MoeExchange {
            spec: spec.clone(),
            group: group.clone(),
            nics: members.iter().map(|&gpu| cluster.nic_of(gpu)).collect(),
            per_node,
            offset: 0,
            copies: copies.clone(),
            costs: software.experts.on(spec.sms).unwrap_or_else(|| software.experts.clone()),
            lanes: Lanes::of(&scenario.hardware.gpu),
            folded: case.rank,
        };
        CaseRun {
            folding: case.folding,
            shares: case.shares,
            ..CaseRun::of(Box::new(MoeExchangeWorkload::new(exchange)))
        }
    };
    Ok(Exchanging {
        scenario,
        cluster,
        cases: found.cases.into_iter().map(run).collect(),
        symmetry: found.symmetry,
        facts,
    })
}

impl Experiment for Exchanging<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        slowest(self.scenario, self.cluster, std::mem::take(&mut self.cases), watcher)
    }

    fn answer(self: Box<Self>, ran: &mut Ran, _: &Watcher<'_>) -> Result<Answer, Invalid> {
        let metrics = moe_exchange_metrics(&ran.timeline, &self.facts);
        Ok(Answer {
            metrics: Metrics::MoeExchange(metrics),
            memory: None,
            symmetry: self.symmetry,
            folding: ran.folding,
            parts: Vec::new(),
            notes: Vec::new(),
        })
    }
}

/// Why tokens are not exchanged without SMs by `software`; of the value that gives none.
pub(super) fn no_mover(software: &CommunicationSpec) -> Invalid {
    let message =
        format!("no SMs to exchange tokens with, and `{}` describes no co-processor that does it", software.name);
    let help =
        "give exchanges some (20 trained DeepSeek-V3), or describe [hardware.communication.experts.co_processor]";
    Invalid::at("", message).help(help)
}

/// All GPUs as one group, and what they send to each other.
fn together(spec: &MoeExchangeSpec, gpus: usize, per_node: usize) -> Together {
    let phases = expert_phases(spec.kernels, gpus, gpus, per_node, 2);
    let uneven = (!spec.gate.is_even()).then_some(UNEVEN_GATE);
    Together { groups: vec![(0..gpus).collect()], phases, uneven, kernels: 16 }
}

/// What the spec, the node and the cluster must agree on.
fn check(scenario: &Scenario, spec: &MoeExchangeSpec, cluster: &Cluster) -> Result<(), Invalid> {
    let at = |key: &str, message: String, help: &str| Err(Invalid::at(&format!("{PLACE}.{key}"), message).help(help));
    let gpus = cluster.gpus.len();
    let Some(software) = &scenario.hardware.communication else {
        let message = format!("the node `{}` describes no communication software", scenario.hardware.name);
        let help = "add a [hardware.communication] table that extends a file of hardware/communication/";
        return Err(Invalid::at(PLACE, message).help(help));
    };
    if gpus < 2 {
        let message = "an exchange needs at least two GPUs, and the cluster has one";
        return Err(Invalid::at("nodes", message).help("add nodes, or use a node with more GPUs"));
    }
    if !spec.scale_up && (scenario.topology.is_none() || cluster.nics.is_empty()) {
        let message = "without the scale-up domain, GPUs of a node need NICs and a fabric between them";
        return at("scale_up", message.to_owned(), "add a [topology] table, or set `scale_up = true`");
    }
    if spec.kernels == ExchangeKernels::Normal && software.experts.on(spec.sms).is_none() {
        return Err(no_mover(software).under(&format!("{PLACE}.sms")));
    }
    if spec.sms > scenario.hardware.gpu.sms.get() {
        let message = format!("{} of {} SMs", spec.sms, scenario.hardware.gpu.sms);
        return at("sms", message, "a GPU exchanges with the SMs that it has");
    }
    if spec.experts.index() < gpus {
        let message = format!("{} experts on {gpus} GPUs leave some without any", spec.experts);
        return at("experts", message, "use as many experts as GPUs at least");
    }
    if !spec.experts.get().is_multiple_of(spec.groups.get()) {
        let message = format!("{} experts in {} groups", spec.experts, spec.groups);
        return at("groups", message, "the number of groups divides the number of experts");
    }
    let reachable = spec.experts.get() / spec.groups.get() * spec.groups_per_token.get().min(spec.groups.get());
    if spec.groups_per_token > spec.groups || spec.experts_per_token.get() > reachable {
        let message = format!("{} experts per token among {reachable} reachable", spec.experts_per_token);
        return at("experts_per_token", message, "let a token reach more groups, or visit fewer experts");
    }
    if let GateChoice::Histogram(load) = &spec.gate
        && (load.len() != spec.experts.index() || load.iter().any(|&load| !load.is_finite() || load <= 0.0))
    {
        let message = format!("{} loads for {} experts", load.len(), spec.experts);
        return at("gate.histogram", message, "give one positive figure for each expert");
    }
    let inside = match spec.kernels {
        ExchangeKernels::OneSided => software.experts.one_sided.as_ref(),
        ExchangeKernels::TwoSided => software.experts.two_sided.as_ref(),
        ExchangeKernels::Normal | ExchangeKernels::LowLatency => return Ok(()),
    };
    if cluster.nodes > 1 {
        let message = format!("kernels of one scale-up domain on {} nodes", cluster.nodes);
        return at("kernels", message, "use `normal` or `low_latency`, or a single node");
    }
    if inside.is_none() {
        let message = format!("`{}` does not describe these kernels", software.name);
        return at("kernels", message, "use `normal` or `low_latency`, or describe them in [hardware.communication]");
    }
    Ok(())
}
