//! Fits constants of hardware files to measurements: the same rows, simulated by the same code as in a comparison, again and again.
//!
//! The loss of a row is Huber's function of `(simulated - measured) / sqrt(simulated * measured)`, which is the logarithm of their
//! ratio while that is small, is symmetric between too fast and too slow, and needs a square root only. It knows which constants
//! there are and which tables decide, never a measured value or how a row is simulated. It changes no file; `file` finds and replaces
//! values in their text.

mod file;
mod groups;
mod held_out;
mod search;

pub use file::{value_in, written};
pub use groups::{Constant, GROUPS, Group};
pub use held_out::{HeldOut, held_out};

use crate::report::validation::{Statistics, ValidationReport};
use crate::scenario::{UserError, read_text};
use crate::validate::{Measurements, Models, Override};
use file::toml;
use search::{Range, minimise};
use std::path::{Path, PathBuf};

/// Above this error the loss grows linearly: one row in ten is measured a fifth to a half slower than its neighbours.
const BEND: f64 = 0.07;
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
    let compare = |values: &[f64], left_out: bool| {
        let changed = constants.iter().zip(values).zip(&written);
        let overrides: Vec<Override> = changed
            .map(|((constant, value), (_, unit))| Override {
                file: PathBuf::from(group.file),
                key: constant.key.to_owned(),
                value: toml(*value, unit),
            })
            .collect();
        let keep = |_: &str, system: &str, row: usize| request.leaves_out(system, row) == left_out;
        measurements.compare(&request.models, &overrides, &keep)
    };
    let mut asked = 0;
    let mut loss = |values: &[f64]| -> Result<f64, UserError> {
        let found = loss_of(&compare(values, false)?, group)
            .ok_or_else(|| UserError::plain(format!("no row of {} decides on {}", sets.join(", "), group.name)))?;
        asked += 1;
        watch(asked, found);
        Ok(found)
    };
    let ranges: Vec<Range> = constants.iter().map(|c| Range { low: c.low, high: c.high, step: c.step }).collect();
    let start: Vec<f64> = written.iter().map(|(value, _)| *value).collect();
    let first = loss(&start)?;
    let (place, lowest) = minimise(&start, &ranges, &mut loss)?;
    let mut fitted = Vec::with_capacity(constants.len());
    for (index, (constant, (before, unit))) in constants.iter().zip(&written).enumerate() {
        let mut rises = [0.0; 2];
        for (rise, times) in rises.iter_mut().zip([1.0 - NUDGE, 1.0 + NUDGE]) {
            let mut moved = place.clone();
            moved[index] = ranges[index].snap(place[index] * times);
            *rise = if lowest > 0.0 { loss(&moved)? / lowest - 1.0 } else { loss(&moved)? };
        }
        let (key, meaning) = (constant.key, constant.meaning);
        fitted.push(Fitted { key, meaning, unit: unit.clone(), before: *before, after: place[index], rises });
    }
    let mut errors = Vec::new();
    for left_out in [false, true] {
        let (before, after) = (compare(&start, left_out)?, compare(&place, left_out)?);
        for (before, after) in before.sets.iter().zip(&after.sets) {
            if let (Some(old), Some(new)) = (before.statistics(), after.statistics()) {
                let rows = after.comparisons.iter().filter_map(|row| row.error()).collect();
                errors.push(Errors { set: before.id, left_out, before: old, after: new, rows });
            }
        }
    }
    Ok(Fit { constants: fitted, loss: [first, lowest], errors })
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

/// The weighted mean over tables of the mean loss of their rows.
fn loss_of(report: &ValidationReport, group: &Group) -> Option<f64> {
    let (mut total, mut weights) = (0.0, 0.0);
    for set in &report.sets {
        let losses: Vec<f64> = set.comparisons.iter().filter_map(|c| Some(huber(c.error()?))).collect();
        let weight = group.sets.iter().find(|(id, _)| *id == set.id)?.1;
        if !losses.is_empty() {
            total += weight * losses.iter().sum::<f64>() / losses.len() as f64;
            weights += weight;
        }
    }
    (weights > 0.0).then(|| total / weights)
}

/// The loss of one relative error.
fn huber(relative: f64) -> f64 {
    let error = (relative / (1.0 + relative).max(1e-9).sqrt()).abs();
    if error <= BEND { error * error / 2.0 } else { BEND * (error - BEND / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_symmetric_and_damped() {
        assert!((huber(1.0) - huber(-0.5)).abs() < 1e-12, "twice as slow is as bad as twice as fast");
        assert!((huber(0.01) - 0.00005).abs() < 1e-6);
        assert!(huber(3.0) < 3.0 * huber(1.0));
    }
}
