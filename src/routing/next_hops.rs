//! Sets of next hops on shortest paths, worked out per destination when they are first asked for.
//!
//! A destination that hangs on one neighbour shares the table of that neighbour, so that the endpoints of a switch cost one
//! table together. Equal sets of a device are stored once.

use super::cables::{Cable, Cables, next_lane};
use super::spec::ForwardChoice;
use super::tables::{Tables, nearby};
use crate::id::{CableId, DeviceId};
use crate::routing::Direction;
use crate::topology::{DeviceKind, LinkKind, Topology};
use std::collections::VecDeque;
use std::sync::Arc;

const UNREACHED: u16 = u16::MAX;

/// Next hops from anywhere to the destinations asked for.
#[derive(Clone, Debug)]
pub struct NextHops<'t> {
    topology: &'t Topology,
    tables: HopTables,
}

impl<'t> NextHops<'t> {
    /// Next hops over those links that are `usable`, by place of the link; all are where it is empty.
    pub fn new(topology: &'t Topology, forward: ForwardChoice, usable: &[bool]) -> NextHops<'t> {
        let cables = Arc::new(Cables::new(topology));
        let on = |cable: &Cable| usable.get(cable.link.index()).copied().unwrap_or(true);
        let usable = cables.iter().map(|(_, cable)| on(cable)).collect();
        NextHops { topology, tables: HopTables::over(topology, cables, forward, usable) }
    }

    /// The cables that the sets are made of.
    pub fn cables(&self) -> &Cables {
        self.tables.cables()
    }

    /// Works out the next hops to `to`, unless that is done.
    pub fn prepare(&mut self, to: DeviceId) {
        self.tables.prepare(self.topology, to);
    }

    /// The cables on which data for `to` may leave `at`, in order of place in a bundle and then of link; none where there is
    /// no way. `to` has been prepared and is not `at`.
    pub fn hops(&self, at: DeviceId, to: DeviceId) -> &[CableId] {
        self.tables.hops(at, to)
    }

    /// Virtual lanes that the ways prepared so far take between devices that are no switches, so that no cycle of waits can
    /// form; a detour by a router takes up to twice as many.
    pub fn lanes(&self) -> u8 {
        self.tables.lanes()
    }
}

/// The tables of next hops over some cables of a topology, which whoever asks has at hand: they outlive it.
#[derive(Clone, Debug)]
pub(super) struct HopTables {
    cables: Arc<Cables>,
    forward: ForwardChoice,
    /// Per cable.
    usable: Vec<bool>,
    /// What a destination hangs on, where that is one device only.
    hangs: Vec<Option<Hang>>,
    /// The set of next hops at each device, for each root that has been asked for.
    tables: Tables,
    sets: Sets,
    /// The most turns that any way takes.
    turns_max: u8,
    /// The most turns that the last part of a way takes, from a root to what hangs on it.
    turns_of_hangs: u8,
}

#[derive(Clone, Copy, Debug)]
struct Hang {
    on: DeviceId,
    by: SetId,
    /// Where the whole chain ends.
    root: DeviceId,
}

impl HopTables {
    /// Next hops over those of the `cables` of `topology` that are `usable`.
    pub(super) fn over(
        topology: &Topology,
        cables: Arc<Cables>,
        forward: ForwardChoice,
        usable: Vec<bool>,
    ) -> HopTables {
        let sets = Sets::new(cables.len());
        let tables = Tables::new(topology.n_devices());
        let (hangs, turns_max, turns_of_hangs) = (Vec::new(), 0, 0);
        let mut next_hops = HopTables { cables, forward, usable, hangs, tables, sets, turns_max, turns_of_hangs };
        next_hops.find_hangs(topology);
        next_hops
    }

    /// The cables that the sets are made of.
    pub(super) fn cables(&self) -> &Cables {
        &self.cables
    }

    /// Works out the next hops to `to`, unless that is done.
    #[inline]
    pub(super) fn prepare(&mut self, topology: &Topology, to: DeviceId) {
        let root = self.root(to);
        if !self.tables.has(root) {
            self.work_out(topology, root);
        }
    }

    /// Kept apart, because nearly all calls find the table there.
    #[cold]
    fn work_out(&mut self, topology: &Topology, root: DeviceId) {
        let table = self.table(topology, root);
        self.tables.insert(root, &table);
    }

    /// The cables on which data for `to` may leave `at`, in order of place in a bundle and then of link; none where there is
    /// no way. `to` has been prepared and is not `at`.
    #[inline]
    pub(super) fn hops(&self, at: DeviceId, to: DeviceId) -> &[CableId] {
        let mut target = to;
        while let Some(hang) = self.hangs[target.index()] {
            if hang.on == at {
                return self.sets.get(hang.by);
            }
            target = hang.on;
            if target == hang.root {
                break;
            }
        }
        self.sets.get(self.tables.get(target, at))
    }

    /// The length of a shortest way to a prepared destination; none where there is no way.
    pub(super) fn way_length(&self, topology: &Topology, from: DeviceId, to: DeviceId) -> Option<WayLength> {
        let mut length = WayLength { hops: 0, by_nic: false };
        let mut at = from;
        while at != to {
            let cable = self.cables.get(*self.hops(at, to).first()?);
            length.hops += u32::from(self.hop(topology, cable, to));
            length.by_nic |= topology.link(cable.link).kind == LinkKind::Endpoint;
            at = cable.to;
        }
        Some(length)
    }

    /// What stands for the next hops around `at` to a prepared destination: where it is the same for two of them, so are the next
    /// hops at all devices nearby. None for destinations that have neighbours of `at` in their own way.
    pub(super) fn around(&self, at: DeviceId, to: DeviceId) -> Option<[u32; 3]> {
        let apart = self.hangs[to.index()].is_none() && !nearby(at, to);
        apart.then(|| self.tables.around(to, at))
    }

    /// Memory that the tables take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.tables.bytes()
    }

    /// Virtual lanes that the ways prepared so far take between devices that are no switches, so that no cycle of waits can
    /// form; a detour by a router takes up to twice as many.
    pub(super) fn lanes(&self) -> u8 {
        self.turns_max + 1
    }

    fn root(&self, to: DeviceId) -> DeviceId {
        self.hangs[to.index()].map_or(to, |hang| hang.root)
    }

    /// Finds the destinations that only one device leads to, other than through what hangs on them: the trees at the rim.
    fn find_hangs(&mut self, topology: &Topology) {
        let neighbours = |id: DeviceId| {
            let mut before: Vec<DeviceId> = self.arriving(id).map(|(_, cable)| cable.from).collect();
            before.sort_unstable();
            before.dedup();
            before
        };
        let mut open: Vec<Vec<DeviceId>> = topology.devices().map(|(id, _)| neighbours(id)).collect();
        let mut hangs: Vec<Option<DeviceId>> = vec![None; open.len()];
        let mut queue: VecDeque<DeviceId> = topology.devices().map(|(id, _)| id).collect();
        while let Some(id) = queue.pop_front() {
            let &[on] = &open[id.index()][..] else { continue };
            if hangs[id.index()].is_none() && topology.device(on).kind != DeviceKind::Cpu {
                hangs[id.index()] = Some(on);
                open[on.index()].retain(|&other| other != id);
                queue.push_back(on);
            }
        }
        for (id, _) in topology.devices() {
            let hang = hangs[id.index()].map(|on| {
                let mut by: Vec<CableId> =
                    self.arriving(id).filter(|(_, cable)| cable.from == on).map(|(id, _)| id).collect();
                let (mut root, mut below, mut turns) = (on, id, 0);
                loop {
                    let last = self.arriving(below).find(|(_, cable)| cable.from == root);
                    turns += u8::from(last.is_some_and(|(_, cable)| cable.direction != Direction::Down));
                    let Some(next) = hangs[root.index()] else { break };
                    (below, root) = (root, next);
                }
                self.turns_of_hangs = self.turns_of_hangs.max(turns);
                Hang { on, by: self.intern(&mut by), root }
            });
            self.hangs.push(hang);
        }
    }

    fn arriving(&self, to: DeviceId) -> impl Iterator<Item = (CableId, &Cable)> {
        let usable = self.cables.arriving(to).iter().filter(|cable| self.usable[cable.index()]);
        usable.map(|&cable| (cable, self.cables.get(cable)))
    }

    fn intern(&mut self, hops: &mut [CableId]) -> SetId {
        hops.sort_unstable_by_key(|&id| (self.cables.get(id).index, id));
        self.sets.intern(hops)
    }

    /// The next hops to `to` at each device.
    fn table(&mut self, topology: &Topology, to: DeviceId) -> Vec<SetId> {
        let (distances, order) = self.distances(topology, to);
        let mut table = vec![SetId::EMPTY; distances.len()];
        // Turns still to come, for data that arrives going up, and for data that arrives otherwise.
        let mut turns = vec![[0_u8; 2]; distances.len()];
        let mut hops = Vec::new();
        for &at in &order[1..] {
            self.nearer(topology, (at, to), &distances, &mut hops);
            let most = |arrived| {
                let after = |&hop: &CableId| {
                    let cable = self.cables.get(hop);
                    let later = turns[cable.to.index()][usize::from(cable.direction != Direction::Up)];
                    next_lane(later, arrived, cable.direction)
                };
                hops.iter().map(after).max().unwrap_or(0)
            };
            turns[at.index()] = [most(Direction::Up), most(Direction::Down)];
            table[at.index()] = self.intern(&mut hops);
        }
        // Data starts in memory, or at NICs where those are all that is described.
        let in_memory = |kind: DeviceKind| matches!(kind, DeviceKind::Gpu | DeviceKind::Cpu);
        let any = topology.devices().any(|(_, device)| in_memory(device.kind));
        let is_start = |kind: DeviceKind| if any { in_memory(kind) } else { kind == DeviceKind::Nic };
        let starts = topology.devices().filter(|(_, device)| is_start(device.kind));
        let most = starts.map(|(id, _)| turns[id.index()][0]).max().unwrap_or(0);
        self.turns_max = self.turns_max.max(most + self.turns_of_hangs);
        table
    }

    /// Hops to `to` from every device, and the devices from near to far. CPUs do not forward, and a GPU that does counts as a
    /// hop more, so that no data takes that way which can stay in the fabric.
    fn distances(&self, topology: &Topology, to: DeviceId) -> (Vec<u16>, Vec<DeviceId>) {
        let mut distances = vec![UNREACHED; topology.n_devices()];
        distances[to.index()] = 0;
        let mut done = vec![false; distances.len()];
        let mut order = Vec::new();
        let mut rows = VecDeque::from([vec![to]]);
        while let Some(row) = rows.pop_front() {
            for at in row {
                let here = distances[at.index()];
                if std::mem::replace(&mut done[at.index()], true) {
                    continue;
                }
                order.push(at);
                if at != to && topology.device(at).kind == DeviceKind::Cpu {
                    continue;
                }
                for (_, cable) in self.arriving(at) {
                    let hop = self.hop(topology, cable, to);
                    let before = cable.from;
                    if here + hop < distances[before.index()] {
                        distances[before.index()] = here + hop;
                        rows.resize_with(rows.len().max(usize::from(hop)), Vec::new);
                        rows[usize::from(hop) - 1].push(before);
                    }
                }
            }
        }
        (distances, order)
    }

    /// The length of a cable on a way to `to`.
    fn hop(&self, topology: &Topology, cable: &Cable, to: DeviceId) -> u16 {
        let forwards = cable.to != to && topology.device(cable.to).kind == DeviceKind::Gpu;
        // At the near end it is what some ask for.
        let wanted = self.forward == ForwardChoice::ScaleUp && topology.device(cable.from).kind == DeviceKind::NvSwitch;
        1 + u16::from(forwards && !wanted)
    }

    /// Makes `hops` the cables that lead nearer to `to`. A GPU stays inside its node where it can; otherwise it leaves through its
    /// own NIC or, if that is asked for, by way of a neighbour that is as near.
    fn nearer(&self, topology: &Topology, (at, to): (DeviceId, DeviceId), distances: &[u16], hops: &mut Vec<CableId>) {
        let leads_on = |next: DeviceId| next == to || topology.device(next).kind != DeviceKind::Cpu;
        let here = distances[at.index()];
        let out = self
            .cables
            .out(at)
            .filter(|(id, cable)| self.usable[id.index()] && distances[cable.to.index()] < here && leads_on(cable.to));
        hops.clear();
        hops.extend(out.map(|(id, _)| id));
        let (place, end) = (topology.device(at), topology.device(to));
        if place.kind == DeviceKind::Gpu {
            let inside = end.kind == DeviceKind::Gpu && end.group == place.group;
            let scale_up = inside || self.forward == ForwardChoice::ScaleUp;
            let preferred = if scale_up { LinkKind::ScaleUp } else { LinkKind::Host };
            let kind = |&id: &CableId| topology.link(self.cables.get(id).link).kind == preferred;
            if hops.iter().any(kind) {
                hops.retain(kind);
            }
        }
    }
}

/// How long a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WayLength {
    /// Hops, as distances count them.
    pub(super) hops: u32,
    /// Whether it passes a port of a NIC.
    pub(super) by_nic: bool,
}

/// A set of next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SetId(pub(super) u32);

impl SetId {
    /// The set without members.
    pub(super) const EMPTY: SetId = SetId(0);
}

/// Every different set once.
#[derive(Clone, Debug)]
struct Sets {
    members: Vec<CableId>,
    /// Where each set begins and ends in `members`.
    ranges: Vec<(u32, u32)>,
    /// The sets that have a cable as their first member.
    by_first: Vec<Vec<SetId>>,
}

impl Sets {
    fn new(n_cables: usize) -> Sets {
        Sets { members: Vec::new(), ranges: vec![(0, 0)], by_first: vec![Vec::new(); n_cables] }
    }

    #[inline]
    fn get(&self, id: SetId) -> &[CableId] {
        let (start, end) = self.ranges[id.0 as usize];
        &self.members[start as usize..end as usize]
    }

    fn intern(&mut self, hops: &[CableId]) -> SetId {
        let Some(first) = hops.first() else { return SetId::EMPTY };
        let known = self.by_first[first.index()].iter().copied();
        if let Some(id) = known.into_iter().find(|&id| self.get(id) == hops) {
            return id;
        }
        let id = SetId(self.ranges.len() as u32);
        let start = self.members.len() as u32;
        self.members.extend_from_slice(hops);
        self.ranges.push((start, self.members.len() as u32));
        self.by_first[first.index()].push(id);
        id
    }
}
