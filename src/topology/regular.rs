//! Switches that are wired unlike the others of their kind: what a cable in the wrong port looks like.

use super::graph::{DeviceKind, Topology};
use crate::id::DeviceId;
use std::collections::BTreeMap;

/// A switch that is wired unlike the others of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddSwitch {
    /// The switch.
    pub device: DeviceId,
    /// What is odd about it.
    pub why: String,
}

/// The switches that differ from most others of their kind, in order of id: in their cables to other switches, or, in a tree,
/// because no other switch is under the same ones. Where there is no majority, nothing is odd.
pub fn odd_switches(topology: &Topology) -> Vec<OddSwitch> {
    let mut kinds: BTreeMap<DeviceKind, Vec<DeviceId>> = BTreeMap::new();
    for (id, device) in topology.devices().filter(|(_, device)| device.kind.is_fabric_switch()) {
        kinds.entry(device.kind).or_default().push(id);
    }
    let mut odd = Vec::new();
    for (kind, switches) in kinds {
        odd.extend(unlike_most(topology, &switches));
        if matches!(kind, DeviceKind::Leaf | DeviceKind::Spine) {
            odd.extend(alone_under(topology, kind, &switches));
        }
    }
    odd.sort_by_key(|switch| switch.device);
    odd.dedup_by_key(|switch| switch.device);
    odd
}

/// Switches whose cables to other switches are not those that most have: how many, to what kind, in bundles of what size.
fn unlike_most(topology: &Topology, switches: &[DeviceId]) -> Vec<OddSwitch> {
    let cables = |id: DeviceId| {
        let links = topology.out_links(id).map(|(link, peer)| (topology.device(peer).kind, topology.link(link)));
        let mut cables: Vec<(DeviceKind, u32, u64)> = links
            .filter(|(kind, _)| kind.is_fabric_switch())
            .map(|(kind, link)| (kind, link.cables, link.bandwidth.get()))
            .collect();
        cables.sort_unstable();
        cables
    };
    let mut alike: BTreeMap<Vec<(DeviceKind, u32, u64)>, Vec<DeviceId>> = BTreeMap::new();
    for &id in switches {
        alike.entry(cables(id)).or_default().push(id);
    }
    let Some(most) = alike.values().map(Vec::len).max().filter(|most| 2 * most > switches.len()) else {
        return Vec::new();
    };
    let count = |cables: &[(DeviceKind, u32, u64)]| cables.iter().map(|(_, cables, _)| cables).sum::<u32>();
    let usual = alike.iter().find(|(_, switches)| switches.len() == most).map_or(0, |(cables, _)| count(cables));
    let rare = alike.iter().filter(|(_, switches)| switches.len() < most);
    rare.flat_map(|(cables, switches)| {
        let why =
            format!("{} cables to {} other switches, where most of its kind have {usual}", count(cables), cables.len());
        switches.iter().map(move |&device| OddSwitch { device, why: why.clone() })
    })
    .collect()
}

/// Switches under a set of switches that is no other's, where most share theirs.
fn alone_under(topology: &Topology, kind: DeviceKind, switches: &[DeviceId]) -> Vec<OddSwitch> {
    let mut under: BTreeMap<Vec<DeviceId>, Vec<DeviceId>> = BTreeMap::new();
    for &id in switches {
        let above = |peer: DeviceId| topology.device(peer).kind.is_fabric_switch() && topology.device(peer).kind > kind;
        let mut peers: Vec<DeviceId> =
            topology.out_links(id).map(|(_, peer)| peer).filter(|&peer| above(peer)).collect();
        peers.sort_unstable();
        peers.dedup();
        under.entry(peers).or_default().push(id);
    }
    let alone: Vec<_> = under.iter().filter(|(_, switches)| switches.len() == 1).collect();
    if 2 * alone.len() >= switches.len() {
        return Vec::new();
    }
    let names = |peers: &[DeviceId]| peers.iter().map(|&peer| topology.name(peer)).collect::<Vec<_>>().join(", ");
    alone
        .into_iter()
        .map(|(peers, switches)| OddSwitch { device: switches[0], why: format!("the only one under {}", names(peers)) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::build_fabric;
    use crate::topology::testing::{bare_spec, fabric};

    #[test]
    fn what_shapes_build_has_nothing_odd() {
        for shape in [
            "[shape.fat_tree]\nlayers = 2",
            "[shape.fat_tree]\nlayers = 3",
            "[shape.multi_plane_fat_tree]\nlayers = 2\nplanes = 4",
            "[shape.multi_rail_fat_tree]\nlayers = 2\nrails = 4",
        ] {
            assert_eq!(odd_switches(&fabric(shape, 8)), [], "{shape}");
        }
    }

    /// Two planes of four leaves under two spines each, but for one cable.
    fn planes(end: &str, moved_to: &str) -> Vec<(String, String)> {
        let (mut devices, mut links) = (String::new(), String::new());
        for plane in ["a", "b"] {
            devices += &format!("{{ name = \"spine-{plane}0\", kind = \"spine\" }},");
            devices += &format!("{{ name = \"spine-{plane}1\", kind = \"spine\" }},");
            for leaf in 0..4 {
                devices += &format!("{{ name = \"leaf-{plane}{leaf}\", kind = \"leaf\" }},");
                for spine in 0..2 {
                    let cable = format!("leaf-{plane}{leaf}\", \"spine-{plane}{spine}");
                    let cable = if cable == end { moved_to.to_owned() } else { cable };
                    links += &format!(
                        "{{ between = [\"{cable}\"], bandwidth_per_direction = \"50 GB/s\", latency = \"1 us\" }},"
                    );
                }
            }
        }
        let topology = build_fabric(&bare_spec(&format!("[shape.explicit]\ndevices = [{devices}]\nlinks = [{links}]")));
        let topology = topology.expect("legal");
        odd_switches(&topology).into_iter().map(|odd| (topology.name(odd.device), odd.why)).collect()
    }

    #[test]
    fn a_leaf_with_a_cable_in_the_wrong_port_is_named() {
        assert_eq!(planes("", ""), []);
        let cable = "leaf-a1\", \"spine-a1";
        let odd = planes(cable, "leaf-a1\", \"spine-b0");
        assert_eq!(odd, [("leaf-a1".to_owned(), "the only one under spine-a0, spine-b0".to_owned())]);
        let odd = planes(cable, "leaf-a1\", \"spine-a0");
        assert_eq!(odd, [("leaf-a1".to_owned(), "the only one under spine-a0".to_owned())]);
    }

    #[test]
    fn a_leaf_with_a_cable_too_many_is_named() {
        let odd = planes("leaf-a1\", \"spine-a1", "leaf-a1\", \"leaf-b1");
        let why = |cables: u32| format!("{cables} cables to {cables} other switches, where most of its kind have 2");
        assert!(odd.contains(&("leaf-b1".to_owned(), why(3))), "{odd:?}");
    }
}
