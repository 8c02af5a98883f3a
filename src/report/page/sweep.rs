//! A sweep on the page: where it is best, curves along its axes, the Pareto front, all points.

use super::Section;
use super::html::{Body, Cell, escape, table};
use crate::metrics::Better;
use crate::report::chart::{CURVES_MAX, Chart, Series, curves};
use crate::report::table::{number, time_unit};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;

/// Metrics that get a plot of their own.
const PLOTS_MAX: usize = 6;
/// The two sides of the trade of every serving system.
const TRADE: [&str; 2] = ["tokens_per_s_per_user", "tokens_per_s_per_gpu"];

/// One line of a table: its columns with their cells, in their order.
#[derive(Clone, Debug)]
pub struct CsvRow(Vec<(String, String)>);

impl<'de> Deserialize<'de> for CsvRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CsvRow, D::Error> {
        struct Cells;
        impl<'de> Visitor<'de> for Cells {
            type Value = CsvRow;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the cells of a line")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CsvRow, A::Error> {
                let mut cells = Vec::new();
                while let Some(cell) = map.next_entry()? {
                    cells.push(cell);
                }
                Ok(CsvRow(cells))
            }
        }
        deserializer.deserialize_map(Cells)
    }
}

/// The table of a sweep.
#[derive(Clone, Debug)]
pub struct SweepTable {
    name: String,
    description: String,
    axes: Vec<Column>,
    metrics: Vec<Column>,
    errors: Vec<String>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    unit: String,
    cells: Vec<String>,
}

impl Column {
    fn title(&self) -> String {
        if self.unit.is_empty() { self.name.clone() } else { format!("{} [{}]", self.name, self.unit) }
    }

    fn number(&self, row: usize) -> Option<f64> {
        self.cells[row].parse().ok()
    }

    fn is_numeric(&self) -> bool {
        self.cells.iter().all(|cell| cell.is_empty() || cell.parse::<f64>().is_ok())
    }

    /// Its different values, ascending where they are numbers, in the order of the table otherwise.
    fn places(&self) -> Vec<String> {
        let mut places: Vec<String> = Vec::new();
        for cell in &self.cells {
            if !places.contains(cell) {
                places.push(cell.clone());
            }
        }
        if self.is_numeric() {
            let value = |cell: &String| cell.parse::<f64>().unwrap_or(f64::INFINITY);
            places.sort_by(|a, b| value(a).total_cmp(&value(b)));
        }
        places
    }

    fn cell(&self, row: usize) -> Cell {
        if self.is_numeric() { Cell::Number(self.number(row)) } else { Cell::text(&self.cells[row]) }
    }
}

impl SweepTable {
    /// The table that a sweep wrote, of the study of this name; `axes` names the columns that are its axes.
    ///
    /// # Errors
    /// When the lines are not those of a sweep.
    pub fn new(name: &str, description: &str, axes: &[String], rows: &[CsvRow]) -> Result<SweepTable, String> {
        let first = rows.first().ok_or("this table has no line")?;
        let place = |wanted: &str| first.0.iter().position(|(title, _)| title == wanted);
        let (Some(0), Some(last)) = (place("point"), place("error")) else {
            return Err("this is not the table of a sweep: it has no columns `point` and `error`".to_owned());
        };
        let column = |index: usize| {
            let title = &first.0[index].0;
            let (name, unit) =
                title.strip_suffix(']').and_then(|title| title.split_once(" [")).unwrap_or((title.as_str(), ""));
            let cells = rows.iter().map(|row| row.0[index].1.clone()).collect();
            Column { name: name.to_owned(), unit: unit.to_owned(), cells }
        };
        let (axes, metrics) = (1..last).map(column).partition(|column| axes.contains(&column.name));
        let errors = column(last).cells;
        Ok(SweepTable { name: name.to_owned(), description: description.trim().to_owned(), axes, metrics, errors })
    }

    fn rows(&self) -> usize {
        self.errors.len()
    }

    fn place(&self, row: usize) -> String {
        let place = |axis: &Column| {
            let unit = if axis.unit.is_empty() { String::new() } else { format!(" {}", axis.unit) };
            format!("{} = {}{unit}", axis.name, axis.cells[row])
        };
        self.axes.iter().map(place).collect::<Vec<_>>().join(", ")
    }

    fn metric(&self, name: &str) -> Option<&Column> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

pub(super) fn section(path: &str, sweep: &SweepTable) -> Section {
    let failed = sweep.errors.iter().filter(|error| !error.is_empty()).count();
    let without = if failed > 0 { format!(", {failed} of them without an answer") } else { String::new() };
    Section {
        title: sweep.name.clone(),
        origin: format!("sweep of {} points{without}; {path}", sweep.rows()),
        answer: answer(sweep),
        body: body(sweep),
    }
}

/// Where each metric is best.
fn answer(sweep: &SweepTable) -> String {
    let mut text = String::new();
    if !sweep.description.is_empty() {
        text.push_str(&format!("<p>{}</p>\n", escape(&sweep.description)));
    }
    text.push_str("<ul>\n");
    for metric in &sweep.metrics {
        let better = Better::of_metric(&metric.name);
        let mut best: Option<(usize, f64)> = None;
        for row in 0..sweep.rows() {
            if let Some(value) = metric.number(row)
                && best.is_none_or(|(_, so_far)| better.is_better(value, so_far))
            {
                best = Some((row, value));
            }
        }
        if let (Some((row, value)), true) = (best, !better.is_neither()) {
            let (name, unit, place) = (escape(&metric.name), escape(&metric.unit), escape(&sweep.place(row)));
            text.push_str(&format!("<li>best {name}: <b>{} {unit}</b> at {place}</li>\n", number(value)));
        }
    }
    text + "</ul>\n"
}

fn body(sweep: &SweepTable) -> Body {
    let mut body = Body::default();
    body.html("<div class=\"plots\">\n");
    match (TRADE.map(|name| sweep.metric(name)), sweep.metrics.as_slice()) {
        ([Some(user), Some(gpu)], _) => trade(&mut body, "What a user gets against what a GPU yields", [user, gpu]),
        (_, [one, other]) => trade(&mut body, &format!("{} against {}", other.name, one.name), [one, other]),
        _ => {}
    }
    for metric in sweep.metrics.iter().take(PLOTS_MAX) {
        along(&mut body, sweep, metric);
    }
    body.html("</div>\n");
    let columns = || sweep.axes.iter().chain(&sweep.metrics);
    let mut titles: Vec<String> = columns().map(Column::title).collect();
    let any_error = sweep.errors.iter().any(|error| !error.is_empty());
    titles.extend(any_error.then(|| "why there is no answer".to_owned()));
    let row = |row: usize| {
        let mut cells: Vec<Cell> = columns().map(|column| column.cell(row)).collect();
        let headline = sweep.errors[row].lines().next().unwrap_or_default();
        cells.extend(any_error.then(|| Cell::text(headline.trim_start_matches("error: "))));
        cells
    };
    body.html(&table(&titles, &(0..sweep.rows()).map(row).collect::<Vec<_>>()));
    body
}

/// Two metrics against each other, where both may be better or worse.
fn trade(body: &mut Body, title: &str, sides: [&Column; 2]) {
    let ways = sides.map(|side| Better::of_metric(&side.name));
    let both = |row: usize| Some((row, [sides[0].number(row)?, sides[1].number(row)?]));
    let points: Vec<(usize, [f64; 2])> = (0..sides[0].cells.len()).filter_map(both).collect();
    if points.len() < 2 || ways.iter().any(|way| way.is_neither()) {
        return;
    }
    let front = Better::front(ways, &points);
    let chosen = |wanted: bool| -> Vec<(f64, f64)> {
        points.iter().filter(|(row, _)| front.contains(row) == wanted).map(|&(_, [x, y])| (x, y)).collect()
    };
    let mut best = chosen(true);
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    let series = [
        Series { name: "other points".to_owned(), points: chosen(false), joined: false },
        Series { name: "Pareto front".to_owned(), points: best, joined: true },
    ];
    let (x, y) = (sides[0].title(), sides[1].title());
    body.figure("pareto", title, curves(&Chart { title, x: &x, y: &y, places: None, series: &series }));
}

/// The metric along the axis with the most values, one curve for each choice of the others.
fn along(body: &mut Body, sweep: &SweepTable, metric: &Column) {
    let places: Vec<Vec<String>> = sweep.axes.iter().map(Column::places).collect();
    let Some(axis) = (0..places.len()).max_by_key(|axis| (sweep.axes[*axis].is_numeric(), places[*axis].len())) else {
        return;
    };
    let mut series: Vec<Series> = Vec::new();
    for row in 0..sweep.rows() {
        let Some(value) = metric.number(row) else { continue };
        let x = places[axis].iter().position(|place| *place == sweep.axes[axis].cells[row]);
        let x = x.expect("every cell of an axis is a place of it") as f64;
        let others = sweep.axes.iter().enumerate().filter(|(other, _)| *other != axis);
        let name =
            others.map(|(_, other)| format!("{} {}", other.name, other.cells[row])).collect::<Vec<_>>().join(", ");
        match series.iter_mut().find(|series| series.name == name) {
            Some(series) => series.points.push((x, value)),
            None => series.push(Series { name, points: vec![(x, value)], joined: true }),
        }
    }
    if series.is_empty() {
        return;
    }
    // Where the study's conditions leave one point to each choice of the others, they are one curve.
    if series.iter().all(|series| series.points.len() == 1) {
        let points = series.iter().flat_map(|series| series.points.clone()).collect();
        series = vec![Series { name: String::new(), points, joined: true }];
    }
    series.iter_mut().for_each(|series| series.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    let all = series.len();
    if all > CURVES_MAX {
        let shown: Vec<usize> = (0..CURVES_MAX).map(|place| place * (all - 1) / (CURVES_MAX - 1)).collect();
        let mut place = 0..all;
        series.retain(|_| place.next().is_some_and(|place| shown.contains(&place)));
    }
    let of = if all > CURVES_MAX { format!(" ({CURVES_MAX} of {all} curves)") } else { String::new() };
    let title = format!("{}{of}", metric.name);
    let y = match longest_unit(metric, &series) {
        Some((unit, factor)) => {
            series.iter_mut().flat_map(|series| &mut series.points).for_each(|point| point.1 *= factor);
            format!("{} [{unit}]", metric.name)
        }
        None => metric.title(),
    };
    let x = sweep.axes[axis].title();
    let chart = Chart { title: &title, x: &x, y: &y, places: Some(&places[axis]), series: &series };
    body.figure(&metric.name, &title, curves(&chart));
}

/// The unit in which the longest of these times is read, and what makes it of the metric's own; none for what is no time.
fn longest_unit(metric: &Column, series: &[Series]) -> Option<(&'static str, f64)> {
    let us = match metric.unit.as_str() {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    let longest = series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
    let (unit, per_us) = time_unit(longest * us);
    Some((unit, us * per_us))
}
