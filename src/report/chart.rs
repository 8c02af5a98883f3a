//! Curves, clouds of points and bars with axes. It knows numbers and labels, never what they mean.

use crate::report::sheet::{BLUE, FAINT, GREEN, INK, MARGIN, ORANGE, RED, Sheet, Side, TITLE, VIOLET, sheet};
use crate::report::table::number;
use plotters::style::RGBColor;

const WIDTH: i32 = 680;
const HEIGHT: i32 = 380;
const LEFT: i32 = 84;
const LEGEND: i32 = 150;
const BOTTOM: i32 = 60;
const ROW: i32 = 26;
/// Curves that can be told apart.
pub(super) const CURVES_MAX: usize = 6;
/// Labels along the horizontal axis that fit.
const LABELS_MAX: usize = 9;
const COLORS: [RGBColor; CURVES_MAX] = [BLUE, ORANGE, GREEN, VIOLET, RED, INK];

/// One curve or cloud.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
    /// The picture as SVG.
    pub fn svg(&self) -> String {
        curves(&Chart { title: &self.title, x: &self.x, y: &self.y, places: None, series: &self.clouds })
    }
}

/// Values along an axis, and where they lie.
struct Scale {
    from: f64,
    to: f64,
    step: f64,
    start: i32,
    end: i32,
}

impl Scale {
    /// A scale that holds `values`; it starts at zero unless they are all far from it.
    fn of(values: impl Iterator<Item = f64>, start: i32, end: i32) -> Scale {
        let (low, high) = values.fold((f64::INFINITY, 0.0), |(low, high), v| (f64::min(low, v), f64::max(high, v)));
        let high = if high > 0.0 { high } else { 1.0 };
        let near_zero = low < 0.5 * high;
        let step = step(if near_zero { high } else { f64::max(high - low, 0.05 * high) });
        let from = if near_zero { 0.0 } else { (low / step).floor() * step };
        Scale { from, to: f64::max((high / step).ceil() * step, from + step), step, start, end }
    }

    fn at(&self, value: f64) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        self.start + (part * f64::from(self.end - self.start)).round() as i32
    }

    fn ticks(&self) -> Vec<f64> {
        let count = ((self.to - self.from) / self.step).round() as i32;
        (0..=count).map(|tick| self.from + self.step * f64::from(tick)).collect()
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
pub(super) fn curves(chart: &Chart<'_>) -> String {
    let points = || chart.series.iter().flat_map(|series| series.points.iter().copied());
    let right = WIDTH - if chart.series.len() > 1 { LEGEND } else { MARGIN };
    let vertical = Scale::of(points().map(|point| point.1), HEIGHT - BOTTOM, TITLE + 24);
    let horizontal = match chart.places {
        Some(places) => {
            let (from, to) = (-0.3, places.len() as f64 - 0.7);
            Scale { from, to, step: 1.0, start: LEFT, end: right }
        }
        None => Scale::of(points().map(|point| point.0), LEFT, right),
    };
    sheet(WIDTH, HEIGHT, chart.title, |sheet| {
        axes(sheet, chart, &horizontal, &vertical);
        for (place, series) in chart.series.iter().enumerate() {
            let color = COLORS[place % CURVES_MAX];
            let at: Vec<(i32, i32)> = series.points.iter().map(|p| (horizontal.at(p.0), vertical.at(p.1))).collect();
            if series.joined && at.len() > 1 {
                sheet.path(&at, color, 1.0, 2);
            }
            at.iter().for_each(|at| sheet.dot(*at, color));
            if chart.series.len() > 1 {
                let y = TITLE + 24 + 22 * place as i32;
                sheet.dot((right + 20, y), color);
                sheet.text((right + 32, y), 13, INK, Side::Left, &series.name);
            }
        }
    })
}

fn axes(sheet: &Sheet<'_>, chart: &Chart<'_>, horizontal: &Scale, vertical: &Scale) {
    for value in vertical.ticks() {
        let y = vertical.at(value);
        sheet.line((horizontal.start, y), (horizontal.end, y), FAINT);
        sheet.text((horizontal.start - 8, y), 13, INK, Side::Right, &tick(value));
    }
    let below = vertical.start + 16;
    match chart.places {
        Some(places) => {
            let every = places.len().div_ceil(LABELS_MAX).max(1);
            for (place, label) in places.iter().enumerate().step_by(every) {
                sheet.text((horizontal.at(place as f64), below), 13, INK, Side::Center, label);
            }
        }
        None => {
            for value in horizontal.ticks() {
                sheet.text((horizontal.at(value), below), 13, INK, Side::Center, &tick(value));
            }
        }
    }
    let middle = (horizontal.start + horizontal.end) / 2;
    sheet.text((middle, vertical.start + 40), 13, INK, Side::Center, chart.x);
    sheet.text((MARGIN, TITLE + 4), 13, INK, Side::Left, chart.y);
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
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
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
    fn ticks_lose_only_zeros() {
        assert_eq!(["0", "100", "2.5", "0.25"], [0.0, 100.0, 2.5, 0.25].map(tick)[..]);
    }
}
