//! Which way a packet goes on: the policy of each device, with loads.

use super::pool::{ASTRAY, DECIDED, Packet};
use super::ports::Ports;
use crate::id::{CableId, DeviceId};
use crate::routing::{Chooser, DetourChoice, NicPorts, PortGroup, PortGroups, PortHops, RoutingChoice, RoutingSpec};
use crate::topology::{DeviceKind, Topology};

/// Places in the flowlet table of a switch.
const FLOWLETS: usize = 1024;

/// How a device chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Fixed,
    Hashed,
    LeastLoaded,
    AtRandom,
}

#[derive(Clone, Copy, Debug)]
struct Flowlet {
    cable: CableId,
    last: u64,
}

/// The routing of all devices.
pub(super) struct Ways<'t> {
    pub(super) next: PortHops<'t>,
    pub(super) chooser: Chooser,
    spec: RoutingSpec,
    choices: Vec<Choice>,
    /// The state of each device's random choices.
    spins: Vec<u32>,
    /// Per device and hash of a connection, where flowlets are followed.
    flowlets: Vec<Option<Flowlet>>,
    routers: Vec<DeviceId>,
}

impl<'t> Ways<'t> {
    pub(super) fn new(topology: &'t Topology, spec: RoutingSpec, seed: u64) -> Ways<'t> {
        let next = PortHops::new(topology, &spec, &[]);
        let chooser = Chooser::new(topology, next.cables(), seed);
        let flowlets = if spec.flowlet_gap.is_some() { topology.n_devices() * FLOWLETS } else { 0 };
        let detours = spec.detour != DetourChoice::Minimal;
        Ways {
            chooser,
            spec,
            choices: topology.devices().map(|(_, device)| choice(device.kind, &spec)).collect(),
            spins: (0..topology.n_devices() as u32).map(|at| at.wrapping_mul(0x9e37_79b9)).collect(),
            flowlets: vec![None; flowlets],
            routers: topology.devices_of(DeviceKind::Router).filter(|_| detours).collect(),
            next,
        }
    }

    /// Works out the ways from `from` to `to`, and those to the routers that a detour may go by: the port groups over which a
    /// transfer is shared out, none where there is no way.
    pub(super) fn prepare(&mut self, from: DeviceId, to: DeviceId) -> PortGroups {
        let groups = self.next.between(from, to);
        if !self.routers.is_empty() {
            self.prepare_within(groups, to);
        }
        groups
    }

    /// Works out the ways to `to` by any port, for the lanes that they take.
    pub(super) fn prepare_any(&mut self, to: DeviceId) {
        self.next.prepare(PortGroup::ANY, to);
        self.routers.iter().for_each(|&router| self.next.prepare(PortGroup::ANY, router));
    }

    /// Works out the ways to `to` within `groups`, for packets that are on them.
    pub(super) fn prepare_within(&mut self, groups: PortGroups, to: DeviceId) {
        for group in groups.iter() {
            self.next.prepare(group, to);
            self.routers.iter().for_each(|&router| self.next.prepare(group, router));
        }
    }

    /// Virtual lanes that any way may take.
    pub(super) fn lanes(&self) -> u8 {
        if self.routers.is_empty() { self.next.lanes() } else { 2 * self.next.lanes() }
    }

    /// Ways without the links that are not `usable`.
    pub(super) fn avoid(&mut self, topology: &'t Topology, usable: &[bool]) {
        self.next = PortHops::new(topology, &self.spec, usable);
        self.flowlets.iter_mut().for_each(|flowlet| *flowlet = None);
    }

    /// The ports at which a queue pair may leave its source: one, or all where a NIC sprays packets over its ports.
    pub(super) fn exits(&self, group: PortGroup, (from, to): (DeviceId, DeviceId), key: u32) -> &[CableId] {
        let hops = self.next.hops(group, from, to);
        let chosen = match self.choices[from.index()] {
            _ if hops.len() < 2 => return hops,
            Choice::AtRandom => return hops,
            Choice::Hashed => self.chooser.hashed(from, key, hops),
            Choice::Fixed | Choice::LeastLoaded => self.chooser.fixed(from, to, hops),
        };
        let at = hops.iter().position(|&hop| hop == chosen).expect("the choice is one of the hops");
        &hops[at..=at]
    }

    /// The port by which a packet leaves `at` at `now`; none where there is no way.
    pub(super) fn choose(&mut self, at: DeviceId, packet: &mut Packet, ports: &Ports, now: u64) -> Option<CableId> {
        if !self.routers.is_empty() && packet.marks & DECIDED == 0 {
            self.consider_detour(at, packet, ports, now);
        }
        let target = DeviceId::new(packet.target as usize);
        let hops = self.next.hops(packet.group, at, target);
        if hops.len() < 2 {
            return hops.first().copied();
        }
        Some(match self.choices[at.index()] {
            Choice::Fixed => self.chooser.fixed(at, target, hops),
            Choice::Hashed => self.chooser.hashed(at, packet.key, hops),
            Choice::AtRandom => {
                let spin = &mut self.spins[at.index()];
                *spin = spin.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                hops[((u64::from(*spin) * hops.len() as u64) >> 32) as usize]
            }
            Choice::LeastLoaded => {
                let spin = &mut self.spins[at.index()];
                *spin = spin.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let first = ((u64::from(*spin) * hops.len() as u64) >> 32) as usize;
                let Some(gap) = self.spec.flowlet_gap else { return Some(least_loaded(hops, first, ports, now)) };
                let place = at.index() * FLOWLETS + packet.key as usize % FLOWLETS;
                let known = self.flowlets[place].filter(|flowlet| now < flowlet.last + gap.as_ps());
                let known = known.filter(|flowlet| hops.contains(&flowlet.cable));
                let cable = known.map_or_else(|| least_loaded(hops, first, ports, now), |flowlet| flowlet.cable);
                self.flowlets[place] = Some(Flowlet { cable, last: now });
                cable
            }
        })
    }

    /// At the first router, decides whether a packet takes a detour.
    fn consider_detour(&mut self, at: DeviceId, packet: &mut Packet, ports: &Ports, now: u64) {
        let Ok(here) = self.routers.binary_search(&at) else { return };
        packet.marks |= DECIDED;
        let target = DeviceId::new(packet.target as usize);
        let group = packet.group;
        let direct = self.next.hops(group, at, target);
        let last = direct.first().is_none_or(|&hop| self.next.cables().get(hop).to == target);
        if last || self.routers.len() < 3 {
            return;
        }
        let spin = &mut self.spins[at.index()];
        *spin = spin.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let other = ((u64::from(*spin) * (self.routers.len() - 1) as u64) >> 32) as usize;
        let middle = self.routers[if other >= here { other + 1 } else { other }];
        let round = self.next.hops(group, at, middle);
        if round.is_empty() || self.length(group, middle, target) == 0 {
            return;
        }
        let better = self.spec.detour == DetourChoice::Valiant || {
            let load =
                |hops: &[CableId]| hops.iter().map(|hop| ports.loads[hop.index()].until_idle(now)).min().unwrap_or(0);
            let long = self.length(group, at, middle) + self.length(group, middle, target);
            load(direct) * u64::from(self.length(group, at, target)) > load(round) * u64::from(long)
        };
        if better {
            packet.target = middle.index() as u32;
            packet.marks |= ASTRAY;
        }
    }

    /// Hops of a shortest way; none where there is no way.
    fn length(&self, group: PortGroup, from: DeviceId, to: DeviceId) -> u32 {
        let (mut at, mut length) = (from, 0);
        while at != to {
            let Some(&hop) = self.next.hops(group, at, to).first() else { return 0 };
            at = self.next.cables().get(hop).to;
            length += 1;
        }
        length
    }
}

fn choice(kind: DeviceKind, spec: &RoutingSpec) -> Choice {
    match kind {
        DeviceKind::Gpu | DeviceKind::Cpu => Choice::Fixed,
        DeviceKind::Nic if spec.nic_ports == NicPorts::Spray => Choice::AtRandom,
        DeviceKind::Nic if spec.policy() != RoutingChoice::Ecmp => Choice::Fixed,
        _ => match spec.policy() {
            RoutingChoice::Static => Choice::Fixed,
            RoutingChoice::Ecmp => Choice::Hashed,
            RoutingChoice::Adaptive => Choice::LeastLoaded,
            RoutingChoice::Spray => Choice::AtRandom,
        },
    }
}

/// The port with the least load; of several, the first from `first` on.
fn least_loaded(hops: &[CableId], first: usize, ports: &Ports, now: u64) -> CableId {
    let mut best = (u64::MAX, hops[first]);
    for &hop in hops[first..].iter().chain(&hops[..first]) {
        let load = ports.loads[hop.index()].until_idle(now);
        if load == 0 {
            return hop;
        }
        if load < best.0 {
            best = (load, hop);
        }
    }
    best.1
}
