//! Fits constants of hardware files to measurements: the same rows, simulated by the same code as in a comparison, again and again.
//!
//! The loss of a row is Huber's function of `(simulated - measured) / sqrt(simulated * measured)`, which is the logarithm of their
//! ratio while that is small, is symmetric between too fast and too slow, and needs a square root only. It is lowered by slopes
//! (`levenberg`) from the file's values and from others around them, and from the best place found by one constant after the other
//! (`search`). It knows which constants there are and which tables decide, never a measured value or how a row is simulated. It
//! changes no file; `file` finds and replaces values in their text.

mod file;
mod groups;
mod held_out;
mod levenberg;
mod loss;
mod search;

pub use file::{value_in, written};
pub use groups::{Constant, GROUPS, Group};
pub use held_out::{HeldOut, held_out};

use crate::report::validation::{Statistics, ValidationReport};
use crate::rng::Seed;
use crate::scenario::{UserError, read_text};
use crate::validate::{Measurements, Models, Override};
use file::toml;
use levenberg::{descend, factor};
use loss::{Residual, loss, residuals};
use search::{Range, minimise};
use std::path::{Path, PathBuf};

/// How far, in logarithms, other starts lie from the file's values at most.
const SPREAD: f64 = 0.3;
/// How far constants are moved to see what they matter.
const NUDGE: f64 = 0.1;

/// What is to be fitted, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The constants and their tables.
    pub group: &'a Group,
    /// Keys of those constants that may move; all of the group's, if empty.
    pub only: &'a [String],
    /// The folder of tables.
    pub data: &'a Path,
    /// The models, and the root of the hardware.
    pub models: Models<'a>,
    /// A system whose rows do not decide.
    pub leave_out: Option<&'a str>,
    /// A part of the rows that do not decide either.
    pub fold: Option<Fold>,
    /// How many searches start from other values than those of the file, drawn around them.
    pub starts: u16,
}

/// One of several parts of the rows of a table: every so many-th row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fold {
    /// The first row, from zero.
    pub part: usize,
    /// How many parts there are.
    pub of: usize,
}

impl Request<'_> {
    /// Whether a row does not decide.
    fn leaves_out(&self, system: &str, row: usize) -> bool {
        let in_fold = self.fold.is_some_and(|fold| row % fold.of == fold.part);
        in_fold || self.leave_out.is_some_and(|out| out == system)
    }
}

/// What became of one constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Its place in the file.
    pub key: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// Unit of its values; empty for a plain number.
    pub unit: String,
    /// The file's value.
    pub before: f64,
    /// The fitted value.
    pub after: f64,
    /// By what part the loss rises when the fitted value is a tenth smaller, and a tenth larger.
    pub rises: [f64; 2],
}

/// Errors of one table or of what was left out of it, before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors {
    /// The table.
    pub set: &'static str,
    /// Whether these rows were left out of the fit.
    pub left_out: bool,
    /// With the file's values.
    pub before: Statistics,
    /// With the fitted ones.
    pub after: Statistics,
    /// The same, row by row.
    pub rows: Vec<f64>,
}

/// A finished fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The constants, in the group's order.
    pub constants: Vec<Fitted>,
    /// Loss with the file's values and with the fitted ones.
    pub loss: [f64; 2],
    /// Errors by table.
    pub errors: Vec<Errors>,
}

/// Fits the constants of a group. `watch` is told the number of comparisons so far and the loss of the last one. The result is
/// the same for any number of threads.
///
/// # Errors
/// For tables and files that do not load, for constants that the file does not hold, for a system to leave out that no row names, and where no row decides.
pub fn fit(request: &Request<'_>, watch: &mut dyn FnMut(u64, f64)) -> Result<Fit, UserError> {
    let task = Task::of(request)?;
    let mut asked = 0;
    let mut rows = |values: &[f64]| -> Result<Vec<Residual>, UserError> {
        let found = task.residuals(values)?;
        asked += 1;
        watch(asked, loss(&found));
        Ok(found)
    };
    let start = task.start();
    let first = loss(&rows(&start)?);
    let mut best = (start.clone(), first);
    for from in std::iter::once(start.clone()).chain((1..=request.starts).map(|number| task.other_start(number))) {
        let found = descend(&from, &task.ranges, &mut rows)?;
        if found.1 < best.1 {
            best = found;
        }
    }
    let mut loss_at = |values: &[f64]| rows(values).map(|rows| loss(&rows));
    let (place, lowest) = minimise(&best.0, &task.ranges, &mut loss_at)?;
    let mut fitted = Vec::with_capacity(task.constants.len());
    for (index, (constant, (before, unit))) in task.constants.iter().zip(&task.written).enumerate() {
        let mut rises = [0.0; 2];
        for (rise, times) in rises.iter_mut().zip([1.0 - NUDGE, 1.0 + NUDGE]) {
            let mut moved = place.clone();
            moved[index] = task.ranges[index].snap(place[index] * times);
            *rise = if lowest > 0.0 { loss_at(&moved)? / lowest - 1.0 } else { loss_at(&moved)? };
        }
        let (key, meaning) = (constant.key, constant.meaning);
        fitted.push(Fitted { key, meaning, unit: unit.clone(), before: *before, after: place[index], rises });
    }
    Ok(Fit { constants: fitted, loss: [first, lowest], errors: task.errors(&start, &place)? })
}

/// What a fit compares and moves.
struct Task<'a> {
    request: &'a Request<'a>,
    measurements: Measurements,
    constants: Vec<&'static Constant>,
    ranges: Vec<Range>,
    /// Values and units of the file.
    written: Vec<(f64, String)>,
}

impl<'a> Task<'a> {
    fn of(request: &'a Request<'a>) -> Result<Task<'a>, UserError> {
        let group = request.group;
        let sets: Vec<String> = group.sets.iter().map(|(id, _)| (*id).to_owned()).collect();
        let measurements = Measurements::read(&sets, request.data, request.models.root)?;
        let systems = measurements.systems();
        if let Some(wrong) = request.leave_out.filter(|system| !systems.contains(system)) {
            return Err(UserError::unknown("system", wrong, &systems));
        }
        let constants = chosen(request)?;
        let text = read_text(&request.models.root.join(group.file))?;
        let mut written = Vec::with_capacity(constants.len());
        for constant in &constants {
            let found = value_in(&text, constant.key);
            let missing = || UserError::plain(format!("{} holds no number at `{}`", group.file, constant.key));
            written.push(found.ok_or_else(missing)?);
        }
        let ranges = constants.iter().map(|c| Range { low: c.low, high: c.high, step: c.step }).collect();
        Ok(Task { request, measurements, constants, ranges, written })
    }

    /// The file's values.
    fn start(&self) -> Vec<f64> {
        self.written.iter().map(|(value, _)| *value).collect()
    }

    /// Values around those of the file. Each constant has draws of its own, so that those of others do not shift them.
    fn other_start(&self, number: u16) -> Vec<f64> {
        let drawn = self.constants.iter().zip(&self.written).zip(&self.ranges);
        let value = |((constant, (value, _)), range): ((&&Constant, &(f64, String)), &Range)| {
            let at = Seed(1).stream(&format!("fit {} start {number}", constant.key)).unit();
            range.snap(value * factor(SPREAD * (2.0 * at - 1.0)))
        };
        drawn.map(value).collect()
    }

    /// The rows that decide, or those that are left out.
    fn compare(&self, values: &[f64], left_out: bool) -> Result<ValidationReport, UserError> {
        let changed = self.constants.iter().zip(values).zip(&self.written);
        let overrides: Vec<Override> = changed
            .map(|((constant, value), (_, unit))| Override {
                file: PathBuf::from(self.request.group.file),
                key: constant.key.to_owned(),
                value: toml(*value, unit),
            })
            .collect();
        let keep = |_: &str, system: &str, row: usize| self.request.leaves_out(system, row) == left_out;
        self.measurements.compare(&self.request.models, &overrides, &keep)
    }

    fn residuals(&self, values: &[f64]) -> Result<Vec<Residual>, UserError> {
        let group = self.request.group;
        residuals(&self.compare(values, false)?, group).ok_or_else(|| {
            let sets: Vec<&str> = group.sets.iter().map(|(id, _)| *id).collect();
            UserError::plain(format!("no row of {} decides on {}", sets.join(", "), group.name))
        })
    }

    fn errors(&self, start: &[f64], place: &[f64]) -> Result<Vec<Errors>, UserError> {
        let mut errors = Vec::new();
        for left_out in [false, true] {
            let (before, after) = (self.compare(start, left_out)?, self.compare(place, left_out)?);
            for (before, after) in before.sets.iter().zip(&after.sets) {
                if let (Some(old), Some(new)) = (before.statistics(), after.statistics()) {
                    let rows = after.comparisons.iter().filter_map(|row| row.error()).collect();
                    errors.push(Errors { set: before.id, left_out, before: old, after: new, rows });
                }
            }
        }
        Ok(errors)
    }
}

fn chosen(request: &Request<'_>) -> Result<Vec<&'static Constant>, UserError> {
    let all: Vec<&'static Constant> = request.group.constants.iter().collect();
    let keys: Vec<&str> = all.iter().map(|constant| constant.key).collect();
    if let Some(wrong) = request.only.iter().find(|key| !keys.contains(&key.as_str())) {
        return Err(UserError::unknown("constant of this group", wrong, &keys));
    }
    let wanted = |constant: &&Constant| request.only.is_empty() || request.only.iter().any(|key| key == constant.key);
    Ok(all.into_iter().filter(wanted).collect())
}
