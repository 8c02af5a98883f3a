//! Which network model reads which key, and what a scenario states that its own does not read.

use crate::network::PacketSpec;
use crate::routing::{DetourChoice, RoutingSpec};
use crate::scenario::{NetworkChoice, Scenario};

use NetworkChoice::{Analytic, Flow, Packet};

/// Every key of `[routing]`, `[packet]` and `[[fault]]`, with the network models that read it. Faults that a model does not read are
/// refused, because an answer without them would be another one.
pub const READ_BY: &[(&str, &[NetworkChoice])] = &[
    ("routing.policy", &[Flow, Packet]),
    ("routing.detour", &[Flow, Packet]),
    ("routing.flowlet_gap", &[Packet]),
    ("routing.nic_ports", &[Analytic, Flow, Packet]),
    ("routing.forward", &[Analytic, Flow, Packet]),
    ("packet.post_by", &[Packet]),
    ("packet.scale_up_unit", &[Packet]),
    ("packet.relay_buffer", &[Packet]),
    ("fault.target", &[Flow, Packet]),
    ("fault.effect", &[Flow, Packet]),
    ("fault.from", &[Flow, Packet]),
    ("fault.until", &[Flow, Packet]),
];

/// The notes on keys that are stated in vain.
pub(super) fn notes(scenario: &Scenario) -> Vec<String> {
    let network = scenario.network;
    let unread = |key: &str| READ_BY.iter().any(|(name, by)| *name == key && !by.contains(&network));
    let name = |network: NetworkChoice| match network {
        Analytic => "analytic",
        Flow => "flow",
        Packet => "packet",
    };
    let mut notes = Vec::new();
    for key in stated(scenario).into_iter().filter(|key| unread(key)) {
        let by = READ_BY.iter().find(|(name, _)| *name == key).map_or(&[][..], |(_, by)| *by);
        let by: Vec<String> = by.iter().map(|&network| format!("\"{}\"", name(network))).collect();
        let own = name(network);
        notes.push(format!("{key} changes nothing: network = \"{own}\" does not read it, {} does", by.join(" or ")));
    }
    if network == Flow && scenario.routing.detour == DetourChoice::Ugal {
        notes.push(
            "routing.detour = \"ugal\" counts as \"minimal\" under network = \"flow\", which knows no queues".into(),
        );
    }
    notes
}

/// The keys of `[routing]` and `[packet]` that have another value than by default.
fn stated(scenario: &Scenario) -> Vec<&'static str> {
    let default = RoutingSpec::default();
    let RoutingSpec { policy, detour, flowlet_gap, nic_ports, forward } = scenario.routing;
    let usual = PacketSpec::default();
    let PacketSpec { post_by, scale_up_unit, relay_buffer } = scenario.packet;
    let keys = [
        ("routing.policy", policy != default.policy),
        ("routing.detour", detour != default.detour),
        ("routing.flowlet_gap", flowlet_gap != default.flowlet_gap),
        ("routing.nic_ports", nic_ports != default.nic_ports),
        ("routing.forward", forward != default.forward),
        ("packet.post_by", post_by != usual.post_by),
        ("packet.scale_up_unit", scale_up_unit != usual.scale_up_unit),
        ("packet.relay_buffer", relay_buffer != usual.relay_buffer),
    ];
    keys.into_iter().filter(|(_, stated)| *stated).map(|(key, _)| key).collect()
}
