//! What is asked of a fabric: the promises of its own file.

use crate::topology::{DeviceKind, FabricMeasures, LinkKind, ShapeSpec, Topology, TopologySpec};
use crate::units::Count;

/// The largest of all tiers.
fn oversubscription(measures: &FabricMeasures) -> Option<f64> {
    measures.tiers.iter().filter_map(|tier| tier.oversubscription).reduce(f64::max)
}

/// What is wrong with the fabric, each with the place of the value that says otherwise.
pub(super) fn broken(
    spec: &TopologySpec,
    measures: &FabricMeasures,
    graph: Option<&Topology>,
    odd: &[String],
) -> Vec<(&'static str, String)> {
    let mut broken = Vec::new();
    if let Some(graph) = graph {
        broken.extend(detached(graph).map(|message| ("shape", message)));
    }
    let expect = spec.expect.clone().unwrap_or_default();
    let planes = expect.planes.map_or_else(|| planes(spec), Count::wide);
    if let Some(found) = measures.planes.filter(|found| *found != planes) {
        let place = if expect.planes.is_some() { "expect.planes" } else { "shape" };
        let why =
            if found < planes { "cables join what is to be apart" } else { "cables are missing between its parts" };
        let mut message = format!("planes found: {found}, expected: {planes}; {why}");
        odd.iter().for_each(|odd| message.push_str(&format!("\n{odd}")));
        broken.push((place, message));
    }
    if let Some(wanted) = expect.endpoints.filter(|wanted| wanted.wide() != measures.endpoints) {
        broken.push(("expect.endpoints", format!("{} endpoints, and {wanted} are expected", measures.endpoints)));
    }
    if let (Some(max), Some(found)) = (expect.max_oversubscription, oversubscription(measures))
        && found > max
    {
        let tier = measures.tiers.iter().find(|tier| tier.oversubscription == Some(found)).map(|tier| tier.kind);
        let tier = tier.map_or(String::new(), |kind| format!(" of the {}", tier_name(kind)));
        broken.push((
            "expect.max_oversubscription",
            format!("over-subscription{tier} is {found:.3}, and at most {max} is allowed"),
        ));
    }
    if let (Some(min), Some(found)) = (expect.min_bisection, measures.bisection)
        && found.full_fraction < min.get()
    {
        let message =
            format!("bisection bandwidth is {:.4} of full, and at least {min} is wanted", found.full_fraction);
        broken.push(("expect.min_bisection", message));
    }
    if let (Some(max), Some(found)) = (expect.max_diameter, measures.distances)
        && found.diameter > max.get()
    {
        broken.push((
            "expect.max_diameter",
            format!("switches are up to {} links apart, and {max} are allowed", found.diameter),
        ));
    }
    if let (Some(max), Some(found)) = (expect.max_cost, measures.cost)
        && found > max
    {
        broken.push(("expect.max_cost", format!("the fabric costs {found:.0}, and at most {max:.0} is allowed")));
    }
    if expect.regular && !odd.is_empty() {
        broken.push(("expect.regular", odd.join("\n")));
    }
    broken
}

/// Independent copies that the shape has.
fn planes(spec: &TopologySpec) -> u64 {
    match &spec.shape {
        ShapeSpec::MultiPlaneFatTree(shape) => shape.planes.wide(),
        // Every chip of a scale-up domain is a plane of its own.
        ShapeSpec::NvlinkDomain(domain) => domain.switches.wide(),
        _ => 1,
    }
}

/// Endpoints without a cable, and switches that no endpoint can reach.
fn detached(graph: &Topology) -> Option<String> {
    let is_endpoint = |kind: DeviceKind| matches!(kind, DeviceKind::Nic | DeviceKind::Gpu);
    let lone = |kind: &dyn Fn(DeviceKind) -> bool| -> Vec<String> {
        let alone = graph.devices().filter(|(id, device)| kind(device.kind) && graph.out_links(*id).next().is_none());
        alone.map(|(id, _)| graph.name(id)).collect()
    };
    let endpoints = lone(&is_endpoint);
    let switches = lone(&|kind| kind.is_fabric_switch() || kind == DeviceKind::NvSwitch);
    let stray: Vec<String> = graph
        .links()
        .filter(|(_, link)| link.kind == LinkKind::Host)
        .map(|(id, _)| graph.ends(id))
        .filter(|(a, b)| is_endpoint(graph.device(*a).kind) && is_endpoint(graph.device(*b).kind))
        .map(|(a, b)| format!("{} to {}", graph.name(a), graph.name(b)))
        .collect();
    let say = |what: &str, names: &[String]| {
        let more = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
        (!names.is_empty()).then(|| format!("{what}: {}{more}", names[..names.len().min(4)].join(", ")))
    };
    let found = [
        say("without any cable", &[endpoints, switches].concat()),
        say("endpoint to endpoint, past every switch", &stray),
    ];
    let found: Vec<String> = found.into_iter().flatten().collect();
    (!found.is_empty()).then(|| found.join("\n"))
}

const fn tier_name(kind: DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Leaf => "leaves",
        DeviceKind::Spine => "spines",
        DeviceKind::Core => "cores",
        DeviceKind::Cpu | DeviceKind::Gpu | DeviceKind::Nic | DeviceKind::NvSwitch | DeviceKind::Router => "switches",
    }
}
