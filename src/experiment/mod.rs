//! The kinds of workload: each goes from a scenario to what the engine runs, and from what happened to an answer.
//!
//! One file per kind, behind one trait: [`prepare`] is the only place that tells them apart.

mod bound;
mod build;
mod case;
mod collective;
mod collisions;
mod decode;
mod deployment;
mod facts;
mod footprint;
mod known;
mod memo;
mod moe_exchange;
mod notes;
mod pipeline;
mod power;
mod prefill;
mod representative;
mod reserve;
mod serving;
mod training;
mod unread;
mod watch;

pub use bound::{Forecast, forecast};
pub(crate) use build::gpu_kernels;
pub(crate) use case::Ran;
pub use facts::facts;
pub use footprint::Estimate;
pub use known::Known;
pub(crate) use notes::of as notes_on;
pub(crate) use training::simulate_chunk;
pub use unread::READ_BY;
pub(crate) use watch::Watcher;
pub use watch::{Observer, Progress};

use crate::invalid::Invalid;
use crate::metrics::{Folding, Memory, Metrics, Part, Symmetry};
use crate::scenario::{Scenario, WorkloadSpec};
use crate::topology::Cluster;
use crate::units::{OutOfRange, within_range};

/// A kind of workload, prepared from a scenario.
pub(crate) trait Experiment {
    /// Lets the engine run it.
    ///
    /// # Errors
    /// When what is asked for cannot be, or takes more memory than there is.
    fn run(&mut self, watcher: &Watcher<'_>) -> Result<Ran, Invalid>;

    /// What it means that `ran` happened.
    ///
    /// # Errors
    /// When a simulation that the answer takes beside it cannot be.
    fn answer(self: Box<Self>, ran: &mut Ran, watcher: &Watcher<'_>) -> Result<Answer, Invalid>;
}

/// The answer of an experiment beside its cluster and its timeline; see [`Outcome`](crate::metrics::Outcome).
pub(crate) struct Answer {
    pub(crate) metrics: Metrics,
    pub(crate) memory: Option<Memory>,
    pub(crate) symmetry: Symmetry,
    pub(crate) folding: Folding,
    pub(crate) parts: Vec<Part>,
    pub(crate) notes: Vec<String>,
}

/// The devices and links on which the scenario runs.
///
/// # Errors
/// When there can be no such cluster: a fabric that has too few endpoints.
pub(crate) fn build_cluster(scenario: &Scenario) -> Result<Cluster, Invalid> {
    match &scenario.workload {
        WorkloadSpec::Serving(spec) => serving::cluster(scenario, spec),
        _ => build::cluster(scenario),
    }
}

/// Prepares what the scenario asks for on its cluster.
///
/// # Errors
/// When that cannot be: a plan that does not match the cluster, a model that does not fit.
pub(crate) fn prepare<'a>(
    scenario: &'a Scenario,
    cluster: &'a Cluster,
    known: &'a Known,
    watcher: &Watcher<'_>,
) -> Result<Box<dyn Experiment + 'a>, Invalid> {
    Ok(match &scenario.workload {
        WorkloadSpec::Decode(spec) => Box::new(decode::prepare(scenario, spec, cluster, known)?),
        WorkloadSpec::Prefill(spec) => Box::new(prefill::prepare(scenario, spec, cluster, known)?),
        WorkloadSpec::Serving(spec) => Box::new(serving::prepare(scenario, spec, cluster, known)?),
        WorkloadSpec::Collective(spec) => Box::new(collective::prepare(scenario, spec, cluster, known)?),
        WorkloadSpec::Training(spec) => Box::new(training::prepare(scenario, spec, cluster, watcher)?),
        WorkloadSpec::Pipeline(spec) => Box::new(pipeline::prepare(scenario, spec, cluster)?),
        WorkloadSpec::MoeExchange(spec) => Box::new(moe_exchange::prepare(scenario, spec, cluster, known)?),
    })
}

/// Does `work`, in which a quantity may leave the range of its type or of the machine's memory.
pub(crate) fn bounded<T>(work: impl FnOnce() -> Result<T, Invalid>) -> Result<T, Invalid> {
    within_range(work).unwrap_or_else(|beyond: OutOfRange| Err(Invalid::at("", beyond.to_string()).help(beyond.hint())))
}
