//! From a study to its points.

use super::condition::Condition;
use super::spec::{AxisSpec, RangeSpec, StudySpec};
use crate::invalid::Invalid;
use crate::scenario::{Literal, Overlay};
use std::path::{Path, PathBuf};

/// More points than this are a mistake rather than a wish.
const POINTS_MAX: usize = 1_000_000;

/// What is to be simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The scenario that is varied.
    pub base: PathBuf,
    /// The axes' names.
    pub axes: Vec<String>,
    /// The metrics to keep; all, if none is named.
    pub metrics: Vec<String>,
    /// The points, in the order of the table.
    pub points: Vec<Point>,
    /// Points that the study's conditions leave out.
    pub left_out: usize,
}

/// One scenario of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Where it stands on each axis.
    pub places: Vec<Place>,
    /// What makes it a scenario of its own.
    pub overlays: Vec<Overlay>,
}

/// A place on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The value there.
    pub value: Literal,
    /// What the table calls it.
    pub label: String,
}

/// The points of `study`, whose file is in `folder`.
pub fn plan(study: &StudySpec, folder: &Path) -> Result<Plan, Invalid> {
    let axes: Vec<Axis> = study.axis.iter().enumerate().map(|(at, spec)| axis(at, spec)).collect::<Result<_, _>>()?;
    if axes.is_empty() {
        return Err(Invalid::at("axis", "a study varies something, and this one has no axis"));
    }
    let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(Invalid::at(&format!("axis.{at}.name"), format!("two axes are called `{name}`")));
        }
    }
    let conditions: Vec<Condition> = study
        .keep
        .iter()
        .enumerate()
        .map(|(at, text)| Condition::parse(text, &names).map_err(|message| Invalid::at(&format!("keep.{at}"), message)))
        .collect::<Result<_, _>>()?;
    let total = axes.iter().try_fold(1_usize, |product, axis| product.checked_mul(axis.places.len()));
    let total = total.filter(|total| *total <= POINTS_MAX).ok_or_else(|| {
        let sizes: Vec<String> = axes.iter().map(|axis| axis.places.len().to_string()).collect();
        Invalid::at("axis", format!("{} points are more than {POINTS_MAX}", sizes.join(" x ")))
    })?;
    let shared: Vec<(String, &Literal)> = study.set.iter().map(|(path, value)| (path.clone(), value)).collect();
    let mut points = Vec::new();
    for index in 0..total {
        let steps = steps(index, &axes);
        let places: Vec<Place> = axes.iter().zip(&steps).map(|(axis, &step)| axis.places[step].clone()).collect();
        let values: Vec<&Literal> = places.iter().map(|place| &place.value).collect();
        let mut kept = true;
        for (at, condition) in conditions.iter().enumerate() {
            let holds = condition.holds(&values);
            kept &= holds.map_err(|message| Invalid::at(&format!("keep.{at}"), message))?;
        }
        if kept {
            points.push(Point { overlays: overlays(&shared, &axes, &steps, folder), places });
        }
    }
    if points.is_empty() {
        return Err(Invalid::at("keep", format!("none of the {total} points meets the conditions")));
    }
    let left_out = total - points.len();
    let axes = axes.into_iter().map(|axis| axis.name).collect();
    Ok(Plan { base: folder.join(&study.base), axes, metrics: study.metrics.clone(), points, left_out })
}

/// Which value of each axis the `index`-th point has; the last axis varies fastest.
fn steps(mut index: usize, axes: &[Axis]) -> Vec<usize> {
    let mut steps = vec![0; axes.len()];
    for (step, axis) in steps.iter_mut().zip(axes).rev() {
        *step = index % axis.places.len();
        index /= axis.places.len();
    }
    steps
}

fn overlays(shared: &[(String, &Literal)], axes: &[Axis], steps: &[usize], folder: &Path) -> Vec<Overlay> {
    let overlay = |name: String, path: &str, value: &Literal| Overlay {
        name,
        text: format!("{path} = {}", value.to_toml()),
        folder: folder.to_owned(),
    };
    let mut overlays: Vec<Overlay> =
        shared.iter().map(|(path, value)| overlay("set".to_owned(), path, value)).collect();
    for (axis, &step) in axes.iter().zip(steps) {
        for (path, values) in &axis.paths {
            overlays.push(overlay(format!("axis {}", axis.name), path, &values[step]));
        }
    }
    overlays
}

/// An axis with its values at hand.
struct Axis {
    name: String,
    places: Vec<Place>,
    /// Every path that varies, with a value for each place.
    paths: Vec<(String, Vec<Literal>)>,
}

fn axis(at: usize, spec: &AxisSpec) -> Result<Axis, Invalid> {
    let place = |key: &str| format!("axis.{at}.{key}");
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if spec.name.is_empty() || !spec.name.chars().all(is_word) || spec.name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("`{}` cannot be the name of a column", spec.name);
        return Err(Invalid::at(&place("name"), message).help("use letters, digits and underscores"));
    }
    let values = match (&spec.values, &spec.range) {
        (Some(values), None) => values.clone(),
        (None, Some(range)) => expand(range).map_err(|invalid| invalid.under(&place("range")))?,
        (None, None) => {
            return Err(Invalid::at(&place(""), "an axis has `values` or a `range`, and this one has neither"));
        }
        (Some(_), Some(_)) => return Err(Invalid::at(&place("range"), "an axis has `values` or a `range`, not both")),
    };
    if values.is_empty() {
        return Err(Invalid::at(&place("values"), "an axis has at least one value"));
    }
    let agrees = |key: String, count: usize| {
        if count == values.len() {
            return Ok(());
        }
        let message = format!("{count} values, but `{}` has {}", spec.path, values.len());
        Err(Invalid::at(&key, message).help("values that vary together are as many"))
    };
    for (path, along) in &spec.with {
        agrees(place("with"), along.len())
            .map_err(|invalid| Invalid { message: format!("`{path}`: {}", invalid.message), ..invalid })?;
    }
    if let Some(labels) = &spec.labels {
        agrees(place("labels"), labels.len())?;
        if let Some(twice) = (1..labels.len()).find(|&at| labels[..at].contains(&labels[at])) {
            let message = format!("two values are called `{}`", labels[twice]);
            return Err(Invalid::at(&place("labels"), message).help("the table tells values apart by their labels"));
        }
    }
    let label = |step: usize| match &spec.labels {
        Some(labels) => labels[step].clone(),
        None => shown(&values[step]),
    };
    let places = (0..values.len()).map(|step| Place { value: values[step].clone(), label: label(step) }).collect();
    let mut paths = vec![(spec.path.clone(), values.clone())];
    paths.extend(spec.with.iter().map(|(path, along)| (path.clone(), along.clone())));
    Ok(Axis { name: spec.name.clone(), places, paths })
}

/// A value as the table shows it: a file by its name alone.
fn shown(value: &Literal) -> String {
    let text = value.to_string();
    match text.strip_suffix(".toml") {
        Some(path) => path.rsplit('/').next().unwrap_or(path).to_owned(),
        None => text,
    }
}

fn expand(range: &RangeSpec) -> Result<Vec<Literal>, Invalid> {
    let number = |key: &str, value: &Literal| {
        let (number, unit) = value.quantity().ok_or_else(|| Invalid::at(key, format!("{value} is not a number")))?;
        Ok::<_, Invalid>((number, unit.to_owned()))
    };
    let ((from, unit), (to, other)) = (number("from", &range.from)?, number("to", &range.to)?);
    if unit != other {
        let message = format!("`{}` and `{}` have different units", range.from, range.to);
        return Err(Invalid::at("to", message).help(format!("write both in `{unit}`")));
    }
    let whole = [&range.from, &range.to].iter().all(|value| matches!(value, Literal::Integer(_)))
        && [range.step, range.times].iter().flatten().all(|by| by.fract() == 0.0);
    let mut values = Vec::new();
    let mut value = from;
    // Rounding must not lose the last value.
    while value <= to * (1.0 + 1e-9) {
        if values.len() == POINTS_MAX {
            return Err(Invalid::at("to", format!("more than {POINTS_MAX} values")));
        }
        values.push(match (whole, unit.is_empty()) {
            (true, _) => Literal::Integer(value as i64),
            (false, true) => Literal::Float(rounded(value)),
            (false, false) => Literal::Text(format!("{} {unit}", rounded(value))),
        });
        value = match (range.step, range.times) {
            (Some(step), None) if step > 0.0 => from + step * values.len() as f64,
            (None, Some(times)) if times > 1.0 && from > 0.0 => value * times,
            (Some(_), None) => return Err(Invalid::at("step", "a step leads upwards")),
            (None, Some(_)) => {
                return Err(Invalid::at("times", "a factor above 1, from a value above 0, leads upwards"));
            }
            _ => return Err(Invalid::at("", "a range has either a `step` or a factor `times`")),
        };
    }
    Ok(values)
}

/// Without the dust of binary fractions: nine decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: Literal, to: Literal, step: Option<f64>, times: Option<f64>) -> Result<Vec<String>, Invalid> {
        expand(&RangeSpec { from, to, step, times }).map(|values| values.iter().map(Literal::to_toml).collect())
    }

    fn text(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    #[test]
    fn ranges_keep_their_kind_and_their_last_value() {
        let integers = range(Literal::Integer(1), Literal::Integer(8), None, Some(2.0));
        assert_eq!(integers.expect("legal"), ["1", "2", "4", "8"]);
        let rates = range(text("50 GB/s"), text("450 GB/s"), None, Some(3.0));
        assert_eq!(rates.expect("legal"), ["\"50 GB/s\"", "\"150 GB/s\"", "\"450 GB/s\""]);
        let parts = range(Literal::Float(0.7), Literal::Float(1.0), Some(0.1), None);
        assert_eq!(parts.expect("legal"), ["0.7", "0.8", "0.9", "1.0"]);
    }

    #[test]
    fn ranges_that_lead_nowhere_are_refused() {
        assert!(range(Literal::Integer(1), Literal::Integer(8), None, None).is_err());
        assert!(range(Literal::Integer(1), Literal::Integer(8), Some(0.0), None).is_err());
        assert!(range(Literal::Integer(0), Literal::Integer(8), None, Some(2.0)).is_err());
        assert!(range(text("50 GB/s"), text("1 TB/s"), Some(1.0), None).is_err());
    }

    fn study(keep: &[&str]) -> StudySpec {
        let axis = |name: &str, values: &[i64]| AxisSpec {
            name: name.to_owned(),
            path: format!("plan.{name}"),
            values: Some(values.iter().map(|&value| Literal::Integer(value)).collect()),
            range: None,
            with: [("nodes".to_owned(), values.iter().map(|&v| Literal::Integer(10 * v)).collect())].into(),
            labels: None,
        };
        StudySpec {
            name: "test".to_owned(),
            description: String::new(),
            base: "../base.toml".to_owned(),
            set: [("kernel".to_owned(), text("instant"))].into(),
            axis: vec![axis("ep", &[1, 2]), axis("tp", &[4, 5, 6])],
            keep: keep.iter().map(|&text| text.to_owned()).collect(),
            metrics: Vec::new(),
        }
    }

    #[test]
    fn axes_are_crossed_the_last_one_fastest_and_what_varies_together_does() {
        let plan = plan(&study(&[]), Path::new("studies")).expect("legal");
        assert_eq!((plan.points.len(), plan.left_out), (6, 0));
        let texts: Vec<&str> = plan.points[4].overlays.iter().map(|overlay| overlay.text.as_str()).collect();
        assert_eq!(texts, ["kernel = \"instant\"", "plan.ep = 2", "nodes = 20", "plan.tp = 5", "nodes = 50"]);
        assert_eq!(plan.points[4].places.iter().map(|p| p.label.as_str()).collect::<Vec<_>>(), ["2", "5"]);
    }

    #[test]
    fn conditions_leave_points_out() {
        let kept = plan(&study(&["ep * tp <= 8", "tp != 5"]), Path::new("")).expect("legal");
        let labels = kept.points.iter().map(|p| (p.places[0].label.clone(), p.places[1].label.clone()));
        let expected = [("1", "4"), ("1", "6"), ("2", "4")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(labels.collect::<Vec<_>>(), expected);
        assert_eq!(kept.left_out, 3);
        assert!(plan(&study(&["ep > 7"]), Path::new("")).is_err(), "nothing is left");
        assert!(plan(&study(&["pp > 7"]), Path::new("")).is_err(), "no such axis");
    }
}
