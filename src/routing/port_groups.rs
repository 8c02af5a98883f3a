//! Next hops for NICs with several ports: what a NIC, a port and a plane carry towards a peer.
//!
//! Libraries open queue pairs on every port of a NIC and share the data of a connection out over them (NCCL joins the ports of a NIC
//! to one device, `NCCL_IB_MERGE_NICS`). A queue pair has one port at either end: ports that are in the same plane and have the
//! same place among those of their NIC there. Such ports of all NICs are a port group, and a queue pair sees no other port: each
//! group has next hops of its own.
//!
//! A transfer uses the groups in which its ways are shortest, in equal parts; where none leads to its destination it takes whatever
//! port does.

use super::cables::Cables;
use super::next_hops::HopTables;
use super::spec::{ForwardChoice, NicPorts, RoutingSpec};
use super::store::{Key, TableStore, home};
use crate::id::{CableId, DeviceId};
use crate::store::{Home, Keep};
use crate::topology::{DeviceKind, LinkKind, Topology};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The ports that a queue pair may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortGroup(u8);

impl PortGroup {
    /// Any port.
    pub const ANY: PortGroup = PortGroup(0);
}

/// Port groups over which a transfer is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortGroups(u64);

/// The most port groups that can be told apart.
pub(super) const GROUPS_MAX: usize = 63;

impl PortGroups {
    /// No port at all.
    pub const NONE: PortGroups = PortGroups(0);
    /// Any port.
    pub const ANY: PortGroups = PortGroups(1);

    /// Number of groups.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is no way.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The groups, in order.
    pub fn iter(self) -> impl Iterator<Item = PortGroup> {
        let next = |left: &u64| Some(left & (left - 1)).filter(|&left| left != 0);
        let first = Some(self.0).filter(|&left| left != 0);
        std::iter::successors(first, next).map(|left| PortGroup(left.trailing_zeros() as u8))
    }

    /// The `turn`-th group, counted round and round.
    pub fn in_turn(self, turn: u32) -> PortGroup {
        if self == PortGroups::ANY {
            return PortGroup::ANY;
        }
        self.iter().nth((turn % self.len()) as usize).expect("the set is not empty")
    }
}

/// Next hops under a choice of ports.
#[derive(Debug)]
pub struct PortHops<'t> {
    topology: &'t Topology,
    tables: PortTables,
    /// Where the tables go back to.
    home: Option<Home<Key, PortTables>>,
}

/// The tables of next hops under a choice of ports; they outlive the topology that they are of.
#[derive(Clone, Debug, Default)]
pub struct PortTables {
    forward: ForwardChoice,
    /// By group: first those by any port, then those of each group where queue pairs keep to theirs.
    groups: Vec<HopTables>,
    /// Per device: the groups of the ports of its NICs.
    own: Vec<u64>,
}

impl PortTables {
    fn new(topology: &Topology, spec: &RoutingSpec, usable: &[bool]) -> PortTables {
        let cables = Arc::new(Cables::new(topology));
        let on = |link: crate::id::LinkId| usable.get(link.index()).copied().unwrap_or(true);
        let all: Vec<bool> = cables.iter().map(|(_, cable)| on(cable.link)).collect();
        let by_port = spec.nic_ports == NicPorts::QueuePairs;
        let (ports, n) = if by_port { groups_of_ports(topology, &cables) } else { (BTreeMap::new(), 0) };
        let in_group = |group: u8| {
            let of_group = |(id, _): (CableId, _)| all[id.index()] && ports.get(&id).is_none_or(|&of| of == group);
            HopTables::over(topology, Arc::clone(&cables), spec.forward, cables.iter().map(of_group).collect())
        };
        let groups = (1..=n as u8).map(in_group);
        let any = HopTables::over(topology, Arc::clone(&cables), spec.forward, all.clone());
        let own = if n == 0 { Vec::new() } else { own_groups(topology, &cables, &ports) };
        PortTables { forward: spec.forward, groups: std::iter::once(any).chain(groups).collect(), own }
    }
}

impl Keep for PortTables {
    fn bytes(&self) -> usize {
        self.groups.iter().map(HopTables::bytes).sum()
    }
}

impl Clone for PortHops<'_> {
    fn clone(&self) -> Self {
        PortHops { topology: self.topology, tables: self.tables.clone(), home: self.home.clone() }
    }
}

impl Drop for PortHops<'_> {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(std::mem::take(&mut self.tables));
        }
    }
}

impl<'t> PortHops<'t> {
    /// Next hops over those links that are `usable`, by place of the link; all are where it is empty.
    pub fn new(topology: &'t Topology, spec: &RoutingSpec, usable: &[bool]) -> PortHops<'t> {
        PortHops { topology, tables: PortTables::new(topology, spec, usable), home: None }
    }

    /// As [`PortHops::new`], from the tables in `store` where it has such, which go back there at the end.
    pub(super) fn stored(
        topology: &'t Topology,
        spec: &RoutingSpec,
        usable: &[bool],
        store: &Arc<TableStore>,
    ) -> PortHops<'t> {
        let home = home(store, topology, spec, usable);
        let tables = home.take().unwrap_or_else(|| PortTables::new(topology, spec, usable));
        PortHops { topology, tables, home: Some(home) }
    }

    /// The cables that the sets are made of.
    pub fn cables(&self) -> &Cables {
        self.tables.groups[0].cables()
    }

    /// Whether ports are told apart.
    pub fn are_told_apart(&self) -> bool {
        self.tables.groups.len() > 1
    }

    /// Next hops by any port.
    pub(super) fn any(&self) -> &HopTables {
        &self.tables.groups[0]
    }

    /// Works out the next hops to `to` within `group`, unless that is done.
    #[inline]
    pub fn prepare(&mut self, group: PortGroup, to: DeviceId) {
        self.tables.groups[usize::from(group.0)].prepare(self.topology, to);
    }

    /// The cables on which data for `to`, which has been prepared, may leave `at` within `group`.
    #[inline]
    pub fn hops(&self, group: PortGroup, at: DeviceId, to: DeviceId) -> &[CableId] {
        self.tables.groups[usize::from(group.0)].hops(at, to)
    }

    /// Virtual lanes that the ways prepared so far take.
    pub fn lanes(&self) -> u8 {
        self.tables.groups.iter().map(HopTables::lanes).max().unwrap_or(1)
    }

    /// The groups over which a transfer is shared out, prepared; none where `to` cannot be reached.
    pub fn between(&mut self, from: DeviceId, to: DeviceId) -> PortGroups {
        if self.are_told_apart() && from != to {
            // Data leaves by the sender's NIC, or by that on the rail of the destination.
            let [from_own, to_own] = [from, to].map(|id| self.tables.own[id.index()]);
            let (first, second) = match self.tables.forward {
                ForwardChoice::OwnNic => (from_own, to_own),
                ForwardChoice::ScaleUp => (to_own, from_own),
            };
            for candidates in [first, second] {
                let shortest = self.shortest(PortGroups(candidates), from, to);
                if !shortest.is_empty() {
                    return shortest;
                }
            }
        }
        self.tables.groups[0].prepare(self.topology, to);
        let reached = from == to || !self.tables.groups[0].hops(from, to).is_empty();
        if reached { PortGroups::ANY } else { PortGroups::NONE }
    }

    /// Of `candidates`, those with the shortest ways; one where the way passes no port.
    fn shortest(&mut self, candidates: PortGroups, from: DeviceId, to: DeviceId) -> PortGroups {
        let (mut least, mut found) = (u32::MAX, PortGroups::NONE);
        for group in candidates.iter() {
            self.prepare(group, to);
            let Some(way) = self.tables.groups[usize::from(group.0)].way_length(self.topology, from, to) else {
                continue;
            };
            if way.hops < least {
                (least, found) = (way.hops, PortGroups::NONE);
            }
            if way.hops == least && (way.by_nic || found.is_empty()) {
                found.0 |= 1 << group.0;
            }
        }
        found
    }

    /// The devices that ways are between.
    pub fn topology(&self) -> &'t Topology {
        self.topology
    }
}

/// How many port groups there are where queue pairs keep to theirs.
pub(super) fn number_of_groups(topology: &Topology) -> usize {
    let mut most: BTreeMap<u32, u32> = BTreeMap::new();
    for nic in topology.devices_of(DeviceKind::Nic) {
        let mut ports: BTreeMap<u32, u32> = BTreeMap::new();
        for (link, end) in topology.out_links(nic).filter(|&(link, _)| topology.link(link).kind == LinkKind::Endpoint) {
            *ports.entry(topology.device(end).plane).or_default() += topology.link(link).cables.max(1);
        }
        for (plane, ports) in ports {
            let most = most.entry(plane).or_default();
            *most = ports.max(*most);
        }
    }
    most.values().map(|&ports| ports as usize).sum()
}

/// The group, counted from 1, of every cable between a NIC and its switch, in both directions, and their number; none where no NIC
/// has several ports.
fn groups_of_ports(topology: &Topology, cables: &Cables) -> (BTreeMap<CableId, u8>, usize) {
    // Per NIC: its cables by plane, and in a plane in order of port.
    let mut ports: Vec<(CableId, (u32, u32))> = Vec::new();
    let mut several = false;
    for nic in topology.devices_of(DeviceKind::Nic) {
        let own = cables.out(nic).filter(|(_, cable)| topology.link(cable.link).kind == LinkKind::Endpoint);
        let mut own: Vec<(u32, CableId)> = own.map(|(id, cable)| (topology.device(cable.to).plane, id)).collect();
        own.sort_unstable();
        several |= own.len() > 1;
        for (at, &(plane, cable)) in own.iter().enumerate() {
            let place = own[..at].iter().filter(|(other, _)| *other == plane).count() as u32;
            ports.push((cable, (plane, place)));
        }
    }
    let mut names: Vec<(u32, u32)> = ports.iter().map(|&(_, name)| name).collect();
    names.sort_unstable();
    names.dedup();
    if !several {
        return (BTreeMap::new(), 0);
    }
    let mut groups = BTreeMap::new();
    for (id, name) in ports {
        let group = names.binary_search(&name).expect("every name is there") as u8 + 1;
        groups.insert(id, group);
        let cable = cables.get(id);
        let back = |&(_, other): &(CableId, &super::Cable)| (other.to, other.index) == (cable.from, cable.index);
        groups.extend(cables.out(cable.to).find(back).map(|(back, _)| (back, group)));
    }
    (groups, names.len())
}

/// Per device: the groups of its ports, and for a processor those of the NICs at its side.
fn own_groups(topology: &Topology, cables: &Cables, groups: &BTreeMap<CableId, u8>) -> Vec<u64> {
    let mut own = vec![0_u64; topology.n_devices()];
    for (id, group) in groups {
        let cable = cables.get(*id);
        if topology.device(cable.from).kind == DeviceKind::Nic {
            own[cable.from.index()] |= 1 << group;
        }
    }
    for (id, device) in topology.devices() {
        if matches!(device.kind, DeviceKind::Gpu | DeviceKind::Cpu) {
            let beside = topology.out_links(id).filter(|&(link, _)| topology.link(link).kind == LinkKind::Host);
            own[id.index()] = beside.map(|(_, nic)| own[nic.index()]).fold(0, |all, of| all | of);
        }
    }
    own
}
