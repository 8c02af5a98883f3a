//! The way of a flow, in three stretches: into the fabric, through it, and out of it.

use super::load::{Load, Way};
use super::segments::{Member, SegmentId};
use crate::id::{DeviceId, LinkId};
use crate::routing::{Cables, Entrance, Passage, Routes};
use crate::topology::{LinkKind, Topology};
use crate::units::Duration;

/// What is known of a flow's way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Route {
    pub(super) way: Way,
    pub(super) latency: Duration,
    /// The link on which data leaves the node.
    pub(super) port: LinkId,
}

/// Finds ways under a routing policy.
pub(super) struct Ways<'t> {
    topology: &'t Topology,
    routes: Routes<'t>,
    cables: Vec<CableFacts>,
    passages: Vec<Passage>,
    stretches: [Vec<Member>; 3],
    /// Per device: the ways into the fabric that are forced, by what stands for their destinations.
    into: Vec<Vec<([u32; 3], WayIn)>>,
    /// Per switch and destination, where switches ask for nothing else: the place of what is known of the way on.
    onward: Vec<Vec<u32>>,
    routes_on: Vec<Route>,
}

const UNKNOWN: u32 = u32::MAX;

/// Ways into the fabric that are remembered of a device; a GPU has one for each NIC that it can use.
const INTO_MAX: usize = 16;

/// A way into the fabric.
#[derive(Clone, Copy)]
struct WayIn {
    segment: SegmentId,
    latency: Duration,
    port: LinkId,
    /// Where it ends.
    switch: DeviceId,
}

/// Where a cable stands in a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stretch {
    /// From a node into the fabric.
    In,
    /// Between two switches of the fabric.
    Through,
    /// From the fabric into a node.
    Out,
    /// Inside a node: before the fabric, or after it.
    Inside,
}

#[derive(Clone, Copy)]
struct CableFacts {
    link: LinkId,
    latency: Duration,
    stretch: Stretch,
    is_port: bool,
}

impl<'t> Ways<'t> {
    pub(super) fn new(topology: &'t Topology, routes: Routes<'t>) -> Ways<'t> {
        let in_fabric = |device: DeviceId| topology.device(device).kind.is_fabric_switch();
        let facts = routes.cables().iter().map(|(_, cable)| {
            let link = topology.link(cable.link);
            let stretch = match (in_fabric(cable.from), in_fabric(cable.to)) {
                (false, true) => Stretch::In,
                (true, true) => Stretch::Through,
                (true, false) => Stretch::Out,
                (false, false) => Stretch::Inside,
            };
            let is_port = link.kind == LinkKind::Endpoint;
            CableFacts { link: cable.link, latency: link.latency, stretch, is_port }
        });
        let cables = facts.collect();
        let onward = vec![Vec::new(); topology.n_devices()];
        let into = vec![Vec::new(); topology.n_devices()];
        let (passages, stretches) = (Vec::new(), Default::default());
        Ways { topology, routes, cables, passages, stretches, into, onward, routes_on: Vec::new() }
    }

    /// The cables that ways are made of.
    pub(super) fn cables(&self) -> &Cables {
        self.routes.cables()
    }

    /// Uses only those links that are `usable`, by place of the link.
    pub(super) fn restrict(&mut self, usable: &[bool]) {
        self.routes = self.routes.restricted(usable);
        self.into.iter_mut().for_each(Vec::clear);
        self.onward.iter_mut().for_each(Vec::clear);
        self.routes_on.clear();
    }

    /// The way between two devices; none where there is none.
    pub(super) fn find(&mut self, from: DeviceId, to: DeviceId, load: &mut Load) -> Option<Route> {
        self.passages.clear();
        if !self.routes.by_destination() {
            return self.cut(from, to, load);
        }
        let around = self.routes.way_in(from, to);
        let known = self.into[from.index()].iter().find(|(known, _)| Some(*known) == around);
        let into = match known {
            Some(&(_, into)) => into,
            None => {
                let Some(into) = self.enter(from, to, around, load)? else {
                    self.passages.clear();
                    return self.cut(from, to, load);
                };
                into
            }
        };
        let Route { way: [_, through, out], latency, .. } = self.onward(into.switch, to, load)?;
        Some(Route { way: [into.segment, through, out], latency: into.latency + latency, port: into.port })
    }

    /// The way into the fabric: none where `to` cannot be reached, none inside where the whole way is to be looked at.
    fn enter(
        &mut self,
        from: DeviceId,
        to: DeviceId,
        around: Option<[u32; 3]>,
        load: &mut Load,
    ) -> Option<Option<WayIn>> {
        let passages = &mut self.passages;
        let Entrance { at, forced } =
            self.routes.enter(from, to, |cable| passages.push(Passage { cable, part: 1.0 }))?;
        if at == to || at == from || !self.topology.device(at).kind.is_fabric_switch() {
            return Some(None);
        }
        let members = &mut self.stretches[0];
        members.clear();
        members.extend(self.passages.iter().map(|&Passage { cable, part }| Member { cable, part }));
        let facts = || self.passages.iter().map(|passage| &self.cables[passage.cable.index()]);
        let into = WayIn {
            segment: load.intern(&self.stretches[0]),
            latency: facts().map(|facts| facts.latency).sum(),
            port: facts().find(|facts| facts.is_port).or(facts().next())?.link,
            switch: at,
        };
        let known = &mut self.into[from.index()];
        if let Some(around) = around.filter(|_| forced && known.len() < INTO_MAX) {
            known.push((around, into));
        }
        Some(Some(into))
    }

    /// The way from a switch, worked out once for all that come there.
    fn onward(&mut self, switch: DeviceId, to: DeviceId, load: &mut Load) -> Option<Route> {
        let known = &mut self.onward[switch.index()];
        if known.is_empty() {
            known.resize(self.topology.n_devices(), UNKNOWN);
        }
        let place = known[to.index()];
        if place != UNKNOWN {
            return Some(self.routes_on[place as usize]);
        }
        self.passages.clear();
        let route = self.cut(switch, to, load)?;
        self.onward[switch.index()][to.index()] = self.routes_on.len() as u32;
        self.routes_on.push(route);
        Some(route)
    }

    /// The whole way, cut into stretches.
    fn cut(&mut self, from: DeviceId, to: DeviceId, load: &mut Load) -> Option<Route> {
        if !self.routes.passages(from, to, 1, &mut self.passages) {
            return None;
        }
        self.stretches.iter_mut().for_each(Vec::clear);
        let first = self.cables[self.passages[0].cable.index()];
        let passes_fabric = self.passages.iter().any(|p| self.cables[p.cable.index()].stretch != Stretch::Inside);
        let (mut latency, mut port, mut behind) = (Duration::ZERO, None, false);
        for &Passage { cable, part } in &self.passages {
            let facts = self.cables[cable.index()];
            latency += facts.latency;
            port = port.or_else(|| facts.is_port.then_some(facts.link));
            let stretch = match facts.stretch {
                Stretch::In => 0,
                Stretch::Through => 1,
                Stretch::Out => 2,
                Stretch::Inside => 2 * usize::from(behind),
            };
            // What passes no fabric leaves by its first cable and arrives by the others.
            behind = facts.stretch == Stretch::Out || behind || !passes_fabric;
            self.stretches[stretch].push(Member { cable, part });
        }
        if self.passages.iter().any(|passage| passage.part < 1.0) {
            // Where a flow is split its latency is that of one of its ways, which are equally long.
            latency = self.routes.path(from, to)?.latency;
        }
        self.stretches.iter_mut().for_each(merge);
        let way = [0, 1, 2].map(|at| load.intern(&self.stretches[at]));
        Some(Route { way, latency, port: port.unwrap_or(first.link) })
    }
}

/// One entry per cable, in order of cable.
fn merge(members: &mut Vec<Member>) {
    members.sort_by_key(|member| member.cable);
    members.dedup_by(|next, kept| {
        let same = next.cable == kept.cable;
        kept.part += if same { next.part } else { 0.0 };
        same
    });
}
