//! Targets and objectives as comparisons of numbers.

use super::spec::{GoalSpec, ObjectiveSpec};
use crate::invalid::Invalid;
use crate::metrics::{Better, run_metrics, unit_factor};
use crate::scenario::Literal;
use crate::sweep::{Kept, metric_known};

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Less,
    More,
}

impl Way {
    /// The way to what is better of a metric, where the table of metrics knows it.
    pub(super) fn to_better(metric: &str) -> Option<Way> {
        match Better::of_metric(metric) {
            Better::Lower => Some(Way::Less),
            Better::Higher => Some(Way::More),
            Better::Neither(_) => None,
        }
    }

    /// Whether `a` is strictly better than `b`.
    pub(super) fn better(self, a: f64, b: f64) -> bool {
        match self {
            Way::Less => a < b,
            Way::More => a > b,
        }
    }
}

/// A limit on a metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limit {
    pub(super) metric: String,
    /// The way that leads away from the limit.
    pub(super) way: Way,
    value: f64,
    unit: String,
    /// As it was written: "tpot <= 20 ms".
    pub(super) text: String,
}

/// What decides between points.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Aims {
    pub(super) limits: Vec<Limit>,
    /// The objective, then the sides of the front.
    pub(super) sides: Vec<(String, Way)>,
}

/// The sides of the trade that a Pareto front shows: what a user gets, what a GPU yields, what tokens cost; of a step, or over time.
const FRONT: [&str; 5] = [
    "tokens_per_s_per_user",
    "tokens_per_s_per_gpu",
    "output_tokens_per_s_per_gpu",
    "usd_per_million_tokens",
    "usd_per_million_output",
];

impl Aims {
    pub(super) fn new(goal: &GoalSpec) -> Result<Aims, Invalid> {
        let mut limits = Vec::new();
        for (at, target) in goal.target.iter().enumerate() {
            let place = format!("target.{at}");
            metric_known(&target.metric, &format!("{place}.metric"))?;
            let given =
                [(&target.at_most, Way::Less, "<=", "at_most"), (&target.at_least, Way::More, ">=", "at_least")];
            if given.iter().all(|(value, ..)| value.is_none()) {
                return Err(Invalid::at(&place, format!("`{}` has neither `at_most` nor `at_least`", target.metric)));
            }
            for (value, way, sign, key) in given {
                let Some(value) = value else { continue };
                let (number, unit) = quantity(value).ok_or_else(|| {
                    Invalid::at(&format!("{place}.{key}"), format!("{value} is not a number"))
                        .help("write a quantity such as `\"20 ms\"`")
                })?;
                let text = format!("{} {sign} {value}", target.metric);
                let limit = Limit { metric: target.metric.clone(), way, value: number, unit, text };
                limit.check_unit().map_err(|message| {
                    Invalid::at(&format!("{place}.{key}"), message).help("write a number alone, or one with that unit")
                })?;
                limits.push(limit);
            }
        }
        let objective = match &goal.objective {
            ObjectiveSpec::Minimise(metric) => (metric.clone(), Way::Less),
            ObjectiveSpec::Maximise(metric) => (metric.clone(), Way::More),
        };
        let key = if objective.1 == Way::Less { "minimise" } else { "maximise" };
        metric_known(&objective.0, &format!("objective.{key}"))?;
        let front = FRONT.iter().filter_map(|name| Some(((*name).to_owned(), Way::to_better(name)?)));
        let rest = front.filter(|(name, _)| *name != objective.0).collect::<Vec<_>>();
        Ok(Aims { limits, sides: [vec![objective], rest].concat() })
    }
}

/// A number and its unit.
fn quantity(value: &Literal) -> Option<(f64, String)> {
    value.quantity().map(|(number, unit)| (number, unit.to_owned()))
}

impl Limit {
    /// Whether its unit is one of the metric's, of whatever workload.
    fn check_unit(&self) -> Result<(), String> {
        let mut units = run_metrics().filter(|known| known.name == self.metric).map(|known| known.unit);
        let first = units.next().map_or(Ok(true), |unit| self.holds(0.0, unit));
        let fits = first.is_ok() || units.any(|unit| self.holds(0.0, unit).is_ok());
        if fits { Ok(()) } else { first.map(|_| ()) }
    }

    /// Whether `value`, in `unit`, keeps to it.
    ///
    /// # Errors
    /// When the limit is in a unit that has nothing to do with that.
    pub(super) fn holds(&self, value: f64, unit: &str) -> Result<bool, String> {
        // A number alone is in the metric's own unit.
        let own = if self.unit.is_empty() { unit } else { &self.unit };
        let factor = unit_factor(own, unit).ok_or_else(|| format!("`{}`: the metric is in {unit}", self.text))?;
        Ok(!self.way.better(self.value * factor, value))
    }
}

/// What a metric of a point is.
pub(super) fn of<'a>(metrics: &'a [Kept], name: &str) -> Option<&'a Kept> {
    metrics.iter().find(|kept| kept.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(way: Way, value: f64, unit: &str) -> Limit {
        Limit { metric: "m".to_owned(), way, value, unit: unit.to_owned(), text: "m".to_owned() }
    }

    #[test]
    fn a_limit_is_kept_in_its_own_unit() {
        let most = limit(Way::Less, 2.0, "s");
        assert_eq!(most.holds(2000.0, "ms"), Ok(true));
        assert_eq!(most.holds(2000.1, "ms"), Ok(false));
        assert_eq!(limit(Way::More, 50.0, "").holds(49.9, "tokens/s"), Ok(false));
        assert!(most.holds(1.0, "USD").is_err());
    }
}
