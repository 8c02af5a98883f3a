//! One experiment from scenario to answer. This is the picture of the whole program: build, prepare, run, measure.

pub use crate::experiment::{Estimate, Forecast, Known, Observer, Progress, READ_BY, facts, forecast};
pub(crate) use crate::experiment::{gpu_kernels, simulate_chunk};

use crate::experiment::{Answer, Watcher, bounded, build_cluster, notes_on, prepare};
use crate::invalid::Invalid;
use crate::metrics::Outcome;
use crate::scenario::Scenario;

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

/// Runs one experiment, and tells `observer` what long simulations will take and how far their networks are.
///
/// # Errors
/// As for [`simulate`].
pub fn simulate_watched<'a>(scenario: &Scenario, known: &'a Known, observer: Observer<'a>) -> Result<Outcome, Invalid> {
    bounded(|| whole(scenario, known, &Watcher::new(observer, known)))
}

fn whole(scenario: &Scenario, known: &Known, watcher: &Watcher<'_>) -> Result<Outcome, Invalid> {
    let cluster = build_cluster(scenario)?;
    let mut experiment = prepare(scenario, &cluster, known, watcher)?;
    let mut ran = experiment.run(watcher)?;
    let answer = experiment.answer(&mut ran, watcher)?;
    let Answer { metrics, memory, symmetry, folding, parts, notes: of_kind } = answer;
    ran.timeline.effort = watcher.effort();
    let mut outcome =
        Outcome { cluster, timeline: ran.timeline, metrics, memory, symmetry, folding, parts, notes: Vec::new() };
    outcome.notes = notes_on(scenario, &outcome, known)?.into_iter().chain(of_kind).collect();
    Ok(outcome)
}
