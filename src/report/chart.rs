//! Curves, clouds of points and bars with axes. It knows numbers and labels, never what they mean.

use crate::report::scale::{LABELS_MAX, Scale, ends, tick};
use crate::report::sheet::{
    BLUE, FAINT, GREEN, INK, MARGIN, Mark, ORANGE, Picture, RED, Sheet, Side, TITLE, VIOLET, sheet,
};
use plotters::style::RGBColor;
use serde::{Deserialize, Serialize};

const WIDTH: i32 = 680;
const HEIGHT: i32 = 380;
const LEFT: i32 = 84;
/// Where the axes end, beside a legend.
const LEGEND_FROM: i32 = 530;
/// Width of a letter, about.
const LETTER: i32 = 7;
const BOTTOM: i32 = 60;
const ROW: i32 = 26;
/// Curves that can be told apart.
pub(super) const CURVES_MAX: usize = 6;
/// What tells curves apart, also where colours do not.
const COLORS: [RGBColor; CURVES_MAX] = [BLUE, ORANGE, GREEN, VIOLET, RED, INK];
const MARKS: [Mark; CURVES_MAX] = [Mark::Disc, Mark::Square, Mark::Triangle, Mark::Diamond, Mark::Wedge, Mark::Cross];

/// One curve or cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// Whether its points are joined.
    pub joined: bool,
}

/// A plot of curves.
pub(super) struct Chart<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
    /// Names of the places 0, 1, 2, ... of the horizontal axis; without them it is a scale of numbers from zero.
    pub places: Option<&'a [String]>,
    pub series: &'a [Series],
}

/// Points by what is to be had of two quantities that trade off against each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// What it shows.
    pub title: String,
    /// Along the horizontal axis.
    pub x: String,
    /// Along the vertical axis.
    pub y: String,
    /// Clouds of points; later ones lie above.
    pub clouds: Vec<Series>,
}

impl Trade {
    /// The picture.
    pub fn picture(&self) -> Picture {
        curves(&Chart { title: &self.title, x: &self.x, y: &self.y, places: None, series: &self.clouds })
    }
}

/// What was measured beside what was simulated, drawn in one colour.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Compared {
    /// What the legend calls it.
    pub name: String,
    /// Points, in order of their place along the horizontal axis.
    pub measured: Vec<(f64, f64)>,
    /// The same, joined.
    pub simulated: Vec<(f64, f64)>,
}

/// The vertical scale of a chart.
fn upwards(values: impl Iterator<Item = f64>, powers: bool) -> Scale {
    let (bottom, top) = (HEIGHT - BOTTOM, TITLE + 24);
    if powers { Scale::powers(values, bottom, top) } else { Scale::of(values, bottom, top) }
}

/// Draws curves.
pub(super) fn curves(chart: &Chart<'_>) -> Picture {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let names: Vec<&str> = chart.series.iter().map(|series| series.name.as_str()).collect();
    let (right, width) = room(&names);
    let values = || points().map(|point| point.1);
    // Curves at different heights are all to be seen.
    let apart = chart.places.is_some() && chart.series.len() > 1 && values().all(|value| value > 0.0) && far(values());
    let vertical = upwards(values(), apart);
    let horizontal = match chart.places {
        Some(places) => Scale::places(places.len(), LEFT, right),
        None => Scale::of(points().map(|point| point.0), LEFT, right),
    };
    sheet(width, HEIGHT, chart.title, |sheet| {
        axes(sheet, (chart.x, chart.y), chart.places, &horizontal, &vertical);
        for (place, series) in chart.series.iter().enumerate() {
            let color = COLORS[place % CURVES_MAX];
            let at: Vec<(i32, i32)> = series.points.iter().map(|p| (horizontal.at(p.0), vertical.at(p.1))).collect();
            if series.joined && at.len() > 1 {
                sheet.path(&at, color, 1.0, 2);
            }
            at.iter().for_each(|at| sheet.mark(*at, MARKS[place % CURVES_MAX], 5, color));
        }
        legend(sheet, right, &names);
    })
}

/// Where the axes end and how wide the drawing is, with a legend of these names beside the axes if there are several.
fn room(names: &[&str]) -> (i32, i32) {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    if names.len() < 2 {
        (WIDTH - MARGIN, WIDTH)
    } else {
        (LEGEND_FROM, WIDTH.max(LEGEND_FROM + 40 + LETTER * longest as i32))
    }
}

fn legend(sheet: &mut Sheet, right: i32, names: &[&str]) {
    for (place, name) in names.iter().enumerate().filter(|_| names.len() > 1) {
        let y = TITLE + 24 + 22 * place as i32;
        sheet.mark((right + 20, y), MARKS[place % CURVES_MAX], 5, COLORS[place % CURVES_MAX]);
        sheet.text((right + 32, y), 13, INK, Side::Left, name);
    }
}

/// Whether values differ by so much that only their ratios can be read.
fn far(values: impl Iterator<Item = f64>) -> bool {
    let (low, high) = ends(values);
    high > 20.0 * low
}

/// Draws measured points and simulated curves, equal ratios equally far apart.
pub(super) fn compared(title: &str, (x, y): (&str, &str), rows: &[Compared]) -> Picture {
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let (right, width) = room(&names);
    let points = || rows.iter().flat_map(|row| row.measured.iter().chain(&row.simulated).copied());
    let values = || points().map(|point| point.1);
    let vertical = upwards(values(), far(values()));
    let mut places: Vec<f64> = points().map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    // Few places get a label each.
    let few = places.len() <= LABELS_MAX && places.last() < Some(&1e6);
    let labels: Vec<String> = places.iter().map(|place| tick(*place)).collect();
    let horizontal =
        if few { Scale::places(places.len(), LEFT, right) } else { Scale::powers(places.iter().copied(), LEFT, right) };
    let across = |x: f64| match places.iter().position(|place| *place == x) {
        Some(place) if few => horizontal.at(place as f64),
        _ => horizontal.at(x),
    };
    sheet(width, HEIGHT, title, |sheet| {
        axes(sheet, (x, y), few.then_some(labels.as_slice()), &horizontal, &vertical);
        for (place, row) in rows.iter().enumerate() {
            let color = COLORS[place % CURVES_MAX];
            let at = |points: &[(f64, f64)]| -> Vec<(i32, i32)> {
                points.iter().map(|point| (across(point.0), vertical.at(point.1))).collect()
            };
            // Earlier ones are wider, so that they show below later ones that lie on them.
            let later = (rows.len() - 1 - place) as i32;
            if row.simulated.len() > 1 {
                sheet.path(&at(&row.simulated), color, 1.0, 2 + later as u32);
            }
            for at in at(&row.measured) {
                sheet.mark(at, MARKS[place % CURVES_MAX], 5 + later, color);
            }
        }
        legend(sheet, right, &names);
    })
}

/// Draws pairs of one quantity, measured along the horizontal and simulated along the vertical axis: what agrees lies on the
/// diagonal, and the thin lines beside it are a quarter away.
pub(super) fn agreement(title: &str, (x, y): (&str, &str), clouds: &[Series]) -> Picture {
    let names: Vec<&str> = clouds.iter().map(|cloud| cloud.name.as_str()).collect();
    let (right, width) = room(&names);
    let values = || clouds.iter().flat_map(|cloud| &cloud.points).flat_map(|&(x, y)| [x, y]);
    let vertical = upwards(values(), true);
    let horizontal = Scale::powers(values(), LEFT, right);
    sheet(width, HEIGHT, title, |sheet| {
        axes(sheet, (x, y), None, &horizontal, &vertical);
        for (factor, opacity) in [(1.0, 0.8), (1.25, 0.3), (0.8, 0.3)] {
            // From border to border, whichever it meets.
            let ends = [f64::max(vertical.from, vertical.from / factor), f64::min(vertical.to, vertical.to / factor)];
            sheet.path(&ends.map(|end| (horizontal.at(end), vertical.at(end * factor))), INK, opacity, 1);
        }
        for (place, cloud) in clouds.iter().enumerate() {
            let color = COLORS[place % CURVES_MAX];
            let mark = MARKS[place % CURVES_MAX];
            cloud.points.iter().for_each(|&(x, y)| sheet.mark((horizontal.at(x), vertical.at(y)), mark, 3, color));
        }
        legend(sheet, right, &names);
    })
}

fn axes(sheet: &mut Sheet, (x, y): (&str, &str), places: Option<&[String]>, horizontal: &Scale, vertical: &Scale) {
    for value in vertical.ticks() {
        let at = vertical.at(value);
        sheet.line((horizontal.start, at), (horizontal.end, at), FAINT);
        sheet.text((horizontal.start - 8, at), 13, INK, Side::Right, &vertical.label(value));
    }
    let below = vertical.start + 16;
    match places {
        Some(places) => {
            let every = places.len().div_ceil(LABELS_MAX).max(1);
            for (place, label) in places.iter().enumerate().step_by(every) {
                sheet.text((horizontal.at(place as f64), below), 13, INK, Side::Center, label);
            }
        }
        None => {
            for value in horizontal.ticks() {
                sheet.text((horizontal.at(value), below), 13, INK, Side::Center, &horizontal.label(value));
            }
        }
    }
    let middle = (horizontal.start + horizontal.end) / 2;
    sheet.text((middle, vertical.start + 40), 13, INK, Side::Center, x);
    sheet.text((MARGIN, TITLE + 4), 13, INK, Side::Left, y);
}

/// One bar.
pub(super) struct Bar {
    pub name: String,
    pub value: f64,
    /// What is written at its end.
    pub label: String,
    pub color: RGBColor,
}

/// Draws bars below each other, all starting at zero.
pub(super) fn bars(title: &str, bars: &[Bar]) -> Picture {
    let left = 220;
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let room = f64::from(WIDTH - left - 150);
    sheet(WIDTH, TITLE + ROW * bars.len() as i32 + MARGIN, title, |sheet| {
        for (row, bar) in (0..).zip(bars) {
            let y = TITLE + ROW * row + ROW / 2 + 4;
            let length = if longest > 0.0 { (bar.value / longest * room) as i32 } else { 0 };
            sheet.text((left - 10, y), 13, INK, Side::Right, &bar.name);
            sheet.bar((left, y - 8), (left + length.max(1), y + 8), bar.color);
            sheet.text((left + length + 8, y), 13, INK, Side::Left, &bar.label);
        }
    })
}
