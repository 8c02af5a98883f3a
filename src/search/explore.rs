//! Looks at every point, and simulates those that may be the answer.
//!
//! Points are simulated in rounds of a fixed size, the most promising first, so that what is left out does not depend on how many
//! run at the same time.

use super::aim::{Aims, Limit, Way, of};
use super::spec::GoalSpec;
use crate::invalid::Invalid;
use crate::metrics::run_metrics;
use crate::run::{Forecast, Known, forecast};
use crate::scenario::{Library, Loaded, Overlay, Scenario, UserError, WorkloadSpec, load_with};
use crate::sweep::{Answer, Kept, Ledger, Plan, Point, Record, Unfinished, record_of};
use rayon::prelude::*;
use std::path::PathBuf;

/// How contexts are spread where a goal says nothing.
pub(super) const SPREAD_KEY: &str = "workload.decode.context_spread";
pub(super) const SPREAD: f64 = 0.5;

/// Points of a round.
const ROUND: usize = 8;

/// What became of a point.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// Its input makes no sense.
    Senseless,
    /// It does not fit into memory.
    TooLarge,
    /// It cannot meet a target: what was written, and the best that it may reach.
    OutOfReach(String, f64),
    /// It cannot beat the point of this number, whose figures are better than the best that it may reach.
    Beaten(usize),
    /// It was simulated and meets the targets.
    Meets,
    /// It was simulated and misses the target that was written so.
    Misses(String),
}

/// A point, looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// What became of it.
    pub fate: Fate,
    /// Its metrics, with `gpus` and `usd_per_hour`; or why there are none.
    pub record: Record,
    /// Its value of the objective that the simulation cannot beat, where one is known.
    pub bound: Option<f64>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Every point, in the order of the plan.
    pub seen: Vec<Seen>,
    /// The number of the best point, if any meets the targets.
    pub best: Option<usize>,
    /// The numbers of those that meet the targets and are not beaten on all sides by another one, by rising speed of a user.
    pub front: Vec<usize>,
}

/// What was found out about a point before simulating it.
struct Candidate {
    forecast: Forecast,
    /// The best that it may reach on each side; none where that is not known.
    hope: Vec<Option<f64>>,
}

/// How a search is to be done.
#[derive(Clone, Copy)]
pub struct Manner<'a> {
    /// Points simulated at the same time.
    pub jobs: usize,
    /// Whether all points that fit are simulated, whatever their bounds say.
    pub everything: bool,
    /// What is known from before, and where what is found out is kept.
    pub ledger: Ledger<'a>,
    /// Called whenever a point is done with.
    pub tick: &'a (dyn Fn() + Sync),
    /// Once it says so, no other point is begun.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// Why a search has no answer.
#[derive(Debug)]
pub enum Failure {
    /// A target or the objective makes no sense.
    Senseless(Invalid),
    /// It did not come to its end; what was over by then is kept.
    Unfinished(Unfinished),
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Failure {
        Failure::Senseless(invalid)
    }
}

/// Checks what can be checked of a goal before its first point.
///
/// # Errors
/// When a target or the objective makes no sense.
pub fn makes_sense(goal: &GoalSpec) -> Result<(), Invalid> {
    Aims::new(goal).map(drop)
}

/// Finds the best point of `plan` for `goal`.
///
/// # Errors
/// When a target or the objective makes no sense, and when the search was stopped or a record could not be kept.
pub fn search(goal: &GoalSpec, plan: &Plan, manner: Manner<'_>) -> Result<Found, Failure> {
    let aims = Aims::new(goal)?;
    let library = Library::default();
    let plan = &spread(goal, plan, &library);
    let threads = rayon::ThreadPoolBuilder::new().num_threads(manner.jobs).build().expect("threads can be started");
    threads.install(|| {
        let looked: Vec<Result<Candidate, Box<Seen>>> =
            plan.points.par_iter().map(|point| look(plan, point, &aims, &library)).collect();
        let known = Known::default();
        let mut search = Search { plan, aims, library, known, manner, seen: vec![None; plan.points.len()] };
        let mut waiting = Vec::new();
        for (at, looked) in looked.into_iter().enumerate() {
            match looked {
                Ok(candidate) => waiting.push((at, candidate)),
                Err(seen) => search.seen[at] = Some(*seen),
            }
        }
        search.seen.iter().flatten().for_each(|_| (manner.tick)());
        search.rounds(waiting)?;
        Ok(search.found())
    })
}

/// The plan with contexts that differ between the requests of a batch, where its scenarios decode: with equal ones the kernel of attention
/// has a last wave that grows and shrinks by steps with the number of requests, and a search would pick their edges.
fn spread(goal: &GoalSpec, plan: &Plan, library: &Library) -> Plan {
    let mut plan = plan.clone();
    let decodes = plan.points.first().is_some_and(|point| {
        let loaded: Result<Loaded<Scenario>, UserError> = load_with(&plan.base, &point.overlays, library);
        loaded.is_ok_and(|loaded| matches!(loaded.value.workload, WorkloadSpec::Decode(_)))
    });
    if decodes && !goal.set.contains_key(SPREAD_KEY) {
        let folder = plan.base.parent().map_or_else(PathBuf::new, PathBuf::from);
        let text = format!("{SPREAD_KEY} = {SPREAD}");
        let overlay = Overlay { name: "search".to_owned(), text, folder };
        plan.points.iter_mut().for_each(|point| point.overlays.insert(0, overlay.clone()));
    }
    plan
}

/// What can be said of a point before it is simulated.
fn look(plan: &Plan, point: &Point, aims: &Aims, library: &Library) -> Result<Candidate, Box<Seen>> {
    let loaded: Result<Loaded<Scenario>, UserError> = load_with(&plan.base, &point.overlays, library);
    let none = |fate: Fate, message: String| Box::new(Seen { fate, record: refused(point, message), bound: None });
    let loaded = loaded.map_err(|error| none(Fate::Senseless, error.to_string()))?;
    let forecast = forecast(&loaded.value);
    let forecast = forecast.map_err(|invalid| none(Fate::Senseless, loaded.error(&invalid).to_string()))?;
    if let Some(invalid) = &forecast.too_large {
        return Err(none(Fate::TooLarge, loaded.error(invalid).to_string()));
    }
    let hope = aims.sides.iter().map(|(name, way)| hope(&forecast, name, *way)).collect();
    Ok(Candidate { forecast, hope })
}

fn refused(point: &Point, message: String) -> Record {
    let set = point.overlays.iter().map(|overlay| overlay.text.clone()).collect();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Record { inputs: None, version, seed: None, set, answer: Answer::Error(message) }
}

/// The most that a metric may reach on a way: exact for what is known beforehand. Where the way leads to what is worse, as where
/// speed is to be least, nothing bounds it.
fn hope(forecast: &Forecast, metric: &str, way: Way) -> Option<f64> {
    let exact = sure(forecast).iter().find(|kept| kept.name == metric).and_then(|kept| kept.value);
    exact.or(forecast.best_of(metric).filter(|_| Way::to_better(metric) == Some(way)))
}

/// What is known of a deployment without simulation.
fn sure(forecast: &Forecast) -> Vec<Kept> {
    let kept = |name: &str, unit: &str, value| Kept { name: name.to_owned(), unit: unit.to_owned(), value };
    let gpus = forecast.gpus as f64;
    let rent = forecast.rent.map(|rent| kept("usd_per_hour", "USD", Some(rent.as_f64() * gpus)));
    [kept("gpus", "", Some(gpus))].into_iter().chain(rent).collect()
}

struct Search<'a> {
    plan: &'a Plan,
    aims: Aims,
    library: Library,
    known: Known,
    manner: Manner<'a>,
    seen: Vec<Option<Seen>>,
}

impl Search<'_> {
    fn rounds(&mut self, mut waiting: Vec<(usize, Candidate)>) -> Result<(), Failure> {
        let way = self.aims.sides[0].1;
        // The most promising one last, to be taken first; of equals, the first.
        let rank =
            |hope: Option<f64>| hope.map_or(f64::NEG_INFINITY, |hope| if way.better(0.0, 1.0) { -hope } else { hope });
        waiting.sort_by(|a, b| rank(a.1.hope[0]).total_cmp(&rank(b.1.hope[0])).then(b.0.cmp(&a.0)));
        while !waiting.is_empty() {
            let mut round = Vec::new();
            while round.len() < ROUND
                && let Some((at, candidate)) = waiting.pop()
            {
                match self.hopeless(&candidate)? {
                    Some(fate) if !self.manner.everything => {
                        self.seen[at] = Some(self.left_out(at, fate, candidate.hope[0]));
                        (self.manner.tick)();
                    }
                    _ => round.push((at, candidate)),
                }
            }
            let Manner { ledger, tick, stop, .. } = self.manner;
            let simulate = |(at, candidate): (usize, Candidate)| {
                if stop() {
                    return Err(Failure::Unfinished(Unfinished::Stopped));
                }
                let record = record_of(self.plan, &self.plan.points[at], ledger, &self.library, &self.known);
                let (mut record, _) = record.map_err(|error| Failure::Unfinished(Unfinished::Unwritten(error)))?;
                if let Answer::Metrics(metrics) = &mut record.answer {
                    metrics.extend(sure(&candidate.forecast));
                }
                tick();
                Ok((at, record, candidate.hope[0]))
            };
            let records: Vec<_> =
                round.into_par_iter().with_max_len(1).map(simulate).collect::<Result<_, Failure>>()?;
            for (at, record, bound) in records {
                let fate = self.judged(&record)?;
                self.seen[at] = Some(Seen { fate, record, bound });
            }
        }
        Ok(())
    }

    /// Why a point cannot be the answer nor on the front, if that is sure.
    fn hopeless(&self, candidate: &Candidate) -> Result<Option<Fate>, Invalid> {
        for limit in &self.aims.limits {
            let Some(best) = hope(&candidate.forecast, &limit.metric, limit.way) else { continue };
            if !holds(limit, best, unit_of(&limit.metric))? {
                return Ok(Some(Fate::OutOfReach(limit.text.clone(), best)));
            }
        }
        let beaten = |seen: &Option<Seen>| {
            let Some(Seen { fate: Fate::Meets, record, .. }) = seen else { return false };
            let values = self.sides(record);
            self.beats(&values, &candidate.hope)
        };
        Ok(self.seen.iter().position(beaten).map(Fate::Beaten))
    }

    /// Whether `a` is at least as good as `b` on all sides that either knows, and better on one.
    fn beats(&self, a: &[Option<f64>], b: &[Option<f64>]) -> bool {
        let mut better = false;
        for ((_, way), (a, b)) in self.aims.sides.iter().zip(a.iter().zip(b)) {
            match (a, b) {
                (Some(a), Some(b)) if way.better(*b, *a) => return false,
                (Some(a), Some(b)) => better |= way.better(*a, *b),
                // Nothing is known of one of them, which then may be the better one.
                (None, Some(_)) | (Some(_), None) => return false,
                (None, None) => {}
            }
        }
        better
    }

    fn sides(&self, record: &Record) -> Vec<Option<f64>> {
        let Answer::Metrics(metrics) = &record.answer else { return vec![None; self.aims.sides.len()] };
        self.aims.sides.iter().map(|(name, _)| of(metrics, name).and_then(|kept| kept.value)).collect()
    }

    fn left_out(&self, at: usize, fate: Fate, bound: Option<f64>) -> Seen {
        let message = match &fate {
            Fate::OutOfReach(target, best) => {
                format!("not simulated: cannot meet {target}; no better than {}", crate::report::table::number(*best))
            }
            _ => "not simulated: another point is better than the best that this one may reach".to_owned(),
        };
        Seen { fate, record: refused(&self.plan.points[at], message), bound }
    }

    /// What became of a point that was simulated.
    fn judged(&self, record: &Record) -> Result<Fate, Invalid> {
        let Answer::Metrics(metrics) = &record.answer else { return Ok(Fate::Senseless) };
        let known = |name: &str| {
            of(metrics, name).ok_or_else(|| {
                let names: Vec<&str> = metrics.iter().map(|kept| kept.name.as_str()).collect();
                Invalid::at("", format!("no point has a metric `{name}`; there are {}", names.join(", ")))
            })
        };
        known(&self.aims.sides[0].0)?;
        for limit in &self.aims.limits {
            let kept = known(&limit.metric)?;
            let value = kept.value.unwrap_or(f64::INFINITY);
            if !holds(limit, value, &kept.unit)? {
                return Ok(Fate::Misses(limit.text.clone()));
            }
        }
        Ok(Fate::Meets)
    }

    fn found(self) -> Found {
        let meets = |at: &usize| matches!(&self.seen[*at], Some(Seen { fate: Fate::Meets, .. }));
        let meeting: Vec<usize> = (0..self.seen.len()).filter(meets).collect();
        let sides: Vec<Vec<Option<f64>>> = self
            .seen
            .iter()
            .map(|seen| self.sides(&seen.as_ref().expect("every point was looked at").record))
            .collect();
        // By the objective; of equals the one that is better on the next side; of equals on all, the first.
        let better = |a: usize, b: usize| {
            for ((_, way), (x, y)) in self.aims.sides.iter().zip(sides[a].iter().zip(&sides[b])) {
                match (x, y) {
                    (Some(x), Some(y)) if x != y => return way.better(*x, *y),
                    (Some(_), None) => return true,
                    (None, Some(_)) => return false,
                    _ => {}
                }
            }
            false
        };
        let best = meeting.iter().copied().reduce(|best, at| if better(at, best) { at } else { best });
        let mut front: Vec<usize> = meeting
            .iter()
            .copied()
            .filter(|&at| !meeting.iter().any(|&by| self.beats(&sides[by], &sides[at])))
            .collect();
        let user = self.aims.sides.iter().position(|(name, _)| name == "tokens_per_s_per_user").unwrap_or(0);
        front.sort_by(|&a, &b| sides[a][user].unwrap_or(0.0).total_cmp(&sides[b][user].unwrap_or(0.0)));
        Found { seen: self.seen.into_iter().flatten().collect(), best, front }
    }
}

fn holds(limit: &Limit, value: f64, unit: &str) -> Result<bool, Invalid> {
    limit.holds(value, unit).map_err(|message| Invalid::at("target", message))
}

/// The unit of a metric, as the table of metrics has it.
fn unit_of(metric: &str) -> &'static str {
    run_metrics().find(|known| known.name == metric).map_or("", |known| known.unit)
}
