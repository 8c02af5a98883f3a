//! The fat tree: a star, a leaf-spine fabric or a k-ary tree of pods.

use super::tree::Tree;
use super::wiring::{Wiring, lane_size};
use crate::invalid::Invalid;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A folded Clos with the fewest switches that its size and over-subscription allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FatTreeSpec {
    /// 1 = a single switch, 2 = leaves and spines, 3 = pods of leaves and spines under core switches.
    #[schemars(range(min = 1, max = 3))]
    pub layers: Count,
    /// Endpoint ports that the fabric is built for; without it, those of the cluster, or all that the radix allows.
    pub endpoints: Option<Count>,
    /// Endpoint ports of each leaf; without it, all that the over-subscription allows.
    pub endpoints_per_leaf: Option<Count>,
    /// Endpoint ports of a leaf per uplink; without it 1, which is full bisection bandwidth.
    pub oversubscription: Option<Count>,
}

impl FatTreeSpec {
    /// Wires the tree for `demand` endpoint ports.
    pub(super) fn wire(&self, radix: Count, demand: Option<u32>) -> Result<Wiring, Invalid> {
        let tree = Tree::new(self.layers, Count::ONE, radix, self.endpoints_per_leaf, self.oversubscription)?;
        let size = lane_size(self.endpoints.map(Count::get), demand, tree.capacity_per_rail(), "endpoints")?;
        let mut wiring = Wiring::default();
        tree.wire(size, 0, &mut wiring);
        Ok(wiring)
    }
}

#[cfg(test)]
mod tests {
    use crate::topology::testing::{Tally, fabric, spec, tally};
    use crate::topology::{DeviceKind, build_fabric};

    /// The closed formulas of a full tree of radix `k`.
    #[test]
    fn full_trees_have_the_counts_of_the_formulas() {
        for k in [4, 8, 16] {
            let star = tally(&fabric("[shape.fat_tree]\nlayers = 1", k));
            assert_eq!(star, Tally { endpoints: k, switches: 1, cables: 0 });
            let leaf_spine = tally(&fabric("[shape.fat_tree]\nlayers = 2", k));
            assert_eq!(leaf_spine, Tally { endpoints: k * k / 2, switches: 3 * k / 2, cables: k * k / 2 });
            let pods = tally(&fabric("[shape.fat_tree]\nlayers = 3", k));
            let formula = Tally { endpoints: k * k * k / 4, switches: 5 * k * k / 4, cables: k * k * k / 2 };
            assert_eq!(pods, formula);
        }
    }

    #[test]
    fn a_smaller_tree_bundles_its_cables_and_saves_spines() {
        let topology = fabric("[shape.fat_tree]\nlayers = 2\nendpoints = 256", 64);
        assert_eq!(topology.devices_of(DeviceKind::Leaf).count(), 8);
        assert_eq!(topology.devices_of(DeviceKind::Spine).count(), 4);
        assert_eq!(tally(&topology), Tally { endpoints: 256, switches: 12, cables: 256 });
        let spine = topology.devices_of(DeviceKind::Spine).next().expect("four spines");
        assert!(topology.out_links(spine).all(|(link, _)| topology.link(link).cables == 8));
        // Four pods of two leaves each, where a full tree has eight pods of four.
        let pods = fabric("[shape.fat_tree]\nlayers = 3\nendpoints = 52", 8);
        assert_eq!(pods.devices_of(DeviceKind::Leaf).count(), 13);
        assert_eq!(pods.devices_of(DeviceKind::Core).count(), 8);
    }

    #[test]
    fn no_switch_of_any_size_has_more_cables_than_ports() {
        for endpoints in 1..=128 {
            for oversubscription in [1, 3] {
                let shape = format!(
                    "[shape.fat_tree]\nlayers = 3\nendpoints = {endpoints}\noversubscription = {oversubscription}"
                );
                let topology = build_fabric(&spec(&shape, 8)).expect("wiring within the radix");
                assert_eq!(tally(&topology).endpoints, endpoints);
            }
        }
    }

    #[test]
    fn impossible_trees_are_refused_at_their_key() {
        let place = |shape: &str| build_fabric(&spec(shape, 8)).expect_err("impossible").place.join(".");
        assert_eq!(place("[shape.fat_tree]\nlayers = 4"), "shape.fat_tree.layers");
        assert_eq!(place("[shape.fat_tree]\nlayers = 2\nendpoints = 33"), "shape.fat_tree.endpoints");
        assert_eq!(place("[shape.fat_tree]\nlayers = 2\nendpoints_per_leaf = 6"), "shape.fat_tree.endpoints_per_leaf");
        assert_eq!(place("[shape.fat_tree]\nlayers = 1\noversubscription = 2"), "shape.fat_tree.oversubscription");
    }
}
