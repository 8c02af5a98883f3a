//! Which links and cables a transfer uses, and how much of it passes each: what a model of sharing needs.

use super::choose::Connection;
use super::port_groups::PortGroup;
use super::routes::Routes;
use super::spec::{DetourChoice, NicPorts};
use crate::hardware::RoutingChoice;
use crate::id::{CableId, DeviceId, LinkId};
use crate::topology::{DeviceKind, Topology};

/// The part of a transfer that passes a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// The link.
    pub link: LinkId,
    /// The part, above 0; it is above 1 only where a detour passes a link twice.
    pub part: f64,
}

/// The part of a transfer that passes a cable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passage {
    /// The cable.
    pub cable: CableId,
    /// The part, above 0; it is above 1 only where a detour passes a cable twice.
    pub part: f64,
}

impl Routes<'_> {
    /// The links of a transfer from `from` to `to` over `queue_pairs` connections of equal weight, by link; none where `to`
    /// cannot be reached.
    ///
    /// Under static and ECMP routing each connection keeps to one way. Under adaptive routing and spray every switch splits
    /// evenly over its next hops, which is what both come to under even load. Valiant's detours are averaged over all
    /// routers; UGAL counts as minimal, the ways that it takes while queues are short.
    pub fn shares(&mut self, from: DeviceId, to: DeviceId, queue_pairs: u32) -> Option<Vec<Share>> {
        let mut passages = Vec::new();
        if !self.passages(from, to, queue_pairs, &mut passages) {
            return None;
        }
        let cables = self.next_hops.cables();
        let share = |passage: &Passage| Share { link: cables.get(passage.cable).link, part: passage.part };
        Some(merged(passages.iter().map(share).collect()))
    }

    /// The cables of a transfer, as [`Routes::shares`] splits it, one connection after the other and each in order of travel,
    /// appended to `passages`. Says whether there is a way.
    pub fn passages(&mut self, from: DeviceId, to: DeviceId, queue_pairs: u32, passages: &mut Vec<Passage>) -> bool {
        assert!(queue_pairs > 0, "a transfer has a queue pair");
        let groups = self.next_hops.between(from, to);
        let middles = self.middles(from, to);
        let part = 1.0 / f64::from(queue_pairs * groups.len().max(1));
        for queue_pair in 0..queue_pairs {
            for (index, group) in (0..).zip(groups.iter()) {
                let connection = Connection { from, to, queue_pair: queue_pair * groups.len() + index };
                let found = if middles.is_empty() {
                    self.spread(connection, group, part, passages)
                } else {
                    let part = part / middles.len() as f64;
                    middles.iter().all(|&middle| {
                        self.spread(Connection { to: middle, ..connection }, group, part, passages)
                            && self.spread(Connection { from: middle, ..connection }, group, part, passages)
                    })
                };
                if !found {
                    return false;
                }
            }
        }
        !groups.is_empty()
    }

    /// The routers that a detour may go by; none where ways are minimal.
    pub fn middles(&mut self, from: DeviceId, to: DeviceId) -> Vec<DeviceId> {
        let topology = self.topology;
        let routers = || topology.devices_of(DeviceKind::Router);
        if self.spec.detour != DetourChoice::Valiant || routers().next().is_none() {
            return Vec::new();
        }
        self.next_hops.prepare(PortGroup::ANY, to);
        // Data that passes no router has nothing to go round.
        let mut at = from;
        while at != to {
            if topology.device(at).kind == DeviceKind::Router {
                return routers().filter(|&router| self.reaches(from, router) && self.reaches(router, to)).collect();
            }
            let Some(&hop) = self.next_hops.hops(PortGroup::ANY, at, to).first() else { break };
            at = self.next_hops.cables().get(hop).to;
        }
        Vec::new()
    }

    /// Whether data gets from `from` to `to`.
    pub fn reaches(&mut self, from: DeviceId, to: DeviceId) -> bool {
        !self.next_hops.between(from, to).is_empty()
    }

    /// Adds the cables of shortest ways, and says whether there are any.
    pub(super) fn spread(
        &mut self,
        connection: Connection,
        group: PortGroup,
        part: f64,
        passages: &mut Vec<Passage>,
    ) -> bool {
        let Connection { from, to, .. } = connection;
        self.next_hops.prepare(group, to);
        if self.spec.policy() != RoutingChoice::Adaptive
            && self.spec.policy() != RoutingChoice::Spray
            && self.spec.nic_ports != NicPorts::Spray
        {
            return self.follow(connection, group, |cable| passages.push(Passage { cable, part }));
        }
        let key = self.chooser.key(connection);
        // All ways are equally long, so that what is on its way has the same distance to go everywhere.
        let mut row = if from == to { Vec::new() } else { vec![(from, part)] };
        while !row.is_empty() {
            let mut next: Vec<(DeviceId, f64)> = Vec::new();
            for (at, part) in row {
                let hops = self.next_hops.hops(group, at, to);
                if hops.is_empty() {
                    return false;
                }
                let chosen;
                let ways = if self.splits(at) {
                    hops
                } else {
                    let hashes = self.spec.policy() == RoutingChoice::Ecmp && super::routes::hashes(self.topology, at);
                    let choose = |hashes| match hashes {
                        true => self.chooser.hashed(at, key, hops),
                        false => self.chooser.fixed(at, to, hops),
                    };
                    chosen = [choose(hashes)];
                    &chosen[..]
                };
                let part = part / ways.len() as f64;
                for &way in ways {
                    let cable = self.next_hops.cables().get(way);
                    passages.push(Passage { cable: way, part });
                    match next.iter_mut().find(|(known, _)| *known == cable.to) {
                        Some((_, sum)) => *sum += part,
                        None => next.push((cable.to, part)),
                    }
                }
            }
            row = next.into_iter().filter(|&(at, _)| at != to).collect();
        }
        true
    }

    /// Whether the packets of one connection part at `at`.
    fn splits(&self, at: DeviceId) -> bool {
        splits(self.topology, at, self.spec.policy(), self.spec.nic_ports)
    }
}

/// Whether the packets of one connection part at `at`.
pub(super) fn splits(topology: &Topology, at: DeviceId, policy: RoutingChoice, nic_ports: NicPorts) -> bool {
    match topology.device(at).kind {
        DeviceKind::Gpu | DeviceKind::Cpu => false,
        DeviceKind::Nic => nic_ports == NicPorts::Spray,
        _ => matches!(policy, RoutingChoice::Adaptive | RoutingChoice::Spray),
    }
}

/// One entry per link, in order of id.
fn merged(mut shares: Vec<Share>) -> Vec<Share> {
    shares.sort_by_key(|share| share.link);
    shares.dedup_by(|next, kept| {
        let same = next.link == kept.link;
        kept.part += if same { next.part } else { 0.0 };
        same
    });
    shares
}
