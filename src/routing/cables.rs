//! The directed cables of a topology in dense order: what routing chooses among.
//!
//! A link of the fabric may stand for several parallel cables. A packet takes one of them, so that they are told apart
//! here; links inside a node spread every transfer over all their wires and count as one cable.
//!
//! **Deadlock.** Devices have tiers: a way goes up, at most one step level, and down. When it turns up or level again, it
//! changes to the next virtual lane. Inside a lane waits go up, level once, then down, and between lanes only to higher
//! ones, so that no cycle of waits can form, whatever the shape: trees need one lane, a direct network one for each hop
//! between routers (Dally and Seitz, "Deadlock-free message routing in multiprocessor interconnection networks", 1987).

use crate::id::{CableId, DeviceId, LinkId};
use crate::topology::{DeviceKind, LinkKind, Topology};
use crate::units::BytesPerSec;

/// One direction of one cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cable {
    /// The link that it belongs to.
    pub link: LinkId,
    /// Where it starts.
    pub from: DeviceId,
    /// Where it ends.
    pub to: DeviceId,
    /// Its place among the parallel cables of its link.
    pub index: u32,
    /// Whether it leads away from the endpoints or towards them.
    pub direction: Direction,
}

/// How a cable leads through the tiers of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Away from the endpoints.
    Up,
    /// Between peers.
    Level,
    /// Towards the endpoints.
    Down,
}

/// All cables, those that leave one device next to each other.
#[derive(Clone, Debug)]
pub struct Cables {
    all: Vec<Cable>,
    out_starts: Vec<u32>,
    in_starts: Vec<u32>,
    arriving: Vec<CableId>,
    per_link: Vec<u32>,
}

/// The virtual lane on which data goes on that arrived on `lane`.
pub const fn next_lane(lane: u8, arrived: Direction, leaves: Direction) -> u8 {
    let turns = !matches!(arrived, Direction::Up) && !matches!(leaves, Direction::Down);
    lane + turns as u8
}

impl Cables {
    /// The cables of `topology`.
    pub fn new(topology: &Topology) -> Cables {
        let per_link: Vec<u32> = topology.links().map(|(_, link)| parallel(link.kind, link.cables)).collect();
        let mut all = Vec::new();
        let mut out_starts = vec![0];
        for (from, _) in topology.devices() {
            let mut links: Vec<_> = topology.out_links(from).collect();
            links.sort_unstable();
            for (link, to) in links {
                let direction = direction(topology.device(from).kind, topology.device(to).kind);
                let cable = |index| Cable { link, from, to, index, direction };
                all.extend((0..per_link[link.index()]).map(cable));
            }
            out_starts.push(all.len() as u32);
        }
        let mut counts = vec![0_u32; topology.n_devices() + 1];
        all.iter().for_each(|cable: &Cable| counts[cable.to.index() + 1] += 1);
        for at in 1..counts.len() {
            counts[at] += counts[at - 1];
        }
        let in_starts = counts.clone();
        let mut arriving = vec![CableId::new(0); all.len()];
        for (id, cable) in all.iter().enumerate() {
            let place = &mut counts[cable.to.index()];
            arriving[*place as usize] = CableId::new(id);
            *place += 1;
        }
        Cables { all, out_starts, in_starts, arriving, per_link }
    }

    /// Number of cables, each direction counted.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The cable `id`.
    pub fn get(&self, id: CableId) -> &Cable {
        &self.all[id.index()]
    }

    /// Every cable with its id.
    pub fn iter(&self) -> impl Iterator<Item = (CableId, &Cable)> {
        self.all.iter().enumerate().map(|(at, cable)| (CableId::new(at), cable))
    }

    /// The cables that leave `from`.
    pub fn out(&self, from: DeviceId) -> impl Iterator<Item = (CableId, &Cable)> {
        let range = self.out_starts[from.index()] as usize..self.out_starts[from.index() + 1] as usize;
        range.map(|at| (CableId::new(at), &self.all[at]))
    }

    /// The cables that reach `to`, in order of id.
    pub fn arriving(&self, to: DeviceId) -> &[CableId] {
        &self.arriving[self.in_starts[to.index()] as usize..self.in_starts[to.index() + 1] as usize]
    }

    /// The cables of `link`.
    pub fn of(&self, topology: &Topology, link: LinkId) -> Vec<CableId> {
        let (from, _) = topology.ends(link);
        self.out(from).filter(|(_, cable)| cable.link == link).map(|(id, _)| id).collect()
    }

    /// The number of parallel cables that `link` stands for.
    pub fn of_link(&self, link: LinkId) -> u32 {
        self.per_link[link.index()]
    }

    /// What one cable carries of a rate of its link.
    pub fn share_of(&self, link: LinkId, rate: BytesPerSec) -> BytesPerSec {
        BytesPerSec::new((rate.get() / u64::from(self.of_link(link))).max(1))
    }
}

/// Cables that packets can tell apart.
fn parallel(kind: LinkKind, cables: u32) -> u32 {
    match kind {
        LinkKind::Endpoint | LinkKind::Fabric => cables.max(1),
        LinkKind::ScaleUp | LinkKind::Host => 1,
    }
}

/// How a link between devices of these kinds leads.
pub(super) fn direction(from: DeviceKind, to: DeviceKind) -> Direction {
    match tier(from).cmp(&tier(to)) {
        std::cmp::Ordering::Less => Direction::Up,
        std::cmp::Ordering::Equal => Direction::Level,
        std::cmp::Ordering::Greater => Direction::Down,
    }
}

/// Distance from the processors that send and receive.
const fn tier(kind: DeviceKind) -> u8 {
    match kind {
        DeviceKind::Cpu => 0,
        DeviceKind::Gpu => 1,
        DeviceKind::Nic | DeviceKind::NvSwitch => 2,
        DeviceKind::Leaf | DeviceKind::Router => 3,
        DeviceKind::Spine => 4,
        DeviceKind::Core => 5,
    }
}
