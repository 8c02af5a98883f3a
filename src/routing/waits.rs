//! Whether packets that wait for each other can close a circle, and hence stand still for ever.
//!
//! A packet at the far end of a link, in the buffer of its virtual lane, waits for room at the far end of the next one. Ways
//! cannot deadlock if and only if these waits close no circle (Dally and Seitz, "Deadlock-free message routing in
//! multiprocessor interconnection networks", 1987). With as many lanes as ways want, the rule of [`next_lane`] puts all
//! channels in an order, so that no circle is possible; where a fabric has fewer, ways share the last lane, and the circle is
//! looked for and found. This module must not know what is sent.

use super::cables::{Cables, Direction, direction, next_lane};
use super::next_hops::NextHops;
use super::spec::ForwardChoice;
use crate::id::{DeviceId, LinkId};
use crate::topology::{DeviceKind, Topology};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Looks at links that following ways may take: a few seconds of work for the largest fabrics.
pub const WAIT_STEPS: usize = 40_000_000;

/// The buffer at the far end of a link, for one virtual lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Channel {
    /// The link.
    pub link: LinkId,
    /// The lane.
    pub lane: u8,
}

/// What following the ways of a topology has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Virtual lanes that ways want, so that no circle can close.
    pub lanes_wanted: u8,
    /// Destinations to which all ways were followed; those of one switch count once.
    pub followed: usize,
    /// Destinations that there are, counted likewise.
    pub destinations: usize,
    /// Channels each of which may wait for the next, and the last for the first; none where that cannot be.
    pub circle: Option<Vec<Channel>>,
}

impl Waits {
    /// Whether some destinations were left out.
    pub const fn is_sample(&self) -> bool {
        self.followed < self.destinations
    }
}

/// Follows every shortest way from anywhere to each destination where there are `lanes_max` virtual lanes; if that would take
/// more than `steps` looks at links, to as many destinations as that allows, evenly spaced.
///
/// # Panics
/// When there is no lane.
pub fn find_waits(topology: &Topology, forward: ForwardChoice, lanes_max: u8, steps: usize) -> Waits {
    assert!(lanes_max > 0, "data needs a lane");
    let mut next = NextHops::new(topology, forward, &[]);
    let ends = Ends::new(topology);
    let afford = (steps / topology.n_links().max(1)).max(1);
    let stride = ends.destinations.len().div_ceil(afford).max(1);
    let chosen: Vec<DeviceId> = ends.destinations.iter().copied().step_by(stride).collect();
    chosen.iter().for_each(|&to| next.prepare(to));
    let mut graph = Graph::new(topology, next.cables(), next.lanes().min(lanes_max));
    for (at, &to) in chosen.iter().enumerate() {
        graph.follow(&next, &ends.starts, to, at as u32);
    }
    Waits {
        lanes_wanted: next.lanes(),
        followed: chosen.len(),
        destinations: ends.destinations.len(),
        circle: graph.circle(),
    }
}

/// Where ways begin and end.
struct Ends {
    /// Where packets are after they have left the rim of the network, and how they came there: what leaves a device with one
    /// neighbour has nothing behind it, and no circle passes it. Other sources are here themselves.
    starts: BTreeSet<(DeviceId, bool)>,
    /// One destination for each neighbour that the rim hangs on, as the ways to the others differ by the last link only.
    destinations: Vec<DeviceId>,
}

impl Ends {
    fn new(topology: &Topology) -> Ends {
        // Data lies in memory, or arrives at NICs where those are all that is described.
        let in_memory = |kind: DeviceKind| matches!(kind, DeviceKind::Gpu | DeviceKind::Cpu);
        let any = topology.devices().any(|(_, device)| in_memory(device.kind));
        let is_end = |kind: DeviceKind| if any { in_memory(kind) } else { kind == DeviceKind::Nic };
        let mut ends = Ends { starts: BTreeSet::new(), destinations: Vec::new() };
        let mut by_neighbour: BTreeMap<DeviceId, DeviceId> = BTreeMap::new();
        for (id, _) in topology.devices().filter(|(_, device)| is_end(device.kind)) {
            let mut neighbours: Vec<DeviceId> = topology.out_links(id).map(|(_, to)| to).collect();
            neighbours.sort_unstable();
            neighbours.dedup();
            match neighbours[..] {
                [] => continue,
                [only] => {
                    let goes_up = direction(topology.device(id).kind, topology.device(only).kind) == Direction::Up;
                    ends.starts.insert((only, goes_up));
                    by_neighbour.entry(only).or_insert(id);
                }
                _ => {
                    // What starts here goes on as if it had come up.
                    ends.starts.insert((id, true));
                    ends.destinations.push(id);
                }
            }
        }
        ends.destinations.extend(by_neighbour.into_values());
        ends.destinations.sort_unstable();
        ends
    }
}

/// Which channel may wait for which: for each channel a row with a bit for each link that leaves its far end, as the lane
/// there follows from the two.
struct Graph<'t> {
    topology: &'t Topology,
    lanes: u8,
    directions: Vec<Direction>,
    /// The links that leave each device, and where those of a device begin.
    leaving: Vec<LinkId>,
    starts: Vec<u32>,
    /// Per link: its place among those that leave the same device, and where its rows begin.
    slots: Vec<u32>,
    rows: Vec<u32>,
    bits: Vec<u64>,
    /// Per channel: the destination on whose ways it was last met.
    met: Vec<u32>,
}

/// A packet that is to go on: where it is, how it came, on which lane, and in which channel it is if it may hold others up.
type Place = (DeviceId, Direction, u8, Option<Channel>);

impl<'t> Graph<'t> {
    fn new(topology: &'t Topology, cables: &Cables, lanes: u8) -> Graph<'t> {
        let n_links = topology.n_links();
        let mut graph = Graph {
            topology,
            lanes,
            directions: vec![Direction::Up; n_links],
            leaving: Vec::with_capacity(n_links),
            starts: Vec::with_capacity(topology.n_devices() + 1),
            slots: vec![0; n_links],
            rows: Vec::with_capacity(n_links),
            bits: Vec::new(),
            met: vec![u32::MAX; n_links * usize::from(lanes)],
        };
        for (device, _) in topology.devices() {
            let first = graph.leaving.len();
            graph.starts.push(first as u32);
            for (_, cable) in cables.out(device).filter(|(_, cable)| cable.index == 0) {
                graph.slots[cable.link.index()] = (graph.leaving.len() - first) as u32;
                graph.directions[cable.link.index()] = cable.direction;
                graph.leaving.push(cable.link);
            }
        }
        graph.starts.push(graph.leaving.len() as u32);
        let mut row = 0;
        for (link, _) in topology.links() {
            graph.rows.push(row);
            row += graph.words(link) as u32 * u32::from(lanes);
        }
        graph.bits = vec![0; row as usize];
        graph
    }

    /// Links that leave a device.
    fn leaving(&self, device: DeviceId) -> &[LinkId] {
        &self.leaving[self.starts[device.index()] as usize..self.starts[device.index() + 1] as usize]
    }

    /// Length of a row of a link.
    fn words(&self, link: LinkId) -> usize {
        self.leaving(self.topology.ends(link).1).len().div_ceil(64)
    }

    fn row(&self, channel: Channel) -> usize {
        self.rows[channel.link.index()] as usize + usize::from(channel.lane) * self.words(channel.link)
    }

    fn place(&self, channel: Channel) -> usize {
        channel.link.index() * usize::from(self.lanes) + usize::from(channel.lane)
    }

    /// The channel that a packet takes next.
    fn next(&self, arrived: Direction, lane: u8, link: LinkId) -> Channel {
        let lane = next_lane(lane, arrived, self.directions[link.index()]);
        Channel { link, lane: lane.min(self.lanes - 1) }
    }

    /// Notes what waits for what on all ways to `to`, the `number`th destination.
    fn follow(&mut self, next: &NextHops<'_>, starts: &BTreeSet<(DeviceId, bool)>, to: DeviceId, number: u32) {
        let begun = |&(at, up): &(DeviceId, bool)| (at, if up { Direction::Up } else { Direction::Down }, 0, None);
        let mut open: Vec<Place> = starts.iter().filter(|(at, _)| *at != to).map(begun).collect();
        while let Some((at, arrived, lane, held)) = open.pop() {
            let row = held.map(|held| self.row(held));
            // Parallel cables of a link come after the first of each.
            let hops = next.hops(at, to).iter().map(|&hop| next.cables().get(hop)).take_while(|cable| cable.index == 0);
            for cable in hops {
                let wanted = self.next(arrived, lane, cable.link);
                if let Some(row) = row {
                    let slot = self.slots[cable.link.index()];
                    self.bits[row + slot as usize / 64] |= 1 << (slot % 64);
                }
                let place = self.place(wanted);
                if std::mem::replace(&mut self.met[place], number) != number && cable.to != to {
                    open.push((cable.to, cable.direction, wanted.lane, Some(wanted)));
                }
            }
        }
    }

    /// The next bit of a row that is set, from `slot` on, as the channel that it stands for and the slot after it.
    fn wanted_from(&self, held: Channel, slot: usize) -> Option<(Channel, usize)> {
        let row = self.row(held);
        let leaving = self.leaving(self.topology.ends(held.link).1);
        let slot = (slot..leaving.len()).find(|slot| self.bits[row + slot / 64] >> (slot % 64) & 1 == 1)?;
        Some((self.next(self.directions[held.link.index()], held.lane, leaving[slot]), slot + 1))
    }

    /// A circle of waits, the shortest through one of its channels: found in depth first, as a channel that waits for one that
    /// led to it.
    fn circle(&self) -> Option<Vec<Channel>> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let mut states = vec![State::New; self.met.len()];
        let mut open: Vec<(Channel, usize)> = Vec::new();
        let lanes = 0..self.lanes;
        let all = self.topology.links().flat_map(|(link, _)| lanes.clone().map(move |lane| Channel { link, lane }));
        for channel in all {
            if states[self.place(channel)] == State::New {
                states[self.place(channel)] = State::Open;
                open.push((channel, 0));
            }
            while let Some((held, slot)) = open.last_mut() {
                let Some((wanted, after)) = self.wanted_from(*held, *slot) else {
                    states[self.place(*held)] = State::Done;
                    open.pop();
                    continue;
                };
                *slot = after;
                match states[self.place(wanted)] {
                    State::Open => return self.shortest_circle(wanted),
                    State::Done => {}
                    State::New => {
                        states[self.place(wanted)] = State::Open;
                        open.push((wanted, 0));
                    }
                }
            }
        }
        None
    }

    /// The shortest circle through a channel.
    fn shortest_circle(&self, through: Channel) -> Option<Vec<Channel>> {
        let mut before: BTreeMap<Channel, Channel> = BTreeMap::new();
        let mut row = VecDeque::from([through]);
        while let Some(held) = row.pop_front() {
            let mut from = 0;
            while let Some((wanted, after)) = self.wanted_from(held, from) {
                from = after;
                if wanted == through {
                    let back = std::iter::successors(Some(held), |channel| before.get(channel).copied());
                    let mut circle: Vec<Channel> = back.collect();
                    circle.reverse();
                    return Some(circle);
                }
                if let Entry::Vacant(entry) = before.entry(wanted) {
                    entry.insert(held);
                    row.push_back(wanted);
                }
            }
        }
        None
    }
}
