//! A fabric as a picture: its tiers as rows, or its routers on a circle; what is too large is put together.
//!
//! A second panel opens one plane, pod or group where the first one had to put its switches together. Where the use of links
//! is known, it colours them.

use super::sheet::{BLUE, FAINT, GREEN, HEAT, INK, MARGIN, ORANGE, Picture, RED, Sheet, Side, TITLE, VIOLET, sheet};
use super::topology_fold::{Block, Bundle, Detail, Folded, Loads, Tier, fold};
use super::topology_text::grouped;
use crate::id::DeviceId;
use crate::numerics::sine_and_cosine;
use crate::topology::{Device, DeviceKind, Topology};
use plotters::style::RGBColor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const WIDTH: i32 = 1280;
/// Left of the rows: what they are.
const LABELS: i32 = 150;
const ROW_STEP: i32 = 130;
/// Height of the scale of colours.
const LEGEND: i32 = 28;
const BOX_HEIGHT: i32 = 26;
const BOX_WIDTH_MAX: i32 = 120;
const CIRCLE_RADIUS: i32 = 300;
/// Boxes narrower than this carry no text.
const TEXT_WIDTH: i32 = 46;
/// Bundles up to this many carry their number of cables.
const NUMBERED_BUNDLES: usize = 24;

/// What is drawn of a fabric: small, whatever its size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FabricPicture {
    name: String,
    /// The whole, then what is opened of it.
    panels: Vec<Panel>,
}

impl FabricPicture {
    /// A picture of `topology`.
    pub fn new(topology: &Topology, name: &str) -> FabricPicture {
        FabricPicture::of(topology, name, &|_| true, None)
    }

    /// The same of the devices that `shown` picks; links are coloured by `loads`, where these are known.
    pub(super) fn of(
        topology: &Topology,
        name: &str,
        shown: &dyn Fn(DeviceId) -> bool,
        loads: Option<&Loads>,
    ) -> FabricPicture {
        let mut panels = vec![Panel { title: String::new(), folded: fold(topology, shown, loads) }];
        if panels[0].folded.coarsest > Detail::Switches {
            panels.push(opened(topology, loads));
        }
        FabricPicture { name: name.to_owned(), panels }
    }

    /// The picture.
    pub fn picture(&self) -> Picture {
        let scale = Scale::of(self);
        let top = TITLE + if scale.is_some() { LEGEND } else { 0 };
        let height = top + self.panels.iter().map(Panel::height).sum::<i32>() + MARGIN;
        sheet(WIDTH, height, &self.name, |sheet| {
            if let Some(scale) = scale {
                scale.draw(sheet);
            }
            let mut top = top;
            for panel in &self.panels {
                panel.draw(sheet, top, scale);
                top += panel.height();
            }
        })
    }
}

/// Colours of links by their use: equal steps up to that of the most used link, so that what differs is seen to differ.
#[derive(Clone, Copy)]
struct Scale {
    most: f64,
}

impl Scale {
    /// None where nothing is known of the use of links.
    fn of(picture: &FabricPicture) -> Option<Scale> {
        let used = picture.panels.iter().flat_map(|panel| &panel.folded.bundles).filter_map(|bundle| bundle.used);
        used.reduce(f64::max).map(|most| Scale { most })
    }

    /// The colour of a link, and its place in the order of drawing; none where it was not used.
    fn step(self, used: f64) -> Option<usize> {
        let steps = HEAT.len() as f64;
        (used > 0.0).then(|| ((used / self.most * steps).ceil() as usize).clamp(1, HEAT.len()) - 1)
    }

    fn draw(self, sheet: &mut Sheet) {
        let y = TITLE + 10;
        sheet.text((MARGIN, y), 13, INK, Side::Left, "Use of each bundle's most used link over the whole run:");
        let mut x = MARGIN + 340;
        let mut entry = |color, text: &str| {
            sheet.bar((x, y - 4), (x + 26, y + 4), color);
            sheet.text((x + 32, y), 13, INK, Side::Left, text);
            x += 145;
        };
        entry(FAINT, "none");
        for (step, color) in HEAT.into_iter().enumerate() {
            let bound = |step: usize| 100.0 * self.most * step as f64 / HEAT.len() as f64;
            entry(color, &format!("{:.1} to {:.1}%", bound(step), bound(step + 1)));
        }
    }
}

/// One part of a fabric that is put together, device by device: a pod or group if there are several, else a plane.
fn opened(topology: &Topology, loads: Option<&Loads>) -> Panel {
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
    Panel { title: part.to_owned(), folded: fold(topology, &shown, loads) }
}

/// One drawing of some devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Panel {
    title: String,
    folded: Folded,
}

impl Panel {
    /// Whether switches of one row are joined, so that they are best seen on a circle.
    fn is_round(&self) -> bool {
        let tier = |at: usize| self.folded.blocks[at].tier;
        let inside = |bundle: &Bundle| tier(bundle.ends.0) == tier(bundle.ends.1) && tier(bundle.ends.0).is_switch();
        self.folded.bundles.iter().any(inside)
    }

    fn height(&self) -> i32 {
        let title = if self.title.is_empty() { 0 } else { 40 };
        let body = if self.is_round() { 2 * CIRCLE_RADIUS + 200 } else { ROW_STEP * self.folded.tiers().len() as i32 };
        title + body
    }

    fn draw(&self, sheet: &mut Sheet, top: i32, scale: Option<Scale>) {
        let mut top = top;
        if !self.title.is_empty() {
            sheet.line((MARGIN, top + 8), (WIDTH - MARGIN, top + 8), FAINT);
            sheet.text((MARGIN, top + 26), 15, INK, Side::Left, &self.title);
            top += 40;
        }
        let places = if self.is_round() { self.circle(top) } else { self.rows(top) };
        self.draw_bundles(sheet, &places, scale);
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
        for &Bundle { ends: (a, b), .. } in &self.folded.bundles {
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

    fn draw_bundles(&self, sheet: &mut Sheet, places: &[Place], scale: Option<Scale>) {
        let bundles = &self.folded.bundles;
        let most = bundles.iter().map(|bundle| bundle.cables).max().unwrap_or(1) as f64;
        let opacity = (160.0 / bundles.len() as f64).clamp(0.05, 0.9);
        let numbered = bundles.len() <= NUMBERED_BUNDLES;
        let step = |bundle: &Bundle| scale.zip(bundle.used).and_then(|(scale, used)| scale.step(used));
        // The most used last, so that nothing hides them.
        let mut ordered: Vec<&Bundle> = bundles.iter().collect();
        ordered.sort_by_key(|bundle| step(bundle));
        for bundle in ordered {
            let cables = bundle.cables;
            let width = 1 + (cables as f64 / most * if bundles.len() > 200 { 1.0 } else { 4.0 }) as u32;
            let (from, to) = (places[bundle.ends.0].centre(), places[bundle.ends.1].centre());
            match (scale, step(bundle)) {
                (None, _) => sheet.path(&[from, to], INK, opacity, width),
                (Some(_), None) => sheet.path(&[from, to], FAINT, opacity, 1),
                (Some(_), Some(step)) => sheet.path(&[from, to], HEAT[step], opacity.max(0.5), width.max(2)),
            }
            let mut label = if cables > 1 { format!("x {}", grouped(cables)) } else { String::new() };
            if let Some(used) = bundle.used {
                label = format!("{label} {:.1}%", 100.0 * used).trim_start().to_owned();
            }
            if numbered && !label.is_empty() {
                let middle = ((from.0 + to.0) / 2 + 4, (from.1 + to.1) / 2);
                sheet.text(middle, 12, INK, Side::Left, &label);
            }
        }
    }

    fn draw_block(&self, sheet: &mut Sheet, block: &Block, place: &Place) {
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
            // The switches of a node have no other name than that of the node.
            1 if block.tier == Tier::ScaleUp => block.name.clone(),
            1 => block.name.rsplit('/').next().unwrap_or_default().to_owned(),
            n => plural(n, block.kind),
        };
        sheet.text(place.centre(), 12, plotters::style::WHITE, Side::Center, &text);
    }

    /// What each row is, and what its boxes stand for.
    fn draw_labels(&self, sheet: &mut Sheet, places: &[Place], top: i32) {
        for (row, tier) in (0..).zip(self.folded.tiers()) {
            let blocks = self.folded.row(tier);
            let devices: usize = blocks.iter().map(|&at| self.folded.blocks[at].devices).sum();
            let y = if self.is_round() { top + 30 + 56 * row } else { places[blocks[0]].y };
            let kind = self.folded.blocks[blocks[0]].kind;
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
    let (x, y) = sine_and_cosine(share * 4.0 - quarter as f64);
    match quarter {
        0 => (x, -y),
        1 => (y, x),
        2 => (-x, y),
        _ => (-y, -x),
    }
}

fn color(tier: Tier) -> RGBColor {
    match tier {
        Tier::Core => VIOLET,
        Tier::Spine => BLUE,
        Tier::Edge => GREEN,
        Tier::Nic => ORANGE,
        Tier::Processor => INK,
        Tier::ScaleUp => GREEN,
        Tier::Cpu => RED,
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
