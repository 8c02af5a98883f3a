//! Serving in levels: steps are simulated by the engine at a few loads, and their times drive a simulation over requests.

mod cache;
mod fleet;
mod times;

use super::case::{CaseRun, Ran, slowest};
use super::deployment::{Deployment, Lowered, StepShape};
use super::power::NodePower;
use super::watch::Watcher;
use super::{Answer, Experiment, Known, build};
use crate::invalid::Invalid;
use crate::metrics::{Memory, Metrics, Served, ServingFacts, ServingMetrics, Symmetry, breakdown, serving_metrics};
use crate::routing::Routes;
use crate::scenario::Scenario;
use crate::timeline::Effort;
use crate::topology::Cluster;
use crate::units::{BytesPerSec, Duration, Fraction, Time, UsdPerHour};
use crate::workload::{
    ArrivalsChoice, Batch, CacheMemory, CacheSpec, ColocationSpec, Contexts, ContextsChoice, Decoding, EngineWorker,
    ExpertsSpec, Fcfs, FcfsLimits, Gather, GatherSpec, LaunchChoice, LeastLoaded, MtpSpec, Prompts, Requests,
    ReservingCache, ScheduleChoice, ServingSpec, StepLoad, WorkerShape, parts,
};
use fleet::{Fleet, NicRates, Transfer, Which, serve};
use times::{FULL, Load, StepTimes, axes};

/// Requests that were served, and the full decode step that is shown of them.
pub(super) struct Serving<'a> {
    decode: Pool<'a>,
    spec: &'a ServingSpec,
    served: Served,
    facts: ServingFacts,
    cases: Vec<CaseRun<'static>>,
    symmetry: Symmetry,
}

/// Serves the requests of the scenario.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &'a ServingSpec,
    cluster: &'a Cluster,
    known: &'a Known,
    watcher: &Watcher<'_>,
) -> Result<Serving<'a>, Invalid> {
    check(scenario, spec)?;
    let decode = Pool::decode(scenario, spec, cluster)?;
    let prefilling = prefilling(scenario, spec);
    let other = prefilling.as_ref().map(build::cluster).transpose();
    let other = other.map_err(|invalid| invalid.under("workload.serving.prefill"))?;
    let prefill = match (&prefilling, &other) {
        (Some(scenario), Some(cluster)) => Some(Pool::prefill(scenario, spec, cluster)?),
        _ => None,
    };
    decode.holds(spec)?;
    let fleet = Fleet {
        decode: decode.workers(prefill.is_none())?,
        prefill: prefill.as_ref().map_or(Ok(Vec::new()), |pool| pool.workers(true))?,
        router: Box::new(LeastLoaded),
        transfer: prefill.as_ref().map(|pool| pool.transfer(&decode)),
    };
    let (mut of_decode, mut of_prefill) = (StepTimes::default(), StepTimes::default());
    let prompt = spec.mean_computed();
    let mut taken = 0;
    let mut steps = |which: Which, load: StepLoad| {
        taken += 1;
        let load = axes(&load);
        let time = match (which, &prefill) {
            (Which::Prefill, Some(pool)) => of_prefill.at(load, |load| pool.time(load, prompt, watcher)),
            _ => of_decode.at(load, |load| decode.time(load, prompt, watcher)),
        };
        Ok(time? + spec.step_overhead)
    };
    let served = serve(fleet, Requests::new(spec, scenario.seed), spec.front_end, &mut steps)?;
    watcher.took(Effort { instants: taken, ..Effort::default() });
    let mut error = of_decode.error(|load| decode.time(load, prompt, watcher))?;
    if let Some(pool) = &prefill {
        error = error.max(of_prefill.error(|load| pool.time(load, prompt, watcher))?);
    }
    let facts = ServingFacts {
        decode_gpus: decode.all_gpus(),
        decode_instances: decode.instances,
        prefill_gpus: prefill.as_ref().map_or(0, Pool::all_gpus),
        prefill_instances: prefill.as_ref().map_or(0, |pool| pool.instances),
        gpus_per_node: u64::from(cluster.gpus_per_node),
        gpu_hour: gpu_hour(scenario, spec),
        watts_per_gpu: watts_per_gpu(scenario),
        steps: (of_decode.runs() + of_prefill.runs(), error),
        cache_positions: decode.positions()? * decode.groups(),
        period: period(spec),
    };
    let (input, output) = spec.mean_lengths();
    let full = decode.batches([(decode.requests * decode.tp()) as f64, input + output / 2.0, 0.0, 0.0, FULL], 1);
    let Lowered { cases, symmetry } = decode.deployment.step(&decode.shape(full, 1.0), known)?;
    Ok(Serving { decode, spec, served, facts, cases, symmetry })
}

impl Experiment for Serving<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        slowest(
            self.decode.deployment.scenario,
            self.decode.deployment.cluster,
            std::mem::take(&mut self.cases),
            watcher,
        )
    }

    fn answer(self: Box<Self>, ran: &mut Ran, _: &Watcher<'_>) -> Result<Answer, Invalid> {
        let Serving { decode, spec, served, facts, symmetry, .. } = *self;
        let timeline = &ran.timeline;
        let metrics = serving_metrics(&served, facts, timeline.end() - Time::ZERO, breakdown(timeline));
        Ok(Answer {
            memory: Some(decode.memory(spec)?),
            symmetry,
            folding: ran.folding,
            parts: Vec::new(),
            notes: unsteady(&metrics).into_iter().collect(),
            metrics: Metrics::Serving(Box::new(metrics)),
        })
    }
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

/// After which the load repeats, where it does.
fn period(spec: &ServingSpec) -> Option<Duration> {
    match &spec.arrivals {
        ArrivalsChoice::Curve { step, load, .. } => Some(*step * load.len() as u64),
        _ => None,
    }
}

/// What a GPU costs per hour: capital and energy where it is owned, else its rent.
pub(super) fn gpu_hour(scenario: &Scenario, spec: &ServingSpec) -> Option<UsdPerHour> {
    let Some(capital) = spec.capital else { return scenario.hardware.gpu.rent };
    let hours = capital.lifetime.as_secs() / 3600.0;
    let energy = watts_per_gpu(scenario) / 1e3 * capital.overhead * capital.per_kwh.as_f64();
    Some(UsdPerHour::from_micro(((capital.per_gpu.as_f64() / hours + energy) * 1e6) as u64))
}

/// Power of a GPU with its share of node and fabric, at the most that each part may draw.
fn watts_per_gpu(scenario: &Scenario) -> f64 {
    NodePower::of(scenario).total().as_f64() / f64::from(scenario.hardware.gpus.get())
}

/// What is said of a run whose load is not steady before the last arrival, or of which more is asked than it serves.
fn unsteady(metrics: &ServingMetrics) -> Option<String> {
    let window = &metrics.window;
    let [first, second] = window.halves;
    if window.drift().is_none() {
        return Some("too few requests for rates, utilisation and cost; raise workload.serving.requests".to_owned());
    }
    if !window.is_steady() {
        return Some(format!(
            "load was not steady before the last arrival ({first:.0} output tokens/s in the first half of the window, {second:.0} in the \
             second), so that rates, utilisation, cost and energy depend on the number of requests; raise workload.serving.requests"
        ));
    }
    let (offered, served) = (metrics.offered_output_per_sec?, metrics.output_per_sec);
    (served < SERVED_LEAST * offered).then(|| {
        format!("{offered:.0} output tokens/s are asked for and {served:.0} served: requests queue up, and wait longer the more there are")
    })
}

/// Part of the offered load below which a pool is taken to be overloaded: chance in lengths and arrivals explains no more.
const SERVED_LEAST: f64 = 0.9;

/// One kind of instance.
struct Pool<'a> {
    deployment: Deployment<'a>,
    /// Copies of it.
    instances: u64,
    experts: &'a ExpertsSpec,
    micro_batches: u64,
    schedule: ScheduleChoice,
    launch: LaunchChoice,
    mtp: Option<&'a MtpSpec>,
    /// Decoding requests per GPU, at most.
    requests: u64,
    /// How cached positions are spread over decoding requests, whatever their mean.
    contexts: Contexts,
    /// Positions of prompts per GPU, at most.
    tokens: u64,
    colocation: Option<ColocationSpec>,
    cache: Option<CacheSpec>,
    place: &'static str,
}

impl<'a> Pool<'a> {
    fn decode(scenario: &'a Scenario, spec: &'a ServingSpec, cluster: &'a Cluster) -> Result<Pool<'a>, Invalid> {
        let decode = &spec.decode;
        Ok(Pool {
            deployment: Deployment::of(scenario, cluster)?,
            instances: decode.instances.wide(),
            experts: &decode.experts,
            micro_batches: decode.micro_batches.wide(),
            schedule: decode.schedule,
            launch: decode.launch,
            mtp: decode.mtp.as_ref(),
            requests: decode.requests_per_gpu.wide(),
            contexts: match decode.contexts {
                ContextsChoice::Equal => Contexts::Equal(1),
                ContextsChoice::FromLengths => Contexts::of_lengths(&spec.lengths),
            },
            tokens: spec.colocation.map_or(0, |colocation| colocation.tokens_per_gpu.wide()),
            colocation: spec.colocation,
            cache: decode.cache,
            place: "workload.serving.decode",
        })
    }

    fn prefill(scenario: &'a Scenario, spec: &'a ServingSpec, cluster: &'a Cluster) -> Result<Pool<'a>, Invalid> {
        let prefill = spec.prefill.as_ref().expect("a prefill pool is described");
        Ok(Pool {
            deployment: Deployment::of(scenario, cluster)?,
            instances: prefill.instances.wide(),
            experts: &prefill.experts,
            micro_batches: prefill.micro_batches.wide(),
            schedule: ScheduleChoice::InTurn,
            launch: prefill.launch,
            mtp: None,
            requests: 0,
            contexts: Contexts::default(),
            tokens: prefill.tokens_per_gpu.wide(),
            colocation: None,
            // What is sent is what the decoding pool keeps; nothing else of it is described here.
            cache: spec.decode.cache.map(|cache| CacheSpec { share: Fraction::ONE, of: CacheMemory::Free, ..cache }),
            place: "workload.serving.prefill",
        })
    }

    fn tp(&self) -> u64 {
        u64::from(self.deployment.plan.tp())
    }

    /// Tokens of a decoding request that a step works on.
    fn queries(&self) -> u64 {
        1 + self.mtp.map_or(0, |mtp| mtp.drafted.wide())
    }

    /// GPUs of an instance.
    fn gpus(&self) -> u64 {
        self.deployment.cluster.gpus.len() as u64
    }

    /// GPUs of all instances.
    fn all_gpus(&self) -> u64 {
        self.gpus() * self.instances
    }

    /// Tensor-parallel groups of an instance.
    fn groups(&self) -> u64 {
        self.gpus() / self.tp()
    }

    /// Idle instances, which compute prompts or not.
    fn workers(&self, prompts: bool) -> Result<Vec<EngineWorker>, Invalid> {
        let decodes = self.requests > 0;
        let shape = WorkerShape {
            groups: self.groups(),
            decodes,
            queries: self.queries(),
            tokens_per_step: MtpSpec::tokens_per_step(self.mtp),
            // Only experts see what other groups have.
            counts_groups: self.deployment.model.moe.is_some(),
        };
        let scheduler = self.scheduler(prompts);
        let per_position = self.per_position();
        let capacity = per_position * (self.positions()? * self.groups());
        let kept = self.cache.map_or(1.0, |cache| cache.answers.get());
        let cache = ReservingCache::new(decodes.then_some(capacity), per_position, kept);
        let worker = |_| EngineWorker::new(shape, Box::new(scheduler), Box::new(cache));
        Ok((0..self.instances).map(worker).collect())
    }

    /// Who decides what a step of an instance takes.
    fn scheduler(&self, prompts: bool) -> Fcfs {
        let tokens = if prompts { self.tokens * self.gpus() } else { 0 };
        let plain = FcfsLimits { queries: self.queries(), ..FcfsLimits::new(self.requests * self.gpus(), tokens) };
        let limits = self.colocation.map_or(plain, |colocation| FcfsLimits {
            prefill_first: colocation.prompts_first,
            chunked_prefill: !colocation.whole_prompts,
            look_every: colocation.look_every.wide(),
            gather: colocation.gather.map(|gather| self.gather(gather)),
            ..plain
        });
        Fcfs::new(limits)
    }

    /// For what new prompts wait.
    fn gather(&self, spec: GatherSpec) -> Gather {
        let step = self.tokens + self.requests * self.queries();
        Gather {
            steps: spec.steps.wide(),
            positions: ((step * self.gpus()) as f64 * spec.share.get()).ceil() as u64,
            one_each: self.groups() > 1,
        }
    }

    /// How long a step takes.
    fn time(&self, load: Load, prompt: u64, watcher: &Watcher<'_>) -> Result<Duration, Invalid> {
        let batches = self.batches(load, prompt);
        if batches.is_empty() {
            return Ok(Duration::ZERO);
        }
        watcher.begin(|| format!("step of {:.0} requests and {:.0} positions of prompts", load[0], load[2]));
        self.deployment.step_time(&self.shape(batches, load[4] / FULL), watcher)
    }

    /// The micro-batches of a step: requests and prompts are dealt out evenly.
    fn batches(&self, [requests, context, tokens, cached, _]: Load, prompt: u64) -> Vec<Batch> {
        let (requests, tokens) = (requests.round() as u64, tokens.round() as u64);
        let many = self.micro_batches.min((requests + tokens).max(1));
        let queries = self.queries();
        let batch = |(requests, tokens): (u64, u64)| {
            let prompts = if tokens == 0 { 0 } else { (tokens / prompt).max(1) };
            let each = tokens.checked_div(prompts).unwrap_or(0);
            Batch {
                decoding: Decoding { requests, queries, contexts: self.contexts.scaled_to((context as u64).max(1)) },
                prompts: Prompts { requests: prompts, tokens: each, cached: cached as u64 },
            }
        };
        let dealt = parts(requests, many).into_iter().zip(parts(tokens, many));
        dealt.map(batch).filter(|batch| batch.tokens() > 0).collect()
    }

    /// A step that works on `batches`.
    fn shape(&self, batches: Vec<Batch>, filled: f64) -> StepShape<'_> {
        StepShape {
            batches,
            filled,
            drafted: self.mtp.map_or(0, |mtp| mtp.drafted.get()),
            schedule: self.schedule,
            launch: self.launch,
            experts: self.experts,
            place: self.place,
        }
    }

    /// What the NICs of an instance carry where a GPU's carries `each`.
    fn nic_rates(&self, each: BytesPerSec) -> NicRates {
        NicRates { all: each * self.gpus(), of_one: each * self.tp() }
    }

    /// How keys and values get to an instance of `decode`.
    fn transfer(&self, decode: &Pool<'_>) -> Transfer {
        let cluster = decode.deployment.cluster;
        let (first, last) = (cluster.gpus[0], cluster.gpus[cluster.gpus.len() - 1]);
        let path = Routes::new(&cluster.topology).path(first, last).expect("a cluster is connected");
        // Latent caches are the same on every GPU of a tensor-parallel group and leave once; others leave in parts.
        let latent = matches!(self.deployment.model.attention, crate::model::AttentionSpec::Mla(_));
        let per_position = if latent { self.per_position() } else { self.per_position() * self.tp() };
        Transfer {
            per_position,
            out: self.nic_rates(path.narrowest),
            into: decode.nic_rates(path.narrowest),
            latency: path.latency,
        }
    }

    /// Memory of a GPU with as many requests of the mean length as there may be.
    fn memory(&self, spec: &ServingSpec) -> Result<Memory, Invalid> {
        let (input, output) = spec.mean_lengths();
        let context = input + output / 2.0;
        let fitting = (self.positions()? as f64 / context.max(1.0)) as u64;
        let used = self.used((self.requests * self.tp()).min(fitting), context as u64);
        Ok(Memory { used, capacity: self.capacity() })
    }
}
