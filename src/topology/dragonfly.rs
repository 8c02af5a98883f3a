//! The Dragonfly: fully meshed groups of routers, joined by global links in the relative arrangement.
//!
//! Terms and parameters follow Kim, Dally, Scott and Abts, "Technology-Driven, Highly-Scalable Dragonfly Topology"
//! (ISCA 2008).

use super::graph::{Device, DeviceKind};
use super::wiring::{Wiring, check_router_ports, lane_size};
use crate::invalid::Invalid;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Dragonfly. Every pair of groups is joined by at least one global link, and the remaining global ports join the
/// groups nearest to each other in number. The global ports of a group are sorted by the distance (in group numbers, modulo
/// `groups`) to the group that they lead to, and dealt to its routers in that order, `global_links_per_router` each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DragonflySpec {
    /// Routers of a group, each linked to all others of its group (`a`).
    pub routers_per_group: Count,
    /// Endpoints of a router (`p`).
    pub endpoints_per_router: Count,
    /// Ports of a router for links to other groups (`h`).
    pub global_links_per_router: Count,
    /// Groups (`g`), at most `a·h + 1`.
    pub groups: Count,
}

impl DragonflySpec {
    /// Wires all groups; `demand` endpoint ports must find a place.
    pub(super) fn wire(&self, radix: Count, demand: Option<u32>) -> Result<Wiring, Invalid> {
        let (a, p) = (self.routers_per_group.get(), self.endpoints_per_router.get());
        let (h, g) = (self.global_links_per_router.get(), self.groups.get());
        let ports = u64::from(p) + u64::from(a) - 1 + u64::from(h);
        check_router_ports(ports, radix, "endpoints_per_router")?;
        let global_ports = u64::from(a) * u64::from(h);
        if global_ports + 1 < u64::from(g) {
            let message =
                format!("{g} groups, but the {global_ports} global ports of a group reach only that many others");
            return Err(Invalid::at("groups", message).help(format!("use at most {} groups", global_ports + 1)));
        }
        let routers = u64::from(a) * u64::from(g);
        let endpoints = lane_size(None, None, routers * u64::from(p), "groups")?;
        lane_size(Some(endpoints), demand, u64::from(endpoints), "groups")?;
        let mut wiring = Wiring::default();
        for group in 0..g {
            let routers: Vec<u32> = (0..a)
                .map(|index| wiring.switch(Device { kind: DeviceKind::Router, group, plane: 0, index }))
                .collect();
            for (at, &router) in routers.iter().enumerate() {
                routers[..at].iter().for_each(|&other| wiring.trunk(other, router, 1));
            }
        }
        self.wire_global(&mut wiring);
        wiring.bundle();
        let routers = 0..wiring.switches.len() as u32;
        wiring.lanes = vec![routers.flat_map(|router| (0..p).map(move |_| router)).collect()];
        Ok(wiring)
    }

    /// Port `t` of group `i` leads to group `i + offsets[t]`. As the sorted offsets are symmetric
    /// (`offsets[t] + offsets[last - t] = g`), port `last - t` there leads back, and no port is used twice.
    fn wire_global(&self, wiring: &mut Wiring) {
        let (a, h, g) = (self.routers_per_group.get(), self.global_links_per_router.get(), self.groups.get());
        let offsets = global_offsets(a * h, g);
        let router = |group: u32, port: usize| group * a + port as u32 / h;
        for group in 0..g {
            for (port, &offset) in offsets.iter().enumerate() {
                let (other, back) = ((group + offset) % g, offsets.len() - 1 - port);
                if port < back || (port == back && group < other) {
                    wiring.trunk(router(group, port), router(other, back), 1);
                }
            }
        }
    }
}

/// The distances to the groups that the global ports of each group lead to, in ascending order.
///
/// Whole rounds reach every other group once; what remains goes to the nearest groups on both sides. An odd port is
/// left over unless there is a group exactly opposite.
fn global_offsets(ports: u32, groups: u32) -> Vec<u32> {
    if groups == 1 {
        return Vec::new();
    }
    let (rounds, rest) = (ports / (groups - 1), ports % (groups - 1));
    let opposite = rest % 2 == 1 && groups.is_multiple_of(2);
    let extra = |distance: u32| {
        let near = distance.min(groups - distance) <= rest / 2;
        u32::from(near || (opposite && distance * 2 == groups))
    };
    (1..groups).flat_map(|distance| (0..rounds + extra(distance)).map(move |_| distance)).collect()
}

#[cfg(test)]
mod tests {
    use super::global_offsets;
    use crate::topology::testing::{Tally, fabric, spec, tally};
    use crate::topology::{DeviceKind, LinkKind, build_fabric};

    fn shape(a: u32, p: u32, h: u32, g: u32) -> String {
        format!(
            "[shape.dragonfly]\nrouters_per_group = {a}\nendpoints_per_router = {p}\n\
             global_links_per_router = {h}\ngroups = {g}"
        )
    }

    #[test]
    fn counts_follow_the_formulas() {
        for (a, p, h, g) in [(4, 2, 2, 9), (4, 2, 2, 8), (4, 2, 2, 3), (6, 3, 3, 19), (3, 2, 1, 4), (3, 1, 3, 9)] {
            let local = g * a * (a - 1) / 2;
            // A port of each group is left over when neither the groups nor the odd rest can be paired off.
            let odd = (a * h) % (g - 1) % 2 == 1 && g % 2 == 1;
            let global = g * (a * h - u32::from(odd)) / 2;
            let expected = Tally { endpoints: a * p * g, switches: a * g, cables: local + global };
            assert_eq!(tally(&fabric(&shape(a, p, h, g), 16)), expected, "a {a} p {p} h {h} g {g}");
        }
    }

    #[test]
    fn every_pair_of_groups_is_joined_and_no_port_is_used_twice() {
        for (a, h, g) in [(4, 2, 9), (4, 2, 7), (4, 2, 4), (5, 1, 4), (3, 3, 2)] {
            let topology = fabric(&shape(a, 1, h, g), 32);
            let mut pairs = std::collections::BTreeSet::new();
            for router in topology.devices_of(DeviceKind::Router) {
                let group = topology.device(router).group;
                let links =
                    topology.out_links(router).filter(|(link, _)| topology.link(*link).kind == LinkKind::Fabric);
                let global = links.filter(|(_, peer)| topology.device(*peer).group != group);
                let mut used = 0;
                for (link, peer) in global {
                    used += topology.link(link).cables;
                    pairs.insert((group, topology.device(peer).group));
                }
                assert!(used <= h, "{} uses {used} of {h} global ports", topology.name(router));
            }
            assert_eq!(pairs.len() as u32, g * (g - 1), "a {a} h {h} g {g}");
        }
    }

    #[test]
    fn offsets_are_symmetric() {
        for groups in 2..12 {
            for ports in groups - 1..40 {
                let offsets = global_offsets(ports, groups);
                let mirrored: Vec<_> = offsets.iter().rev().map(|offset| groups - offset).collect();
                assert_eq!(offsets, mirrored);
                assert!(ports - offsets.len() as u32 <= groups % 2, "{ports} ports, {groups} groups");
            }
        }
    }

    #[test]
    fn too_many_groups_are_refused() {
        let error = build_fabric(&spec(&shape(4, 2, 2, 10), 8)).expect_err("8 ports reach 8 other groups");
        assert_eq!(error.place.join("."), "shape.dragonfly.groups");
        assert_eq!(error.help.as_deref(), Some("use at most 9 groups"));
    }
}
