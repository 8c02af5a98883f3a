//! Turns a spec into a graph: wires the shape, then gives every cable its bandwidth and latency.
//!
//! Latency is accounted on directed links, so that a path from NIC to NIC adds up to two NIC latencies, the cables and
//! one port-to-port latency for each switch: a link out of a switch carries the latency of that switch, and the link
//! between a NIC and its switch carries the latency of the NIC in either direction.
//!
//! What transfers reach of the line rate: at a NIC's cable, the NIC's efficiency, which is what its engines sustain, packet
//! headers included. Between switches, which forward at line rate, only headers are lost.

use super::graph::{Device, DeviceKind, Link, LinkKind, Topology, TopologyBuilder};
use super::spec::{ShapeSpec, TopologySpec};
use super::wiring::Wiring;
use crate::id::DeviceId;
use crate::invalid::Invalid;
use crate::units::{BytesPerSec, Duration, Fraction};

/// The NICs that a fabric connects.
pub(super) struct Nics {
    /// Every NIC, node by node.
    pub ids: Vec<DeviceId>,
    /// NICs of each node.
    pub per_node: u32,
    /// Ports of each NIC.
    pub ports: u32,
    /// Peak bandwidth of a port, per direction.
    pub port_bandwidth: BytesPerSec,
    /// The part of the line rate that the NIC's engines sustain, headers included.
    pub efficiency: Fraction,
    /// The payload's share of full packets.
    pub payload_share: Fraction,
    /// Time in a NIC, on either side.
    pub latency: Duration,
}

/// The fabric alone: its endpoints are ideal NICs that keep up with the switch ports and add no latency.
pub fn build_fabric(spec: &TopologySpec) -> Result<Topology, Invalid> {
    let mut builder = TopologyBuilder::default();
    match &spec.shape {
        ShapeSpec::NvlinkDomain(domain) => domain.build(&mut builder),
        ShapeSpec::Explicit(listed) => listed.build(&mut builder, None).map_err(|e| e.under("shape.explicit"))?,
        _ => {
            let wiring = wire(spec, None)?;
            let ports = match &spec.shape {
                ShapeSpec::MultiPlaneFatTree(shape) => shape.ports_per_nic().map_err(|e| e.under(&place(spec)))?.get(),
                _ => 1,
            };
            let endpoints = wiring.lanes.iter().map(Vec::len).sum::<usize>();
            let cables = wiring.trunks.len() + endpoints;
            builder = TopologyBuilder::with_capacity(wiring.switches.len() + endpoints, 2 * cables);
            let per_node = wiring.lanes.len() as u32 / ports;
            let nodes = wiring.lanes[0].len() as u32;
            let nic = |(group, index)| Device { kind: DeviceKind::Nic, group, plane: 0, index };
            let places = (0..nodes).flat_map(|node| (0..per_node).map(move |index| (node, index)));
            let ids = places.map(|place| builder.device(nic(place))).collect();
            let port_bandwidth = spec.switch()?.port_bandwidth_per_direction;
            let (efficiency, payload_share, latency) = (Fraction::ONE, Fraction::ONE, Duration::ZERO);
            let nics = Nics { ids, per_node, ports, port_bandwidth, efficiency, payload_share, latency };
            connect(spec, &wiring, &nics, &mut builder)?;
        }
    }
    let topology = builder.finish();
    check_explicit_radix(spec, &topology)?;
    Ok(topology)
}

/// Adds the fabric of a cluster, whose NICs are part of the graph already.
pub(super) fn add_fabric(spec: &TopologySpec, nics: &Nics, builder: &mut TopologyBuilder) -> Result<(), Invalid> {
    match &spec.shape {
        ShapeSpec::NvlinkDomain(_) => Err(Invalid::at(
            "shape.nvlink_domain",
            "a scale-up domain joins the GPUs of a node, not the NICs of several",
        )
        .help("name a scale-out fabric; the node's own [scale_up] describes its domain")),
        ShapeSpec::Explicit(listed) => listed.build(builder, Some(nics)).map_err(|e| e.under("shape.explicit")),
        shape => {
            let (node_ports, lanes) = (nics.per_node * nics.ports, lanes(shape));
            if !node_ports.is_multiple_of(lanes) {
                let what = if matches!(shape, ShapeSpec::MultiRailFatTree(_)) { "rails" } else { "planes" };
                let message = format!("the {node_ports} NIC ports of a node do not spread evenly over {lanes} {what}");
                return Err(Invalid::at(&format!("{}.{what}", place(spec)), message)
                    .help(format!("use a divisor of {node_ports}, or a node with other NICs")));
            }
            let demand = (nics.ids.len() / nics.per_node as usize) as u32 * (node_ports / lanes);
            connect(spec, &wire(spec, Some(demand))?, nics, builder)
        }
    }
}

fn place(spec: &TopologySpec) -> String {
    format!("shape.{}", spec.shape.key())
}

/// Planes or rails; the NIC ports of a node take turns in them.
fn lanes(shape: &ShapeSpec) -> u32 {
    match shape {
        ShapeSpec::MultiPlaneFatTree(shape) => shape.planes.get(),
        ShapeSpec::MultiRailFatTree(shape) => shape.rails.get(),
        _ => 1,
    }
}

/// Wires a shape for `demand` endpoint ports in each lane, or for what the file states.
fn wire(spec: &TopologySpec, demand: Option<u32>) -> Result<Wiring, Invalid> {
    let switch = spec.switch()?;
    let wiring = match &spec.shape {
        ShapeSpec::FatTree(shape) => shape.wire(switch.radix, demand),
        ShapeSpec::MultiPlaneFatTree(shape) => shape.wire(switch.radix, demand),
        ShapeSpec::MultiRailFatTree(shape) => shape.wire(switch.radix, demand),
        ShapeSpec::SlimFly(shape) => shape.wire(switch.radix, demand),
        ShapeSpec::Dragonfly(shape) => shape.wire(switch.radix, demand),
        ShapeSpec::NvlinkDomain(_) | ShapeSpec::Explicit(_) => unreachable!("these list their own links"),
    };
    let wiring = wiring.map_err(|invalid| invalid.under(&place(spec)))?;
    wiring.check_radix(switch, &place(spec))?;
    Ok(wiring)
}

/// Adds switches and cables, and attaches each NIC port to its place.
fn connect(spec: &TopologySpec, wiring: &Wiring, nics: &Nics, builder: &mut TopologyBuilder) -> Result<(), Invalid> {
    let switch = spec.switch()?;
    let endpoint_cable = spec.endpoint_cable()?;
    let switches: Vec<DeviceId> = wiring.switches.iter().map(|&device| builder.device(device)).collect();
    if !wiring.trunks.is_empty() {
        let latency = switch.latency + spec.switch_cable()?.latency;
        for trunk in &wiring.trunks {
            let bandwidth = switch.port_bandwidth_per_direction * u64::from(trunk.cables);
            let achievable = bandwidth.achieved(nics.payload_share);
            let link = Link { kind: LinkKind::Fabric, bandwidth, achievable, latency, cables: trunk.cables };
            builder.connect(switches[trunk.a as usize], switches[trunk.b as usize], link);
        }
    }
    let port = nics.port_bandwidth.min(switch.port_bandwidth_per_direction);
    for (at, &nic) in nics.ids.iter().enumerate() {
        for (place, cables) in places_of(at, nics, wiring) {
            let bandwidth = port * u64::from(cables);
            let (kind, achievable) = (LinkKind::Endpoint, bandwidth.achieved(nics.efficiency));
            let up = Link { kind, bandwidth, achievable, latency: nics.latency + endpoint_cable.latency, cables };
            let down = Link { latency: switch.latency + up.latency, ..up };
            builder.connect_unequal(nic, switches[place as usize], up, down);
        }
    }
    Ok(())
}

/// The switches that the ports of the `at`-th NIC attach to, with the number of cables to each.
fn places_of(at: usize, nics: &Nics, wiring: &Wiring) -> Vec<(u32, u32)> {
    let lanes = wiring.lanes.len();
    let (per_node, ports) = (nics.per_node as usize, nics.ports as usize);
    let (node, nic) = (at / per_node, at % per_node);
    let per_lane = per_node * ports / lanes;
    let mut places: Vec<(u32, u32)> = Vec::with_capacity(ports);
    for port in nic * ports..(nic + 1) * ports {
        let place = wiring.lanes[port % lanes][node * per_lane + port / lanes];
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, cables)) => *cables += 1,
            None => places.push((place, 1)),
        }
    }
    places
}

/// Refuses a listed fabric in which a switch has more cables than the described one has ports.
fn check_explicit_radix(spec: &TopologySpec, topology: &Topology) -> Result<(), Invalid> {
    let (ShapeSpec::Explicit(_), Some(switch)) = (&spec.shape, &spec.switch) else { return Ok(()) };
    for (id, _) in topology.devices().filter(|(_, device)| device.kind.is_fabric_switch()) {
        let used: u32 = topology.out_links(id).map(|(link, _)| topology.link(link).cables).sum();
        if used > switch.radix.get() {
            let name = topology.name(id);
            let message = format!("`{name}` has {used} cables, but `{}` has {} ports", switch.name, switch.radix);
            return Err(Invalid::at("shape.explicit.links", message));
        }
    }
    Ok(())
}
