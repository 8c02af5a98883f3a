//! The multi-rail fat tree: leaves that serve one rail each, under spines common to all rails.

use super::tree::Tree;
use super::wiring::{Wiring, check_endpoints, lane_size};
use crate::invalid::Invalid;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One connected fat tree. Port `j` of a node (its NICs' ports, counted NIC by NIC) attaches to a leaf of rail
/// `j % rails`, so that the same-index NICs of neighbouring nodes are one switch apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiRailFatTreeSpec {
    /// Rails.
    pub rails: Count,
    /// 2 = leaves and spines, 3 = pods of leaves and spines under core switches.
    #[schemars(range(min = 2, max = 3))]
    pub layers: Count,
    /// Endpoint ports that each rail is built for; without it, those of the cluster, or all that the radix allows.
    pub endpoints_per_rail: Option<Count>,
    /// Endpoint ports of each leaf; without it, all that the over-subscription allows.
    pub endpoints_per_leaf: Option<Count>,
    /// Endpoint ports of a leaf per uplink; without it 1, which is full bisection bandwidth.
    pub oversubscription: Option<Count>,
}

impl MultiRailFatTreeSpec {
    /// Wires the tree for `demand` endpoint ports on each rail.
    pub(super) fn wire(&self, radix: Count, demand: Option<u32>) -> Result<Wiring, Invalid> {
        if self.layers == Count::ONE {
            let message = "one layer is a single switch, which has no leaves to give to rails";
            return Err(Invalid::at("layers", message).help("set `layers = 2`, or use the shape `fat_tree`"));
        }
        let tree = Tree::new(self.layers, self.rails, radix, self.endpoints_per_leaf, self.oversubscription)?;
        let stated = self.endpoints_per_rail.map(Count::get);
        let size = lane_size(stated, demand, tree.capacity_per_rail(), "endpoints_per_rail")?;
        check_endpoints(self.rails.wide() * u64::from(size), "rails")?;
        let mut wiring = Wiring::default();
        tree.wire(size, 0, &mut wiring);
        Ok(wiring)
    }
}

#[cfg(test)]
mod tests {
    use crate::topology::testing::{Tally, fabric, tally};
    use crate::topology::{DeviceKind, measure_spec, testing::spec};

    #[test]
    fn a_full_multi_rail_tree_counts_like_a_fat_tree_and_is_one_network() {
        let shape = "[shape.multi_rail_fat_tree]\nlayers = 2\nrails = 4";
        assert_eq!(tally(&fabric(shape, 8)), Tally { endpoints: 32, switches: 12, cables: 32 });
        assert_eq!(measure_spec(&spec(shape, 8)).expect("legal").planes, Some(1));
        let pods = "[shape.multi_rail_fat_tree]\nlayers = 3\nrails = 4";
        assert_eq!(tally(&fabric(pods, 8)), Tally { endpoints: 128, switches: 80, cables: 256 });
    }

    #[test]
    fn every_leaf_serves_one_rail() {
        for layers in [2, 3] {
            let shape = format!("[shape.multi_rail_fat_tree]\nlayers = {layers}\nrails = 2\nendpoints_per_rail = 14");
            let topology = fabric(&shape, 8);
            for leaf in topology.devices_of(DeviceKind::Leaf) {
                let peers = topology.out_links(leaf).map(|(_, peer)| *topology.device(peer));
                let mut rails: Vec<_> =
                    peers.filter(|peer| peer.kind == DeviceKind::Nic).map(|nic| nic.index).collect();
                rails.dedup();
                assert_eq!(rails.len(), 1, "{} serves rails {rails:?}", topology.name(leaf));
            }
        }
    }
}
