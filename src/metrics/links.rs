//! How much of each link was used, and which pairs of devices were cut off.

use crate::id::{DeviceId, LinkId};
use crate::timeline::Timeline;
use crate::topology::{DeviceKind, Topology};
use crate::units::{Bytes, Duration, Time};
use std::collections::{BTreeMap, BTreeSet};

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

/// How busy the links between two kinds of devices are while every GPU does what those that were simulated do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KindLoad {
    /// Where the links begin.
    pub from: DeviceKind,
    /// Where they end.
    pub to: DeviceKind,
    /// What passed such links for each GPU, with what protocols add.
    pub carried: Bytes,
    /// Planes of the fabric that they belong to; none for links inside nodes.
    pub planes: usize,
    /// The same as a part of what all links of this kind would have passed meanwhile.
    pub utilisation: f64,
}

/// Loads by kinds of ends, the busiest first: `passed` is what passed each link in `time` for `simulated` GPUs, of `gpus` alike.
pub fn kind_loads(
    passed: &BTreeMap<LinkId, f64>,
    topology: &Topology,
    (simulated, gpus): (usize, usize),
    time: Duration,
) -> Vec<KindLoad> {
    let kinds = |link: LinkId| {
        let (from, to) = topology.ends(link);
        (topology.device(from).kind, topology.device(to).kind)
    };
    let mut of_kind: BTreeMap<(DeviceKind, DeviceKind), (f64, BTreeSet<u32>)> = BTreeMap::new();
    for (&link, &bytes) in passed {
        let (from, to) = topology.ends(link);
        let (sum, planes) = of_kind.entry(kinds(link)).or_default();
        *sum += bytes;
        let switches = [from, to].map(|end| topology.device(end)).into_iter().filter(|end| end.kind.is_fabric_switch());
        planes.extend(switches.map(|switch| switch.plane));
    }
    let mut possible: BTreeMap<(DeviceKind, DeviceKind), f64> = BTreeMap::new();
    for (id, link) in topology.links() {
        *possible.entry(kinds(id)).or_default() += link.achievable.get() as f64 * time.as_secs() / gpus as f64;
    }
    let load = |((from, to), (sum, planes)): ((DeviceKind, DeviceKind), (f64, BTreeSet<u32>))| {
        let each = sum / simulated as f64;
        let utilisation = if possible[&(from, to)] > 0.0 { each / possible[&(from, to)] } else { 0.0 };
        KindLoad { from, to, carried: Bytes::new(each as u64), planes: planes.len(), utilisation }
    };
    let mut loads: Vec<KindLoad> = of_kind.into_iter().map(load).collect();
    loads.sort_by(|a, b| b.utilisation.total_cmp(&a.utilisation).then((a.from, a.to).cmp(&(b.from, b.to))));
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
