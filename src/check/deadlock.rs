//! Whether routing on a fabric can deadlock: waits are followed, and a circle of them is named link by link.

use crate::hardware::{FlowControl, SwitchPacketSpec};
use crate::routing::{ForwardChoice, WAIT_STEPS, Waits, find_waits};
use crate::topology::{Topology, TopologySpec};

/// Links of a circle that are named.
const NAMED: usize = 8;

/// What following the ways of a fabric shows, on as many virtual lanes as its switches have.
pub(super) fn waits(spec: &TopologySpec, graph: &Topology) -> Waits {
    find_waits(graph, ForwardChoice::default(), lanes(spec), WAIT_STEPS)
}

fn lanes(spec: &TopologySpec) -> u8 {
    let packet = spec.switch.as_ref().and_then(|switch| switch.packet.as_ref());
    packet.map_or(FlowControl::Credits.lanes_max(), SwitchPacketSpec::lanes)
}

/// Whether packets can wait for each other for ever: the circle, link by link.
pub(super) fn broken(spec: &TopologySpec, graph: &Topology, waits: &Waits) -> Option<(&'static str, String)> {
    let (has, wants) = (lanes(spec), waits.lanes_wanted);
    let stated = spec.switch.as_ref().and_then(|switch| switch.packet.as_ref()?.virtual_lanes).is_some();
    let place = if stated { "switch.packet.virtual_lanes" } else { "shape" };
    let lanes = |n: u8| format!("{n} virtual lane{}", if n == 1 { "" } else { "s" });
    let Some(circle) = &waits.circle else {
        // What was not followed may close one.
        let unknown = waits.is_sample() && wants > has;
        let of = format!("{} of {} destinations", waits.followed, waits.destinations);
        let message = format!("routing takes {}, and switches have {has}; {of} were followed", lanes(wants));
        return unknown.then_some((place, message));
    };
    let mut message = format!(
        "routing can deadlock: it takes {}, switches have {has}, and {} wait for each other:",
        lanes(wants),
        if circle.len() == 1 { "packets on a link".to_owned() } else { format!("packets on {} links", circle.len()) },
    );
    for channel in circle.iter().take(NAMED) {
        let (from, to) = graph.ends(channel.link);
        message.push_str(&format!("\n{} to {}, lane {}", graph.name(from), graph.name(to), channel.lane));
    }
    if circle.len() > NAMED {
        message.push_str(&format!("\nand {} more", circle.len() - NAMED));
    }
    Some((place, message))
}
