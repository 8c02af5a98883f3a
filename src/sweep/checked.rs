//! What can be known of a study before any of its points is simulated: that its metrics exist, and that the scenario takes its
//! values.

use super::plan::{Plan, Point};
use crate::invalid::{Invalid, among};
use crate::metrics::{MetricDef, metric_names, run_metrics};
use crate::scenario::{Library, Loaded, Mistake, Scenario, UserError, load_with};

/// Points that are read for each value; a value that none of them takes is a mistake, for what other axes say may make it legal.
const TRIED: usize = 4;

/// The metric called `name`, which the file names at `place`.
///
/// # Errors
/// When no answer has such a metric.
pub fn metric_known(name: &str, place: &str) -> Result<&'static MetricDef, Invalid> {
    run_metrics().find(|known| known.name == name).ok_or_else(|| {
        Invalid::at(place, format!("no metric is called `{name}`")).help(among(name, &metric_names(run_metrics())))
    })
}

/// Reads scenarios of `plan`, so that every value of every axis is met; `library` has every file that they are read from then.
///
/// # Errors
/// When the scenario takes a path or value in none of those.
pub fn values_known(plan: &Plan, library: &Library) -> Result<(), Invalid> {
    for axis in 0..plan.axes.len() {
        let mut met: Vec<&str> = Vec::new();
        for point in &plan.points {
            let label = point.places[axis].label.as_str();
            if met.contains(&label) {
                continue;
            }
            met.push(label);
            let same = plan.points.iter().filter(|other| other.places[axis].label == label);
            any_loads(plan, same, library)?;
        }
    }
    Ok(())
}

/// Whether any of the first `points` loads; if not, what is wrong with the first.
fn any_loads<'p>(plan: &Plan, points: impl Iterator<Item = &'p Point>, library: &Library) -> Result<(), Invalid> {
    let mut first = None;
    for point in points.take(TRIED) {
        let loaded: Result<Loaded<Scenario>, UserError> = load_with(&plan.base, &point.overlays, library);
        match loaded {
            Ok(_) => return Ok(()),
            Err(error) => first = first.or(Some((point, error))),
        }
    }
    first.map_or(Ok(()), |(point, error)| Err(placed(plan, point, &error)))
}

/// The error of a point at the line of the study that brought it about.
fn placed(plan: &Plan, point: &Point, error: &UserError) -> Invalid {
    let Some(Mistake { source, at, message, help }) = error.mistake() else {
        return Invalid::at("base", error.to_string().trim_start_matches("error: ").to_owned());
    };
    let invalid = |place: &str, message: String| Invalid { help: help.clone(), ..Invalid::at(place, message) };
    if source == "set" {
        return invalid("set", message.clone());
    }
    let axis = source.strip_prefix("axis ").and_then(|name| plan.axes.iter().position(|axis| axis == name));
    let Some(axis) = axis else {
        let value = |(axis, place): (&String, &super::plan::Place)| format!("{axis} {}", place.label);
        let values: Vec<String> = plan.axes.iter().zip(&point.places).map(value).collect();
        return invalid("base", format!("with {}: {message} ({source})", values.join(", ")));
    };
    let is_value = |text: &str| text.find('=').is_some_and(|equals| *at > equals);
    let own = point.overlays.iter().filter(|overlay| overlay.name == *source);
    let in_value = own.map(|overlay| overlay.text.as_str()).all(is_value);
    match in_value {
        true => invalid(&format!("axis.{axis}.values"), format!("{}: {message}", point.places[axis].label)),
        false => invalid(&format!("axis.{axis}.path"), message.clone()),
    }
}
