//! The folded Clos that the fat-tree shapes share: its parameters, its capacity and its wiring.
//!
//! Every leaf of a tree is wired alike: the bundle from a leaf to spine `j` has the same width for all leaves. Then any
//! permutation of endpoints can be routed at the over-subscription asked for, which uneven bundles would not allow.

use super::graph::{Device, DeviceKind};
use super::wiring::Wiring;
use crate::invalid::Invalid;
use crate::units::Count;

/// A folded Clos, before its size is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree {
    /// 1 = star, 2 = leaf-spine, 3 = pods of leaf-spine under core switches.
    layers: u32,
    /// Leaves come in multiples of this, one part for each rail.
    rails: u32,
    /// Ports of every switch.
    radix: u32,
    /// Ports of a leaf that face endpoints.
    down: u32,
    /// Ports of a leaf that face spines.
    up: u32,
}

/// The number of leaves, spines and cores that a given number of endpoints takes.
struct Size {
    leaves_per_rail: u32,
    pods: u32,
    /// Leaves that each rail has in a full pod.
    rail_leaves: u32,
    /// Cables from every leaf of a pod to each spine of the pod.
    spine_bundles: Vec<u32>,
    /// For each spine of a pod, the cables from it to each core of its group.
    core_bundles: Vec<Vec<u32>>,
}

impl Tree {
    /// A tree of `layers`; places of findings are keys of the shape's own table.
    ///
    /// With over-subscription `o` and radix `k`, a leaf has `k·o/(o+1)` endpoint ports and `1/o` as many uplinks.
    pub fn new(
        layers: Count,
        rails: Count,
        radix: Count,
        endpoints_per_leaf: Option<Count>,
        oversubscription: Option<Count>,
    ) -> Result<Tree, Invalid> {
        let (layers, rails, radix) = (layers.get(), rails.get(), radix.get());
        let ratio = oversubscription.map_or(1, Count::get);
        if layers > 3 {
            return Err(Invalid::at("layers", format!("{layers} layers; a fat tree has 1, 2 or 3")));
        }
        if layers == 1 {
            let ignored = [("endpoints_per_leaf", endpoints_per_leaf), ("oversubscription", oversubscription)];
            if let Some((key, _)) = ignored.iter().find(|(_, value)| value.is_some()) {
                return Err(Invalid::at(key, "one layer is a single switch, which has no uplinks")
                    .help(format!("remove `{key}`, or set `layers = 2`")));
            }
            return Ok(Tree { layers, rails, radix, down: radix, up: 0 });
        }
        let half = (u64::from(radix) * u64::from(ratio) / (u64::from(ratio) + 1)) as u32;
        let down = endpoints_per_leaf.map_or(half, Count::get);
        let up = down.div_ceil(ratio);
        if down == 0 || u64::from(down) + u64::from(up) > u64::from(radix) {
            let message =
                format!("{down} endpoints and, at {ratio}:1, {up} uplinks do not fit the {radix} ports of a leaf");
            return Err(Invalid::at("endpoints_per_leaf", message).help("lower it, or raise `oversubscription`"));
        }
        let tree = Tree { layers, rails, radix, down, up };
        if tree.rail_leaves_limit() == 0 {
            let message = format!("{rails} rails need a leaf each in every pod, but a pod of a radix-{radix} tree");
            return Err(Invalid::at("rails", format!("{message} has at most {} leaves", tree.pod_leaves_limit())));
        }
        Ok(tree)
    }

    /// Endpoints of each rail that the largest such tree holds.
    pub fn capacity_per_rail(&self) -> u64 {
        let pods = if self.layers == 3 { self.radix } else { 1 };
        u64::from(self.down) * u64::from(self.rail_leaves_limit()) * u64::from(pods)
    }

    /// Leaves that the spines of one pod have ports for: half of them where the other half faces the core.
    fn pod_leaves_limit(&self) -> u32 {
        match self.layers {
            1 => 1,
            2 => self.radix,
            _ => self.radix / 2,
        }
    }

    fn rail_leaves_limit(&self) -> u32 {
        self.pod_leaves_limit() / self.rails
    }

    /// The fewest switches for `per_rail` endpoints on every rail.
    fn size(&self, per_rail: u32) -> Size {
        let leaves_per_rail = per_rail.div_ceil(self.down);
        let pods = leaves_per_rail.div_ceil(self.rail_leaves_limit());
        let rail_leaves = leaves_per_rail.div_ceil(pods);
        let pod_leaves = rail_leaves * self.rails;
        let mut size = Size { leaves_per_rail, pods, rail_leaves, spine_bundles: Vec::new(), core_bundles: Vec::new() };
        if pods == 1 && pod_leaves == 1 {
            // Nothing to connect: a single leaf is a star.
            return size;
        }
        // The spines of a lone pod need no ports towards a core.
        let spine_down = if pods == 1 { self.radix } else { self.radix / 2 };
        size.spine_bundles = share(self.up, self.up.div_ceil(spine_down / pod_leaves));
        if pods > 1 {
            let cores = |&bundle: &u32| {
                let spine_up = bundle * pod_leaves;
                share(spine_up, spine_up.div_ceil(self.radix / pods))
            };
            size.core_bundles = size.spine_bundles.iter().map(cores).collect();
        }
        size
    }

    /// Adds the switches and cables for `per_rail` endpoints on every rail, and a lane for each rail.
    pub fn wire(&self, per_rail: u32, plane: u32, wiring: &mut Wiring) {
        let size = self.size(per_rail);
        let cores = add_cores(&size, plane, wiring);
        let mut lanes = vec![Vec::with_capacity(per_rail as usize); self.rails as usize];
        for pod in 0..size.pods {
            let in_rail = size.rail_leaves.min(size.leaves_per_rail - pod * size.rail_leaves);
            let leaves = add_row(wiring, DeviceKind::Leaf, pod, plane, in_rail * self.rails);
            let spines = add_row(wiring, DeviceKind::Spine, pod, plane, size.spine_bundles.len() as u32);
            for (at, &leaf) in leaves.iter().enumerate() {
                for (&spine, &cables) in spines.iter().zip(&size.spine_bundles) {
                    wiring.trunk(leaf, spine, cables);
                }
                let lane = &mut lanes[at / in_rail as usize];
                let open = self.down.min(per_rail - lane.len() as u32);
                lane.extend((0..open).map(|_| leaf));
            }
            for (&spine, (cores, bundles)) in spines.iter().zip(cores.iter().zip(&size.core_bundles)) {
                for (&core, &cables) in cores.iter().zip(bundles) {
                    wiring.trunk(spine, core, cables);
                }
            }
        }
        wiring.lanes.extend(lanes);
    }
}

/// `total` cables shared by `parts` switches as evenly as possible.
fn share(total: u32, parts: u32) -> Vec<u32> {
    (0..parts).map(|part| total / parts + u32::from(part < total % parts)).collect()
}

/// The core switches, one group for each spine of a pod.
fn add_cores(size: &Size, plane: u32, wiring: &mut Wiring) -> Vec<Vec<u32>> {
    let mut index = 0;
    let mut core = || {
        index += 1;
        wiring.switch(Device { kind: DeviceKind::Core, group: 0, plane, index: index - 1 })
    };
    size.core_bundles.iter().map(|bundles| bundles.iter().map(|_| core()).collect()).collect()
}

fn add_row(wiring: &mut Wiring, kind: DeviceKind, group: u32, plane: u32, count: u32) -> Vec<u32> {
    (0..count).map(|index| wiring.switch(Device { kind, group, plane, index })).collect()
}
