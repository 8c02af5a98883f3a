//! Max-min fair rates by progressive filling: all rates rise together until a cable is full, which settles those that pass
//! it; the others go on rising. (Bertsekas and Gallager, "Data Networks", second edition, 1992, section 6.5.2.)
//!
//! This works on a chosen set of flows and leaves the rates of all others as they are. What it must not know: time, bytes,
//! and why a flow was chosen.

use super::load::Load;
use super::segments::SegmentId;
use crate::id::{CableId, FlowId};
use crate::retiring::Retiring;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Cables whose fair shares differ by less than this part fill up together: far above what rounding makes of equal shares,
/// and far below what shares that are not equal differ by.
const SAME: f64 = 1.0 + 1.0 / (1_u64 << 36) as f64;

/// At what rate a set of flows settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Bytes per picosecond.
    pub(super) rate: f64,
    /// The same without rounding, where it is a cable's whole capacity (bytes per second) shared by so many flows.
    pub(super) exact: Option<(u64, u64)>,
}

/// A flow in the current filling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) level: u32,
    pub(super) bottleneck: CableId,
}

#[derive(Clone, Copy, Default)]
struct CableFill {
    /// The filling that this belongs to.
    round: u32,
    /// Flows that still rise.
    rising: u32,
    /// The sum of their parts.
    parts: f64,
    /// Bytes per picosecond that settled flows and those not chosen take.
    taken: f64,
    /// Chosen flows that had their bottleneck here before, and those that have it here now.
    limited_before: u32,
    limited: u32,
}

#[derive(Clone, Copy, Default)]
struct SegmentFill {
    round: u32,
    rising: u32,
    /// Flows that settled at the current level.
    settling: u32,
}

/// The working memory of fillings.
#[derive(Default)]
pub(super) struct Fill {
    round: u32,
    cables: Vec<CableFill>,
    segments: Vec<SegmentFill>,
    /// Per flow: whether it is chosen, and where it settled.
    flows: Retiring<FlowFill>,
    /// The cables and stretches of the chosen flows.
    pub(super) touched: Vec<CableId>,
    touched_segments: Vec<SegmentId>,
    level_segments: Vec<SegmentId>,
    queue: BinaryHeap<Reverse<(u64, CableId)>>,
    put_back: Vec<CableId>,
    pub(super) levels: Vec<Level>,
}

#[derive(Clone, Copy)]
struct FlowFill {
    round: u32,
    /// Nowhere yet, if its level is [`RISING`].
    settled: Settled,
}

/// The level of a flow that has not settled.
const RISING: u32 = u32::MAX;

/// Memory of a flow here, in bytes.
pub(super) const FLOW_BYTES: usize = size_of::<FlowFill>();

impl FlowFill {
    fn new(round: u32) -> FlowFill {
        FlowFill { round, settled: Settled { level: RISING, bottleneck: CableId::new(0) } }
    }
}

impl Fill {
    /// Takes note of a flow.
    pub(super) fn push(&mut self) {
        self.flows.push(FlowFill::new(0));
    }

    /// Forgets a flow.
    pub(super) fn retire(&mut self, flow: FlowId) {
        self.flows.retire(flow.index());
    }

    /// Makes room for what is new since the last filling.
    fn prepare(&mut self, load: &Load) {
        self.cables.resize(load.capacities.len(), CableFill::default());
        self.segments.resize(load.segments.len(), SegmentFill::default());
        self.round += 1;
        self.touched.clear();
        self.touched_segments.clear();
        self.levels.clear();
    }

    /// Whether `flow` was chosen in the last filling.
    pub(super) fn chosen(&self, flow: FlowId) -> bool {
        self.flows[flow.index()].round == self.round
    }

    /// Where a chosen flow settled.
    pub(super) fn settled(&self, flow: FlowId) -> Settled {
        let settled = self.flows[flow.index()].settled;
        assert!(settled.level != RISING, "every chosen flow settles");
        settled
    }

    /// The rate of a flow after the last filling.
    pub(super) fn rate(&self, flow: FlowId, load: &Load) -> f64 {
        let filled = &self.flows[flow.index()];
        if filled.round == self.round && filled.settled.level != RISING {
            self.levels[filled.settled.level as usize].rate
        } else {
            load.flow(flow).rate
        }
    }

    /// Works out fair rates of `chosen`, given those of all other flows.
    pub(super) fn run(&mut self, load: &Load, chosen: &[FlowId]) {
        self.prepare(load);
        for &flow in chosen {
            self.flows[flow.index()] = FlowFill::new(self.round);
            for segment in load.flow(flow).way {
                let fill = &mut self.segments[segment.index()];
                if fill.round != self.round {
                    *fill = SegmentFill { round: self.round, rising: 0, settling: 0 };
                    self.touched_segments.push(segment);
                }
                fill.rising += 1;
            }
        }
        for &segment in &self.touched_segments {
            let rising = self.segments[segment.index()].rising;
            for member in load.segments.members(segment) {
                let fill = &mut self.cables[member.cable.index()];
                if fill.round != self.round {
                    *fill = CableFill { round: self.round, ..CableFill::default() };
                    self.touched.push(member.cable);
                }
                fill.rising += rising;
                fill.parts += member.part * f64::from(rising);
            }
        }
        for flow in chosen.iter().map(|&flow| load.flow(flow)).filter(|flow| flow.rate > 0.0) {
            self.cables[flow.bottleneck.index()].limited_before += 1;
        }
        if chosen.len() < load.moving {
            for at in 0..self.touched.len() {
                let cable = self.touched[at];
                self.cables[cable.index()].taken = self.taken_by_others(load, cable);
            }
        }
        self.rise(load);
    }

    fn taken_by_others(&self, load: &Load, cable: CableId) -> f64 {
        let mut taken = 0.0;
        for &(segment, part) in load.segments.through(cable) {
            let others = load.flows_of(segment).filter(|&flow| !self.chosen(flow));
            taken += part * others.map(|flow| load.flow(flow).rate).sum::<f64>();
        }
        taken
    }

    /// The rate at which a cable is full if all that rise on it go on together.
    fn share(&self, load: &Load, cable: CableId) -> f64 {
        let fill = &self.cables[cable.index()];
        (load.capacities[cable.index()].rate - fill.taken).max(0.0) / fill.parts
    }

    fn rise(&mut self, load: &Load) {
        let mut queue = std::mem::take(&mut self.queue).into_vec();
        queue.extend(self.touched.iter().map(|&cable| Reverse((self.share(load, cable).to_bits(), cable))));
        self.queue = BinaryHeap::from(queue);
        // The bits of positive numbers are in the order of the numbers. Shares only grow as others settle, so that one that is
        // not up to date is put back.
        while let Some(Reverse((bits, cable))) = self.queue.pop() {
            let share = self.share(load, cable);
            if self.cables[cable.index()].rising == 0 {
                continue;
            }
            if share > f64::from_bits(bits) * SAME {
                self.queue.push(Reverse((share.to_bits(), cable)));
                continue;
            }
            self.level(load, cable, share);
        }
    }

    /// Settles all that pass a cable that fills up at `share`: `first`, and those that fill up with it.
    fn level(&mut self, load: &Load, first: CableId, share: f64) {
        let fill = &self.cables[first.index()];
        let whole = fill.taken == 0.0 && fill.parts == f64::from(fill.rising);
        let capacity = load.capacities[first.index()].exact.filter(|_| whole);
        let exact = capacity.map(|capacity| (capacity, u64::from(fill.rising)));
        self.levels.push(Level { rate: share, exact });
        self.settle(load, first);
        while let Some(&Reverse((bits, cable))) = self.queue.peek()
            && f64::from_bits(bits) <= share * SAME
        {
            self.queue.pop();
            if self.cables[cable.index()].rising == 0 {
                continue;
            }
            if self.share(load, cable) <= share * SAME {
                self.settle(load, cable);
            } else {
                self.put_back.push(cable);
            }
        }
        for segment in self.level_segments.drain(..) {
            let settling = std::mem::take(&mut self.segments[segment.index()].settling);
            for member in load.segments.members(segment) {
                let fill = &mut self.cables[member.cable.index()];
                fill.rising -= settling;
                fill.parts -= member.part * f64::from(settling);
                fill.taken += member.part * f64::from(settling) * share;
            }
        }
        for cable in self.put_back.drain(..) {
            let fill = &self.cables[cable.index()];
            let share = (load.capacities[cable.index()].rate - fill.taken).max(0.0) / fill.parts;
            if fill.rising > 0 {
                self.queue.push(Reverse((share.to_bits(), cable)));
            }
        }
    }

    /// Settles all that pass `cable` at the current level.
    fn settle(&mut self, load: &Load, cable: CableId) {
        let level = self.levels.len() as u32 - 1;
        for &(segment, _) in load.segments.through(cable) {
            let fill = self.segments.get(segment.index()).copied().unwrap_or_default();
            if fill.round != self.round || fill.rising == 0 {
                continue;
            }
            for flow in load.flows_of(segment) {
                let filled = &mut self.flows[flow.index()];
                if filled.round != self.round || filled.settled.level != RISING {
                    continue;
                }
                filled.settled = Settled { level, bottleneck: cable };
                self.cables[cable.index()].limited += 1;
                for segment in load.flow(flow).way {
                    let fill = &mut self.segments[segment.index()];
                    fill.rising -= 1;
                    if fill.settling == 0 {
                        self.level_segments.push(segment);
                    }
                    fill.settling += 1;
                }
            }
        }
    }

    /// Whether a touched cable is the bottleneck of a chosen flow, or still that of another.
    pub(super) fn limits_any(&self, load: &Load, cable: CableId) -> bool {
        let fill = &self.cables[cable.index()];
        fill.limited > 0 || load.limits(cable) > fill.limited_before
    }

    /// Whether nothing more fits through a touched cable.
    pub(super) fn is_full(&self, load: &Load, cable: CableId, nearly: f64) -> bool {
        let fill = &self.cables[cable.index()];
        fill.round == self.round && fill.taken * nearly >= load.capacities[cable.index()].rate
    }
}
