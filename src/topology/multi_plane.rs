//! The multi-plane fat tree: independent copies of one tree, which only the nodes join.

use super::tree::Tree;
use super::wiring::{Wiring, check_endpoints, lane_size};
use crate::invalid::Invalid;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Independent fat trees. Port `j` of a node (its NICs' ports, counted NIC by NIC) attaches to plane `j % planes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MultiPlaneFatTreeSpec {
    /// Independent copies.
    pub planes: Count,
    /// Layers of each plane: 1 = a single switch, 2 = leaves and spines, 3 = pods under core switches.
    #[schemars(range(min = 1, max = 3))]
    pub layers: Count,
    /// Endpoint ports that each plane is built for; without it, those of the cluster, or all that the radix allows.
    pub endpoints_per_plane: Option<Count>,
    /// Endpoint ports of each leaf; without it, all that the over-subscription allows.
    pub endpoints_per_leaf: Option<Count>,
    /// Endpoint ports of a leaf per uplink; without it 1, which is full bisection bandwidth.
    pub oversubscription: Option<Count>,
    /// Ports of each NIC where the fabric is looked at without nodes, which have NICs of their own; without it 1.
    pub ports_per_nic: Option<Count>,
}

impl MultiPlaneFatTreeSpec {
    /// Wires every plane for `demand` endpoint ports each.
    pub(super) fn wire(&self, radix: Count, demand: Option<u32>) -> Result<Wiring, Invalid> {
        let tree = Tree::new(self.layers, Count::ONE, radix, self.endpoints_per_leaf, self.oversubscription)?;
        let stated = self.endpoints_per_plane.map(Count::get);
        let size = lane_size(stated, demand, tree.capacity_per_rail(), "endpoints_per_plane")?;
        check_endpoints(self.planes.wide() * u64::from(size), "planes")?;
        let mut wiring = Wiring::default();
        for plane in 0..self.planes.get() {
            tree.wire(size, plane, &mut wiring);
        }
        Ok(wiring)
    }

    /// Ports of each NIC of a fabric without nodes.
    pub(super) fn ports_per_nic(&self) -> Result<Count, Invalid> {
        let ports = self.ports_per_nic.unwrap_or(Count::ONE);
        if !self.planes.get().is_multiple_of(ports.get()) {
            let message = format!("NICs of {ports} ports do not divide {} planes evenly", self.planes);
            return Err(Invalid::at("ports_per_nic", message).help("use a divisor of `planes`"));
        }
        Ok(ports)
    }
}

#[cfg(test)]
mod tests {
    use crate::topology::testing::{Tally, fabric, spec, tally};
    use crate::topology::{DeviceKind, build_fabric};

    #[test]
    fn planes_are_copies_of_one_tree() {
        let planes = tally(&fabric("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4", 8));
        assert_eq!(planes, Tally { endpoints: 4 * 32, switches: 4 * 12, cables: 4 * 32 });
    }

    #[test]
    fn nic_i_of_a_node_and_port_i_of_a_nic_attach_to_plane_i() {
        let single = fabric("[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4\nendpoints_per_plane = 8", 8);
        for nic in single.devices_of(DeviceKind::Nic) {
            let planes: Vec<_> = single.out_links(nic).map(|(_, leaf)| single.device(leaf).plane).collect();
            assert_eq!(planes, [single.device(nic).index]);
        }
        let shape = "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4\nendpoints_per_plane = 8\nports_per_nic = 4";
        let multi = fabric(shape, 8);
        assert_eq!(multi.devices_of(DeviceKind::Nic).count(), 8);
        for nic in multi.devices_of(DeviceKind::Nic) {
            let mut planes: Vec<_> = multi.out_links(nic).map(|(_, leaf)| multi.device(leaf).plane).collect();
            planes.sort_unstable();
            assert_eq!(planes, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn ports_that_do_not_divide_the_planes_are_refused() {
        let shape = "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4\nports_per_nic = 3";
        let error = build_fabric(&spec(shape, 8)).expect_err("3 does not divide 4");
        assert_eq!(error.place.join("."), "shape.multi_plane_fat_tree.ports_per_nic");
    }
}
