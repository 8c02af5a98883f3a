//! How much of each link was used, and which pairs of devices were cut off.

use crate::id::{DeviceId, LinkId};
use crate::timeline::Timeline;
use crate::topology::Topology;
use crate::units::{Bytes, Duration, Time};
use std::collections::BTreeMap;

/// How much of a link was used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkLoad {
    /// The link.
    pub link: LinkId,
    /// Data that passed it.
    pub carried: Bytes,
    /// Time during which transfers used it.
    pub busy: Duration,
    /// What passed it, as a part of what the achievable rate of the healthy link would have passed in the whole run.
    pub utilisation: f64,
}

/// The links that were used, the most used first, where the network model knows them.
pub fn link_loads(timeline: &Timeline, topology: &Topology) -> Vec<LinkLoad> {
    let whole = (timeline.end() - Time::ZERO).as_secs();
    let load = |used: &crate::timeline::LinkUse| {
        let possible = topology.link(used.link).achievable.get() as f64 * whole;
        let utilisation = if possible > 0.0 { used.carried.get() as f64 / possible } else { 0.0 };
        LinkLoad { link: used.link, carried: used.carried, busy: used.busy, utilisation }
    };
    let mut loads: Vec<LinkLoad> = timeline.links.iter().map(load).collect();
    loads.sort_by(|a, b| b.utilisation.total_cmp(&a.utilisation).then(a.link.cmp(&b.link)));
    loads
}

/// Two devices of which one has data for the other and no way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Where the data is.
    pub from: DeviceId,
    /// Where it should go.
    pub to: DeviceId,
    /// Transfers that could not end.
    pub transfers: usize,
    /// Their data in all.
    pub bytes: Bytes,
    /// Since when the first of them has no way.
    pub since: Time,
}

/// The pairs that were cut off when the run ended, in the order in which it happened.
pub fn cut_off(timeline: &Timeline) -> Vec<CutOff> {
    let mut pairs: BTreeMap<(DeviceId, DeviceId), CutOff> = BTreeMap::new();
    for stranded in &timeline.stranded {
        let (from, to, since) = (stranded.from, stranded.to, stranded.since);
        let none = CutOff { from, to, transfers: 0, bytes: Bytes::ZERO, since };
        let pair = pairs.entry((from, to)).or_insert(none);
        pair.transfers += 1;
        pair.bytes += stranded.bytes;
        pair.since = pair.since.min(since);
    }
    let mut pairs: Vec<CutOff> = pairs.into_values().collect();
    pairs.sort_by_key(|pair| (pair.since, pair.from, pair.to));
    pairs
}
