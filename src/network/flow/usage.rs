//! What passed each link, and for how long.

use super::load::Way;
use super::segments::{SegmentId, Segments};
use crate::id::{CableId, FlowId, LinkId};
use crate::network::LinkUse;
use crate::routing::Cables;
use crate::units::{Bytes, Duration, Time};
use std::collections::BTreeMap;

/// Counters of all stretches and cables.
#[derive(Default)]
pub(super) struct Usage {
    /// Per stretch: bytes of the flows that took it.
    carried: Vec<u64>,
    /// Per cable that stands for a bundle.
    cables: Vec<CableUse>,
    /// What flows moved on ways that they left.
    elsewhere: BTreeMap<FlowId, u64>,
}

#[derive(Clone, Copy, Default)]
struct CableUse {
    /// Stretches in use that pass it.
    users: u32,
    since: Time,
    busy: Duration,
}

impl Usage {
    pub(super) fn new(n_cables: usize) -> Usage {
        Usage { cables: vec![CableUse::default(); n_cables], ..Usage::default() }
    }

    /// Takes note of bundles that have parted: what one cable stood for, two do.
    pub(super) fn part(&mut self, segments: &mut Segments) {
        for (from, parted) in segments.parted() {
            self.cables[parted.index()] = self.cables[from.index()];
        }
    }

    /// A stretch comes into use.
    pub(super) fn open(&mut self, segments: &Segments, segment: SegmentId, now: Time) {
        for member in segments.members(segment) {
            let cable = &mut self.cables[member.cable.index()];
            if cable.users == 0 {
                cable.since = now;
            }
            cable.users += 1;
        }
    }

    /// A stretch is no longer in use.
    pub(super) fn close(&mut self, segments: &Segments, segment: SegmentId, now: Time) {
        for member in segments.members(segment) {
            let cable = &mut self.cables[member.cable.index()];
            cable.users -= 1;
            if cable.users == 0 {
                cable.busy += now - cable.since;
            }
        }
    }

    /// No stretch is in use any more.
    pub(super) fn close_all(&mut self, now: Time) {
        for cable in self.cables.iter_mut().filter(|cable| cable.users > 0) {
            cable.users = 0;
            cable.busy += now - cable.since;
        }
    }

    /// A flow leaves its way, having moved `bytes` in all since it began.
    pub(super) fn carry(&mut self, segments: &Segments, way: Way, flow: FlowId, bytes: u64) {
        // Few flows ever change their way.
        let before = if self.elsewhere.is_empty() { None } else { self.elsewhere.remove(&flow) };
        let bytes = bytes - before.unwrap_or(0);
        if self.carried.len() < segments.len() {
            self.carried.resize(segments.len(), 0);
        }
        for segment in way {
            self.carried[segment.index()] += bytes;
        }
    }

    /// A flow changes its way, having moved `bytes` in all since it began.
    pub(super) fn change(&mut self, segments: &Segments, way: Way, flow: FlowId, bytes: u64) {
        self.carry(segments, way, flow, bytes);
        self.elsewhere.insert(flow, bytes);
    }

    /// What passed each link that was used so far, in order of link.
    pub(super) fn report(&self, cables: &Cables, segments: &Segments, now: Time) -> Vec<LinkUse> {
        let carried = |cable: CableId| {
            let through = segments.through(cable).iter();
            let of = |&(segment, part): &(SegmentId, f64)| {
                part * self.carried.get(segment.index()).map_or(0.0, |&b| b as f64)
            };
            through.map(of).sum::<f64>()
        };
        let mut per_link: Vec<(LinkId, f64, Duration)> = Vec::new();
        for (id, cable) in cables.iter() {
            let id = segments.bundle(id);
            let usage = &self.cables[id.index()];
            let busy = usage.busy + if usage.users > 0 { now - usage.since } else { Duration::ZERO };
            if busy > Duration::ZERO {
                per_link.push((cable.link, carried(id), busy));
            }
        }
        per_link.sort_by_key(|&(link, _, _)| link);
        per_link.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                (kept.1, kept.2) = (kept.1 + next.1, kept.2.max(next.2));
            }
            same
        });
        let link_use = |(link, carried, busy): (LinkId, f64, Duration)| {
            // Parts of a flow add up to whole bytes but for rounding.
            LinkUse { link, carried: Bytes::new((carried + 0.5) as u64), busy }
        };
        per_link.into_iter().map(link_use).collect()
    }
}
