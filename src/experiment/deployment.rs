//! A model with its plan on a cluster, and the steps that it takes: plan, memory, symmetry, traffic.

mod symmetry;
mod together;

use super::case::{CaseRun, slowest};
use super::moe_exchange::no_mover;
use super::representative::{Case, Representatives, representatives};
use super::watch::Watcher;
use super::{Known, build, memo, reserve};
use crate::fingerprint::Fingerprint;
use crate::gpu::Taken;
use crate::hardware::Lanes;
use crate::invalid::Invalid;
use crate::metrics::{Folding, Memory, Symmetry};
use crate::model::{ModelSpec, PrecisionSpec};
use crate::parallelism::{InferenceLoad, Plan, inference_memory};
use crate::rng::Seed;
use crate::routing::Routes;
use crate::scenario::Scenario;
use crate::topology::{Cluster, DeviceKind};
use crate::units::{Count, Duration, Time};
use crate::workload::{
    Batch, Exchange, ExchangeKernels, ExpertTraffic, ExpertsSpec, GateChoice, GateShape, Group, InferenceStep,
    InferenceWorkload, LaunchChoice, MoeExchange, MoeExchangeSpec, ReachChoice, RowFormat, RunOn, ScheduleChoice,
    SharedOn, expert_traffic,
};
use std::cell::OnceCell;
use symmetry::{PeerOrder, peer_order};

/// What decides a step beside the model, its plan and the cluster.
#[derive(Clone, Debug)]
pub(super) struct StepShape<'a> {
    /// The batch of each micro-batch, of the tensor-parallel group that has most.
    pub(super) batches: Vec<Batch>,
    /// Tokens of all tensor-parallel groups, as a part of what they would be if each had as many as that one. Groups that have fewer, or none,
    /// take part in the exchange and wait for it.
    pub(super) filled: f64,
    /// Modules that draft.
    pub(super) drafted: u32,
    pub(super) schedule: ScheduleChoice,
    pub(super) launch: LaunchChoice,
    pub(super) experts: &'a ExpertsSpec,
    /// The table that describes it, for messages.
    pub(super) place: &'static str,
}

/// A model with its plan on a cluster.
pub(super) struct Deployment<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) cluster: &'a Cluster,
    pub(super) model: &'a ModelSpec,
    pub(super) precision: PrecisionSpec,
    pub(super) plan: Plan,
    /// A name for all that decides its steps beside their shape.
    name: Fingerprint,
    /// What of it is simulated, once that is known.
    found: OnceCell<Representatives>,
}

impl<'a> Deployment<'a> {
    /// What the scenario deploys.
    pub(super) fn of(scenario: &'a Scenario, cluster: &'a Cluster) -> Result<Deployment<'a>, Invalid> {
        let model = scenario.model.as_ref().ok_or_else(|| {
            let invalid = Invalid::at("", "a step of inference needs a [model] table, and there is none");
            invalid.help("for example `[model]` with `extends = \"../models/deepseek_v3.toml\"`")
        })?;
        let precision = scenario.precision.unwrap_or_default();
        model.check().map_err(|invalid| invalid.under("model"))?;
        let plan = scenario.parallelism.check(cluster.gpus.len() as u32, model);
        let plan = plan.map_err(|invalid| invalid.under("parallelism"))?;
        if plan.pp() > 1 {
            let message = format!("pp = {}: a step of inference is not split into pipeline stages", plan.pp());
            return Err(Invalid::at("parallelism.pp", message).help("use `pp = 1`, and more `ep` or `tp`"));
        }
        if plan.cp() > 1 {
            let message = format!("cp = {}: only sequences that are trained are cut over GPUs", plan.cp());
            return Err(Invalid::at("parallelism.cp", message).help("leave `cp` out, and use more `tp` or `dp`"));
        }
        let name = memo::name_on(memo::name_of(scenario), cluster);
        Ok(Deployment { scenario, cluster, model, precision, plan, name, found: OnceCell::new() })
    }

    /// The step as operations will be made of it, for each part of the deployment that is simulated by itself.
    pub(super) fn step(&self, shape: &StepShape<'_>, known: &Known) -> Result<Lowered, Invalid> {
        self.check(shape)?;
        let found = self.representatives(shape, known)?;
        let mut routes = build::routes(self.scenario, self.cluster, known)?;
        let cases = found.cases.iter().map(|case| self.case(shape, case, known, &mut routes)).collect();
        Ok(Lowered { cases, symmetry: found.symmetry.clone() })
    }

    /// How long the step takes; nothing where faults keep it from ending.
    pub(super) fn step_time(&self, shape: &StepShape<'_>, watcher: &Watcher<'_>) -> Result<Option<Duration>, Invalid> {
        let known = watcher.known();
        known.times().of(memo::name_within(self.name, shape), watcher, || {
            let Lowered { cases, .. } = self.step(shape, known)?;
            let timeline = slowest(self.scenario, self.cluster, cases, watcher)?.timeline;
            Ok(timeline.stranded.is_empty().then(|| timeline.end() - Time::ZERO))
        })
    }

    /// What is simulated of the deployment; all its steps send alike.
    fn representatives(&self, shape: &StepShape<'_>, known: &Known) -> Result<&Representatives, Invalid> {
        if self.found.get().is_none() {
            let found = representatives(self.scenario, self.cluster, &self.together(shape), known)?;
            return Ok(self.found.get_or_init(|| found));
        }
        Ok(self.found.get().expect("found before"))
    }

    /// The steps of groups that are simulated together.
    fn case(&self, shape: &StepShape<'_>, case: &Case, known: &Known, routes: &mut Routes<'_>) -> CaseRun<'static> {
        let folded = case.rank.is_some();
        let traffic = self.traffic(shape, folded, known);
        let of_group = |&group: &usize| self.group(shape, (group, case.rank), &traffic, routes);
        let (steps, rotations): (Vec<InferenceStep>, Vec<bool>) = case.groups.iter().map(of_group).unzip();
        let sampled = self.model.moe.is_some()
            && self.plan.ep() > 1
            && !(rotations[0] && shape.experts.gate.is_even() && self.visits_alike(shape));
        let folding = match case.folding {
            Folding::Exact | Folding::Shared if sampled => Folding::Sampled,
            folding => folding,
        };
        CaseRun {
            folding,
            shares: case.shares.clone(),
            taken: self.taken(shape),
            ..CaseRun::of(Box::new(InferenceWorkload::side_by_side(steps)))
        }
    }

    /// The step of a group, of which all ranks are simulated or the one that is named; and whether the first of them sends in a rotation
    /// among equally near peers.
    fn group(
        &self,
        shape: &StepShape<'_>,
        (group, rank): (usize, Option<usize>),
        traffic: &[Option<ExpertTraffic>],
        routes: &mut Routes<'_>,
    ) -> (InferenceStep, bool) {
        let Deployment { cluster, plan, .. } = self;
        let (size, ep) = (self.group_size(), plan.ep() as usize);
        let first = group * size;
        let gpus = cluster.gpus[first..first + size].to_vec();
        let simulated = rank.map_or_else(|| (0..size).collect(), |rank| vec![rank]);
        let orders: Vec<PeerOrder> = simulated.iter().map(|&rank| peer_order(routes, &gpus, ep, rank)).collect();
        let exchanges = shape.batches.iter().zip(traffic).map(|(batch, traffic)| {
            let tokens = batch.tokens().div_ceil(u64::from(plan.tp()));
            self.exchange(shape.experts, tokens, traffic.as_ref()?, (first, rank))
        });
        let on_cpu = shape.experts.run_on == RunOn::Cpu;
        let step = InferenceStep {
            model: self.model.clone(),
            precision: self.precision,
            batches: shape.batches.clone(),
            drafted: shape.drafted,
            schedule: shape.schedule,
            launch: shape.launch,
            plan: *plan,
            cpu: on_cpu.then(|| cluster.topology.devices_of(DeviceKind::Cpu).next()).flatten(),
            experts_reduced: self.reduced(shape.experts),
            shared_on: shape.experts.shared_on,
            exchanges: exchanges.collect(),
            tensor_groups: simulated.iter().map(|&rank| self.tensor_group(first + rank, routes)).collect(),
            peers: orders.iter().map(|order| order.peers.clone()).collect(),
            simulated,
            traffic: traffic.to_vec(),
            first,
            gpus,
        };
        (step, orders[0].is_rotation())
    }

    /// Whether an all-reduce over the tensor-parallel group adds up what experts yield.
    fn reduced(&self, experts: &ExpertsSpec) -> bool {
        experts.reach == ReachChoice::AllReduce && self.plan.ep() * self.plan.expert_tp() > 1
    }

    /// Whether the tokens of each GPU visit all experts equally often: tokens of a balanced gate take turns, and begin again
    /// when each expert was visited once.
    fn visits_alike(&self, shape: &StepShape<'_>) -> bool {
        let Some(moe) = &self.model.moe else { return true };
        let round = GateShape::of(moe).balanced_round() as u64;
        let whole = |batch: &Batch| batch.tokens().is_multiple_of(round * u64::from(self.plan.tp()));
        shape.experts.gate == GateChoice::Balanced && shape.batches.iter().all(whole)
    }

    /// What the exchange of tokens takes from what is computed beside it.
    pub(super) fn taken(&self, shape: &StepShape<'_>) -> Taken {
        let overlapped = shape.batches.len() > 1 && self.plan.ep() > 1;
        let by_sms = shape.experts.kernels == Some(ExchangeKernels::Normal);
        if !overlapped || !by_sms {
            return Taken::default();
        }
        let sms = shape.experts.sms;
        Taken { sms: u64::from(sms), memory: self.scenario.hardware.exchange_memory(sms) }
    }

    /// Expert traffic of each micro-batch.
    fn traffic(&self, shape: &StepShape<'_>, folded: bool, known: &Known) -> Vec<Option<ExpertTraffic>> {
        let (tp, ep) = (u64::from(self.plan.tp()), u64::from(self.plan.ep()));
        // Where an all-reduce adds up what experts yield, all of them see the tokens of one tensor-parallel group; else every GPU has its
        // part of these, as many as the others.
        let tokens = |batch: &Batch| match shape.experts.reach {
            ReachChoice::AllReduce => batch.tokens(),
            _ => batch.tokens().div_ceil(tp) * ep,
        };
        let of = |(micro_batch, batch): (usize, &Batch)| {
            let moe = self.model.moe.as_ref()?;
            let (per_node, seed) = (self.cluster.gpus_per_node as usize, Seed(self.scenario.seed));
            let exchange =
                Exchange { moe, plan: &self.plan, spec: shape.experts, per_node, folded, draws: &known.gates, seed };
            let all = (tokens(batch) as f64 * shape.filled).ceil() as u64;
            Some(expert_traffic(exchange, all.max(1), micro_batch))
        };
        shape.batches.iter().enumerate().map(of).collect()
    }

    /// The kernels that exchange the tokens of a micro-batch, where they are described.
    fn exchange(
        &self,
        spec: &ExpertsSpec,
        tokens: u64,
        traffic: &ExpertTraffic,
        (first, folded): (usize, Option<usize>),
    ) -> Option<MoeExchange> {
        let (kernels, software) = (spec.kernels?, self.scenario.hardware.communication.as_ref()?);
        let moe = self.model.moe.as_ref().filter(|_| self.plan.ep() > 1)?;
        let precision = &self.precision;
        let members: Vec<usize> = (first..first + self.plan.ep() as usize).collect();
        let plain = |dtype| RowFormat { dtype, ..RowFormat::BF16 };
        Some(MoeExchange {
            spec: MoeExchangeSpec {
                kernels,
                tokens_per_gpu: Count::new(tokens as u32)?,
                hidden: self.model.hidden,
                experts: moe.routed_experts,
                experts_per_token: moe.experts_per_token,
                groups: moe.groups,
                groups_per_token: moe.groups_per_token,
                gate: spec.gate.clone(),
                dispatch: RowFormat { scale_group: precision.dispatch_scale_group, ..plain(precision.dispatch) },
                combine: RowFormat::combine(precision),
                sms: spec.sms,
                scale_up: true,
            },
            group: Group::without_ways(self.cluster, &members, Some(&software.collectives)),
            nics: members.iter().map(|&gpu| self.cluster.nic_of(gpu)).collect(),
            per_node: self.cluster.gpus_per_node as usize,
            offset: first % self.cluster.gpus_per_node as usize,
            copies: traffic.copies.clone(),
            // Low-latency kernels are not told how many SMs they have.
            costs: software.experts.on(spec.sms).unwrap_or_else(|| software.experts.clone()),
            lanes: Lanes::of(&self.scenario.hardware.gpu),
            folded,
        })
    }

    /// The tensor-parallel group of a GPU, where the software of its collectives is described.
    fn tensor_group(&self, rank: usize, routes: &mut Routes<'_>) -> Option<Group> {
        let (software, tp) = (self.scenario.hardware.communication.as_ref()?, self.plan.tp() as usize);
        let first = rank - rank % tp;
        let members: Vec<usize> = (first..first + tp).collect();
        (tp > 1).then(|| Group::routed(self.cluster, routes, &members, Some(&software.collectives)))
    }

    /// What the step, the node and the cluster must agree on.
    fn check(&self, shape: &StepShape<'_>) -> Result<(), Invalid> {
        let at = |key: &str, message: String, help: &str| {
            Err(Invalid::at(&format!("{}.experts.{key}", shape.place), message).help(help))
        };
        let hardware = &self.scenario.hardware;
        if shape.experts.run_on == RunOn::Cpu {
            if self.cluster.gpus.len() > 1 {
                let message = format!("experts on the CPU with {} GPUs", self.cluster.gpus.len());
                return at("run_on", message, "experts run on the CPU beside a single GPU");
            }
            if hardware.cpu.is_none() {
                let message = format!("the node `{}` describes no CPU", hardware.name);
                return at("run_on", message, "add a [hardware.cpu] table");
            }
        }
        let shared = self.model.moe.as_ref().is_some_and(|moe| moe.shared_experts > 0);
        if shape.experts.shared_on == SharedOn::OwnStream && !(shared && self.plan.shared_everywhere()) {
            let message =
                format!("a stream for the shared expert of {}, of which not every GPU has one", self.model.name);
            return at("shared_on", message, "leave it out, or leave out `parallelism.shared_copies`");
        }
        let (tp, ep, cut) = (self.plan.tp(), self.plan.ep(), self.plan.expert_tp());
        if cut > 1 && shape.experts.reach != ReachChoice::AllReduce {
            let message = format!("experts cut over {cut} GPUs, to which tokens travel");
            return at("reach", message, "`reach = \"all_reduce\"` adds up the parts");
        }
        if shape.experts.reach == ReachChoice::AllReduce && ep > 1 && tp != ep * cut {
            let message = format!("an all-reduce over tp = {tp} for experts over ep = {ep}");
            return at("reach", message, "let tp equal ep, or exchange tokens");
        }
        let (more, less) = (tp.max(ep), tp.min(ep));
        if !more.is_multiple_of(less) {
            let message = format!("tp = {tp} and ep = {ep}, so that groups of neither are whole in the other's");
            return Err(Invalid::at("parallelism.ep", message).help("let one be a multiple of the other"));
        }
        let Some(kernels) = shape.experts.kernels else { return Ok(()) };
        if tp > ep && self.exchanges(shape) {
            let message = format!("tp = {tp} GPUs share tokens that ep = {ep} of them exchange");
            return at("kernels", message, "let `ep` be a multiple of `tp`, or leave `kernels` out");
        }
        let Some(software) = &hardware.communication else {
            let message = format!("the node `{}` describes no communication software", hardware.name);
            return at("kernels", message, "add a [hardware.communication] table, or leave `kernels` out");
        };
        let per_node = self.cluster.gpus_per_node;
        if kernels == ExchangeKernels::Normal && ep > per_node && !ep.is_multiple_of(per_node) {
            let message = format!("ep = {ep} over nodes of {per_node} GPUs, between whose equal places tokens travel");
            return at("kernels", message, "let experts fill whole nodes, or use `low_latency`");
        }
        if kernels == ExchangeKernels::Normal && ep > 1 && software.experts.on(shape.experts.sms).is_none() {
            return Err(no_mover(software).under(&format!("{}.experts.sms", shape.place)));
        }
        let cut = ep < per_node && !per_node.is_multiple_of(ep) && self.cluster.gpus.len() > per_node as usize;
        if cut && kernels != ExchangeKernels::LowLatency {
            let message = format!("ep = {ep}, of which some lie on two nodes of {per_node} GPUs");
            return at("kernels", message, "let `ep` divide the GPUs of a node, or use `low_latency`");
        }
        let described = match kernels {
            ExchangeKernels::OneSided => software.experts.one_sided.is_some(),
            ExchangeKernels::TwoSided => software.experts.two_sided.is_some(),
            ExchangeKernels::Normal | ExchangeKernels::LowLatency => return Ok(()),
        };
        if !described {
            return at("kernels", format!("`{}` does not describe them", software.name), "use other kernels");
        }
        if self.plan.ep() > self.cluster.gpus_per_node {
            let message = format!("kernels of one scale-up domain for ep = {}", self.plan.ep());
            return at("kernels", message, "use `normal` or `low_latency`, or experts within one node");
        }
        Ok(())
    }

    /// The memory of each GPU, checked against what there is.
    pub(super) fn memory(&self, load: &InferenceLoad, place: &str) -> Result<Memory, Invalid> {
        let used = inference_memory(self.model, &self.plan, &self.precision, load);
        let capacity = reserve::budget(self.scenario);
        let place = if used.kv_cache > used.weights { place } else { "parallelism" };
        used.fits(capacity).map_err(|invalid| invalid.under(place))?;
        Ok(Memory { used, capacity })
    }
}

/// A step of inference as operations will be made of it.
pub(super) struct Lowered {
    /// Parts of the deployment that are simulated by themselves; the slowest decides.
    pub(super) cases: Vec<CaseRun<'static>>,
    pub(super) symmetry: Symmetry,
}

/// A step of inference as a scenario asks for it, with what it keeps in memory.
pub(super) struct Asked<'a> {
    pub(super) shape: StepShape<'a>,
    pub(super) load: InferenceLoad,
    /// The value that decides how much is kept, for messages.
    pub(super) place: &'static str,
}

impl Asked<'_> {
    /// Whether the deployment holds it.
    pub(super) fn memory(&self, deployment: &Deployment<'_>) -> Result<Memory, Invalid> {
        deployment.memory(&self.load, self.place)
    }
}
