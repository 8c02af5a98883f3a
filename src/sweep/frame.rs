//! The records of a sweep as a table: for files, and for people.

use super::plan::Plan;
use super::record::{Answer, Record};
use crate::metrics::Better;
use crate::report::frame::{Column, Frame, Values};
use crate::report::table::{Align, Table, number};
use crate::scenario::Literal;
use std::fmt::Write;

/// Rows that are worth reading in a terminal.
const ROWS_MAX: usize = 60;

/// All records as one table: the axes, the metrics, why a point has none, and where its figures come from.
///
/// # Errors
/// When a metric is asked for that no point has.
pub fn record_frame(plan: &Plan, records: &[Record]) -> Result<Frame, String> {
    let mut columns = vec![column("point", "", Values::Integers((0..records.len() as i64).map(Some).collect()))];
    columns.extend((0..plan.axes.len()).map(|axis| axis_column(plan, axis)));
    for (name, unit) in metrics(plan, records)? {
        let of = |record: &Record| match &record.answer {
            Answer::Metrics(metrics) => metrics.iter().find(|kept| kept.name == name).and_then(|kept| kept.value),
            Answer::Error(_) => None,
        };
        columns.push(column(&name, &unit, Values::Numbers(records.iter().map(of).collect())));
    }
    let error = |record: &Record| match &record.answer {
        Answer::Error(message) => Some(message.clone()),
        Answer::Metrics(_) => None,
    };
    columns.push(column("error", "", Values::Texts(records.iter().map(error).collect())));
    columns.push(column("inputs", "", Values::Texts(records.iter().map(|record| record.inputs.clone()).collect())));
    let seed = |record: &Record| record.seed.and_then(|seed| i64::try_from(seed).ok());
    columns.push(column("seed", "", Values::Integers(records.iter().map(seed).collect())));
    columns.push(column(
        "version",
        "",
        Values::Texts(records.iter().map(|record| Some(record.version.clone())).collect()),
    ));
    Ok(Frame { columns, about: vec![("octoplane".to_owned(), env!("CARGO_PKG_VERSION").to_owned())] })
}

fn column(name: &str, unit: &str, values: Values) -> Column {
    Column { name: name.to_owned(), unit: unit.to_owned(), values }
}

/// Numbers where all places are numbers of one unit, their labels otherwise.
fn axis_column(plan: &Plan, axis: usize) -> Column {
    let places: Vec<_> = plan.points.iter().map(|point| &point.places[axis]).collect();
    let name = &plan.axes[axis];
    let labels = || Values::Texts(places.iter().map(|place| Some(place.label.clone())).collect());
    if places.iter().any(|place| place.label != place.value.to_string()) {
        return column(name, "", labels());
    }
    let integer = |value: &Literal| match value {
        Literal::Integer(integer) => Some(*integer),
        _ => None,
    };
    if let Some(integers) = places.iter().map(|place| integer(&place.value).map(Some)).collect::<Option<_>>() {
        return column(name, "", Values::Integers(integers));
    }
    let quantities: Option<Vec<(f64, &str)>> = places.iter().map(|place| place.value.quantity()).collect();
    match quantities {
        Some(quantities) if quantities.iter().all(|(_, unit)| *unit == quantities[0].1) => {
            column(name, quantities[0].1, Values::Numbers(quantities.iter().map(|(number, _)| Some(*number)).collect()))
        }
        _ => column(name, "", labels()),
    }
}

/// Names and units of the metrics to keep.
fn metrics(plan: &Plan, records: &[Record]) -> Result<Vec<(String, String)>, String> {
    let mut known: Vec<(String, String)> = Vec::new();
    for record in records {
        let Answer::Metrics(metrics) = &record.answer else { continue };
        for kept in metrics {
            if !known.iter().any(|(name, _)| *name == kept.name) {
                known.push((kept.name.clone(), kept.unit.clone()));
            }
        }
    }
    if plan.metrics.is_empty() || known.is_empty() {
        return Ok(known);
    }
    let find = |wanted: &String| {
        known.iter().find(|(name, _)| name == wanted).cloned().ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
            format!("no point has a metric `{wanted}`; there are {}", names.join(", "))
        })
    };
    plan.metrics.iter().map(find).collect()
}

/// The table for people, the best point of each metric first.
pub fn sweep_text(name: &str, description: &str, plan: &Plan, frame: &Frame) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("writing to a string");
    line(name);
    if !description.trim().is_empty() {
        line(description.trim());
    }
    let failed = errors(frame).iter().filter(|error| error.is_some()).count();
    let left_out =
        if plan.left_out > 0 { format!(", {} left out by its conditions", plan.left_out) } else { String::new() };
    line("");
    line(&format!("{} points over {}{left_out}; {failed} without an answer", frame.rows(), plan.axes.join(", ")));
    line("");
    let shown = &frame.columns[..=last_metric(frame)];
    let best = best(plan, shown);
    if !best.is_empty() {
        line(&best);
        line("");
    }
    let front = front(plan, shown);
    if !front.is_empty() {
        line(&front);
    }
    line(rows(shown, frame).trim_end());
    let rest = frame.rows().saturating_sub(ROWS_MAX);
    if rest > 0 {
        line(&format!(" and {rest} more in the table's files"));
    }
    let failures = failures(plan, frame);
    if !failures.is_empty() {
        line("");
        line(failures.trim_end());
    }
    text
}

fn errors(frame: &Frame) -> &[Option<String>] {
    match frame.columns.iter().find(|column| column.name == "error").map(|column| &column.values) {
        Some(Values::Texts(errors)) => errors,
        _ => &[],
    }
}

/// The place of the last column before `error`.
fn last_metric(frame: &Frame) -> usize {
    frame.columns.iter().position(|column| column.name == "error").unwrap_or(1) - 1
}

/// Where each metric is best.
fn best(plan: &Plan, shown: &[Column]) -> String {
    let axes = &shown[1..=plan.axes.len()];
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    let mut any = false;
    for metric in &shown[1 + plan.axes.len()..] {
        let better = Better::of_metric(&metric.name);
        let mut best: Option<(usize, f64)> = None;
        for row in 0..metric.values.len() {
            if let Some(value) = metric.values.number(row)
                && best.is_none_or(|(_, so_far)| better.is_better(value, so_far))
            {
                best = Some((row, value));
            }
        }
        if let (Some((row, value)), true) = (best, !better.is_neither()) {
            any = true;
            let place: Vec<String> =
                axes.iter().map(|axis| format!("{} = {}", axis.name, with_unit(axis, row))).collect();
            let value = format!("{} {}", number(value), metric.unit);
            table.row(vec![format!("best {}", metric.name), value, format!("at {}", place.join(", "))]);
        }
    }
    if any { table.plain() } else { String::new() }
}

/// Where a study keeps two metrics that may both be better or worse: the points that no other beats on both.
fn front(plan: &Plan, shown: &[Column]) -> String {
    let axes = &shown[1..=plan.axes.len()];
    let [one, other] = &shown[1 + plan.axes.len()..] else { return String::new() };
    let ways = [one, other].map(|metric| Better::of_metric(&metric.name));
    if ways.iter().any(|way| way.is_neither()) {
        return String::new();
    }
    let both = |row: usize| Some((row, [one.values.number(row)?, other.values.number(row)?]));
    let points: Vec<(usize, [f64; 2])> = (0..one.values.len()).filter_map(both).collect();
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Right)]);
    for row in Better::front(ways, &points) {
        let place: Vec<String> = axes.iter().map(|axis| format!("{} = {}", axis.name, with_unit(axis, row))).collect();
        let value =
            |metric: &Column| format!("{} {}", metric.values.number(row).map_or("-".to_owned(), number), metric.unit);
        table.row(vec![place.join(", "), value(one), value(other)]);
    }
    format!(
        "Pareto front: no other point is as good on both of {} and {}, and better on one\n{}\n",
        one.name,
        other.name,
        table.plain()
    )
}

fn with_unit(column: &Column, row: usize) -> String {
    let value = column.values.exact(row);
    if column.unit.is_empty() { value } else { format!("{value} {}", column.unit) }
}

fn rows(shown: &[Column], frame: &Frame) -> String {
    let align = |column: &Column| if matches!(column.values, Values::Texts(_)) { Align::Left } else { Align::Right };
    let titles: Vec<String> = shown.iter().map(Column::title).collect();
    let columns: Vec<(&str, Align)> = titles.iter().map(String::as_str).zip(shown.iter().map(align)).collect();
    let mut table = Table::new(&columns);
    let errors = errors(frame);
    for row in 0..frame.rows().min(ROWS_MAX) {
        let cell = |column: &Column| match &column.values {
            Values::Numbers(values) => match values[row] {
                Some(value) => number(value),
                None if errors[row].is_some() => "failed".to_owned(),
                None => "-".to_owned(),
            },
            other => other.exact(row),
        };
        table.row(shown.iter().map(cell).collect());
    }
    table.headed()
}

/// Why points have no answer, one entry for each reason.
fn failures(plan: &Plan, frame: &Frame) -> String {
    let headline = |error: &str| {
        let line = error.lines().next().unwrap_or_default();
        line.strip_prefix("error: ").unwrap_or(line).to_owned()
    };
    let mut reasons: Vec<(String, Vec<usize>)> = Vec::new();
    for (row, error) in errors(frame).iter().enumerate() {
        let Some(error) = error else { continue };
        let reason = headline(error);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, rows)) => rows.push(row),
            None => reasons.push((reason, vec![row])),
        }
    }
    let mut text = String::new();
    for (reason, rows) in reasons {
        let axes = &frame.columns[1..=plan.axes.len()];
        let place: Vec<String> =
            axes.iter().map(|axis| format!("{} = {}", axis.name, with_unit(axis, rows[0]))).collect();
        let others = if rows.len() > 1 { format!(" and {} more", rows.len() - 1) } else { String::new() };
        writeln!(text, "no answer at {}{others}: {reason}", place.join(", ")).expect("writing to a string");
    }
    text
}
