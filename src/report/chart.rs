//! Curves, clouds of points and bars with axes. It knows numbers and labels, never what they mean.

use crate::numerics::logarithm;
use crate::report::sheet::{BLUE, FAINT, GREEN, INK, MARGIN, ORANGE, Picture, RED, Sheet, Side, TITLE, VIOLET, sheet};
use crate::report::table::number;
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
/// Labels along the horizontal axis that fit.
const LABELS_MAX: usize = 9;
const COLORS: [RGBColor; CURVES_MAX] = [BLUE, ORANGE, GREEN, VIOLET, RED, INK];

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

/// Values along an axis, and where they lie.
struct Scale {
    from: f64,
    to: f64,
    step: f64,
    start: i32,
    end: i32,
    /// Whether equal ratios are equally far apart; then ticks are powers of ten.
    powers: bool,
}

impl Scale {
    /// A scale that holds `values`; it starts at zero unless they are all far from it.
    fn of(values: impl Iterator<Item = f64>, start: i32, end: i32) -> Scale {
        let (low, high) = ends(values);
        let high = if high > 0.0 { high } else { 1.0 };
        let near_zero = low < 0.5 * high;
        let step = step(if near_zero { high } else { f64::max(high - low, 0.05 * high) });
        let from = if near_zero { 0.0 } else { (low / step).floor() * step };
        Scale { from, to: f64::max((high / step).ceil() * step, from + step), step, start, end, powers: false }
    }

    /// The places 0, 1, 2, ... of the horizontal axis.
    fn places(count: usize, end: i32) -> Scale {
        Scale { from: -0.3, to: count as f64 - 0.7, step: 1.0, start: LEFT, end, powers: false }
    }

    /// A scale of powers of ten that holds those of `values` that have a place on it: finite ones above zero.
    fn powers(values: impl Iterator<Item = f64>, start: i32, end: i32) -> Scale {
        let values = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = ends(values);
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let mut from = 1.0;
        while from > low {
            from /= 10.0;
        }
        while from * 10.0 <= low {
            from *= 10.0;
        }
        let mut to = from * 10.0;
        while to < high {
            to *= 10.0;
        }
        Scale { from, to, step: 10.0, start, end, powers: true }
    }

    /// The vertical scale of a chart.
    fn upwards(values: impl Iterator<Item = f64>, powers: bool) -> Scale {
        let (bottom, top) = (HEIGHT - BOTTOM, TITLE + 24);
        if powers { Scale::powers(values, bottom, top) } else { Scale::of(values, bottom, top) }
    }

    fn at(&self, value: f64) -> i32 {
        let part = if self.powers {
            logarithm(value / self.from) / logarithm(self.to / self.from)
        } else {
            (value - self.from) / (self.to - self.from)
        };
        self.start + (part * f64::from(self.end - self.start)).round() as i32
    }

    fn ticks(&self) -> Vec<f64> {
        if self.powers {
            let after = |tick: &f64| (tick * 10.0 < self.to * 1.01).then_some(tick * 10.0);
            let ticks: Vec<f64> = std::iter::successors(Some(self.from), after).collect();
            let every = ticks.len().div_ceil(LABELS_MAX);
            return ticks.into_iter().step_by(every).collect();
        }
        let count = ((self.to - self.from) / self.step).round() as i32;
        (0..=count).map(|tick| self.from + self.step * f64::from(tick)).collect()
    }

    /// What a tick is called: large powers of ten by their letter.
    fn label(&self, value: f64) -> String {
        let letters = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
        match letters.into_iter().find(|(unit, _)| self.powers && value > 0.99 * unit) {
            Some((unit, letter)) => format!("{}{letter}", tick(value / unit)),
            None => tick(value),
        }
    }
}

/// A round distance of ticks, so that four to ten of them cover `span`.
fn step(span: f64) -> f64 {
    let mut power = 1.0;
    while power * 10.0 <= span {
        power *= 10.0;
    }
    while power > span {
        power /= 10.0;
    }
    match span / power {
        ratio if ratio < 2.0 => power / 4.0,
        ratio if ratio < 5.0 => power / 2.0,
        _ => power,
    }
}

/// A tick without digits that say nothing.
fn tick(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Draws curves.
pub(super) fn curves(chart: &Chart<'_>) -> Picture {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let names: Vec<&str> = chart.series.iter().map(|series| series.name.as_str()).collect();
    let (right, width) = room(&names);
    let values = || points().map(|point| point.1);
    // Curves at different heights are all to be seen.
    let apart = chart.places.is_some() && chart.series.len() > 1 && values().all(|value| value > 0.0) && far(values());
    let vertical = Scale::upwards(values(), apart);
    let horizontal = match chart.places {
        Some(places) => Scale::places(places.len(), right),
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
            at.iter().for_each(|at| sheet.dot(*at, color));
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
        sheet.dot((right + 20, y), COLORS[place % CURVES_MAX]);
        sheet.text((right + 32, y), 13, INK, Side::Left, name);
    }
}

/// The least of `values` and the greatest, or 0 if that is less.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(low, high), value| (f64::min(low, value), f64::max(high, value)))
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
    let vertical = Scale::upwards(values(), far(values()));
    let mut places: Vec<f64> = points().map(|point| point.0).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    // Few places get a label each.
    let few = places.len() <= LABELS_MAX && places.last() < Some(&1e6);
    let labels: Vec<String> = places.iter().map(|place| tick(*place)).collect();
    let horizontal =
        if few { Scale::places(places.len(), right) } else { Scale::powers(places.iter().copied(), LEFT, right) };
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
                sheet.path(&at(&row.simulated), color, 1.0, 2 + 2 * later as u32);
            }
            at(&row.measured).into_iter().for_each(|at| sheet.disc(at, 5 + 2 * later, color));
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
    let vertical = Scale::upwards(values(), true);
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
            cloud.points.iter().for_each(|&(x, y)| sheet.spot((horizontal.at(x), vertical.at(y)), color));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_holds_all_values_and_few_ticks() {
        for (low, high) in [(0.0, 1.0), (3.0, 97.0), (90.0, 97.0), (0.001, 0.0042), (14.8, 14.8), (1e6, 4.9e6)] {
            let scale = Scale::of([low, high].into_iter(), 300, 0);
            assert!(scale.from <= low && scale.to >= high, "{low} to {high}: {} to {}", scale.from, scale.to);
            assert!((2..=12).contains(&scale.ticks().len()), "{low} to {high}: {:?}", scale.ticks());
            assert!(scale.at(high) <= scale.at(low) && scale.at(high) >= 0);
        }
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart() {
        let scale = Scale::powers([3.0, 4000.0].into_iter(), 0, 400);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!([1.0, 10.0, 100.0, 1000.0, 10_000.0].map(|value| scale.at(value)), [0, 100, 200, 300, 400]);
        assert_eq!(
            scale.ticks().into_iter().map(|value| scale.label(value)).collect::<Vec<_>>(),
            ["1", "10", "100", "1k", "10k"]
        );
        let small = Scale::powers([0.02, 0.03].into_iter(), 0, 400);
        assert!(small.from <= 0.02 && small.to >= 0.03 && small.ticks().len() == 2, "{:?}", small.ticks());
        let wide = Scale::powers([1.0, 1e12].into_iter(), 0, 400);
        assert!(wide.ticks().len() <= LABELS_MAX);
    }

    #[test]
    fn what_has_no_logarithm_takes_no_part_in_a_scale_of_powers() {
        let scale = Scale::powers([0.0, -3.0, f64::INFINITY, f64::NAN, 5.0, 200.0].into_iter(), 0, 400);
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::powers([0.0].into_iter(), 0, 400).ticks(), [1.0, 10.0]);
    }

    #[test]
    fn ticks_lose_only_zeros() {
        assert_eq!(["0", "100", "2.5", "0.25"], [0.0, 100.0, 2.5, 0.25].map(tick)[..]);
    }
}
