//! One experiment from scenario to answer, in five stages: build, lower, run, measure, and hand over.
//!
//! This is the picture of the whole program; each line of [`simulate`] is one arrow of it.

mod bound;
mod build;
mod exchange;
mod inference;
mod lower;
mod notes;
mod seen;
mod serving;
mod training;
mod watch;

pub use bound::{Forecast, forecast};
pub(crate) use build::gpu_kernels;
pub use watch::{Observer, Progress};

use crate::engine;
use crate::gpu::{Beside, Taken};
use crate::invalid::Invalid;
use crate::metrics::{
    DecodeFacts, Metrics, MoeExchangeFacts, Outcome, PrefillFacts, collective_metrics, decode_metrics,
    moe_exchange_metrics, prefill_metrics,
};
use crate::scenario::{Scenario, WorkloadSpec};
use crate::timeline::Timeline;
use crate::topology::Cluster;
use crate::units::{Duration, OutOfRange, within_range};
use crate::workload::{ChunkWork, GateDraws, MtpSpec, Workload};
use watch::Watcher;

/// Runs one experiment.
///
/// # Errors
/// When the scenario asks for what cannot be: a plan that does not match the cluster, a model that does not fit.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, Invalid> {
    simulate_watched(scenario, &Known::default(), None)
}

/// Runs one experiment of many: what was found out in the others and holds for this one too is not worked out again. The answer is
/// that of [`simulate`].
///
/// # Errors
/// As for [`simulate`].
pub fn simulate_among(scenario: &Scenario, known: &Known) -> Result<Outcome, Invalid> {
    simulate_watched(scenario, known, None)
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

/// Runs one experiment, and tells `observer` of the progress of its networks now and then.
///
/// # Errors
/// As for [`simulate`].
pub fn simulate_watched(scenario: &Scenario, known: &Known, observer: Observer<'_>) -> Result<Outcome, Invalid> {
    let simulated = within_range(|| {
        let mut watcher = Watcher::new(observer);
        let mut outcome = simulate_whole(scenario, known, &mut watcher)?;
        outcome.timeline.effort = watcher.effort();
        Ok(Outcome { notes: notes::of(scenario), ..outcome })
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
    let mut workload = job.workload;
    let seen = job.seen.as_ref().unwrap_or(&cluster);
    let timeline = timed(scenario, seen, workload.as_mut(), job.taken, watcher)?;
    let metrics = measure(scenario, &cluster, &timeline, job.exchange.as_ref());
    Ok(Outcome {
        timeline,
        metrics,
        memory: job.memory,
        folding: job.folding,
        cluster,
        parts: Vec::new(),
        notes: Vec::new(),
    })
}

/// Runs `workload` on the machines of the scenario, whose kernels have what communication leaves of the GPU.
fn timed(
    scenario: &Scenario,
    cluster: &Cluster,
    workload: &mut dyn Workload,
    taken: Taken,
    watcher: &mut Watcher<'_>,
) -> Result<Timeline, Invalid> {
    let kernels = build::kernels(scenario, cluster)?;
    let mut kernels = Beside { kernels, taken, library: build::library(scenario.matrix_kernels), gap: Duration::ZERO };
    let mut network = build::network(scenario, cluster, watcher)?;
    let timeline = engine::run(workload, &mut kernels, network.as_mut(), &cluster.topology);
    drop(network);
    Ok(watcher.ran(timeline))
}

fn measure(
    scenario: &Scenario,
    cluster: &Cluster,
    timeline: &Timeline,
    exchange: Option<&MoeExchangeFacts>,
) -> Metrics {
    match &scenario.workload {
        WorkloadSpec::Decode(spec) => {
            let facts = DecodeFacts {
                requests_per_gpu: spec.requests_per_gpu.wide(),
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
