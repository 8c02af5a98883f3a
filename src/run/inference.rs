//! From a scenario to one step of inference: plan, memory, symmetry, traffic.

mod symmetry;

use super::exchange::no_mover;
use super::lower::Job;
use super::seen::{Reach, seen_by};
use super::{Known, build};
use crate::gpu::Taken;
use crate::hardware::Lanes;
use crate::invalid::Invalid;
use crate::metrics::{Folding, Memory};
use crate::model::{AttentionForm, ModelSpec, PrecisionSpec};
use crate::parallelism::{InferenceLoad, Plan, inference_memory};
use crate::rng::Seed;
use crate::routing::Routes;
use crate::scenario::Scenario;
use crate::topology::{Cluster, DeviceKind};
use crate::units::Count;
use crate::workload::{
    Batch, DecodeSpec, Exchange, ExchangeKernels, ExpertTraffic, ExpertsSpec, GateChoice, GateShape, Group,
    InferenceStep, InferenceWorkload, LaunchChoice, MoeExchange, MoeExchangeSpec, PrefillSpec, ReachChoice, RowFormat,
    RunOn, ScheduleChoice, SharedOn, expert_traffic, parts,
};
use symmetry::{peer_orders, simulated};

/// What decides a step beside the model, its plan and the cluster.
#[derive(Clone, Debug)]
pub(super) struct StepShape<'a> {
    /// The batch of each micro-batch, of one tensor-parallel group.
    pub(super) batches: Vec<Batch>,
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
        Ok(Deployment { scenario, cluster, model, precision, plan })
    }

    /// The step as operations will be made of it.
    pub(super) fn step(&self, shape: &StepShape<'_>, known: &Known) -> Result<Lowered, Invalid> {
        self.check(shape)?;
        let Deployment { scenario, cluster, plan, .. } = self;
        let ep = plan.ep() as usize;
        // A group of GPUs that share experts stands for all such groups; a dense model has one per tensor-parallel group.
        let members = ep.max(plan.tp() as usize);
        let gpus = cluster.gpus[..members].to_vec();
        let mut routes = build::routes(scenario, cluster)?;
        let orders = peer_orders(&mut routes, &gpus, ep);
        let (simulated, folding) = simulated(scenario.symmetry, &orders);
        let folded = simulated.len() < members;
        // Where experts differ in load, the busiest GPU stands for all.
        let mixture = folded && self.model.moe.is_some();
        let seen = if mixture && ep > 1 { self.seen(&mut routes, shape, ep, simulated[0]) } else { None };
        let folding = match (&shape.experts.gate, folding) {
            (gate, _) if mixture && !gate.is_even() => Folding::Farthest,
            (_, Folding::Exact)
                if mixture && plan.ep() > 1 && !(orders[0].is_rotation() && self.visits_alike(shape)) =>
            {
                Folding::Sampled
            }
            (_, Folding::Exact) if seen.is_some() => Folding::Shared,
            (_, folding) => folding,
        };
        let on_cpu = shape.experts.run_on == RunOn::Cpu;
        let traffic = self.traffic(shape, folded, known);
        let stands = folded.then(|| simulated[0]);
        let exchanges = shape.batches.iter().zip(&traffic).map(|(batch, traffic)| {
            self.exchange(shape.experts, batch.tokens().div_ceil(u64::from(plan.tp())), traffic.as_ref()?, stands)
        });
        let step = InferenceStep {
            model: self.model.clone(),
            precision: self.precision,
            batches: shape.batches.clone(),
            drafted: shape.drafted,
            schedule: shape.schedule,
            launch: shape.launch,
            plan: *plan,
            cpu: on_cpu.then(|| cluster.topology.devices_of(DeviceKind::Cpu).next()).flatten(),
            peers: simulated.iter().map(|&rank| orders[rank].peers.clone()).collect(),
            experts_reduced: self.reduced(shape.experts),
            shared_on: shape.experts.shared_on,
            exchanges: exchanges.collect(),
            tensor_groups: simulated.iter().map(|&rank| self.tensor_group(rank)).collect(),
            simulated,
            traffic,
            gpus,
        };
        Ok(Lowered { step, folding, seen })
    }

    /// The cluster as the `one`th of `ep` GPUs sees it, whose tokens all go to the experts of all.
    fn seen(&self, routes: &mut Routes<'_>, shape: &StepShape<'_>, ep: usize, one: usize) -> Option<Cluster> {
        if shape.experts.reach == ReachChoice::AllReduce {
            return None;
        }
        let members: Vec<usize> = (0..ep).collect();
        let by_rail = shape.experts.kernels == Some(ExchangeKernels::Normal);
        let reach = if by_rail { Reach::Rail } else { Reach::All };
        seen_by(routes, self.cluster, &members, one, reach)
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
        // Where experts are cut, each holder of whole ones is a group of `expert_tp` GPUs.
        let homes = u64::from(self.plan.tp() / self.plan.expert_tp());
        let of = |(micro_batch, batch): (usize, &Batch)| {
            let moe = self.model.moe.as_ref()?;
            let (per_node, seed) = (self.cluster.gpus_per_node as usize, Seed(self.scenario.seed));
            let exchange =
                Exchange { moe, plan: &self.plan, spec: shape.experts, per_node, folded, draws: &known.gates, seed };
            Some(expert_traffic(exchange, batch.tokens().div_ceil(homes), micro_batch))
        };
        shape.batches.iter().enumerate().map(of).collect()
    }

    /// The kernels that exchange the tokens of a micro-batch, where they are described.
    fn exchange(
        &self,
        spec: &ExpertsSpec,
        tokens: u64,
        traffic: &ExpertTraffic,
        folded: Option<usize>,
    ) -> Option<MoeExchange> {
        let (kernels, software) = (spec.kernels?, self.scenario.hardware.communication.as_ref()?);
        let moe = self.model.moe.as_ref().filter(|_| self.plan.ep() > 1)?;
        let precision = &self.precision;
        let members: Vec<usize> = (0..self.plan.ep() as usize).collect();
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
            group: Group::of(self.cluster, &members, Some(&software.collectives)),
            nics: members.iter().map(|&gpu| self.cluster.nic_of(gpu)).collect(),
            per_node: self.cluster.gpus_per_node as usize,
            copies: traffic.copies.clone(),
            // Low-latency kernels are not told how many SMs they have.
            costs: software.experts.on(spec.sms).unwrap_or_else(|| software.experts.clone()),
            lanes: Lanes::of(&self.scenario.hardware.gpu),
            folded,
        })
    }

    /// The tensor-parallel group of a GPU, where the software of its collectives is described.
    fn tensor_group(&self, rank: usize) -> Option<Group> {
        let (software, tp) = (self.scenario.hardware.communication.as_ref()?, self.plan.tp() as usize);
        let first = rank - rank % tp;
        let members: Vec<usize> = (first..first + tp).collect();
        (tp > 1).then(|| Group::of(self.cluster, &members, Some(&software.collectives)))
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
        let Some(kernels) = shape.experts.kernels else { return Ok(()) };
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
        let capacity = self.scenario.hardware.gpu.memory.capacity;
        let place = if used.kv_cache > used.weights { place } else { "parallelism" };
        used.fits(capacity).map_err(|invalid| invalid.under(place))?;
        Ok(Memory { used, capacity })
    }

    fn job(&self, shape: &StepShape<'_>, memory: Memory, known: &Known) -> Result<Job, Invalid> {
        let Lowered { step, folding, seen } = self.step(shape, known)?;
        Ok(Job {
            workload: Box::new(InferenceWorkload::new(step)),
            memory: Some(memory),
            folding,
            seen,
            exchange: None,
            taken: self.taken(shape),
        })
    }
}

/// A step of inference as operations will be made of it.
pub(super) struct Lowered {
    pub(super) step: InferenceStep,
    /// Whether one GPU stands for all in it.
    pub(super) folding: Folding,
    /// The cluster as that one sees it, where that differs.
    pub(super) seen: Option<Cluster>,
}

/// A step of inference as a scenario asks for it, with what it keeps in memory.
pub(super) struct Asked<'a> {
    pub(super) shape: StepShape<'a>,
    load: InferenceLoad,
    /// The value that decides how much is kept, for messages.
    place: &'static str,
}

impl Asked<'_> {
    /// Whether the deployment holds it.
    pub(super) fn memory(&self, deployment: &Deployment<'_>) -> Result<Memory, Invalid> {
        deployment.memory(&self.load, self.place)
    }
}

/// Lowers a decode step.
pub(super) fn decode(scenario: &Scenario, spec: &DecodeSpec, cluster: &Cluster, known: &Known) -> Result<Job, Invalid> {
    let deployment = Deployment::of(scenario, cluster)?;
    let asked = decode_step(spec, &deployment)?;
    let memory = asked.memory(&deployment)?;
    deployment.job(&asked.shape, memory, known)
}

/// Lowers a prefill step.
pub(super) fn prefill(
    scenario: &Scenario,
    spec: &PrefillSpec,
    cluster: &Cluster,
    known: &Known,
) -> Result<Job, Invalid> {
    let deployment = Deployment::of(scenario, cluster)?;
    let asked = prefill_step(spec, &deployment)?;
    let memory = asked.memory(&deployment)?;
    deployment.job(&asked.shape, memory, known)
}

/// The decode step that `spec` asks for.
pub(super) fn decode_step<'a>(spec: &'a DecodeSpec, deployment: &Deployment<'_>) -> Result<Asked<'a>, Invalid> {
    if spec.micro_batches.get() > spec.requests_per_gpu.get() {
        let message = format!("{} micro-batches of {} requests per GPU", spec.micro_batches, spec.requests_per_gpu);
        let invalid = Invalid::at("workload.decode.micro_batches", message);
        return Err(invalid.help("a micro-batch holds at least one request"));
    }
    // Requests are counted per GPU, and a tensor-parallel group serves those of all its GPUs.
    let (tp, context) = (u64::from(deployment.plan.tp()), spec.context.wide());
    let batch = |requests: u64| Batch::decoding(requests * tp, spec.queries(), context);
    let shape = StepShape {
        batches: spec.requests().into_iter().map(batch).collect(),
        drafted: spec.mtp.as_ref().map_or(0, |mtp| mtp.drafted.get()),
        schedule: spec.schedule,
        launch: spec.launch,
        experts: &spec.experts,
        place: "workload.decode",
    };
    let requests = spec.requests_per_gpu.wide() * tp;
    let load = InferenceLoad {
        requests,
        context,
        step_tokens: requests * spec.queries(),
        form: AttentionForm::Absorbed,
        mtp: spec.mtp.is_some(),
        experts_on_cpu: spec.experts.run_on == RunOn::Cpu,
    };
    Ok(Asked { shape, load, place: "workload.decode.requests_per_gpu" })
}

/// The prefill step that `spec` asks for.
pub(super) fn prefill_step<'a>(spec: &'a PrefillSpec, deployment: &Deployment<'_>) -> Result<Asked<'a>, Invalid> {
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
    };
    Ok(Asked { shape, load, place: "workload.prefill.tokens_per_gpu" })
}
