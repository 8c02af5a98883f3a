//! Devices of a fabric put together until a row of them fits on a page. It draws nothing.

use crate::id::{DeviceId, LinkId};
use crate::topology::{DeviceKind, Topology};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks that a row can hold and a reader can tell apart.
const ROW_MAX: usize = 128;
/// Parts into which a fabric of many groups is put together.
const RANGES: u64 = 64;

/// Devices that are drawn as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) tier: Tier,
    /// What the first of the devices is.
    pub(super) kind: DeviceKind,
    /// The name of the first of the devices.
    pub(super) name: String,
    pub(super) devices: usize,
}

/// Cables between two blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bundle {
    /// The blocks that it joins, by index, the smaller first.
    pub(super) ends: (usize, usize),
    /// Cables, each counted once for both directions.
    pub(super) cables: u64,
    /// Use of the most used of its links, in either direction, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<f64>,
}

/// How much of each link was used; what is not named was not.
pub(super) type Loads = BTreeMap<LinkId, f64>;

/// A row of the picture, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tier {
    Core,
    Spine,
    /// The switches that endpoints attach to.
    Edge,
    Nic,
    Processor,
    /// The switches of scale-up domains.
    ScaleUp,
    Cpu,
}

impl Tier {
    fn of(kind: DeviceKind) -> Tier {
        match kind {
            DeviceKind::Core => Tier::Core,
            DeviceKind::Spine => Tier::Spine,
            DeviceKind::Leaf | DeviceKind::Router => Tier::Edge,
            DeviceKind::Nic => Tier::Nic,
            DeviceKind::Gpu => Tier::Processor,
            DeviceKind::NvSwitch => Tier::ScaleUp,
            DeviceKind::Cpu => Tier::Cpu,
        }
    }

    pub(super) fn is_switch(self) -> bool {
        self <= Tier::Edge
    }
}

/// How much of a tier of switches is put together: the finer the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Folded {
    /// That of the tier of the fabric which had to be put together most.
    pub(super) coarsest: Detail,
    /// In order of tier, then of place.
    pub(super) blocks: Vec<Block>,
    /// In order of their ends.
    pub(super) bundles: Vec<Bundle>,
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

/// The finest view of the devices that `shown` picks in which every row fits; with what was used of links, where that is known.
pub(super) fn fold(topology: &Topology, shown: &dyn Fn(DeviceId) -> bool, loads: Option<&Loads>) -> Folded {
    let tier = |id: DeviceId| Tier::of(topology.device(id).kind);
    let mut tiers: BTreeMap<Tier, Vec<DeviceId>> = BTreeMap::new();
    topology.devices().filter(|&(id, _)| shown(id)).for_each(|(id, _)| tiers.entry(tier(id)).or_default().push(id));
    let mut keys: BTreeMap<DeviceId, Key> = BTreeMap::new();
    let mut coarsest = Detail::Switches;
    // Switches first: endpoints are put together by the switches that they attach to, and GPUs by those and by their NICs.
    for tier in [Tier::Core, Tier::Spine, Tier::Edge, Tier::ScaleUp] {
        let ids = tiers.get(&tier).map_or(&[][..], Vec::as_slice);
        let (detail, chosen) = switch_keys(topology, ids);
        coarsest = if tier.is_switch() { coarsest.max(detail) } else { coarsest };
        keys.extend(ids.iter().zip(chosen).map(|(&id, key)| (id, (tier, key))));
    }
    for tier in [Tier::Nic, Tier::Processor, Tier::Cpu] {
        let ids = tiers.get(&tier).map_or(&[][..], Vec::as_slice);
        let single = ids.len() <= ROW_MAX && coarsest == Detail::Switches;
        let chosen = if single {
            ids.iter().map(|&id| vec![id.index() as u64]).collect()
        } else {
            endpoint_keys(topology, ids, &keys)
        };
        keys.extend(ids.iter().zip(chosen).map(|(&id, key)| (id, (tier, key))));
    }
    let mut members: BTreeMap<&Key, Vec<DeviceId>> = BTreeMap::new();
    keys.iter().for_each(|(&id, key)| members.entry(key).or_default().push(id));
    let mut block_of = BTreeMap::new();
    let mut blocks = Vec::new();
    for ((tier, _), ids) in members {
        block_of.extend(ids.iter().map(|&id| (id, blocks.len())));
        let (kind, name) = (topology.device(ids[0]).kind, topology.name(ids[0]));
        blocks.push(Block { tier: *tier, kind, name, devices: ids.len() });
    }
    Folded { coarsest, blocks, bundles: bundles(topology, &block_of, loads) }
}

/// The finest way to put endpoints together so that their row fits: by all the blocks that they attach to, by those of their
/// scale-up domain, or all of them.
fn endpoint_keys(topology: &Topology, ids: &[DeviceId], known: &BTreeMap<DeviceId, Key>) -> Vec<Vec<u64>> {
    let places: BTreeSet<&Key> = known.values().collect();
    let place: BTreeMap<&Key, u64> = places.into_iter().zip(0..).collect();
    let attached = |id: DeviceId, wanted: &dyn Fn(Tier) -> bool| -> Vec<u64> {
        let key_of = |(_, peer): (_, DeviceId)| known.get(&peer).filter(|(tier, _)| wanted(*tier));
        topology.out_links(id).filter_map(key_of).map(|key| place[key]).collect::<BTreeSet<u64>>().into_iter().collect()
    };
    let views: [&dyn Fn(Tier) -> bool; 2] = [&|_| true, &|tier| tier == Tier::ScaleUp];
    let fits = |keys: &Vec<Vec<u64>>| keys.iter().collect::<BTreeSet<_>>().len() <= ROW_MAX;
    let view = |wanted| ids.iter().map(|&id| attached(id, wanted)).collect();
    views.into_iter().map(view).find(fits).unwrap_or_else(|| vec![Vec::new(); ids.len()])
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
fn bundles(topology: &Topology, block_of: &BTreeMap<DeviceId, usize>, loads: Option<&Loads>) -> Vec<Bundle> {
    let mut bundles: BTreeMap<(usize, usize), Bundle> = BTreeMap::new();
    for (id, link) in topology.links() {
        let (from, to) = topology.ends(id);
        let (Some(&a), Some(&b)) = (block_of.get(&from), block_of.get(&to)) else { continue };
        if a == b {
            continue;
        }
        let ends = (a.min(b), a.max(b));
        let bundle = bundles.entry(ends).or_insert(Bundle { ends, cables: 0, used: loads.map(|_| 0.0) });
        bundle.cables += if from < to { u64::from(link.cables) } else { 0 };
        if let (Some(used), Some(load)) = (&mut bundle.used, loads.and_then(|loads| loads.get(&id))) {
            *used = used.max(*load);
        }
    }
    bundles.into_values().collect()
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
        fold(topology, &|_| true, None)
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
        assert_eq!(folded.bundles.iter().map(|bundle| bundle.cables).sum::<u64>() * 2, cables);
    }

    #[test]
    fn a_bundle_is_as_hot_as_the_hottest_of_its_links() {
        let topology = fabric("[shape.fat_tree]\nlayers = 2", 32);
        let leaf = |id: DeviceId| topology.device(id).kind == DeviceKind::Leaf;
        let up = topology.links().map(|(id, _)| id).filter(|&id| leaf(topology.ends(id).0));
        let loads: Loads = up.take(2).zip([0.25, 0.75]).collect();
        let folded = fold(&topology, &|_| true, Some(&loads));
        let mut used: Vec<f64> =
            folded.bundles.iter().filter_map(|bundle| bundle.used).filter(|used| *used > 0.0).collect();
        used.sort_by(f64::total_cmp);
        assert_eq!(used.last(), Some(&0.75));
        assert!(folded.bundles.iter().all(|bundle| bundle.used.is_some()), "what was not used says so");
    }
}
