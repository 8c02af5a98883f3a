//! Keeps rates max-min fair as flows come and go, by working out anew only those that a change reaches.
//!
//! Rates are max-min fair if no cable is overfull and every flow has a bottleneck: a full cable on which none is faster than
//! it. So the flows that are sure to change are filled anew, then all others on the cables that this touched are checked for
//! their bottlenecks; those that lost it join, until none does.

use super::fill::Fill;
use super::load::{Load, Way};
use crate::id::{CableId, FlowId};

/// Two rates that differ by less than this part are the same: above what rounding adds up to.
const NEARLY: f64 = 1.0 + 1.0 / (1_u64 << 30) as f64;

/// Rounds of checks before all flows are filled anew, which needs none.
const ROUNDS_MAX: u32 = 12;

/// Changes in a row that are not followed at most.
const IMPATIENCE_MAX: u32 = 63;

/// What has changed since rates were last fair.
#[derive(Default)]
pub(super) struct Solver {
    fill: Fill,
    /// Flows that came.
    arrived: Vec<FlowId>,
    /// Cables that flows left, or whose capacity changed.
    relieved: Vec<CableId>,
    /// Per cable: whether it is among those.
    is_relieved: Vec<bool>,
    /// The least rate of the flows that left.
    slowest: f64,
    all: bool,
    chosen: Vec<FlowId>,
    /// How many changes are not worth following, after some that reached most flows; and how many of them are still to come.
    impatience: u32,
    not_followed: u32,
}

/// The outcome for one flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) flow: FlowId,
    /// Bytes per picosecond until now.
    pub(super) before: f64,
    /// Bytes per picosecond from now on.
    pub(super) rate: f64,
    /// The same without rounding, where known: a capacity in bytes per second, shared by so many.
    pub(super) exact: Option<(u64, u64)>,
}

impl Solver {
    /// Takes note of a flow that does not take part yet.
    pub(super) fn push(&mut self) {
        self.fill.push();
    }

    /// Forgets a flow that does not take part any more.
    pub(super) fn retire(&mut self, flow: FlowId) {
        self.fill.retire(flow);
    }

    /// A flow has joined.
    pub(super) fn joined(&mut self, flow: FlowId) {
        self.arrived.push(flow);
    }

    /// A flow has left its way, on which it had `rate`.
    pub(super) fn left(&mut self, load: &Load, way: Way, rate: f64) {
        if self.all {
            return;
        }
        self.slowest = if self.relieved.is_empty() { rate } else { self.slowest.min(rate) };
        self.is_relieved.resize(load.capacities.len(), false);
        for member in way.iter().flat_map(|&segment| load.segments.members(segment)) {
            if !std::mem::replace(&mut self.is_relieved[member.cable.index()], true) {
                self.relieved.push(member.cable);
            }
        }
    }

    /// Drops all news: flows join anew.
    pub(super) fn forget(&mut self) {
        self.arrived.clear();
        for cable in self.relieved.drain(..) {
            self.is_relieved[cable.index()] = false;
        }
    }

    /// Everything may be different.
    pub(super) fn all_changed(&mut self) {
        self.all = true;
    }

    /// Whether anything has changed.
    pub(super) fn is_due(&self) -> bool {
        self.all || !self.arrived.is_empty() || !self.relieved.is_empty()
    }

    /// Makes rates fair again and tells of each flow whose rate is another than before, in order of flow.
    pub(super) fn solve(&mut self, load: &mut Load, mut tell: impl FnMut(Change)) {
        self.chosen.clear();
        for &cable in &self.relieved {
            self.is_relieved[cable.index()] = false;
        }
        if self.all || 2 * self.arrived.len() >= load.moving {
            self.choose_all(load, 0.0);
        } else if self.not_followed > 0 {
            self.not_followed -= 1;
            self.choose_all(load, self.unchanged_below());
        } else {
            let from = self.unchanged_below();
            self.chosen.append(&mut self.arrived);
            for &cable in &self.relieved {
                self.chosen.extend(load.limited_by(cable));
            }
            self.spread(load, from);
        }
        self.arrived.clear();
        self.relieved.clear();
        self.all = false;
        self.chosen.sort_unstable();
        for &flow in &self.chosen {
            let settled = self.fill.settled(flow);
            let level = self.fill.levels[settled.level as usize];
            let before = load.flow(flow).rate;
            if same(before, level.rate, SETTLED) {
                load.settle(flow, before, settled.bottleneck);
            } else {
                load.settle(flow, level.rate, settled.bottleneck);
                tell(Change { flow, before, rate: level.rate, exact: level.exact });
            }
        }
    }

    /// Flows that are slower than this keep their rates. All rates rise together, and a flow that left was among the rising
    /// until it settled: up to there nothing is different without it.
    fn unchanged_below(&self) -> f64 {
        if self.arrived.is_empty() { self.slowest / NEARLY } else { 0.0 }
    }

    fn choose_all(&mut self, load: &Load, from: f64) {
        self.chosen.clear();
        self.chosen.extend(load.all().filter(|&flow| load.flow(flow).rate >= from));
        self.fill.run(load, &self.chosen);
    }

    /// Fills the chosen flows and those that lose their bottleneck to them; flows slower than `from` never do.
    fn spread(&mut self, load: &Load, from: f64) {
        for _ in 0..ROUNDS_MAX {
            self.fill.run(load, &self.chosen);
            let before = self.chosen.len();
            for at in 0..self.fill.touched.len() {
                self.check(load, self.fill.touched[at]);
            }
            if self.chosen.len() == before {
                self.impatience /= 2;
                return;
            }
            self.chosen.sort_unstable();
            self.chosen.dedup();
            if 4 * self.chosen.len() >= load.moving {
                break;
            }
        }
        self.impatience = (2 * self.impatience + 1).min(IMPATIENCE_MAX);
        self.not_followed = self.impatience;
        self.choose_all(load, from);
    }

    /// Adds the flows of a touched cable that are not chosen yet and either lost their bottleneck here or keep a chosen one from
    /// having one.
    fn check(&mut self, load: &Load, cable: CableId) {
        if !self.fill.limits_any(load, cable) {
            return;
        }
        let full = self.fill.is_full(load, cable, NEARLY);
        let (mut fastest, mut held_up) = (0.0_f64, f64::INFINITY);
        for flow in load.flows_through(cable) {
            let rate = self.fill.rate(flow, load);
            fastest = fastest.max(rate);
            if self.fill.chosen(flow) && self.fill.settled(flow).bottleneck == cable {
                held_up = held_up.min(rate);
            }
        }
        for flow in load.flows_through(cable) {
            if self.fill.chosen(flow) {
                continue;
            }
            let known = load.flow(flow);
            let lost = known.bottleneck == cable && (!full || known.rate * NEARLY < fastest);
            let in_the_way = known.rate > held_up * NEARLY;
            if lost || in_the_way {
                self.chosen.push(flow);
            }
        }
    }
}

/// A flow whose rate changes by less than this part keeps it, so that rounding starts no events.
const SETTLED: f64 = 1.0 + 1.0 / (1_u64 << 40) as f64;

fn same(a: f64, b: f64, nearly: f64) -> bool {
    a <= b * nearly && b <= a * nearly
}
