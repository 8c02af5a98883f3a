//! Works out every figure of a list.

use super::evaluator::{Evaluator, Value, range};
use super::spec::{FigureSpec, From, GroupSpec, PaperSpec, SettingSpec, WishSpec};
use crate::metrics::{Better, unit_factor};
use crate::report::figures::{AssumptionRow, FigureRow, How, SettingRow, WishRow, WishSide};
use crate::scenario::UserError;
use std::path::Path;

/// A list of figures, worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The figures.
    pub figures: Vec<FigureRow>,
    /// What assumptions are worth.
    pub assumptions: Vec<AssumptionRow>,
    /// What hardware that is asked for would bring.
    pub wishes: Vec<WishRow>,
}

/// Works out the figures and wishes of `paper` whose id starts with one of `wanted` (all, if nothing is wanted). Files are looked up
/// from `root`. `watch` is told how much is over, of how much.
///
/// # Errors
/// When a file or a run that a figure names makes no sense, or a unit is not one of what is worked out.
pub fn evaluate(
    paper: &PaperSpec,
    wanted: &[String],
    root: &Path,
    watch: &dyn Fn(usize, usize),
) -> Result<Evaluated, UserError> {
    let mut list = List { paper, evaluator: Evaluator::new(root.to_owned()) };
    let is_wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|prefix| id.starts_with(prefix.as_str()));
    let wanted_figures: Vec<&FigureSpec> = paper.figure.iter().filter(|figure| is_wanted(&figure.id)).collect();
    let groups: Vec<&GroupSpec> = paper.assumptions.iter().filter(|_| wanted.is_empty()).collect();
    let wanted_wishes: Vec<&WishSpec> = paper.wish.iter().filter(|wish| is_wanted(&wish.id)).collect();
    let total = wanted_figures.len() + groups.len() + wanted_wishes.len();
    let mut over = 0;
    let mut tick = || {
        over += 1;
        watch(over, total);
    };
    let mut figures = Vec::new();
    for figure in wanted_figures {
        figures.push(list.figure(figure)?);
        tick();
    }
    let mut assumptions = Vec::new();
    for group in groups {
        assumptions.extend(list.assumptions(group)?);
        tick();
    }
    let mut wishes = Vec::new();
    for wish in wanted_wishes {
        wishes.push(list.wish(wish)?);
        tick();
    }
    Ok(Evaluated { figures, assumptions, wishes })
}

/// A list, and what has been worked out of it so far.
struct List<'p> {
    paper: &'p PaperSpec,
    evaluator: Evaluator,
}

impl<'p> List<'p> {
    fn figure(&mut self, spec: &FigureSpec) -> Result<FigureRow, UserError> {
        let worked = self.evaluator.value(&spec.from, &[])?;
        let (unit, factor) = printed_unit(&spec.id, spec.unit.as_deref(), worked.unit)?;
        let mut settings = Vec::new();
        for setting in self.settings(&spec.id, spec.band.as_deref())? {
            let value = self.evaluator.under(&spec.from, setting)?;
            let same = unit_factor(value.unit, &unit).ok_or_else(|| refused(&spec.id, &unit, value.unit))?;
            settings.push(SettingRow { setting: setting.setting.clone(), value: same * value.value });
        }
        let simulated = worked.value * factor;
        let printed = spec.printed.value;
        Ok(FigureRow {
            id: spec.id.clone(),
            source: spec.source.clone(),
            quantity: spec.quantity.clone(),
            along: spec.along.clone(),
            unit,
            printed,
            precision: spec.precision.unwrap_or(spec.printed.half_digit),
            simulated,
            deviation: simulated / printed - 1.0,
            tolerance: spec.tolerance,
            band: band(&worked, factor, &settings),
            settings,
            status: spec.status,
            how: how(&spec.from),
            note: spec.note.trim().to_owned(),
        })
    }

    /// The settings called `name`.
    fn settings(&self, id: &str, name: Option<&str>) -> Result<&'p [SettingSpec], UserError> {
        let Some(name) = name else { return Ok(&[]) };
        let unknown = || UserError::plain(format!("{id}: no settings are called `{name}`"));
        self.paper.settings.get(name).map(Vec::as_slice).ok_or_else(unknown)
    }

    fn wish(&mut self, spec: &WishSpec) -> Result<WishRow, UserError> {
        let mut sides = Vec::new();
        let settings = self.settings(&spec.id, spec.best_of.as_deref())?;
        let mut better = Better::UNKNOWN;
        let mut unit = String::new();
        let as_they_are = SettingSpec { setting: String::new(), set: Vec::new(), from: None };
        for setting in if settings.is_empty() { std::slice::from_ref(&as_they_are) } else { settings } {
            let (today, granted) =
                (self.evaluator.under(&spec.today, setting)?, self.evaluator.under(&spec.granted, setting)?);
            let factor = |value: &Value| printed_unit(&spec.id, spec.unit.as_deref().or(Some(today.unit)), value.unit);
            let ((to, own), (_, other)) = (factor(&today)?, factor(&granted)?);
            (better, unit) = (today.better, to);
            sides.push(WishSide {
                setting: setting.setting.clone(),
                today: own * today.value,
                granted: other * granted.value,
            });
        }
        if sides.len() > 1 && better.is_neither() {
            return Err(UserError::plain(format!("{}: of what is worked out none is better", spec.id)));
        }
        let best = |value: fn(&WishSide) -> f64| {
            let all = sides.iter().map(value);
            all.reduce(|best, next| if better.is_better(next, best) { next } else { best }).unwrap_or(f64::NAN)
        };
        let (today, granted) = (best(|side| side.today), best(|side| side.granted));
        Ok(WishRow {
            id: spec.id.clone(),
            source: spec.source.clone(),
            wish: spec.wish.clone(),
            quantity: spec.quantity.clone(),
            unit,
            today,
            granted,
            change: granted / today - 1.0,
            sides: if settings.is_empty() { Vec::new() } else { sides },
            note: spec.note.trim().to_owned(),
        })
    }

    fn assumptions(&mut self, group: &GroupSpec) -> Result<Vec<AssumptionRow>, UserError> {
        let ideal = self.evaluator.metric(&group.ideal, "tpot", &[])?.value;
        let row = |without: &str, tpot_ms: f64, tokens_per_s: f64| AssumptionRow {
            group: group.name.clone(),
            without: without.to_owned(),
            tpot_ms,
            tokens_per_s,
            against_ideal: tpot_ms / ideal,
        };
        let rate = self.evaluator.metric(&group.ideal, "tokens_per_s_per_user", &[])?.value;
        let mut rows = vec![row("(all hold)", ideal, rate)];
        for step in &group.without {
            let mut metric = |name: &str| -> Result<f64, UserError> {
                Ok(self.evaluator.metric(&step.scenario, name, &step.set)?.value)
            };
            rows.push(row(&step.assumption, metric("tpot")?, metric("tokens_per_s_per_user")?));
        }
        if let Some(scenario) = &group.floor {
            let floor = self.evaluator.weights_once(scenario)?;
            rows.push(row("floor: weights read once, at the whole bandwidth of memory", floor, 1e3 / floor));
        }
        Ok(rows)
    }
}

/// The least and the greatest over seeds and settings, in the unit that is printed.
fn band(worked: &Value, factor: f64, settings: &[SettingRow]) -> Option<[f64; 2]> {
    let mut all: Vec<f64> = worked.range.into_iter().flatten().map(|value| value * factor).collect();
    all.extend(settings.iter().map(|setting| setting.value));
    if all.is_empty() {
        return None;
    }
    all.push(worked.value * factor);
    range(&all)
}

/// The unit in which a value is printed, and what one in `own` is to be multiplied by.
fn printed_unit(id: &str, stated: Option<&str>, own: &str) -> Result<(String, f64), UserError> {
    let unit = stated.unwrap_or(own);
    let factor = unit_factor(own, unit).ok_or_else(|| refused(id, unit, own))?;
    Ok((unit.to_owned(), factor))
}

fn refused(id: &str, stated: &str, own: &str) -> UserError {
    UserError::plain(format!("{id} is stated in `{stated}`, and what is worked out is in `{own}`"))
}

fn how(from: &From) -> How {
    match from {
        From::Run(_) | From::Ratio { .. } | From::Plus { .. } | From::Accumulation { .. } => How::Simulation,
        From::Model { .. } | From::Topology { .. } | From::GpuHours { .. } | From::Rent { .. } => How::Arithmetic,
        From::NodeDays(_) | From::CurveMean { .. } | From::TokenRevenue(_) | From::Margin { .. } => How::Arithmetic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_unit_is_converted_or_refused() {
        assert_eq!(printed_unit("a", None, "us"), Ok(("us".to_owned(), 1.0)));
        let (unit, factor) = printed_unit("a", Some("ms"), "us").expect("both are times");
        assert_eq!((unit.as_str(), factor * 2000.0), ("ms", 2.0));
        let error = printed_unit("a", Some("GB/s"), "us").expect_err("no time is a bandwidth").to_string();
        assert!(error.contains("a is stated in `GB/s`") && error.contains("`us`"), "{error}");
    }
}
