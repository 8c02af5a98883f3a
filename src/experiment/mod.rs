//! One experiment from scenario to answer, in five stages: build, lower, run, measure, and hand over.
//!
//! This is the picture of the whole program; each line of [`simulate`] is one arrow of it.

mod bound;
mod build;
mod collisions;
mod exchange;
mod facts;
mod footprint;
mod inference;
mod lower;
mod notes;
mod power;
mod representative;
mod reserve;
mod seen;
mod serving;
mod training;
mod unread;
mod watch;

pub use bound::{Forecast, forecast};
pub(crate) use build::gpu_kernels;
pub use facts::facts;
pub use footprint::Estimate;
pub use unread::READ_BY;
pub use watch::{Observer, Progress};

use crate::gpu::{Beside, Taken};
use crate::invalid::Invalid;
use crate::metrics::{
    DecodeFacts, Folding, Metrics, MoeExchangeFacts, Outcome, PrefillFacts, collective_metrics, decode_metrics,
    moe_exchange_metrics, prefill_metrics,
};
use crate::scenario::{Scenario, WorkloadSpec};
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::units::{Duration, OutOfRange, within_range};
use crate::workload::{ChunkWork, GateDraws, MtpSpec, Workload};
use lower::CaseRun;
use watch::Watcher;

/// Runs one experiment.
///
/// # Errors
/// When the scenario asks for what cannot be: a plan that does not match the cluster, a model that does not fit.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, Invalid> {
    simulate_watched(scenario, &Known::default(), Observer::default())
}

/// Runs one experiment of many: what was found out in the others and holds for this one too is not worked out again. The answer is
/// that of [`simulate`].
///
/// # Errors
/// As for [`simulate`].
pub fn simulate_among(scenario: &Scenario, known: &Known) -> Result<Outcome, Invalid> {
    simulate_watched(scenario, known, Observer::default())
}

/// What experiments have in common, found out by the first that needs it.
#[derive(Default)]
pub struct Known {
    /// Tokens that passed a gate.
    gates: GateDraws,
}

/// Runs one chunk of the training step that the scenario describes: what happens on one of its GPUs, or on all.
///
/// # Errors
/// As for [`simulate`], and where the scenario describes no training step.
pub(crate) fn simulate_chunk(scenario: &Scenario, work: ChunkWork) -> Result<Timeline, Invalid> {
    let WorkloadSpec::Training(spec) = &scenario.workload else {
        return Err(Invalid::at("workload", "only a training step has chunks"));
    };
    within_range(|| training::simulate_chunk(scenario, spec, work)).unwrap_or_else(|beyond| Err(too_large(beyond)))
}

fn too_large(beyond: OutOfRange) -> Invalid {
    Invalid::at("", beyond.to_string()).help(beyond.hint())
}

/// Runs one experiment, and tells `observer` what long simulations will take and how far their networks are.
///
/// # Errors
/// As for [`simulate`].
pub fn simulate_watched(scenario: &Scenario, known: &Known, observer: Observer<'_>) -> Result<Outcome, Invalid> {
    let simulated = within_range(|| {
        let mut watcher = Watcher::new(observer);
        let mut outcome = simulate_whole(scenario, known, &mut watcher)?;
        outcome.timeline.effort = watcher.effort();
        let notes = notes::of(scenario, &outcome)?.into_iter().chain(outcome.notes.clone()).collect();
        Ok(Outcome { notes, ..outcome })
    });
    simulated.unwrap_or_else(|beyond| Err(too_large(beyond)))
}

fn simulate_whole(scenario: &Scenario, known: &Known, watcher: &mut Watcher<'_>) -> Result<Outcome, Invalid> {
    if let WorkloadSpec::Serving(spec) = &scenario.workload {
        return serving::simulate(scenario, spec, known, watcher);
    }
    let cluster = build::cluster(scenario)?;
    match &scenario.workload {
        WorkloadSpec::Training(spec) => return training::simulate(scenario, spec, cluster, watcher),
        WorkloadSpec::Pipeline(spec) => return training::simulate_pipeline(scenario, spec, cluster, watcher),
        _ => {}
    }
    let job = lower::job(scenario, &cluster, known)?;
    let (timeline, folding) = slowest(scenario, &cluster, job.cases, job.taken, watcher)?;
    let notes = notes::of_kernels(&timeline, &mut kernels_beside(scenario, &cluster, job.taken)?);
    let metrics = measure(scenario, &cluster, &timeline, job.exchange.as_ref());
    let (memory, symmetry) = (job.memory, job.symmetry);
    Ok(Outcome { timeline, metrics, memory, symmetry, folding, cluster, parts: Vec::new(), notes })
}

/// Runs what is simulated by itself, and keeps what ends last: a run that cannot end is slower than all others.
fn slowest(
    scenario: &Scenario,
    cluster: &Cluster,
    cases: Vec<CaseRun>,
    taken: Taken,
    watcher: &mut Watcher<'_>,
) -> Result<(Timeline, Folding), Invalid> {
    let mut slowest: Option<(Timeline, Folding)> = None;
    for mut case in cases {
        let seen = case.seen.as_ref().unwrap_or(cluster);
        let timeline = timed(scenario, seen, case.workload.as_mut(), taken, watcher)?;
        let key = |timeline: &Timeline| (!timeline.stranded.is_empty(), timeline.end());
        if slowest.as_ref().is_none_or(|(other, _)| key(other) < key(&timeline)) {
            slowest = Some((timeline, case.folding));
        }
    }
    Ok(slowest.expect("something is simulated"))
}

/// Runs `workload` on the machines of the scenario, whose kernels have what communication leaves of the GPU.
fn timed(
    scenario: &Scenario,
    cluster: &Cluster,
    workload: &mut dyn Workload,
    taken: Taken,
    watcher: &mut Watcher<'_>,
) -> Result<Timeline, Invalid> {
    let mut kernels = kernels_beside(scenario, cluster, taken)?;
    footprint::run(scenario, cluster, workload, &mut kernels, watcher)
}

/// The kernels of the scenario beside communication that takes `taken`.
fn kernels_beside(scenario: &Scenario, cluster: &Cluster, taken: Taken) -> Result<Beside, Invalid> {
    Ok(Beside { kernels: build::kernels(scenario, cluster)?, taken, gap: Duration::ZERO })
}

fn measure(
    scenario: &Scenario,
    cluster: &Cluster,
    timeline: &Timeline,
    exchange: Option<&MoeExchangeFacts>,
) -> Metrics {
    match &scenario.workload {
        WorkloadSpec::Decode(spec) => {
            let tp = scenario.parallelism.tp.wide();
            let facts = DecodeFacts {
                requests_per_gpu: spec.requests_of_group(tp).unwrap_or(0) as f64 / tp as f64,
                tokens_per_step: MtpSpec::tokens_per_step(spec.mtp.as_ref()),
                gpus_per_node: u64::from(cluster.gpus_per_node),
                rent: scenario.hardware.gpu.rent,
            };
            Metrics::Decode(decode_metrics(timeline, &facts))
        }
        WorkloadSpec::Prefill(spec) => {
            let facts = PrefillFacts {
                tokens_per_gpu: spec.tokens_per_gpu.wide(),
                prompt: spec.prompt.wide(),
                cached: u64::from(spec.cached),
                gpus_per_node: u64::from(cluster.gpus_per_node),
                rent: scenario.hardware.gpu.rent,
            };
            Metrics::Prefill(prefill_metrics(timeline, &facts))
        }
        WorkloadSpec::Serving(_) => unreachable!("serving is simulated in levels"),
        WorkloadSpec::Collective(spec) => Metrics::Collective(collective_metrics(
            timeline,
            spec.kind,
            cluster.gpus.len() / spec.groups.index(),
            spec.bytes,
        )),
        WorkloadSpec::Training(_) | WorkloadSpec::Pipeline(_) => unreachable!("measured where they are simulated"),
        WorkloadSpec::MoeExchange(_) => {
            let facts = exchange.expect("an exchange was lowered with its facts");
            Metrics::MoeExchange(moe_exchange_metrics(timeline, facts))
        }
    }
}
