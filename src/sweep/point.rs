//! Simulates the points of a plan, many at a time.

use super::plan::{Plan, Point};
use super::record::{Answer, Kept, Record};
use crate::report::files::{Log, WriteError};
use crate::run::{Known, simulate_among};
use crate::scenario::{Library, Loaded, Scenario, UserError, load_with};
use rayon::prelude::*;
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of a point, for whoever shows progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Simulated.
    Done,
    /// Known from before.
    Known,
    /// It has no answer.
    Failed,
}

/// What is known of points from before, and where what is found out is kept.
#[derive(Clone, Copy, Debug)]
pub struct Ledger<'a> {
    /// Records by the fingerprint of their inputs.
    pub known: &'a BTreeMap<String, Record>,
    /// Gets every new record as soon as there is one.
    pub log: Option<&'a Log>,
}

/// Why there is no answer about all points. What was over by then is kept.
#[derive(Debug)]
pub enum Unfinished {
    /// It was to stop.
    Stopped,
    /// A record could not be kept.
    Unwritten(WriteError),
}

/// Simulates every point of `plan` that the ledger does not know, `jobs` at a time. The records come back in the order of the points,
/// whatever the order in which they were made. Once `stop` says so no other point is begun; those that were are ended and kept.
///
/// # Errors
/// When it was stopped, or a record could not be kept.
pub fn run(
    plan: &Plan,
    ledger: Ledger<'_>,
    jobs: usize,
    progress: &(dyn Fn(Progress) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Record>, Unfinished> {
    let (library, among) = (Library::default(), Known::default());
    let threads = rayon::ThreadPoolBuilder::new().num_threads(jobs).build().expect("threads can be started");
    threads.install(|| {
        let one = |point: &Point| {
            if stop() {
                return Err(Unfinished::Stopped);
            }
            let (record, is_known) = record_of(plan, point, ledger, &library, &among).map_err(Unfinished::Unwritten)?;
            progress(match record.answer {
                Answer::Error(_) => Progress::Failed,
                Answer::Metrics(_) if is_known => Progress::Known,
                Answer::Metrics(_) => Progress::Done,
            });
            Ok(record)
        };
        // One point after the other to each thread, because neighbours tend to take equally long.
        plan.points.par_iter().with_max_len(1).map(one).collect()
    })
}

/// The record of one point of `plan`, simulated and kept now unless the ledger knows it, and whether it does.
pub(crate) fn record_of(
    plan: &Plan,
    point: &Point,
    ledger: Ledger<'_>,
    library: &Library,
    among: &Known,
) -> Result<(Record, bool), WriteError> {
    let (record, is_known) = record(plan, point, ledger.known, library, among);
    if let Some(log) = ledger.log.filter(|_| !is_known) {
        log.append(&record.line())?;
    }
    Ok((record, is_known))
}

/// The record of a point, and whether it was known before.
fn record(
    plan: &Plan,
    point: &Point,
    known: &BTreeMap<String, Record>,
    library: &Library,
    among: &Known,
) -> (Record, bool) {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let set = point.overlays.iter().map(|overlay| overlay.text.clone()).collect();
    let loaded: Result<Loaded<Scenario>, UserError> = load_with(&plan.base, &point.overlays, library);
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            let answer = Answer::Error(error.to_string());
            return (Record { inputs: None, version, seed: None, set, answer }, false);
        }
    };
    let inputs = loaded.fingerprint();
    if let Some(record) = known.get(&inputs).filter(|record| record.version == version) {
        return (Record { set, ..record.clone() }, true);
    }
    // A point that meets a bug must not take the others down with it.
    let answer = catch_unwind(AssertUnwindSafe(|| answer(&loaded, among)));
    let answer = answer.unwrap_or_else(|panic| Answer::Error(format!("bug: {}", in_words(&*panic))));
    (Record { inputs: Some(inputs), version, seed: Some(loaded.value.seed), set, answer }, false)
}

fn answer(loaded: &Loaded<Scenario>, among: &Known) -> Answer {
    match simulate_among(&loaded.value, among) {
        Ok(outcome) if outcome.unended().is_some() => Answer::Error(outcome.unended().unwrap_or_default()),
        Ok(outcome) => Answer::Metrics(outcome.metrics.named().iter().map(Kept::from).collect()),
        Err(invalid) => Answer::Error(loaded.error(&invalid).to_string()),
    }
}

fn in_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
