//! Serving: the pools of a scenario on one fabric, whose steps are simulated at a few loads while requests are served.

#[cfg(test)]
mod beside_tests;
mod cache;
mod handover;
mod sites;
mod steps;
mod times;

use super::case::{CaseRun, Ran, slowest};
use super::deployment::{Deployment, Lowered, StepShape};
use super::power::NodePower;
use super::watch::Watcher;
use super::{Answer, Experiment, Known};
use crate::invalid::Invalid;
use crate::metrics::{Memory, Metrics, Part, ServingFacts, ServingMetrics, Symmetry, breakdown, serving_metrics};
use crate::scenario::Scenario;
use crate::timeline::{Recorder, Sample, Span, Timeline};
use crate::topology::Cluster;
use crate::units::{Duration, Fraction, Time, UsdPerHour};
use crate::workload::{
    ArrivalsChoice, Batch, CacheMemory, CacheSpec, ColocationSpec, Contexts, ContextsChoice, Decoding, EngineWorker,
    ExpertsSpec, Fcfs, FcfsLimits, Fleet, Gather, GatherSpec, KvPath, LaunchChoice, LeastLoaded, MtpSpec, PoolKind,
    Prompts, Requests, ReservingCache, ScheduleChoice, ServingRecord, ServingSpec, ServingWorkload, WorkerId,
    WorkerShape, parts,
};
use handover::KvWays;
use sites::Sites;
use steps::{Steps, Views};
use times::{FULL, Load};

/// Steps of workers and transfers that are kept to be looked at, of what may be millions.
const SPANS: Sample = Sample { first: 100_000, every: 100 };

/// Requests that are to be served, and where.
pub(super) struct Serving<'a> {
    scenario: &'a Scenario,
    spec: &'a ServingSpec,
    sites: Sites<'a>,
    known: &'a Known,
    decoding: PoolMachines,
    prefilling: Option<PoolMachines>,
    served: Option<AllServed>,
}

/// What an instance of a pool runs on, as a scenario of its own. Faults come and go while requests are served: what a step sees of them is asked
/// for each.
struct PoolMachines {
    scenario: Scenario,
    cluster: Cluster,
}

/// What was found out while requests were served.
struct AllServed {
    record: ServingRecord,
    facts: ServingFacts,
    /// A decode step with as many requests as there may be.
    full_step: Timeline,
    memory: Memory,
    symmetry: Symmetry,
}

/// Prepares to serve what `spec` asks for, on a fabric that joins all instances.
pub(super) fn prepare<'a>(
    scenario: &'a Scenario,
    spec: &'a ServingSpec,
    whole: &'a Cluster,
    known: &'a Known,
) -> Result<Serving<'a>, Invalid> {
    check(spec)?;
    let sites = Sites::of(scenario, spec, whole)?;
    let healthy = Scenario { fault: Vec::new(), ..scenario.clone() };
    let machines = |scenario: Scenario, pool: PoolKind| {
        let cluster = sites.of_worker(WorkerId { pool, place: 0 });
        PoolMachines { scenario, cluster }
    };
    let prefilling = prefilling(&healthy, spec).map(|scenario| machines(scenario, PoolKind::Prefill));
    let decoding = machines(healthy, PoolKind::Decode);
    let serving = Serving { scenario, spec, sites, known, decoding, prefilling, served: None };
    serving.pools()?.0.holds(spec)?;
    Ok(serving)
}

/// The machines of all instances, joined by the scenario's fabric.
pub(super) fn cluster(scenario: &Scenario, spec: &ServingSpec) -> Result<Cluster, Invalid> {
    check(spec)?;
    sites::whole(scenario, spec)
}

impl Serving<'_> {
    /// The pool that decodes, and the one that computes prompts where there is one.
    fn pools(&self) -> Result<(Pool<'_>, Option<Pool<'_>>), Invalid> {
        let Serving { spec, known, decoding, prefilling, .. } = self;
        let decode = Pool::decode(&decoding.scenario, spec, &decoding.cluster, known)?;
        let prefill = prefilling.as_ref().map(|own| Pool::prefill(&own.scenario, spec, &own.cluster, known));
        Ok((decode, prefill.transpose()?))
    }

    /// Serves all requests: what happened, and how many steps were simulated for it with what error between them.
    fn serve(
        &self,
        (decode, prefill): (&Pool<'_>, Option<&Pool<'_>>),
        watcher: &Watcher<'_>,
    ) -> Result<(ServingRecord, Timeline, (usize, f64)), Invalid> {
        let Serving { scenario, spec, sites, .. } = self;
        let of_prefill = prefill.map_or(Ok(Vec::new()), |pool| pool.workers(true))?;
        let fleet = Fleet::new(decode.workers(prefill.is_none())?, of_prefill, Box::new(LeastLoaded));
        let devices = fleet.ids().map(|id| sites.gpu(id, 0)).collect();
        let ways = prefill.map(|pool| KvWays::between(sites, pool, decode));
        let mean = (spec.mean_computed(), spec.step_overhead);
        let views = Views::default();
        let mut steps = Steps::new((scenario, sites, &views), (decode, prefill), mean, watcher)?;
        let mut workload = ServingWorkload::new(
            (fleet, devices),
            (Requests::new(spec, scenario.seed), spec.front_end),
            &mut steps,
            ways.as_ref().map(|ways| ways as &dyn KvPath),
        );
        let mut ended = 0;
        let mut keep = |_: &Span| {
            ended += 1;
            SPANS.keeps(ended - 1)
        };
        let case = CaseRun { recorder: Recorder::Each(&mut keep), ..CaseRun::of(Box::new(&mut workload)) };
        let Ran { mut timeline, .. } = case.run(scenario, sites.whole, watcher)?;
        let mut record = workload.record();
        timeline.requests = std::mem::take(&mut record.traces);
        Ok((record, timeline, steps.close()?))
    }

    fn facts(
        &self,
        (decode, prefill): (&Pool<'_>, Option<&Pool<'_>>),
        steps: (usize, f64),
    ) -> Result<ServingFacts, Invalid> {
        Ok(ServingFacts {
            decode_gpus: decode.all_gpus(),
            decode_instances: decode.instances,
            prefill_gpus: prefill.map_or(0, Pool::all_gpus),
            prefill_instances: prefill.map_or(0, |pool| pool.instances),
            gpus_per_node: u64::from(self.decoding.cluster.gpus_per_node),
            gpu_hour: gpu_hour(self.scenario, self.spec),
            watts_per_gpu: watts_per_gpu(self.scenario),
            steps,
            cache_positions: decode.positions()? * decode.groups(),
            period: period(self.spec),
        })
    }
}

impl Experiment for Serving<'_> {
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid> {
        let (decode, prefill) = self.pools()?;
        let pools = (&decode, prefill.as_ref());
        let (record, timeline, steps) = self.serve(pools, watcher)?;
        let facts = self.facts(pools, steps)?;
        let Lowered { cases, symmetry } = decode.full_step(self.spec)?;
        let full = slowest(&self.decoding.scenario, &self.decoding.cluster, cases, watcher)?;
        let memory = decode.memory(self.spec)?;
        self.served = Some(AllServed { record, facts, full_step: full.timeline, memory, symmetry });
        Ok(Ran { timeline, folding: full.folding })
    }

    fn answer(self: Box<Self>, ran: &mut Ran, _: &Watcher<'_>) -> Result<Answer, Invalid> {
        let served = self.served.expect("requests have been served");
        let AllServed { record, facts, full_step, memory, symmetry } = served;
        let metrics = serving_metrics(&record.served, facts, full_step.end() - Time::ZERO, breakdown(&full_step));
        let at = Some((self.sites.whole.gpus[0], record.fullest));
        Ok(Answer {
            memory: Some(memory),
            symmetry,
            folding: ran.folding,
            parts: vec![Part { name: "a full decode step".to_owned(), timeline: full_step, count: 1, at }],
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

fn check(spec: &ServingSpec) -> Result<(), Invalid> {
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
    known: &'a Known,
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
    fn decode(
        scenario: &'a Scenario,
        spec: &'a ServingSpec,
        cluster: &'a Cluster,
        known: &'a Known,
    ) -> Result<Pool<'a>, Invalid> {
        let decode = &spec.decode;
        Ok(Pool {
            deployment: Deployment::of(scenario, cluster)?,
            instances: decode.instances.wide(),
            known,
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

    fn prefill(
        scenario: &'a Scenario,
        spec: &'a ServingSpec,
        cluster: &'a Cluster,
        known: &'a Known,
    ) -> Result<Pool<'a>, Invalid> {
        let prefill = spec.prefill.as_ref().expect("a prefill pool is described");
        Ok(Pool {
            deployment: Deployment::of(scenario, cluster)?,
            instances: prefill.instances.wide(),
            known,
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

    /// The same pool on other machines, or under faults that stay.
    fn at<'b>(&'b self, scenario: &'b Scenario, cluster: &'b Cluster) -> Result<Pool<'b>, Invalid> {
        Ok(Pool { deployment: Deployment::of(scenario, cluster)?, ..*self })
    }

    /// How long a step takes; nothing where faults keep it from ending.
    fn time(&self, load: Load, prompt: u64, watcher: &Watcher<'_>) -> Result<Option<Duration>, Invalid> {
        let batches = self.batches(load, prompt);
        if batches.is_empty() {
            return Ok(Some(Duration::ZERO));
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

    /// A decode step with as many requests of the mean length as there may be.
    fn full_step(&self, spec: &ServingSpec) -> Result<Lowered, Invalid> {
        let (input, output) = spec.mean_lengths();
        let batches = self.batches([(self.requests * self.tp()) as f64, input + output / 2.0, 0.0, 0.0, FULL], 1);
        self.deployment.step(&self.shape(batches, 1.0), self.known)
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
