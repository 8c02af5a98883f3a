//! What the tests of this module share: specs in short, and counts of graphs.

use super::{DeviceKind, LinkKind, Topology, TopologySpec, build_fabric};

/// A fabric of `radix`-port switches; 400 Gb/s ports, prices and latencies of the order of real ones.
pub(super) fn spec(shape: &str, radix: u32) -> TopologySpec {
    bare_spec(&format!("{}{shape}", hardware(radix)))
}

/// A fabric without switch and cables.
pub(super) fn bare_spec(tables: &str) -> TopologySpec {
    toml::from_str(&format!("name = \"test\"\n{tables}")).expect("a legal test file")
}

/// The graph of a fabric.
pub(super) fn fabric(shape: &str, radix: u32) -> Topology {
    build_fabric(&spec(shape, radix)).expect("a legal fabric")
}

/// The counts that published comparisons give.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub endpoints: u32,
    pub switches: u32,
    pub cables: u32,
}

/// Counts NICs, switches and cables between switches.
pub(super) fn tally(topology: &Topology) -> Tally {
    let fabric_links = topology.links().filter(|(_, link)| link.kind == LinkKind::Fabric);
    Tally {
        endpoints: topology.devices_of(DeviceKind::Nic).count() as u32,
        switches: topology.devices().filter(|(_, device)| device.kind.is_fabric_switch()).count() as u32,
        cables: fabric_links.map(|(_, link)| link.cables).sum::<u32>() / 2,
    }
}

/// A file of `topologies/`, with the hardware that it refers to replaced by that of the tests.
pub(super) fn file(text: &str) -> TopologySpec {
    let mut table: toml::Table = text.parse().expect("TOML");
    let radix = if text.contains("128x400g") { 128 } else { 64 };
    let hardware: toml::Table = hardware(radix).parse().expect("TOML");
    for (key, value) in hardware {
        if table.contains_key(&key) {
            table.insert(key, value);
        }
    }
    table.try_into().expect("a legal topology file")
}

/// A switch of `radix` ports and its cables, with prices that reproduce published totals.
fn hardware(radix: u32) -> String {
    format!(
        r#"
        switch = {{ name = "test", radix = {radix}, port_bandwidth_per_direction = "400 Gb/s", latency = "230 ns",
                    power = "1700 W", price = "37500 USD" }}
        endpoint_cable = {{ name = "DAC", latency = "15 ns", power = "1 W", price = "711 USD" }}
        switch_cable = {{ name = "AoC", latency = "150 ns", power = "20 W", price = "1926 USD" }}
        "#
    )
}
