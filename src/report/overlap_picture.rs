//! What overlapped with what, as a picture: a row for each stream and port, colours for what they did. It must not know timelines.

use super::overlap::{Busy, Kind, Overlap, Panel, What};
use super::scale::{step, tick};
use super::sheet::{
    AMBER, BLUE, FAINT, GREEN, INK, MARGIN, ORANGE, Picture, RED, SKY, Sheet, Side, TITLE, VIOLET, sheet,
};
use super::table::time_unit;
use plotters::style::{RGBColor, WHITE};
use std::collections::BTreeMap;

const WIDTH: i32 = 1000;
const LEFT: i32 = 130;
const RIGHT: i32 = WIDTH - MARGIN;
const ROW: i32 = 30;
const BAR: i32 = 22;
/// Above the first row of a panel, and below its last one, where its scale is.
const HEAD: i32 = 26;
const FOOT: i32 = 44;
const LEGEND: i32 = 26;
/// How far half the label of a tick reaches.
const TICK_MARGIN: i32 = 24;
/// Width of a letter of a label, about.
const LETTER: i32 = 6;

impl Overlap {
    /// The picture.
    pub fn picture(&self) -> Picture {
        let panel = |panel: &Panel| HEAD + ROW * panel.rows.len() as i32 + FOOT;
        let height = TITLE + LEGEND + self.panels.iter().map(panel).sum::<i32>();
        sheet(WIDTH, height, &self.title, |sheet| {
            legend(sheet, self);
            let mut top = TITLE + LEGEND;
            for each in &self.panels {
                draw(sheet, each, top);
                top += panel(each);
            }
        })
    }
}

/// What a colour of the legend stands for; the micro-batches of a chunk of training are its passes.
fn name(what: &What, passes: bool) -> String {
    let of = |name: &str| match (passes, what.micro_batch) {
        (true, 0) => format!("forward {name}"),
        (true, _) => format!("backward {name}"),
        (false, 0) => name.to_owned(),
        (false, n) => format!("{name}, micro-batch {}", n + 1),
    };
    match what.kind {
        Kind::Computation if what.phase == OPTIMIZER => what.phase.clone(),
        Kind::Computation => of("computation"),
        Kind::Transfer => of("transfer"),
        Kind::Software => "communication software".to_owned(),
        Kind::Host => "host".to_owned(),
        Kind::Chunk => what.phase.clone(),
    }
}

/// A phase of a pipeline beside its chunks, whose colours stand for passes.
const OPTIMIZER: &str = "optimizer";

fn color(what: &What) -> RGBColor {
    let second = what.micro_batch % 2 == 1;
    match what.kind {
        Kind::Computation if what.phase == OPTIMIZER => RED,
        Kind::Computation => [BLUE, SKY][usize::from(second)],
        Kind::Transfer => [ORANGE, AMBER][usize::from(second)],
        Kind::Software => VIOLET,
        Kind::Host => INK,
        Kind::Chunk => chunk_color(&what.phase),
    }
}

/// Passes of a pipeline by direction, what is overlapped, and what is left to compute of weights.
fn chunk_color(phase: &str) -> RGBColor {
    match phase {
        "F" => BLUE,
        "F&B" => VIOLET,
        "B" => ORANGE,
        "B input" => AMBER,
        "W" => GREEN,
        _ => INK,
    }
}

fn legend(sheet: &mut Sheet, overlap: &Overlap) {
    let mut shown: BTreeMap<&What, (String, RGBColor)> = BTreeMap::new();
    for busy in overlap.panels.iter().flat_map(|panel| &panel.rows).flat_map(|row| &row.busy) {
        shown.entry(&busy.what).or_insert_with(|| (name(&busy.what, overlap.passes), color(&busy.what)));
    }
    let mut entries: Vec<(String, RGBColor)> = Vec::new();
    for entry in shown.into_values() {
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    let mut x = LEFT;
    for (name, color) in entries {
        sheet.bar((x, TITLE + 2), (x + 18, TITLE + 14), color);
        sheet.text((x + 24, TITLE + 8), 13, INK, Side::Left, &name);
        x += 24 + (LETTER + 1) * name.len() as i32 + 18;
    }
}

fn draw(sheet: &mut Sheet, panel: &Panel, top: i32) {
    let span = panel.until_us - panel.from_us;
    let at = |us: f64| LEFT + ((us - panel.from_us) / span * f64::from(RIGHT - LEFT)).round() as i32;
    sheet.text((LEFT, top + 10), 13, INK, Side::Left, &panel.title);
    let bottom = top + HEAD + ROW * panel.rows.len() as i32;
    // The scale counts from the begin of the panel: durations are read, not times.
    let (unit, per_us) = time_unit(span);
    let every = step(span * per_us);
    let ticks = (0..).map(|count| every * f64::from(count)).take_while(|time| *time <= span * per_us);
    for time in ticks {
        let x = at(panel.from_us + time / per_us);
        sheet.line((x, top + HEAD), (x, bottom), FAINT);
        let side = if x + TICK_MARGIN > RIGHT { Side::Right } else { Side::Center };
        sheet.text((x, bottom + 12), 12, INK, side, &format!("{} {unit}", tick(time)));
    }
    for (row, y) in panel.rows.iter().zip((top + HEAD..).step_by(ROW as usize)) {
        let middle = y + ROW / 2;
        sheet.text((LEFT - 10, middle), 13, INK, Side::Right, &row.name);
        for busy in &row.busy {
            let (from, until) = (at(busy.from_us), at(busy.until_us));
            sheet.bar((from, middle - BAR / 2), (until.max(from + 1), middle + BAR / 2), color(&busy.what));
        }
        for busy in &row.busy {
            label(sheet, busy, (at(busy.from_us), at(busy.until_us)), middle);
        }
    }
}

/// The phase, where there is room for it.
fn label(sheet: &mut Sheet, busy: &Busy, (from, until): (i32, i32), y: i32) {
    let text = &busy.what.phase;
    if !text.is_empty() && LETTER * text.len() as i32 + 6 <= until - from {
        let color = color(&busy.what);
        let ink = if color == SKY || color == AMBER { INK } else { WHITE };
        sheet.text(((from + until) / 2, y), 11, ink, Side::Center, text);
    }
}
