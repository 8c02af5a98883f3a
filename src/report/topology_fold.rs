//! Devices of a fabric put together until a row of them fits on a page. It draws nothing.

use crate::id::DeviceId;
use crate::topology::{DeviceKind, Topology};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks that a row can hold and a reader can tell apart.
const ROW_MAX: usize = 128;
/// Parts into which a fabric of many groups is put together.
const RANGES: u64 = 64;

/// Devices that are drawn as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) tier: Tier,
    /// The first of the devices.
    pub(super) first: DeviceId,
    pub(super) devices: usize,
}

/// A row of the picture, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Core,
    Spine,
    /// The switches that endpoints attach to.
    Edge,
    Nic,
    Processor,
}

impl Tier {
    fn of(kind: DeviceKind) -> Tier {
        match kind {
            DeviceKind::Core => Tier::Core,
            DeviceKind::Spine => Tier::Spine,
            DeviceKind::Leaf | DeviceKind::Router | DeviceKind::NvSwitch => Tier::Edge,
            DeviceKind::Nic => Tier::Nic,
            DeviceKind::Gpu | DeviceKind::Cpu => Tier::Processor,
        }
    }

    pub(super) fn is_switch(self) -> bool {
        self <= Tier::Edge
    }
}

/// How much of a tier of switches is put together: the finer the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    /// Every switch for itself.
    Switches,
    /// Those of a pod or group.
    Groups,
    /// Those of neighbouring groups, as many as are needed.
    GroupRanges,
    /// Those of a plane.
    Planes,
    /// All of them.
    Tier,
}

const DETAILS: [Detail; 5] = [Detail::Switches, Detail::Groups, Detail::GroupRanges, Detail::Planes, Detail::Tier];

/// A fabric with few enough blocks to draw.
pub(super) struct Folded {
    /// That of the tier which had to be put together most.
    pub(super) coarsest: Detail,
    /// In order of tier, then of place.
    pub(super) blocks: Vec<Block>,
    /// Cables between two blocks, the one with the smaller index first.
    pub(super) bundles: BTreeMap<(usize, usize), u64>,
}

impl Folded {
    /// The blocks of one row, by index.
    pub(super) fn row(&self, tier: Tier) -> Vec<usize> {
        (0..self.blocks.len()).filter(|&at| self.blocks[at].tier == tier).collect()
    }

    /// The rows that have blocks, from the top.
    pub(super) fn tiers(&self) -> Vec<Tier> {
        let tiers: BTreeSet<Tier> = self.blocks.iter().map(|block| block.tier).collect();
        tiers.into_iter().collect()
    }
}

/// What a device is put together with: its tier and up to three numbers for switches, the blocks it attaches to for endpoints.
type Key = (Tier, Vec<u64>);

/// The finest view of the devices that `shown` picks in which every row fits.
pub(super) fn fold(topology: &Topology, shown: &dyn Fn(DeviceId) -> bool) -> Folded {
    let tier = |id: DeviceId| Tier::of(topology.device(id).kind);
    let mut tiers: BTreeMap<Tier, Vec<DeviceId>> = BTreeMap::new();
    topology.devices().filter(|&(id, _)| shown(id)).for_each(|(id, _)| tiers.entry(tier(id)).or_default().push(id));
    let mut keys: BTreeMap<DeviceId, Key> = BTreeMap::new();
    let mut coarsest = Detail::Switches;
    // Switches first: endpoints are put together by the switches that they attach to.
    for (&tier, ids) in tiers.iter().filter(|(tier, _)| tier.is_switch()) {
        let (detail, chosen) = switch_keys(topology, ids);
        coarsest = coarsest.max(detail);
        keys.extend(ids.iter().zip(chosen).map(|(&id, key)| (id, (tier, key))));
    }
    let places: BTreeSet<Key> = keys.values().cloned().collect();
    let place: BTreeMap<Key, u64> = places.into_iter().zip(0..).collect();
    let switches = keys.clone();
    for (&tier, ids) in tiers.iter().filter(|(tier, _)| !tier.is_switch()) {
        let attached = |id: DeviceId| -> Vec<u64> {
            let place_of = |(_, peer): (_, DeviceId)| place.get(switches.get(&peer)?).copied();
            topology.out_links(id).filter_map(place_of).collect::<BTreeSet<u64>>().into_iter().collect()
        };
        let single = ids.len() <= ROW_MAX && coarsest == Detail::Switches;
        let key = |id: DeviceId| if single { vec![id.index() as u64] } else { attached(id) };
        keys.extend(ids.iter().map(|&id| (id, (tier, key(id)))));
    }
    let mut members: BTreeMap<&Key, Vec<DeviceId>> = BTreeMap::new();
    keys.iter().for_each(|(&id, key)| members.entry(key).or_default().push(id));
    let mut block_of = BTreeMap::new();
    let mut blocks = Vec::new();
    for ((tier, _), ids) in members {
        block_of.extend(ids.iter().map(|&id| (id, blocks.len())));
        blocks.push(Block { tier: *tier, first: ids[0], devices: ids.len() });
    }
    let bundles = bundles(topology, &block_of);
    Folded { coarsest, blocks, bundles }
}

/// The finest way to put the switches of one tier together so that their row fits, and where that puts each of them.
fn switch_keys(topology: &Topology, ids: &[DeviceId]) -> (Detail, Vec<Vec<u64>>) {
    let groups = ids.iter().map(|&id| u64::from(topology.device(id).group) + 1).max().unwrap_or(1);
    let key = |id: DeviceId, detail: Detail| {
        let device = topology.device(id);
        let (plane, group) = (u64::from(device.plane), u64::from(device.group));
        match detail {
            Detail::Switches => vec![plane, group, id.index() as u64],
            Detail::Groups => vec![plane, group],
            Detail::GroupRanges => vec![plane, group / groups.div_ceil(RANGES)],
            Detail::Planes => vec![plane],
            Detail::Tier => Vec::new(),
        }
    };
    let views = DETAILS.map(|detail| (detail, ids.iter().map(|&id| key(id, detail)).collect::<Vec<_>>()));
    let fits = |(_, keys): &(Detail, Vec<Vec<u64>>)| keys.iter().collect::<BTreeSet<_>>().len() <= ROW_MAX;
    views.into_iter().find(fits).expect("a whole tier is one block")
}

/// The cables between blocks, each connection counted once.
fn bundles(topology: &Topology, block_of: &BTreeMap<DeviceId, usize>) -> BTreeMap<(usize, usize), u64> {
    let mut bundles = BTreeMap::new();
    for (id, link) in topology.links() {
        let (from, to) = topology.ends(id);
        let (Some(&a), Some(&b)) = (block_of.get(&from), block_of.get(&to)) else { continue };
        if a != b && from < to {
            *bundles.entry((a.min(b), a.max(b))).or_default() += u64::from(link.cables);
        }
    }
    bundles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{TopologySpec, build_fabric};

    fn fabric(shape: &str, radix: u32) -> Topology {
        let text = format!(
            "name = 'test'\n{shape}\n[switch]\nname = 's'\nradix = {radix}\nport_bandwidth_per_direction = '50 GB/s'\n\
             latency = '300 ns'\npower = '1 W'\n[endpoint_cable]\nname = 'c'\nlatency = '15 ns'\npower = '1 W'\n\
             [switch_cable]\nname = 'c'\nlatency = '15 ns'\npower = '1 W'\n"
        );
        let spec: TopologySpec = toml::from_str(&text).expect("a legal test fabric");
        build_fabric(&spec).expect("a fabric")
    }

    fn everything(topology: &Topology) -> Folded {
        fold(topology, &|_| true)
    }

    #[test]
    fn a_small_fabric_is_shown_device_by_device() {
        let folded = everything(&fabric("[shape.fat_tree]\nlayers = 2", 8));
        assert_eq!(folded.coarsest, Detail::Switches);
        assert_eq!(folded.blocks.len(), 32 + 8 + 4);
        assert_eq!(folded.bundles.len(), 32 + 8 * 4);
    }

    #[test]
    fn endpoints_are_put_together_by_their_leaf() {
        let folded = everything(&fabric("[shape.fat_tree]\nlayers = 2", 32));
        assert_eq!(folded.coarsest, Detail::Switches);
        let nics = folded.row(Tier::Nic);
        assert_eq!(nics.len(), 32);
        assert!(nics.iter().all(|&at| folded.blocks[at].devices == 16));
    }

    #[test]
    fn nothing_is_lost_when_a_large_fabric_is_put_together() {
        let topology = fabric("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 8", 64);
        let folded = everything(&topology);
        assert_eq!(folded.coarsest, Detail::Groups);
        assert_eq!(folded.blocks.iter().map(|block| block.devices).sum::<usize>(), topology.n_devices());
        let cables: u64 = topology.links().map(|(_, link)| u64::from(link.cables)).sum();
        assert_eq!(folded.bundles.values().sum::<u64>() * 2, cables);
    }
}
