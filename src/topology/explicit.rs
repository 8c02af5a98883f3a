//! A fabric that lists its devices and links one by one.

use super::build::Nics;
use super::graph::{Device, DeviceKind, Link, LinkKind, TopologyBuilder};
use crate::id::DeviceId;
use crate::invalid::{Invalid, nearest};
use crate::units::{BytesPerSec, Count, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Devices and links by name. The NICs, in the order listed, are the endpoints; in a cluster they stand for the NICs of
/// the nodes, counted node by node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplicitSpec {
    /// Every device.
    pub devices: Vec<ExplicitDevice>,
    /// Every connection.
    pub links: Vec<ExplicitLink>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplicitDevice {
    /// A name that no other device has.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
}

/// One connection, the same in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplicitLink {
    /// The names of its two ends.
    pub between: [String; 2],
    /// Peak bandwidth of all its cables together, per direction.
    pub bandwidth_per_direction: BytesPerSec,
    /// Time from one end to the other, that in the switch it leaves included; a cluster adds that of its own NICs.
    pub latency: Duration,
    /// Parallel cables; without it one.
    pub cables: Option<Count>,
}

impl ExplicitSpec {
    /// Adds the listed devices and links; with `nics`, these take the places of the listed NICs.
    pub(super) fn build(&self, builder: &mut TopologyBuilder, nics: Option<&Nics>) -> Result<(), Invalid> {
        let by_name = self.add_devices(builder, nics)?;
        for (at, link) in self.links.iter().enumerate() {
            let place = format!("links.{at}.between");
            let [a, b] = [&link.between[0], &link.between[1]].map(|name| find(&by_name, name, &place));
            let (Some(a), Some(b)) = (a?, b?) else {
                continue; // An end is a NIC that the cluster leaves empty.
            };
            if a == b {
                return Err(Invalid::at(&place, format!("`{}` is linked to itself", link.between[0])));
            }
            add_link(builder, a, b, link, nics);
        }
        Ok(())
    }

    fn add_devices(
        &self,
        builder: &mut TopologyBuilder,
        nics: Option<&Nics>,
    ) -> Result<BTreeMap<&str, Option<DeviceId>>, Invalid> {
        let listed = self.devices.iter().filter(|device| device.kind == DeviceKind::Nic).count();
        if let Some(nics) = nics
            && nics.ids.len() > listed
        {
            let message = format!("the cluster has {} NICs, but the fabric lists {listed}", nics.ids.len());
            return Err(Invalid::at("devices", message).help("list more NICs, or use fewer nodes"));
        }
        let mut by_name = BTreeMap::new();
        let mut counts: BTreeMap<DeviceKind, u32> = BTreeMap::new();
        for (at, ExplicitDevice { name, kind }) in self.devices.iter().enumerate() {
            if nics.is_some() && !(*kind == DeviceKind::Nic || kind.is_fabric_switch()) {
                let message = format!("`{name}` cannot be part of a cluster's fabric, whose nodes have GPUs and CPUs");
                return Err(Invalid::at(&format!("devices.{at}.kind"), message).help("list switches and NICs only"));
            }
            let index = counts.entry(*kind).or_default();
            let device = match nics {
                Some(nics) if *kind == DeviceKind::Nic => nics.ids.get(*index as usize).copied(),
                _ => {
                    let id = builder.device(Device { kind: *kind, group: 0, plane: 0, index: *index });
                    builder.name(id, name.clone());
                    Some(id)
                }
            };
            *index += 1;
            if by_name.insert(name.as_str(), device).is_some() {
                let message = format!("another device is called `{name}` too");
                return Err(Invalid::at(&format!("devices.{at}.name"), message).help("give every device its own name"));
            }
        }
        Ok(by_name)
    }
}

/// The device called `name`, which may be a NIC that is left empty.
fn find(by_name: &BTreeMap<&str, Option<DeviceId>>, name: &str, place: &str) -> Result<Option<DeviceId>, Invalid> {
    by_name.get(name).copied().ok_or_else(|| {
        let invalid = Invalid::at(place, format!("no device is called `{name}`"));
        match nearest(name, by_name.keys().copied()) {
            Some(nearest) => invalid.help(format!("the nearest name is `{nearest}`")),
            None => invalid.help("list it under `devices`"),
        }
    })
}

fn add_link(builder: &mut TopologyBuilder, a: DeviceId, b: DeviceId, spec: &ExplicitLink, nics: Option<&Nics>) {
    let kinds = [a, b].map(|id| builder.get(id).kind);
    let is_endpoint = kinds.contains(&DeviceKind::Nic) && kinds.iter().any(|kind| kind.is_fabric_switch());
    let kind = match kinds {
        _ if is_endpoint => LinkKind::Endpoint,
        [a, b] if a.is_fabric_switch() && b.is_fabric_switch() => LinkKind::Fabric,
        [a, b] if a == DeviceKind::NvSwitch || b == DeviceKind::NvSwitch => LinkKind::ScaleUp,
        [DeviceKind::Gpu, DeviceKind::Gpu] => LinkKind::ScaleUp,
        _ => LinkKind::Host,
    };
    let cables = spec.cables.map_or(1, Count::get);
    let (mut bandwidth, mut latency) = (spec.bandwidth_per_direction, spec.latency);
    let mut achievable = bandwidth;
    if let Some(nics) = nics {
        achievable = bandwidth.achieved(nics.payload_share);
        if is_endpoint {
            bandwidth = bandwidth.min(nics.port_bandwidth * u64::from(cables.min(nics.ports)));
            latency += nics.latency;
            achievable = bandwidth.achieved(nics.efficiency);
        }
    }
    builder.connect(a, b, Link { kind, bandwidth, achievable, latency, cables });
}

#[cfg(test)]
mod tests {
    use crate::topology::testing::{Tally, bare_spec, tally};
    use crate::topology::{DeviceKind, build_fabric};

    const RING: &str = r#"
        [shape.explicit]
        devices = [
            { name = "east", kind = "router" }, { name = "west", kind = "router" }, { name = "north", kind = "router" },
            { name = "a", kind = "nic" }, { name = "b", kind = "nic" },
        ]
        links = [
            { between = ["east", "west"], bandwidth_per_direction = "100 GB/s", latency = "1 us", cables = 2 },
            { between = ["west", "north"], bandwidth_per_direction = "50 GB/s", latency = "1 us" },
            { between = ["a", "east"], bandwidth_per_direction = "50 GB/s", latency = "1 us" },
            { between = ["b", "north"], bandwidth_per_direction = "50 GB/s", latency = "1 us" },
        ]
    "#;

    #[test]
    fn a_listed_fabric_is_built_as_listed() {
        let topology = build_fabric(&bare_spec(RING)).expect("legal");
        assert_eq!(tally(&topology), Tally { endpoints: 2, switches: 3, cables: 3 });
        let names: Vec<_> = topology.devices_of(DeviceKind::Router).map(|id| topology.name(id)).collect();
        assert_eq!(names, ["east", "west", "north"]);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_one() {
        let error = build_fabric(&bare_spec(&RING.replace("\"north\"]", "\"nroth\"]"))).expect_err("no such device");
        assert_eq!(error.place, ["shape", "explicit", "links", "1", "between"]);
        assert_eq!(error.help.as_deref(), Some("the nearest name is `north`"));
        let twice = RING.replace("name = \"b\"", "name = \"a\"");
        assert_eq!(
            build_fabric(&bare_spec(&twice)).expect_err("twice").place.join("."),
            "shape.explicit.devices.4.name"
        );
    }
}
