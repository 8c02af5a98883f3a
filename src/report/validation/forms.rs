//! Comparisons for programs: JSON with statistics, CSV with one line per measured value.

use super::{Comparison, Key, SetReport, Statistics, ValidationReport};
use crate::report::json::SCHEMA;
use serde_json::{Map, Value, json};

/// The statistics of every set. `rows` counts measured values, of which `skipped` could not be simulated.
pub fn validation_json(report: &ValidationReport) -> Value {
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "kernel": report.kernel,
        "network": report.network,
        "sets": report.sets.iter().map(set).collect::<Value>(),
    })
}

fn set(set: &SetReport) -> Value {
    let statistics = set.statistics();
    let figure = |of: fn(&Statistics) -> f64| statistics.as_ref().map(of);
    let reason = |(reason, lines): (&str, Vec<u64>)| json!({ "reason": reason, "rows": lines.len(), "lines": lines });
    let group = |(name, statistics): (Key, Statistics)| {
        json!({
            "group": key(&name),
            "rows": statistics.rows,
            "median_abs_error": statistics.median_abs_error,
            "p90_abs_error": statistics.p90_abs_error,
            "mape": statistics.mape,
            "median_error": statistics.median_error,
        })
    };
    json!({
        "id": set.id,
        "title": set.title,
        "file": set.file,
        "rows": set.comparisons.len(),
        "compared": set.comparisons.len() - set.skipped(),
        "skipped": set.skipped(),
        "skip_reasons": set.skip_reasons().into_iter().map(reason).collect::<Value>(),
        "median_abs_error": figure(|s| s.median_abs_error),
        "p90_abs_error": figure(|s| s.p90_abs_error),
        "mape": figure(|s| s.mape),
        "median_error": figure(|s| s.median_error),
        "groups": set.groups().into_iter().map(group).collect::<Value>(),
        "points": set.comparisons.iter().map(point).collect::<Value>(),
        "worst": set.worst().into_iter().map(|(comparison, error)| worst(comparison, error)).collect::<Value>(),
    })
}

fn point(comparison: &Comparison) -> Value {
    json!({
        "key": key(&comparison.key),
        "part": comparison.part,
        "unit": comparison.unit,
        "measured": comparison.measured,
        "simulated": comparison.simulated.as_ref().ok(),
    })
}

fn worst(comparison: &Comparison, error: f64) -> Value {
    json!({
        "line": comparison.line,
        "key": key(&comparison.key),
        "part": comparison.part,
        "unit": comparison.unit,
        "measured": comparison.measured,
        "simulated": comparison.simulated.as_ref().ok(),
        "error": error,
    })
}

fn key(key: &Key) -> Value {
    Value::Object(key.iter().map(|(column, value)| ((*column).to_owned(), json!(value))).collect::<Map<_, _>>())
}

/// One line per measured value. Times are in the unit that the line names; `skip` says why there is no simulated value.
pub fn validation_csv(report: &ValidationReport) -> String {
    let mut text = String::from("set,line,key,part,unit,measured,simulated,error,skip\n");
    for set in &report.sets {
        for comparison in &set.comparisons {
            let fields = comparison.key.iter().map(|(column, value)| format!("{column}={value}"));
            let shown = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
            let cells = [
                set.id.to_owned(),
                comparison.line.to_string(),
                cell(&fields.collect::<Vec<_>>().join(";")),
                cell(comparison.part),
                comparison.unit.to_owned(),
                comparison.measured.to_string(),
                shown(comparison.simulated.as_ref().ok().copied()),
                shown(comparison.error()),
                cell(comparison.simulated.as_ref().err().map_or("", String::as_str)),
            ];
            text.push_str(&cells.join(","));
            text.push('\n');
        }
    }
    text
}

/// A cell, in quotes where its content would otherwise end it (RFC 4180).
fn cell(content: &str) -> String {
    if content.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", content.replace('"', "\"\""));
    }
    content.to_owned()
}
