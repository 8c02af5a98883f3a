//! Whether flows collide: routing that fixes the way of each flow may lay many of them on one cable while others beside it are idle.

use super::{Known, build};
use crate::id::{CableId, DeviceId};
use crate::invalid::Invalid;
use crate::routing::{Cable, Direction, Passage, Routes, RoutingChoice};
use crate::scenario::{NetworkChoice, Scenario};
use crate::timeline::Timeline;
use crate::topology::{Cluster, LinkKind};
use crate::workload::Work;
use std::collections::BTreeMap;

/// Pairs of ends that are looked at; more take longer to look at than they are worth.
const PAIRS_MAX: usize = 1 << 18;
/// A cable holds a run up if it takes this much longer than the busiest port of a NIC.
const LONGER_THAN_PORTS: f64 = 1.1;
/// Flows collide if a cable has this much more than those beside it.
const MORE_THAN_OTHERS: f64 = 1.25;

/// What passes a cable in a run.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    flows: f64,
    seconds: f64,
}

/// The note on flows that collide, where they do and it matters.
pub(super) fn note(
    scenario: &Scenario,
    cluster: &Cluster,
    timeline: &Timeline,
    known: &Known,
) -> Result<Option<String>, Invalid> {
    let policy = build::routing(scenario).policy();
    let fixed = matches!(policy, RoutingChoice::Static | RoutingChoice::Ecmp);
    if !fixed || scenario.network == NetworkChoice::Analytic || cluster.nodes < 2 {
        return Ok(None);
    }
    let mut routes = build::routes(scenario, cluster, known)?;
    let Some(loads) = loads(&mut routes, cluster, timeline) else { return Ok(None) };
    let topology = &cluster.topology;
    let kind = |cable: &CableId| topology.link(routes.cables().get(*cable).link).kind;
    let of_ports = loads.iter().filter(|(cable, _)| kind(cable) == LinkKind::Endpoint);
    let longest = of_ports.map(|(_, load)| load.seconds).fold(0.0, f64::max);
    let mut worst: Option<(f64, CableId, f64)> = None;
    for (&id, load) in loads.iter().filter(|(cable, _)| kind(cable) == LinkKind::Fabric) {
        let mean = mean_beside(&routes, &loads, id);
        let more = load.seconds / mean.seconds;
        let matters = load.seconds > LONGER_THAN_PORTS * longest && more > MORE_THAN_OTHERS;
        if matters && worst.is_none_or(|(most, ..)| load.seconds > most) {
            worst = Some((load.seconds, id, mean.flows));
        }
    }
    Ok(worst.map(|(seconds, id, mean)| {
        let cable = routes.cables().get(id);
        let [from, to] = [cable.from, cable.to].map(|device| topology.name(device));
        let name = if policy == RoutingChoice::Static { "static" } else { "ecmp" };
        format!(
            "flows collide under routing.policy = \"{name}\": {} share a cable from {from} to {to}, where {mean:.1} \
             are the mean, and take {:.2} times as long there as at the busiest port of a NIC; \"adaptive\" and \"spray\" \
             share cables evenly",
            loads[&id].flows.round(),
            seconds / longest
        )
    }))
}

/// What passes each cable; none where there are too many flows to look at.
fn loads(routes: &mut Routes<'_>, cluster: &Cluster, timeline: &Timeline) -> Option<BTreeMap<CableId, Load>> {
    let mut sent: BTreeMap<(DeviceId, DeviceId), u64> = BTreeMap::new();
    for span in timeline.spans() {
        if let Work::Send { from, to, bytes } = span.work {
            *sent.entry((from, to)).or_default() += bytes.get();
        }
    }
    if sent.len() > PAIRS_MAX {
        return None;
    }
    let mut loads: BTreeMap<CableId, Load> = BTreeMap::new();
    let mut passages: Vec<Passage> = Vec::new();
    for ((from, to), bytes) in sent {
        passages.clear();
        if !routes.passages(from, to, 1, &mut passages) {
            continue;
        }
        for &Passage { cable, part } in &passages {
            let link = routes.cables().get(cable).link;
            let rate = routes.cables().share_of(link, cluster.topology.link(link).achievable);
            let load = loads.entry(cable).or_default();
            load.flows += 1.0;
            load.seconds += part * bytes as f64 / rate.get() as f64;
        }
    }
    Some(loads)
}

/// The mean load of a cable and those beside it: those that leave the same switch upwards or at its level, or that reach the same
/// switch from above.
fn mean_beside(routes: &Routes<'_>, loads: &BTreeMap<CableId, Load>, id: CableId) -> Load {
    let cables = routes.cables();
    let cable = cables.get(id);
    let alike = |other: &Cable| other.direction == cable.direction;
    let beside: Vec<CableId> = match cable.direction {
        Direction::Up | Direction::Level => {
            cables.out(cable.from).filter(|(_, c)| alike(c)).map(|(id, _)| id).collect()
        }
        Direction::Down => cables.arriving(cable.to).iter().copied().filter(|&id| alike(cables.get(id))).collect(),
    };
    let mut sum = Load::default();
    for load in beside.iter().filter_map(|id| loads.get(id)) {
        (sum.flows, sum.seconds) = (sum.flows + load.flows, sum.seconds + load.seconds);
    }
    let n = beside.len() as f64;
    Load { flows: sum.flows / n, seconds: sum.seconds / n }
}
