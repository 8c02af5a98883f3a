//! Choices that need no load: by destination, by hash.

use super::cables::{Cable, Cables, Direction};
use crate::id::{CableId, DeviceId};
use crate::rng::mix;
use crate::topology::{DeviceKind, LinkKind, Topology};

/// What the hash of a switch sees of a transfer: its two ends and its queue pair. All messages of a queue pair go one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where it begins.
    pub from: DeviceId,
    /// Where it ends.
    pub to: DeviceId,
    /// The queue pair, counted from 0.
    pub queue_pair: u32,
}

/// Chooses by destination or by hash.
#[derive(Clone, Debug)]
pub struct Chooser {
    seed: u64,
    turns: Vec<u32>,
    divisors: Vec<u32>,
}

/// `0..n` from the upper half of a hash, without a division.
const fn below(hash: u64, n: usize) -> usize {
    (((hash >> 32) * n as u64) >> 32) as usize
}

impl Connection {
    /// A number that stands for the connection in hashes.
    pub const fn key(self, seed: u64) -> u32 {
        let ends = ((self.from.index() as u64) << 32) | self.to.index() as u64;
        (mix(mix(seed ^ ends) ^ self.queue_pair as u64) >> 32) as u32
    }
}

impl Chooser {
    /// Chooses on `topology`; hashes depend on `seed`.
    pub fn new(topology: &Topology, cables: &Cables, seed: u64) -> Chooser {
        Chooser { seed: mix(seed), turns: turns(topology), divisors: divisors(topology, cables) }
    }

    /// Destination-based static choice, the d-mod-k of trees: neighbouring destinations take turns over the ways of the first
    /// tier, and what shares a way there takes turns over those of the next (Zahavi, "D-Mod-K routing providing non-blocking
    /// traffic for shift permutations on real life fat trees", 2010).
    pub fn fixed(&self, at: DeviceId, to: DeviceId, hops: &[CableId]) -> CableId {
        match hops.len() {
            1 => hops[0],
            n => hops[(self.turns[to.index()] / self.divisors[at.index()]) as usize % n],
        }
    }

    /// Choice by the hash of a connection. Every switch has its own hash, so that choices at one tier say nothing about those
    /// at the next.
    pub fn hashed(&self, at: DeviceId, key: u32, hops: &[CableId]) -> CableId {
        match hops.len() {
            1 => hops[0],
            n => hops[below(mix(u64::from(key) ^ mix(self.seed ^ at.index() as u64)), n)],
        }
    }

    /// The key of a connection in the hashes of this network.
    pub fn key(&self, connection: Connection) -> u32 {
        connection.key(self.seed)
    }
}

/// The order in which destinations take turns: endpoint cables counted switch by switch. A GPU takes that of its NIC, and
/// without one its place in the node.
fn turns(topology: &Topology) -> Vec<u32> {
    let mut turns: Vec<Option<u32>> = vec![None; topology.n_devices()];
    let mut next = 0;
    for (switch, _) in topology.devices().filter(|(_, device)| device.kind.is_fabric_switch()) {
        let mut ends: Vec<_> = topology.out_links(switch).collect();
        ends.sort_unstable();
        for (_, end) in ends.into_iter().filter(|(link, _)| topology.link(*link).kind == LinkKind::Endpoint) {
            turns[end.index()].get_or_insert(next);
            next += 1;
        }
    }
    for (gpu, device) in topology.devices().filter(|(_, device)| device.kind == DeviceKind::Gpu) {
        let own = topology.out_links(gpu).map(|(_, other)| other);
        let nic = own.filter(|other| topology.device(*other).kind == DeviceKind::Nic).min();
        turns[gpu.index()] = nic.and_then(|nic| turns[nic.index()]).or(Some(device.index));
    }
    topology.devices().map(|(id, device)| turns[id.index()].unwrap_or(device.index)).collect()
}

/// In how many ways a destination was already told from others before data reaches a device, going up.
fn divisors(topology: &Topology, cables: &Cables) -> Vec<u32> {
    let mut divisors = vec![1_u32; topology.n_devices()];
    // Tiers from the bottom; a longer sequence than there are tiers changes nothing.
    for kind in [DeviceKind::Leaf, DeviceKind::Spine] {
        for below in topology.devices_of(kind) {
            let up = |(_, cable): &(CableId, &Cable)| cable.direction == Direction::Up;
            let mut above: Vec<DeviceId> = cables.out(below).filter(up).map(|(_, cable)| cable.to).collect();
            above.dedup();
            let resolved = divisors[below.index()].saturating_mul(above.len() as u32);
            for up in above {
                divisors[up.index()] = divisors[up.index()].max(resolved);
            }
        }
    }
    divisors
}
