//! Serving in levels: steps are simulated by the engine at a few loads, and their times drive a simulation over requests.

mod fleet;
mod instance;
mod times;

use super::inference::{Deployment, Lowered, StepShape};
use super::watch::Watcher;
use super::{Known, build, timed};
use crate::invalid::Invalid;
use crate::metrics::{Folding, Memory, Metrics, Outcome, Served, ServingFacts, breakdown, serving_metrics};
use crate::model::AttentionForm;
use crate::parallelism::InferenceLoad;
use crate::routing::Routes;
use crate::scenario::Scenario;
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::units::{Bytes, BytesPerSec, Count, Duration, Time, UsdPerHour};
use crate::workload::{
    ArrivalsChoice, Batch, ColocationSpec, Decoding, ExpertsSpec, GatherSpec, InferenceWorkload, LaunchChoice, MtpSpec,
    Prompts, Requests, ScheduleChoice, ServingSpec, parts,
};
use fleet::{Fleet, NicRates, Transfer, serve};
use instance::{Ability, Gather, Instance};
use times::{Load, StepTimes, points};

/// Points of the table of steps along requests and along positions of prompts.
const POINTS: usize = 4;
/// How much less each of them is than the next.
const RATIO: u64 = 3;

/// Serves the requests of the scenario.
pub(super) fn simulate(
    scenario: &Scenario,
    spec: &ServingSpec,
    known: &Known,
    watcher: &mut Watcher<'_>,
) -> Result<Outcome, Invalid> {
    check(scenario, spec)?;
    let cluster = build::cluster(scenario)?;
    let decode = Pool::decode(scenario, spec, &cluster, known)?;
    let prefilling = prefilling(scenario, spec);
    let other = prefilling.as_ref().map(build::cluster).transpose();
    let other = other.map_err(|invalid| invalid.under("workload.serving.prefill"))?;
    let prefill = match (&prefilling, &other) {
        (Some(scenario), Some(cluster)) => Some(Pool::prefill(scenario, spec, cluster, known)?),
        _ => None,
    };
    let ability = decode.ability(spec, prefill.is_none(), watcher)?;
    let copies = |ability: &Ability, count: Count| (0..count.get()).map(|_| Instance::new(ability.clone())).collect();
    let mut fleet = Fleet { decode: copies(&ability, spec.decode.instances), prefill: Vec::new(), transfer: None };
    let mut steps = (ability.times.runs, ability.times.error);
    let mut prefill_gpus = 0;
    if let (Some(pool), Some(spec_of)) = (&prefill, &spec.prefill) {
        let own = pool.ability(spec, true, watcher)?;
        steps = (steps.0 + own.times.runs, steps.1.max(own.times.error));
        prefill_gpus = own.gpus * spec_of.instances.wide();
        fleet.prefill = copies(&own, spec_of.instances);
        fleet.transfer = Some(pool.transfer(&decode)?);
    }
    let served = serve(fleet, Requests::new(spec, scenario.seed), spec.front_end);
    let facts = ServingFacts {
        decode_gpus: ability.gpus * spec.decode.instances.wide(),
        decode_instances: spec.decode.instances.wide(),
        prefill_gpus,
        prefill_instances: spec.prefill.as_ref().map_or(0, |prefill| prefill.instances.wide()),
        gpus_per_node: u64::from(cluster.gpus_per_node),
        gpu_hour: gpu_hour(scenario, spec),
        watts_per_gpu: watts_per_gpu(scenario),
        steps,
        cache_positions: ability.positions_max,
    };
    decode.outcome(spec, &served, facts, watcher)
}

/// The scenario of the pool that computes prompts, where there is one.
fn prefilling(scenario: &Scenario, spec: &ServingSpec) -> Option<Scenario> {
    let prefill = spec.prefill.as_ref()?;
    let mut own = scenario.clone();
    own.nodes = prefill.nodes;
    own.parallelism = prefill.parallelism;
    if let Some(gpus) = prefill.gpus {
        own.hardware.gpus = gpus;
        if let Some(nics) = &mut own.hardware.nics {
            nics.count = nics.count.min(gpus);
        }
    }
    Some(own)
}

fn check(scenario: &Scenario, spec: &ServingSpec) -> Result<(), Invalid> {
    if !scenario.fault.is_empty() {
        let message = "faults during serving are not simulated";
        return Err(Invalid::at("fault", message).help("leave `fault` out, or simulate a single step"));
    }
    let at = |key: &str, message: &str, help: &str| {
        Err(Invalid::at(&format!("workload.serving.{key}"), message.to_owned()).help(help))
    };
    if spec.prefill.is_some() == spec.colocation.is_some() {
        let help = "give either [workload.serving.prefill] or [workload.serving.colocation]";
        return at("decode", "prompts are computed by a pool of their own or beside decoding requests", help);
    }
    if let ArrivalsChoice::Curve { load, .. } = &spec.arrivals
        && (load.is_empty() || load.iter().any(|load| !load.is_finite() || *load <= 0.0))
    {
        return at("arrivals.curve.load", "a curve of loads", "give one or more figures above zero");
    }
    Ok(())
}

/// What a GPU costs per hour: capital and energy where it is owned, else its rent.
pub(super) fn gpu_hour(scenario: &Scenario, spec: &ServingSpec) -> Option<UsdPerHour> {
    let Some(capital) = spec.capital else { return scenario.hardware.gpu.rent };
    let hours = capital.lifetime.as_secs() / 3600.0;
    let energy = watts_per_gpu(scenario) / 1e3 * capital.overhead * capital.per_kwh.as_f64();
    Some(UsdPerHour::from_micro(((capital.per_gpu.as_f64() / hours + energy) * 1e6) as u64))
}

/// Power of a GPU with its share of the node's NICs and CPUs, at the most that each may draw.
fn watts_per_gpu(scenario: &Scenario) -> f64 {
    let node = &scenario.hardware;
    let gpus = f64::from(node.gpus.get());
    let nics = node.nics.as_ref().map_or(0.0, |nics| nics.nic.power.as_f64() * f64::from(nics.count.get()));
    let cpus = f64::from(node.cpus.map_or(0, Count::get));
    let cpu = node.cpu.as_ref().map_or(0.0, |cpu| cpu.power.as_f64() * cpus);
    node.gpu.power.as_f64() + (nics + cpu) / gpus
}

/// One kind of instance.
struct Pool<'a> {
    deployment: Deployment<'a>,
    known: &'a Known,
    experts: &'a ExpertsSpec,
    micro_batches: u64,
    schedule: ScheduleChoice,
    launch: LaunchChoice,
    mtp: Option<&'a MtpSpec>,
    /// Decoding requests per GPU, at most.
    requests: u64,
    /// Positions of prompts per GPU, at most.
    tokens: u64,
    colocation: Option<ColocationSpec>,
    place: &'static str,
}

impl<'a> Pool<'a> {
    fn decode(
        scenario: &'a Scenario,
        spec: &'a ServingSpec,
        cluster: &'a Cluster,
        known: &'a Known,
    ) -> Result<Pool<'a>, Invalid> {
        let decode = &spec.decode;
        Ok(Pool {
            deployment: Deployment::of(scenario, cluster)?,
            known,
            experts: &decode.experts,
            micro_batches: decode.micro_batches.wide(),
            schedule: decode.schedule,
            launch: decode.launch,
            mtp: decode.mtp.as_ref(),
            requests: decode.requests_per_gpu.wide(),
            tokens: spec.colocation.map_or(0, |colocation| colocation.tokens_per_gpu.wide()),
            colocation: spec.colocation,
            place: "workload.serving.decode",
        })
    }

    fn prefill(
        scenario: &'a Scenario,
        spec: &'a ServingSpec,
        cluster: &'a Cluster,
        known: &'a Known,
    ) -> Result<Pool<'a>, Invalid> {
        let prefill = spec.prefill.as_ref().expect("a prefill pool is described");
        Ok(Pool {
            deployment: Deployment::of(scenario, cluster)?,
            known,
            experts: &prefill.experts,
            micro_batches: prefill.micro_batches.wide(),
            schedule: ScheduleChoice::InTurn,
            launch: prefill.launch,
            mtp: None,
            requests: 0,
            tokens: prefill.tokens_per_gpu.wide(),
            colocation: None,
            place: "workload.serving.prefill",
        })
    }

    fn tp(&self) -> u64 {
        u64::from(self.deployment.plan.tp())
    }

    /// What an instance can do, with the times of its steps.
    fn ability(&self, spec: &ServingSpec, prompts: bool, watcher: &mut Watcher<'_>) -> Result<Ability, Invalid> {
        let gpus = self.deployment.cluster.gpus.len() as u64;
        let (input, output) = spec.mean_lengths();
        let context = input + output / 2.0;
        let computed = (input * (1.0 - spec.prefix_hits.get())).max(1.0);
        let keys = input - computed / 2.0;
        let prompts = prompts && self.tokens > 0;
        let mut requests =
            if self.requests == 0 { vec![0.0] } else { points(self.requests * self.tp(), RATIO, POINTS) };
        let mut tokens = if prompts { points(self.tokens * self.tp(), RATIO, POINTS) } else { vec![0.0] };
        tokens.retain(|&tokens| tokens == 0.0 || tokens >= (self.micro_batches * self.tp()) as f64);
        if prompts && self.requests > 0 {
            // Steps that take both: fewer points, since there are more quantities.
            requests = [vec![0.0], points(self.requests * self.tp(), RATIO * RATIO, POINTS / 2)].concat();
            tokens = [vec![0.0], points(self.tokens * self.tp(), RATIO * RATIO, POINTS / 2)].concat();
        }
        let contexts = if self.requests == 0 { vec![0.0] } else { vec![context / 2.0, 2.0 * context] };
        let attended = if prompts { vec![keys / 2.0, 2.0 * keys] } else { vec![0.0] };
        let middle = |most: u64| ((most * self.tp()) as f64 / 2.0).round();
        let between = [
            [middle(self.requests), context, 0.0, 0.0],
            [0.0, 0.0, if prompts { middle(self.tokens) } else { 0.0 }, keys],
            [middle(self.requests), context, if prompts { middle(self.tokens) } else { 0.0 }, keys],
        ];
        // Steps of nothing, and those that are the same as others, are left out.
        let real = |load: &&Load| load[0] + load[2] > 0.0 && (load[0] == 0.0 || self.requests > 0);
        let between: Vec<Load> = between.iter().filter(real).copied().collect();
        let times = StepTimes::simulate([requests, contexts, tokens, attended], &between, |load| {
            self.time(load, computed as u64, watcher)
        })?;
        Ok(Ability {
            gpus,
            groups: gpus / self.tp(),
            requests_max: self.requests * gpus,
            prompt_tokens_max: if prompts { self.tokens * gpus } else { 0 },
            positions_max: self.positions()? * gpus / self.tp(),
            prompts_first: self.colocation.is_some_and(|colocation| colocation.prompts_first),
            look_every: self.colocation.map_or(1, |colocation| colocation.look_every.wide()),
            gather: self.colocation.and_then(|colocation| colocation.gather).map(|gather| self.gather(gather)),
            tokens_per_step: MtpSpec::tokens_per_step(self.mtp),
            overhead: spec.step_overhead,
            times,
        })
    }

    /// For what new prompts wait.
    fn gather(&self, spec: GatherSpec) -> Gather {
        let gpus = self.deployment.cluster.gpus.len() as u64;
        let groups = gpus / self.tp();
        Gather {
            steps: spec.steps.wide(),
            positions: ((self.tokens * gpus) as f64 * spec.share.get()).ceil() as u64,
            prompts: if groups > 1 { groups as usize } else { usize::MAX },
        }
    }

    /// How long a step takes.
    fn time(&self, load: Load, prompt: u64, watcher: &mut Watcher<'_>) -> Result<Duration, Invalid> {
        let batches = self.batches(load, prompt);
        if batches.is_empty() {
            return Ok(Duration::ZERO);
        }
        watcher.begin(|| format!("step of {:.0} requests and {:.0} positions of prompts", load[0], load[2]));
        Ok(self.run(batches, watcher)?.0.end() - Time::ZERO)
    }

    /// The micro-batches of a step: requests and prompts are dealt out evenly.
    fn batches(&self, [requests, context, tokens, keys]: Load, prompt: u64) -> Vec<Batch> {
        let (requests, tokens) = (requests.round() as u64, tokens.round() as u64);
        let many = self.micro_batches.min((requests + tokens).max(1));
        let queries = 1 + self.mtp.map_or(0, |mtp| mtp.drafted.wide());
        let batch = |(requests, tokens): (u64, u64)| {
            let prompts = if tokens == 0 { 0 } else { (tokens / prompt).max(1) };
            let each = tokens.checked_div(prompts).unwrap_or(0);
            let cached = (keys - each as f64 / 2.0).max(0.0) as u64;
            Batch {
                decoding: Decoding { requests, queries, context: (context as u64).max(1) },
                prompts: Prompts { requests: prompts, tokens: each, cached },
            }
        };
        let dealt = parts(requests, many).into_iter().zip(parts(tokens, many));
        dealt.map(batch).filter(|batch| batch.tokens() > 0).collect()
    }

    fn run(&self, batches: Vec<Batch>, watcher: &mut Watcher<'_>) -> Result<(Timeline, Folding), Invalid> {
        let deployment = &self.deployment;
        let shape = StepShape {
            batches,
            drafted: self.mtp.map_or(0, |mtp| mtp.drafted.get()),
            schedule: self.schedule,
            launch: self.launch,
            experts: self.experts,
            place: self.place,
        };
        let Lowered { step, folding, seen } = deployment.step(&shape, self.known)?;
        let (scenario, cluster) = (deployment.scenario, seen.as_ref().unwrap_or(deployment.cluster));
        let mut workload = InferenceWorkload::new(step);
        Ok((timed(scenario, cluster, &mut workload, deployment.taken(&shape), watcher)?, folding))
    }

    fn load(&self, requests: u64, context: u64) -> InferenceLoad {
        let queries = 1 + self.mtp.map_or(0, |mtp| mtp.drafted.wide());
        InferenceLoad {
            requests,
            context,
            step_tokens: (self.requests * queries + self.tokens) * self.tp(),
            form: if self.tokens > 0 { AttentionForm::Expanded } else { AttentionForm::Absorbed },
            mtp: self.mtp.is_some(),
            experts_on_cpu: false,
        }
    }

    /// Positions that the cache of a tensor-parallel group holds beside weights and activations.
    fn positions(&self) -> Result<u64, Invalid> {
        let one = self.deployment.memory(&self.load(1, 1), self.place)?;
        let many = self.deployment.memory(&self.load(1, 1001), self.place)?;
        let thousand = many.used.kv_cache.get() - one.used.kv_cache.get();
        let free = one.capacity.get() - one.used.total().get();
        Ok(free / (thousand / 1000).max(1))
    }

    /// What the NICs of an instance carry where a GPU's carries `each`.
    fn nic_rates(&self, each: BytesPerSec) -> NicRates {
        NicRates { all: each * self.deployment.cluster.gpus.len() as u64, of_one: each * self.tp() }
    }

    /// How keys and values get to an instance of `decode`.
    fn transfer(&self, decode: &Pool<'_>) -> Result<Transfer, Invalid> {
        let cluster = decode.deployment.cluster;
        let one = self.deployment.memory(&self.load(1, 1), self.place)?;
        let many = self.deployment.memory(&self.load(1, 1001), self.place)?;
        let per_gpu = (many.used.kv_cache.get() - one.used.kv_cache.get()) / 1000;
        let (first, last) = (cluster.gpus[0], cluster.gpus[cluster.gpus.len() - 1]);
        let path = Routes::new(&cluster.topology).path(first, last).expect("a cluster is connected");
        // Latent caches are the same on every GPU of a tensor-parallel group and leave once; others leave in parts.
        let latent = matches!(self.deployment.model.attention, crate::model::AttentionSpec::Mla(_));
        let per_position = Bytes::new(if latent { per_gpu } else { per_gpu * self.tp() });
        Ok(Transfer {
            per_position,
            out: self.nic_rates(path.narrowest),
            into: decode.nic_rates(path.narrowest),
            latency: path.latency,
        })
    }

    /// The answer, with the timeline of a full decode step.
    fn outcome(
        &self,
        spec: &ServingSpec,
        served: &Served,
        facts: ServingFacts,
        watcher: &mut Watcher<'_>,
    ) -> Result<Outcome, Invalid> {
        let (input, output) = spec.mean_lengths();
        let context = input + output / 2.0;
        let full = self.batches([(self.requests * self.tp()) as f64, context, 0.0, 0.0], 1);
        let (timeline, folding) = self.run(full, watcher)?;
        let requests = self.requests * self.tp();
        let fitting = (self.positions()? as f64 / context.max(1.0)) as u64;
        let memory: Memory = self.deployment.memory(&self.load(requests.min(fitting), context as u64), self.place)?;
        let metrics = serving_metrics(served, facts, timeline.end() - Time::ZERO, breakdown(&timeline));
        let metrics = Metrics::Serving(Box::new(metrics));
        let cluster = self.deployment.cluster.clone();
        Ok(Outcome { cluster, timeline, metrics, memory: Some(memory), folding, part: None, notes: Vec::new() })
    }
}
