//! A fabric as a picture: its tiers as rows, or its routers on a circle; what is too large is put together.
//!
//! A second panel opens one plane, pod or group where the first one had to put its switches together.

use super::sheet::{BLUE, FAINT, GREEN, INK, MARGIN, ORANGE, Sheet, Side, TITLE, VIOLET, sheet};
use super::topology_fold::{Block, Detail, Folded, Tier, fold};
use super::topology_text::grouped;
use crate::id::DeviceId;
use crate::topology::{Device, DeviceKind, Topology};
use plotters::style::RGBColor;
use std::collections::BTreeMap;

const WIDTH: i32 = 1280;
/// Left of the rows: what they are.
const LABELS: i32 = 150;
const ROW_STEP: i32 = 130;
const BOX_HEIGHT: i32 = 26;
const BOX_WIDTH_MAX: i32 = 120;
const CIRCLE_RADIUS: i32 = 300;
/// Boxes narrower than this carry no text.
const TEXT_WIDTH: i32 = 46;
/// Bundles up to this many carry their number of cables.
const NUMBERED_BUNDLES: usize = 24;

/// A picture of `topology`.
pub fn topology_svg(topology: &Topology, name: &str) -> String {
    let mut panels = vec![Panel::new(topology, "", fold(topology, &|_| true))];
    if panels[0].folded.coarsest > Detail::Switches {
        let (title, folded) = opened(topology);
        panels.push(Panel::new(topology, title, folded));
    }
    let height = TITLE + panels.iter().map(Panel::height).sum::<i32>() + MARGIN;
    sheet(WIDTH, height, name, |sheet| {
        let mut top = TITLE;
        for panel in &panels {
            panel.draw(sheet, top);
            top += panel.height();
        }
    })
}

/// One part of a fabric that is put together, device by device: a pod or group if there are several, else a plane.
fn opened(topology: &Topology) -> (&'static str, Folded) {
    let edge = |id: DeviceId| matches!(topology.device(id).kind, DeviceKind::Leaf | DeviceKind::Router);
    let several_groups = topology.devices().any(|(id, device)| edge(id) && device.group > 0);
    let several_planes = topology.devices().any(|(_, device)| device.plane > 0);
    let inside = |device: &Device| device.plane == 0 && (!several_groups || device.group == 0);
    let shown = |id: DeviceId| match topology.device(id).kind {
        DeviceKind::Core => topology.device(id).plane == 0,
        kind if kind.is_fabric_switch() => inside(topology.device(id)),
        _ => topology.out_links(id).any(|(_, peer)| edge(peer) && inside(topology.device(peer))),
    };
    let part = match (several_planes, several_groups) {
        (true, true) => "The first pod of plane 0, opened",
        (true, false) => "Plane 0, opened",
        (false, _) => "The first group, opened",
    };
    (part, fold(topology, &shown))
}

/// One drawing of some devices.
struct Panel<'t> {
    topology: &'t Topology,
    title: String,
    folded: Folded,
    /// Whether switches of one row are joined, so that they are best seen on a circle.
    round: bool,
}

impl<'t> Panel<'t> {
    fn new(topology: &'t Topology, title: &str, folded: Folded) -> Panel<'t> {
        let tier = |at: usize| folded.blocks[at].tier;
        let round = folded.bundles.keys().any(|&(a, b)| tier(a) == tier(b) && tier(a).is_switch());
        Panel { topology, title: title.to_owned(), folded, round }
    }

    fn height(&self) -> i32 {
        let title = if self.title.is_empty() { 0 } else { 40 };
        let body = if self.round { 2 * CIRCLE_RADIUS + 200 } else { ROW_STEP * self.folded.tiers().len() as i32 };
        title + body
    }

    fn draw(&self, sheet: &Sheet<'_>, top: i32) {
        let mut top = top;
        if !self.title.is_empty() {
            sheet.line((MARGIN, top + 8), (WIDTH - MARGIN, top + 8), FAINT);
            sheet.text((MARGIN, top + 26), 15, INK, Side::Left, &self.title);
            top += 40;
        }
        let places = if self.round { self.circle(top) } else { self.rows(top) };
        self.draw_bundles(sheet, &places);
        for (block, place) in self.folded.blocks.iter().zip(&places) {
            self.draw_block(sheet, block, place);
        }
        self.draw_labels(sheet, &places, top);
    }

    /// Tiers from the top, each spread over the width.
    fn rows(&self, top: i32) -> Vec<Place> {
        let mut places = vec![Place::default(); self.folded.blocks.len()];
        for (row, tier) in (0..).zip(self.folded.tiers()) {
            let y = top + ROW_STEP / 2 + ROW_STEP * row;
            let blocks = self.folded.row(tier);
            let step = (WIDTH - MARGIN - LABELS) / blocks.len() as i32;
            for (column, block) in (0..).zip(blocks) {
                let x = LABELS + step * column + step / 2;
                places[block] = Place { x, y, width: BOX_WIDTH_MAX.min((step * 9 / 10).max(3)) };
            }
        }
        places
    }

    /// Switches on a circle, and beside each of them what attaches to it.
    fn circle(&self, top: i32) -> Vec<Place> {
        let mut places = vec![Place::default(); self.folded.blocks.len()];
        let (x, y) = ((WIDTH + LABELS) / 2, top + CIRCLE_RADIUS + 90);
        let switches: Vec<usize> = (0..places.len()).filter(|&at| self.folded.blocks[at].tier.is_switch()).collect();
        let width = if switches.len() > 24 { 30 } else { 90 };
        let mut neighbours: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &(a, b) in self.folded.bundles.keys() {
            if self.folded.blocks[a].tier.is_switch() != self.folded.blocks[b].tier.is_switch() {
                neighbours.entry(a).or_default().push(b);
            }
        }
        for (turn, &switch) in switches.iter().enumerate() {
            let (dx, dy) = on_circle(turn, switches.len());
            let at = |radius: i32| Place {
                x: x + (dx * f64::from(radius)) as i32,
                y: y + (dy * f64::from(radius)) as i32,
                width,
            };
            places[switch] = at(CIRCLE_RADIUS);
            // Boxes are wider than high, so that the next one has to stand off more at the sides than above and below.
            let clear = (dy.abs() * 56.0 + dx.abs() * f64::from(width + 26)) as i32;
            for (ring, &outer) in (1..).zip(neighbours.get(&switch).into_iter().flatten()) {
                places[outer] = at(CIRCLE_RADIUS + clear * ring);
            }
        }
        places
    }

    fn draw_bundles(&self, sheet: &Sheet<'_>, places: &[Place]) {
        let bundles = &self.folded.bundles;
        let most = bundles.values().copied().max().unwrap_or(1) as f64;
        let opacity = (160.0 / bundles.len() as f64).clamp(0.05, 0.9);
        let numbered = bundles.len() <= NUMBERED_BUNDLES;
        for (&(a, b), &cables) in bundles {
            let width = 1 + (cables as f64 / most * if bundles.len() > 200 { 1.0 } else { 4.0 }) as u32;
            let (from, to) = (places[a].centre(), places[b].centre());
            sheet.path(&[from, to], INK, opacity, width);
            if numbered && cables > 1 {
                let middle = ((from.0 + to.0) / 2 + 4, (from.1 + to.1) / 2);
                sheet.text(middle, 12, INK, Side::Left, &format!("x {}", grouped(cables)));
            }
        }
    }

    fn draw_block(&self, sheet: &Sheet<'_>, block: &Block, place: &Place) {
        let (half, height) = (place.width / 2, BOX_HEIGHT / 2);
        sheet.bar((place.x - half, place.y - height), (place.x + half.max(1), place.y + height), color(block.tier));
        if place.width < TEXT_WIDTH {
            let is_number = block.devices > 1 && place.width >= 24;
            if is_number {
                sheet.text(place.centre(), 11, plotters::style::WHITE, Side::Center, &short(block.devices));
            }
            return;
        }
        let text = match block.devices {
            1 => self.topology.name(block.first).rsplit('/').next().unwrap_or_default().to_owned(),
            n => plural(n, self.topology.device(block.first).kind),
        };
        sheet.text(place.centre(), 12, plotters::style::WHITE, Side::Center, &text);
    }

    /// What each row is, and what its boxes stand for.
    fn draw_labels(&self, sheet: &Sheet<'_>, places: &[Place], top: i32) {
        for (row, tier) in (0..).zip(self.folded.tiers()) {
            let blocks = self.folded.row(tier);
            let devices: usize = blocks.iter().map(|&at| self.folded.blocks[at].devices).sum();
            let y = if self.round { top + 30 + 56 * row } else { places[blocks[0]].y };
            let kind = self.topology.device(self.folded.blocks[blocks[0]].first).kind;
            sheet.text((MARGIN, y - 8), 14, color(tier), Side::Left, &plural(devices, kind));
            if devices > blocks.len() && blocks.len() > 1 {
                let each = devices / blocks.len();
                let about = if blocks.iter().all(|&at| self.folded.blocks[at].devices == each) { "" } else { "about " };
                let text = format!("{} boxes of {about}{}", blocks.len(), grouped(each as u64));
                sheet.text((MARGIN, y + 10), 12, INK, Side::Left, &text);
            }
        }
    }
}

/// Where a block is drawn.
#[derive(Clone, Copy, Default)]
struct Place {
    x: i32,
    y: i32,
    width: i32,
}

impl Place {
    fn centre(&self) -> (i32, i32) {
        (self.x, self.y)
    }
}

/// The direction of the `turn`-th of `all` points on a circle, from the top, clockwise.
fn on_circle(turn: usize, all: usize) -> (f64, f64) {
    let share = turn as f64 / all as f64;
    let quarter = (share * 4.0) as usize;
    let (x, y) = quarter_circle(share * 4.0 - quarter as f64);
    match quarter {
        0 => (x, -y),
        1 => (y, x),
        2 => (-x, y),
        _ => (-y, -x),
    }
}

/// `(sin, cos)` of `share` of a right angle, by their power series: those of the platform's library may differ in the last bit
/// from machine to machine.
fn quarter_circle(share: f64) -> (f64, f64) {
    let angle = share * std::f64::consts::FRAC_PI_2;
    let square = angle * angle;
    let series = |first: f64, start: f64| {
        let (mut term, mut sum, mut n) = (first, first, start);
        while n < start + 20.0 {
            term *= -square / (n * (n + 1.0));
            sum += term;
            n += 2.0;
        }
        sum
    };
    (series(angle, 2.0), series(1.0, 1.0))
}

fn color(tier: Tier) -> RGBColor {
    match tier {
        Tier::Core => VIOLET,
        Tier::Spine => BLUE,
        Tier::Edge => GREEN,
        Tier::Nic => ORANGE,
        Tier::Processor => INK,
    }
}

/// `32 leaves`.
fn plural(n: usize, kind: DeviceKind) -> String {
    let (one, many) = match kind {
        DeviceKind::Cpu => ("CPU", "CPUs"),
        DeviceKind::Gpu => ("GPU", "GPUs"),
        DeviceKind::Nic => ("NIC", "NICs"),
        DeviceKind::NvSwitch => ("NVSwitch", "NVSwitches"),
        DeviceKind::Leaf => ("leaf", "leaves"),
        DeviceKind::Spine => ("spine", "spines"),
        DeviceKind::Core => ("core", "cores"),
        DeviceKind::Router => ("router", "routers"),
    };
    format!("{} {}", grouped(n as u64), if n == 1 { one } else { many })
}

/// A number that fits into a narrow box.
fn short(n: usize) -> String {
    if n < 10_000 { n.to_string() } else { format!("{}k", n / 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_on_the_circle_in_turn() {
        let near = |(x, y): (f64, f64), (u, v): (f64, f64)| (x - u).abs() < 1e-12 && (y - v).abs() < 1e-12;
        assert!(near(on_circle(0, 4), (0.0, -1.0)));
        assert!(near(on_circle(1, 4), (1.0, 0.0)));
        assert!(near(on_circle(2, 4), (0.0, 1.0)));
        assert!(near(on_circle(3, 4), (-1.0, 0.0)));
        assert!(near(on_circle(1, 8), (0.5_f64.sqrt(), -0.5_f64.sqrt())));
    }
}
