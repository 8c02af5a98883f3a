//! Who uses what: capacities of cables, ways of flows, and the rates at which they move.
//!
//! It must not know time.

use super::segments::{Member, NOWHERE, SegmentId, Segments};
use crate::id::{CableId, FlowId};
use crate::retiring::Retiring;
use crate::units::PS_PER_SEC;
use std::cell::Cell;

/// The stretches of a flow: into the fabric, through it, and out of it.
pub(super) type Way = [SegmentId; 3];

/// What a cable carries at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Capacity {
    /// Bytes per picosecond.
    pub(super) rate: f64,
    /// Bytes per second, where that is a whole number.
    pub(super) exact: Option<u64>,
}

impl Capacity {
    /// `share` of one of `cables` equal parts of a link's rate.
    pub(super) fn new(bytes_per_sec: u64, cables: u32, share: f64) -> Capacity {
        let cables = u64::from(cables);
        let whole = bytes_per_sec.is_multiple_of(cables) && share == 1.0;
        let rate = bytes_per_sec as f64 * share / cables as f64 / PS_PER_SEC as f64;
        Capacity { rate, exact: whole.then(|| bytes_per_sec / cables) }
    }
}

/// A flow as others see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowLoad {
    pub(super) way: Way,
    /// Bytes per picosecond; 0 until it is worked out for the first time.
    pub(super) rate: f64,
    /// The full cable that keeps it from moving faster.
    pub(super) bottleneck: CableId,
}

/// Memory of a flow that takes part, in bytes: what is known of it, and its places in lists.
pub(super) const FLOW_BYTES: usize = size_of::<FlowLoad>() + size_of::<bool>() + 4 * size_of::<FlowId>();

/// Who uses what.
pub(super) struct Load {
    pub(super) capacities: Vec<Capacity>,
    pub(super) segments: Segments,
    flows: Retiring<FlowLoad>,
    /// Per flow: whether it takes part. It is looked at most often.
    takes_part: Retiring<bool>,
    /// Flows that take part.
    pub(super) moving: usize,
    /// All of them, among some that have left.
    all: Vec<FlowId>,
    /// Per stretch: its flows, among them some that have left.
    lists: Vec<List>,
    /// Per cable: how many flows that take part move as slowly as they do because of it.
    limits: Vec<u32>,
    /// How often a flow was looked at.
    visits: Cell<u64>,
}

#[derive(Clone, Default)]
struct List {
    flows: Vec<FlowId>,
    moving: u32,
}

impl Load {
    pub(super) fn new(capacities: Vec<Capacity>) -> Load {
        let segments = Segments::new(capacities.len());
        let limits = vec![0; capacities.len()];
        Load {
            capacities,
            segments,
            flows: Retiring::default(),
            takes_part: Retiring::default(),
            moving: 0,
            all: Vec::new(),
            lists: Vec::new(),
            limits,
            visits: Cell::new(0),
        }
    }

    /// The stretch of exactly these cables, each named once.
    pub(super) fn intern(&mut self, cables: &[Member]) -> SegmentId {
        let capacities = &self.capacities;
        self.segments.intern(cables, |a, b| capacities[a.index()] == capacities[b.index()])
    }

    /// Takes note of a flow that does not take part yet.
    pub(super) fn push(&mut self) {
        let bottleneck = CableId::new(0);
        self.flows.push(FlowLoad { way: [NOWHERE; 3], rate: 0.0, bottleneck });
        self.takes_part.push(false);
    }

    /// Forgets a flow that does not take part any more. Lists may still hold it.
    pub(super) fn retire(&mut self, flow: FlowId) {
        assert!(!self.takes_part[flow.index()], "{flow} has left");
        self.flows.retire(flow.index());
        self.takes_part.retire(flow.index());
    }

    /// A flow as others see it.
    pub(super) fn flow(&self, flow: FlowId) -> &FlowLoad {
        &self.flows[flow.index()]
    }

    /// A flow that does not take part loses its rate.
    pub(super) fn stop(&mut self, flow: FlowId) {
        self.flows[flow.index()].rate = 0.0;
    }

    /// Lets `flow` take part on `way`, at its last rate. Returns the stretches that no other flow used before.
    pub(super) fn join(&mut self, flow: FlowId, way: Way) -> impl Iterator<Item = SegmentId> + use<> {
        let joined = &mut self.flows[flow.index()];
        assert!(!std::mem::replace(&mut self.takes_part[flow.index()], true), "{flow} joins once");
        joined.way = way;
        if joined.rate > 0.0 {
            self.limits[joined.bottleneck.index()] += 1;
        }
        self.moving += 1;
        self.all.push(flow);
        if self.lists.len() < self.segments.len() {
            self.lists.resize(self.segments.len(), List::default());
        }
        way.map(|segment| {
            let list = &mut self.lists[segment.index()];
            list.moving += 1;
            if segment != NOWHERE {
                list.flows.push(flow);
            }
            (list.moving == 1 && segment != NOWHERE).then_some(segment)
        })
        .into_iter()
        .flatten()
    }

    /// Takes `flow` out. Returns the stretches that no flow uses any more.
    pub(super) fn leave(&mut self, flow: FlowId) -> impl Iterator<Item = SegmentId> + use<> {
        let left = &mut self.flows[flow.index()];
        assert!(std::mem::replace(&mut self.takes_part[flow.index()], false), "{flow} leaves once");
        if left.rate > 0.0 {
            self.limits[left.bottleneck.index()] -= 1;
        }
        left.rate = 0.0;
        let way = left.way;
        self.moving -= 1;
        if self.all.len() > 2 * self.moving + 16 {
            let takes_part = &self.takes_part;
            self.all.retain(|other| is_set(takes_part, *other));
        }
        way.map(|segment| {
            let list = &mut self.lists[segment.index()];
            list.moving -= 1;
            let empty = list.moving == 0;
            // Those that have left are cleared away when they are most, so that each costs little.
            if empty {
                list.flows.clear();
            } else if list.flows.len() > 2 * list.moving as usize + 16 {
                let takes_part = &self.takes_part;
                list.flows.retain(|other| is_set(takes_part, *other));
            }
            (empty && segment != NOWHERE).then_some(segment)
        })
        .into_iter()
        .flatten()
    }

    /// From now on `flow`, which takes part, moves at `rate`, and `bottleneck` keeps it from moving faster.
    pub(super) fn settle(&mut self, flow: FlowId, rate: f64, bottleneck: CableId) {
        let settled = &mut self.flows[flow.index()];
        if settled.rate > 0.0 {
            self.limits[settled.bottleneck.index()] -= 1;
        }
        if rate > 0.0 {
            self.limits[bottleneck.index()] += 1;
        }
        (settled.rate, settled.bottleneck) = (rate, bottleneck);
    }

    /// The flows that move and have their bottleneck at a cable. Most cables are the bottleneck of none, and cost nothing.
    pub(super) fn limited_by(&self, cable: CableId) -> impl Iterator<Item = FlowId> {
        let limited = move |&flow: &FlowId| {
            let flow = &self.flows[flow.index()];
            flow.bottleneck == cable && flow.rate > 0.0
        };
        let count = self.limits[cable.index()] as usize;
        // An iterator that takes no more asks for no more.
        self.flows_through(cable).filter(limited).take(count)
    }

    /// How many flows move and have their bottleneck at a cable.
    pub(super) fn limits(&self, cable: CableId) -> u32 {
        self.limits[cable.index()]
    }

    /// How often a flow was looked at until now: the work that was done, on any machine.
    pub(super) fn visits(&self) -> u64 {
        self.visits.get()
    }

    /// Every flow that takes part.
    pub(super) fn all(&self) -> impl Iterator<Item = FlowId> {
        self.visits.set(self.visits.get() + self.all.len() as u64);
        self.all.iter().copied().filter(|&flow| is_set(&self.takes_part, flow))
    }

    /// The flows that take part on a stretch. A flow joins again only after all have left.
    pub(super) fn flows_of(&self, segment: SegmentId) -> impl Iterator<Item = FlowId> {
        let flows = self.lists.get(segment.index()).map_or(&[][..], |list| &list.flows);
        flows.iter().copied().filter(|&flow| {
            self.visits.set(self.visits.get() + 1);
            is_set(&self.takes_part, flow)
        })
    }

    /// The flows that pass a cable.
    pub(super) fn flows_through(&self, cable: CableId) -> impl Iterator<Item = FlowId> {
        self.segments.through(cable).iter().flat_map(|&(segment, _)| self.flows_of(segment))
    }

    /// Forgets who passes what, so that flows can join again.
    pub(super) fn clear(&mut self) {
        for list in &mut self.lists {
            list.flows.clear();
            list.moving = 0;
        }
        for flow in self.all.drain(..) {
            if let Some(takes_part) = self.takes_part.get_mut(flow.index()) {
                *takes_part = false;
            }
        }
        self.limits.fill(0);
        self.moving = 0;
    }
}

/// Whether `flow` takes part; one that is forgotten does not.
fn is_set(takes_part: &Retiring<bool>, flow: FlowId) -> bool {
    takes_part.get(flow.index()).is_some_and(|&takes_part| takes_part)
}
