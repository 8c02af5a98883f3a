//! Single ways from end to end, for models that look at a transfer as a whole.

use super::cables::Cables;
use super::choose::{Chooser, Connection};
use super::port_groups::{PortGroup, PortHops};
use super::shares::{Passage, splits};
use super::spec::{DetourChoice, NicPorts, RoutingSpec};
use super::store::TableStore;
use super::tables::nearby;
use crate::hardware::RoutingChoice;
use crate::id::{CableId, DeviceId, LinkId};
use crate::topology::{DeviceKind, LinkKind, Topology};
use crate::units::{BytesPerSec, Duration};
use std::sync::Arc;

/// Routes from anywhere to the destinations asked for.
#[derive(Clone, Debug)]
pub struct Routes<'t> {
    pub(super) topology: &'t Topology,
    pub(super) spec: RoutingSpec,
    pub(super) next_hops: PortHops<'t>,
    pub(super) chooser: Chooser,
    /// The rate of the slowest cable between switches.
    slowest_in_fabric: BytesPerSec,
    /// Where tables of other links come from.
    store: Option<Arc<TableStore>>,
}

/// A chosen route and what it amounts to.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The links, in order of travel; where ports of NICs are told apart, those of the first queue pair.
    pub links: Vec<LinkId>,
    /// Latency of all links together.
    pub latency: Duration,
    /// The rate of a transfer that is alone: what the narrowest place lets through, all ports that it uses together.
    pub narrowest: BytesPerSec,
    /// The link on which data leaves the node: the cable of a NIC's port, or the GPU's port where no NIC is passed.
    pub port: LinkId,
    /// The cables on which data leaves the node, with the part that passes each.
    pub ports: Vec<Passage>,
}

/// Where a way enters the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The switch, or where the way ends or parts before.
    pub at: DeviceId,
    /// Whether there was no choice on the way, nor any far from its beginning.
    pub forced: bool,
}

impl<'t> Routes<'t> {
    /// Static routes over `topology`.
    pub fn new(topology: &'t Topology) -> Routes<'t> {
        Routes::with(topology, RoutingSpec::default(), 0, &[])
    }

    /// Routes as `spec` wants them, with hashes that depend on `seed`, over those links that are `usable` by place of the
    /// link; all are where it is empty.
    pub fn with(topology: &'t Topology, spec: RoutingSpec, seed: u64, usable: &[bool]) -> Routes<'t> {
        Routes::over(topology, spec, seed, PortHops::new(topology, &spec, usable), None)
    }

    /// As [`Routes::with`] over all links, from the tables in `store` where it has such. They go back there at the end, so that whoever
    /// asks next for routes over an equal topology finds them worked out.
    pub fn stored(topology: &'t Topology, spec: RoutingSpec, seed: u64, store: &Arc<TableStore>) -> Routes<'t> {
        let next_hops = PortHops::stored(topology, &spec, &[], store);
        Routes::over(topology, spec, seed, next_hops, Some(Arc::clone(store)))
    }

    fn over(
        topology: &'t Topology,
        spec: RoutingSpec,
        seed: u64,
        next_hops: PortHops<'t>,
        store: Option<Arc<TableStore>>,
    ) -> Routes<'t> {
        let chooser = Chooser::new(topology, next_hops.cables(), seed);
        let between_switches =
            next_hops.cables().iter().filter(|(_, c)| topology.link(c.link).kind == LinkKind::Fabric);
        let rates = between_switches.map(|(_, cable)| rate_of(topology, next_hops.cables(), cable.link));
        let slowest_in_fabric = rates.min().unwrap_or(BytesPerSec::new(u64::MAX));
        Routes { topology, spec, next_hops, chooser, slowest_in_fabric, store }
    }

    /// The same routes over other links: those that are `usable` by place of the link.
    pub fn restricted(&self, usable: &[bool]) -> Routes<'t> {
        let next_hops = match &self.store {
            Some(store) => PortHops::stored(self.topology, &self.spec, usable, store),
            None => PortHops::new(self.topology, &self.spec, usable),
        };
        Routes { next_hops, chooser: self.chooser.clone(), store: self.store.clone(), ..*self }
    }

    /// A shortest path: the one that ECMP hashes a first queue pair to, or that static routing takes under any other policy, and the
    /// like of every further port over which the transfer is shared out; none where `to` cannot be reached.
    pub fn path(&mut self, from: DeviceId, to: DeviceId) -> Option<Path> {
        assert_ne!(from, to, "a path leads somewhere else");
        let groups = self.next_hops.between(from, to);
        let part = 1.0 / f64::from(groups.len());
        let (mut first, mut passages) = (Vec::new(), Vec::new());
        let mut latency = Duration::ZERO;
        for (queue_pair, group) in (0..).zip(groups.iter()) {
            let begun = passages.len();
            let connection = Connection { from, to, queue_pair };
            if !self.follow(connection, group, |cable| passages.push(Passage { cable, part })) {
                return None;
            }
            let links = || passages[begun..].iter().map(|passage| self.cables().get(passage.cable).link);
            latency = latency.max(links().map(|link| self.topology.link(link).latency).sum());
            if queue_pair == 0 {
                first = links().collect();
            }
        }
        if passages.is_empty() {
            return None;
        }
        let mut narrowest = self.rate(&passages);
        // Where packets part there may be more room than on one way.
        let parts_in_fabric = matches!(self.spec.policy(), RoutingChoice::Adaptive | RoutingChoice::Spray);
        let fabric_is_narrow =
            parts_in_fabric && self.slowest_in_fabric.get() < narrowest.get() / u64::from(groups.len());
        if self.spec.nic_ports == NicPorts::Spray || fabric_is_narrow {
            passages.clear();
            for (queue_pair, group) in (0..).zip(groups.iter()) {
                self.spread(Connection { from, to, queue_pair }, group, part, &mut passages);
            }
            narrowest = self.rate(&passages);
        }
        let ports = self.exits(&passages);
        Some(Path { latency, narrowest, port: self.cables().get(ports[0].cable).link, ports, links: first })
    }

    /// The rate of a transfer whose parts pass cables as in `passages`.
    fn rate(&self, passages: &[Passage]) -> BytesPerSec {
        let mut through: Vec<Passage> = passages.to_vec();
        through.sort_by_key(|passage| passage.cable);
        let sums = through.chunk_by(|a, b| a.cable == b.cable);
        let whole = |passages: &[Passage]| {
            let rate = rate_of(self.topology, self.cables(), self.cables().get(passages[0].cable).link);
            let part: f64 = passages.iter().map(|passage| passage.part).sum();
            // Parts of a whole add up to it but for rounding.
            if (part - 1.0).abs() < 1e-9 { rate } else { BytesPerSec::new((rate.get() as f64 / part).round() as u64) }
        };
        sums.map(whole).min().expect("a path has cables")
    }

    /// The cables on which data leaves its node: those of the NIC's ports, or the first one where no NIC is passed.
    fn exits(&self, passages: &[Passage]) -> Vec<Passage> {
        let cable = |passage: &Passage| self.cables().get(passage.cable);
        let leaves = |passage: &Passage| {
            let cable = cable(passage);
            let is_nic = self.topology.device(cable.from).kind == DeviceKind::Nic;
            is_nic && self.topology.link(cable.link).kind == LinkKind::Endpoint
        };
        let mut exits: Vec<Passage> = passages.iter().copied().filter(leaves).collect();
        if exits.is_empty() {
            exits.push(Passage { part: 1.0, ..passages[0] });
        }
        exits
    }

    /// Calls `pass` with each cable of a fixed way to a prepared destination, in order of travel. Says whether there is a way;
    /// `pass` is not called where there is none.
    pub(super) fn follow(&self, connection: Connection, group: PortGroup, mut pass: impl FnMut(CableId)) -> bool {
        let Connection { from, to, .. } = connection;
        let key = self.chooser.key(connection);
        let mut at = from;
        while at != to {
            let Some((cable, next)) = self.step(group, (at, to), key) else {
                assert_eq!(at, from, "a next hop leads to a next hop");
                return false;
            };
            pass(cable);
            at = next;
        }
        true
    }

    /// The next cable of a fixed way to a prepared destination, and where it leads.
    fn step(&self, group: PortGroup, (at, to): (DeviceId, DeviceId), key: u32) -> Option<(CableId, DeviceId)> {
        let hops = self.next_hops.hops(group, at, to);
        if hops.is_empty() {
            return None;
        }
        let cable = match self.spec.policy() {
            RoutingChoice::Ecmp if hashes(self.topology, at) => self.chooser.hashed(at, key, hops),
            _ => self.chooser.fixed(at, to, hops),
        };
        Some((cable, self.next_hops.cables().get(cable).to))
    }

    /// Whether the way on from any switch depends on the destination alone, wherever data comes from.
    pub fn by_destination(&self) -> bool {
        let RoutingSpec { detour, nic_ports, .. } = self.spec;
        let one_way_in = nic_ports != NicPorts::Spray && !self.next_hops.are_told_apart();
        self.spec.policy() != RoutingChoice::Ecmp && detour == DetourChoice::Minimal && one_way_in
    }

    /// The cables from `from` towards `to` as far as the first switch of the fabric, or to the end of a way that passes none, or
    /// to where packets part before; handed to `pass` in order of travel. None where `to` cannot be reached.
    pub fn enter(&mut self, from: DeviceId, to: DeviceId, mut pass: impl FnMut(CableId)) -> Option<Entrance> {
        assert!(self.by_destination(), "the first cables are the same for all packets of a transfer");
        self.next_hops.prepare(PortGroup::ANY, to);
        let (policy, nic_ports) = (self.spec.policy(), self.spec.nic_ports);
        let (mut at, mut forced) = (from, true);
        while at != to && !self.topology.device(at).kind.is_fabric_switch() {
            let ways = self.next_hops.hops(PortGroup::ANY, at, to).len();
            if ways > 1 && splits(self.topology, at, policy, nic_ports) {
                break;
            }
            forced = forced && ways == 1 && nearby(from, at);
            let (cable, next) = self.step(PortGroup::ANY, (at, to), 0)?;
            pass(cable);
            at = next;
        }
        Some(Entrance { at, forced })
    }

    /// What stands for the way in from `from` to `to`: where it is the same for two destinations and one of their ways in is
    /// forced, the other one is the same. None where nothing stands for it.
    pub fn way_in(&mut self, from: DeviceId, to: DeviceId) -> Option<[u32; 3]> {
        self.next_hops.prepare(PortGroup::ANY, to);
        self.next_hops.any().around(from, to)
    }

    /// The cables that ways are made of.
    pub fn cables(&self) -> &Cables {
        self.next_hops.cables()
    }
}

/// Whether the policy of the network decides at `at`; a GPU is no switch.
pub(super) fn hashes(topology: &Topology, at: DeviceId) -> bool {
    topology.device(at).kind != DeviceKind::Gpu
}

/// What one cable of a link reaches.
fn rate_of(topology: &Topology, cables: &Cables, link: LinkId) -> BytesPerSec {
    cables.share_of(link, topology.link(link).achievable)
}
