//! Single ways from end to end, for models that look at a transfer as a whole.

use super::cables::Cables;
use super::choose::{Chooser, Connection};
use super::next_hops::NextHops;
use super::shares::splits;
use super::spec::{DetourChoice, RoutingChoice, RoutingSpec};
use super::tables::nearby;
use crate::id::{CableId, DeviceId, LinkId};
use crate::topology::{DeviceKind, LinkKind, Topology};
use crate::units::{BytesPerSec, Duration};

/// Routes from anywhere to the destinations asked for.
#[derive(Clone, Debug)]
pub struct Routes<'t> {
    pub(super) topology: &'t Topology,
    pub(super) spec: RoutingSpec,
    pub(super) next_hops: NextHops<'t>,
    pub(super) chooser: Chooser,
}

/// A chosen route and what it amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The links, in order of travel.
    pub links: Vec<LinkId>,
    /// Latency of all links together.
    pub latency: Duration,
    /// The rate that the slowest link reaches.
    pub narrowest: BytesPerSec,
    /// The link on which data leaves the node: the NIC's cable, or the GPU's port where no NIC is passed.
    pub port: LinkId,
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
        let next_hops = NextHops::new(topology, spec.forward, usable);
        let chooser = Chooser::new(topology, next_hops.cables(), seed);
        Routes { topology, spec, next_hops, chooser }
    }

    /// The same routes over other links: those that are `usable` by place of the link.
    pub fn restricted(&self, usable: &[bool]) -> Routes<'t> {
        let next_hops = NextHops::new(self.topology, self.spec.forward, usable);
        Routes { topology: self.topology, spec: self.spec, next_hops, chooser: self.chooser.clone() }
    }

    /// A shortest path: the one that ECMP hashes a first queue pair to, or that static routing takes under any other policy;
    /// none where `to` cannot be reached.
    pub fn path(&mut self, from: DeviceId, to: DeviceId) -> Option<Path> {
        let cables = self.single(Connection { from, to, queue_pair: 0 })?;
        let links = cables.into_iter().map(|cable| self.next_hops.cables().get(cable).link).collect();
        Some(measured(self.topology, links))
    }

    /// The cables that one queue pair takes when its way is fixed.
    pub(super) fn single(&mut self, connection: Connection) -> Option<Vec<CableId>> {
        let Connection { from, to, .. } = connection;
        assert_ne!(from, to, "a path leads somewhere else");
        let mut cables = Vec::new();
        self.next_hops.prepare(to);
        self.follow(connection, |cable| cables.push(cable)).then_some(cables)
    }

    /// Calls `pass` with each cable of a fixed way to a prepared destination, in order of travel. Says whether there is a way;
    /// `pass` is not called where there is none.
    pub(super) fn follow(&self, connection: Connection, mut pass: impl FnMut(CableId)) -> bool {
        let Connection { from, to, .. } = connection;
        let key = self.chooser.key(connection);
        let mut at = from;
        while at != to {
            let Some((cable, next)) = self.step(at, to, key) else {
                assert_eq!(at, from, "a next hop leads to a next hop");
                return false;
            };
            pass(cable);
            at = next;
        }
        true
    }

    /// The next cable of a fixed way to a prepared destination, and where it leads.
    fn step(&self, at: DeviceId, to: DeviceId, key: u32) -> Option<(CableId, DeviceId)> {
        let hops = self.next_hops.hops(at, to);
        if hops.is_empty() {
            return None;
        }
        let cable = match self.spec.policy {
            RoutingChoice::Ecmp if hashes(self.topology, at) => self.chooser.hashed(at, key, hops),
            _ => self.chooser.fixed(at, to, hops),
        };
        Some((cable, self.next_hops.cables().get(cable).to))
    }

    /// Whether the way on from any switch depends on the destination alone, wherever data comes from.
    pub fn by_destination(&self) -> bool {
        let RoutingSpec { policy, detour, spray_ports, .. } = self.spec;
        policy != RoutingChoice::Ecmp && detour == DetourChoice::Minimal && !spray_ports
    }

    /// The cables from `from` towards `to` as far as the first switch of the fabric, or to the end of a way that passes none, or
    /// to where packets part before; handed to `pass` in order of travel. None where `to` cannot be reached.
    pub fn enter(&mut self, from: DeviceId, to: DeviceId, mut pass: impl FnMut(CableId)) -> Option<Entrance> {
        assert!(self.by_destination(), "the first cables are the same for all packets of a transfer");
        self.next_hops.prepare(to);
        let RoutingSpec { policy, spray_ports, .. } = self.spec;
        let (mut at, mut forced) = (from, true);
        while at != to && !self.topology.device(at).kind.is_fabric_switch() {
            let ways = self.next_hops.hops(at, to).len();
            if ways > 1 && splits(self.topology, at, policy, spray_ports) {
                break;
            }
            forced = forced && ways == 1 && nearby(from, at);
            let (cable, next) = self.step(at, to, 0)?;
            pass(cable);
            at = next;
        }
        Some(Entrance { at, forced })
    }

    /// What stands for the way in from `from` to `to`: where it is the same for two destinations and one of their ways in is
    /// forced, the other one is the same. None where nothing stands for it.
    pub fn way_in(&mut self, from: DeviceId, to: DeviceId) -> Option<[u32; 3]> {
        self.next_hops.prepare(to);
        self.next_hops.around(from, to)
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

fn measured(topology: &Topology, links: Vec<LinkId>) -> Path {
    let link = |&id: &LinkId| topology.link(id);
    let port = links.iter().find(|id| link(id).kind == LinkKind::Endpoint).unwrap_or(&links[0]);
    Path {
        latency: links.iter().map(|id| link(id).latency).sum(),
        narrowest: links.iter().map(|id| link(id).achievable).min().expect("a path has links"),
        port: *port,
        links,
    }
}
