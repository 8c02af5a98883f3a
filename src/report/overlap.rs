//! When each stream of a GPU and each of its ports was busy, and with what: as little of a timeline as a picture needs.
//!
//! It reads timelines and draws nothing.

use crate::id::{LinkId, StreamId};
use crate::timeline::{Place, Span, Timeline};
use crate::topology::{Cluster, LinkKind};
use crate::units::Time;
use crate::workload::{Phase, Work};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Parts of a panel's time that can be told apart.
const RESOLUTION: u64 = 1200;
/// Ranks of a pipeline that fit.
const RANKS_MAX: usize = 32;
/// Layers of a model from which on one of them is shown large.
const LAYERS_MANY: u32 = 4;

/// When what was busy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// What it shows.
    pub title: String,
    /// Whether it shows a chunk of training, whose micro-batches are a forward pass and a backward pass.
    #[serde(default)]
    pub passes: bool,
    /// The whole, then a part of it.
    pub panels: Vec<Panel>,
}

/// Rows over one stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// What part of the whole it is.
    pub title: String,
    /// Where it begins, in microseconds.
    pub from_us: f64,
    /// Where it ends.
    pub until_us: f64,
    /// What was busy.
    pub rows: Vec<Row>,
}

/// A stream or a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// When it was busy, in order of begin.
    pub busy: Vec<Busy>,
}

/// A stretch during which a row did one kind of thing; shorter gaps than a picture shows are closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Busy {
    /// Its begin, in microseconds.
    pub from_us: f64,
    /// Its end.
    pub until_us: f64,
    /// What it did.
    #[serde(flatten)]
    pub what: What,
}

/// A kind of thing that a row does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct What {
    /// What it is for the hardware.
    pub kind: Kind,
    /// The micro-batch that it belongs to, from 0.
    pub micro_batch: u32,
    /// The phase, where it is told apart; else nothing.
    pub phase: String,
}

/// What a piece of work is for the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A kernel or a copy.
    Computation,
    /// A transfer between devices.
    Transfer,
    /// What a GPU does for transfers.
    Software,
    /// A delay by the host.
    Host,
    /// A chunk of a pipeline, with whatever it computes and sends.
    Chunk,
}

impl Kind {
    fn of(span: &Span) -> Kind {
        match span.work {
            Work::Compute(_) | Work::Copy(_) => Kind::Computation,
            Work::Send { .. } => Kind::Transfer,
            Work::Software(_) => Kind::Software,
            Work::HostDelay(_) => Kind::Host,
            Work::Known(_) => Kind::Chunk,
        }
    }
}

impl Overlap {
    /// What happened on the first GPU of a run and at its ports, or on the ranks of its first pipeline; nothing of a run in which
    /// nothing happened.
    pub fn new(title: &str, timeline: &Timeline, cluster: &Cluster) -> Option<Overlap> {
        let rows = Rows::new(timeline, cluster);
        let shown: Vec<Span> = timeline.spans().filter(|span| rows.of.contains_key(&span.place)).collect();
        let end = shown.iter().map(|span| span.end).max()?;
        // Layers of a pipeline are its chunks.
        let whole = shown.iter().any(|span| Kind::of(span) == Kind::Chunk) || layers(&shown) < LAYERS_MANY;
        let mut panels = vec![panel("", &shown, &rows, (Time::ZERO, end), whole)];
        if !whole {
            panels.extend(large(&shown, &rows));
        }
        let passes = shown.iter().any(|span| goes_back(span.label.phase));
        Some(Overlap { title: title.to_owned(), passes, panels })
    }
}

/// Whether a phase belongs to the backward pass of a chunk.
fn goes_back(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::CombineBackward
            | Phase::FfnBackward
            | Phase::DispatchBackward
            | Phase::FfnWeights
            | Phase::AttentionBackward
            | Phase::AttentionWeights
            | Phase::HeadBackward
    )
}

fn layers(spans: &[Span]) -> u32 {
    spans.iter().map(|span| span.label.layer + 1).max().unwrap_or(0)
}

/// A layer from the middle, with what else runs meanwhile.
fn large(spans: &[Span], rows: &Rows) -> Option<Panel> {
    let all = layers(spans);
    let layer = all / 2;
    let inside = |span: &&Span| span.label.layer == layer;
    let from = spans.iter().filter(inside).map(|span| span.start).min()?;
    let until = spans.iter().filter(inside).map(|span| span.released).max()?;
    let title = format!("Layer {} of {all}", layer + 1);
    Some(panel(&title, spans, rows, (from, until), true))
}

/// The rows of a picture and which of them a place belongs to: streams of one name of the first GPU, then its ports; or one stream
/// of each rank of a pipeline.
struct Rows {
    names: Vec<String>,
    of: BTreeMap<Place, usize>,
}

impl Rows {
    fn new(timeline: &Timeline, cluster: &Cluster) -> Rows {
        let mut rows = Rows { names: Vec::new(), of: BTreeMap::new() };
        let stream = |at: usize| Place::Stream(StreamId::new(at));
        let ranks = timeline.streams.iter().take_while(|stream| stream.name == "pipeline").count();
        if ranks > 0 {
            for (at, rank) in timeline.streams.iter().enumerate().take(ranks.min(RANKS_MAX)) {
                rows.add(stream(at), format!("rank {}", rank.rank));
            }
            return rows;
        }
        let first = timeline.streams.first().map(|stream| stream.device);
        let Some(gpu) = first.or_else(|| timeline.ports.first().map(|&(_, device)| device)) else { return rows };
        let nic = cluster.gpus.iter().position(|&other| other == gpu).and_then(|rank| cluster.nic_of(rank));
        for (at, own) in timeline.streams.iter().enumerate().filter(|(_, stream)| stream.device == gpu) {
            rows.add(stream(at), own.name.to_owned());
        }
        for &(port, _) in timeline.ports.iter().filter(|&&(_, device)| device == gpu || Some(device) == nic) {
            rows.add(Place::Port(port), port_name(cluster, port));
        }
        rows
    }

    fn add(&mut self, place: Place, name: String) {
        let row = self.names.iter().position(|known| *known == name).unwrap_or(self.names.len());
        if row == self.names.len() {
            self.names.push(name);
        }
        self.of.insert(place, row);
    }
}

/// What a port is called beside the streams of its GPU.
fn port_name(cluster: &Cluster, port: LinkId) -> String {
    let topology = &cluster.topology;
    let (from, to) = topology.ends(port);
    match topology.link(port).kind {
        LinkKind::ScaleUp => "scale-up port".to_owned(),
        LinkKind::Host => "host port".to_owned(),
        LinkKind::Endpoint | LinkKind::Fabric => {
            let cables = topology.out_links(from).filter(|&(link, _)| topology.link(link).kind == LinkKind::Endpoint);
            let plane = topology.device(to).plane;
            if cables.count() > 1 { format!("NIC, plane {plane}") } else { "NIC".to_owned() }
        }
    }
}

/// When a row does what, in picoseconds from the start of its panel.
type Parts = BTreeMap<What, Vec<(u64, u64)>>;

/// The rows during `from` to `until`.
fn panel(title: &str, spans: &[Span], rows: &Rows, (from, until): (Time, Time), named_phases: bool) -> Panel {
    let mut by_row: Vec<Parts> = vec![BTreeMap::new(); rows.names.len()];
    let width = (until - from).as_ps().max(1);
    for span in spans.iter().filter(|span| span.released > from && span.start < until) {
        let chunk = Kind::of(span) == Kind::Chunk;
        let phase = if named_phases { span.label.phase.name().to_owned() } else { String::new() };
        // Micro-batches of a pipeline are many, and follow each other.
        let micro_batch = if chunk { 0 } else { span.label.micro_batch };
        let what = What { kind: Kind::of(span), micro_batch, phase };
        let part = ((span.start.max(from) - from).as_ps(), (span.released.min(until) - from).as_ps());
        by_row[rows.of[&span.place]].entry(what).or_default().push(part);
    }
    let us = |ps: u64| (from.as_ps() + ps) as f64 / 1e6;
    let row = |(name, kinds): (&String, &Parts)| {
        let mut busy: Vec<(u64, u64, &What)> = Vec::new();
        for (what, parts) in kinds {
            busy.extend(joined(parts, width.div_ceil(RESOLUTION)).into_iter().map(|(from, until)| (from, until, what)));
        }
        busy.sort();
        let busy = if busy.len() as u64 > RESOLUTION { coarse(&busy, width) } else { busy };
        let stretch = |(from, until, what): (u64, u64, &What)| Busy {
            from_us: us(from),
            until_us: us(until),
            what: what.clone(),
        };
        Row { name: name.clone(), busy: busy.into_iter().map(stretch).collect() }
    };
    Panel {
        title: title.to_owned(),
        from_us: us(0),
        until_us: us(width),
        rows: rows.names.iter().zip(&by_row).map(row).collect(),
    }
}

/// The union of `parts`; gaps of less than `close` are closed.
fn joined(parts: &[(u64, u64)], close: u64) -> Vec<(u64, u64)> {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    let mut union: Vec<(u64, u64)> = Vec::new();
    for (from, until) in sorted {
        match union.last_mut() {
            Some(last) if from < last.1 + close => last.1 = last.1.max(until),
            _ => union.push((from, until)),
        }
    }
    union
}

/// What filled most of each of the parts of `width` that can be told apart, where more happened than can be shown.
fn coarse<'a>(busy: &[(u64, u64, &'a What)], width: u64) -> Vec<(u64, u64, &'a What)> {
    let step = width.div_ceil(RESOLUTION);
    let mut cells: Vec<BTreeMap<&What, u64>> = vec![BTreeMap::new(); RESOLUTION as usize];
    for &(from, until, what) in busy {
        for cell in from / step..=(until.max(1) - 1) / step {
            let inside = until.min((cell + 1) * step) - from.max(cell * step);
            *cells[cell as usize].entry(what).or_default() += inside;
        }
    }
    let mut coarse: Vec<(u64, u64, &What)> = Vec::new();
    for (cell, filled) in (0..).zip(&cells) {
        let Some((&what, _)) = filled.iter().max_by_key(|(_, time)| **time) else { continue };
        if filled.values().sum::<u64>() * 2 < step {
            continue;
        }
        let (from, until) = (cell * step, width.min((cell + 1) * step));
        match coarse.last_mut() {
            Some(last) if last.1 == from && last.2 == what => last.1 = until,
            _ => coarse.push((from, until, what)),
        }
    }
    coarse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_gaps_are_closed_and_long_ones_stay() {
        assert_eq!(joined(&[(50, 60), (0, 10), (12, 20), (19, 22)], 5), [(0, 22), (50, 60)]);
    }

    #[test]
    fn where_too_much_happens_each_part_shows_what_filled_it() {
        let what = |phase: &str| What { kind: Kind::Computation, micro_batch: 0, phase: phase.to_owned() };
        let (a, b) = (what("a"), what("b"));
        // Ten of `a` and thirty of `b` in each hundred of the first half; five of `a` in each hundred of the second.
        let width = RESOLUTION * 100;
        let half = RESOLUTION / 2;
        let first = (0..half).flat_map(|at| [(100 * at, 100 * at + 20, &a), (100 * at + 30, 100 * at + 70, &b)]);
        let second = (half..RESOLUTION).map(|at| (100 * at, 100 * at + 5, &a));
        let busy: Vec<_> = first.chain(second).collect();
        assert_eq!(coarse(&busy, width), [(0, half * 100, &b)]);
    }
}
