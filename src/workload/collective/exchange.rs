//! Everyone to everyone: straight, or over the rail of the destination.

use super::desk::{Desk, Front, piece};
use crate::hardware::ExchangeSpec;
use crate::id::OpId;
use crate::units::{Bytes, Fraction};
use std::ops::Range;

/// `bytes / n` from everyone to everyone else, at once.
pub(super) fn direct(desk: &mut Desk<'_>, bytes: Bytes, protocol: Option<&ExchangeSpec>, front: &Front) -> Front {
    let n = desk.group.len();
    let ready = begin(desk, piece(bytes, n, 0), protocol, front);
    let mut received = ready.beside;
    let posted: Front = match desk.group.is_one_node() {
        true => ready.before.clone(),
        // Transfers are posted without waiting for each other: one posting stands for all.
        false => ready.before.iter().enumerate().map(|(from, after)| post(desk, (from, 1), protocol, after)).collect(),
    };
    for offset in 1..n {
        for (from, handed) in posted.iter().enumerate() {
            let to = (from + offset) % n;
            let share = share(desk, (from, to), protocol);
            let after = if desk.group.together(from, to) { &ready.before[from] } else { handed };
            received[to].push(desk.send((from, to), piece(bytes, n, to), share, after));
        }
    }
    received
}

/// The same where each GPU of a node has its own NIC: data for another node first goes to the GPU of this node that shares a
/// rail with its destination, which sends what it has gathered from all as one message between GPUs of equal index.
///
/// Nodes are served one after the other, the next first, so that one message gathers while those before it are on the wire;
/// in `parts` stages or fewer, each of which serves several nodes where there are many and a part of a node's data where
/// there are few.
pub(super) fn by_rail(
    desk: &mut Desk<'_>,
    (nodes, parts): (&[Vec<usize>], usize),
    bytes: Bytes,
    protocol: Option<&ExchangeSpec>,
    front: &Front,
) -> Front {
    let each = piece(bytes, desk.group.len(), 0);
    let ready = begin(desk, each, protocol, front);
    let mut received = ready.beside;
    let stages = stages(nodes.len() - 1, parts);
    let mut handed: Vec<Vec<OpId>> = vec![Vec::new(); nodes.len()];
    for (number, stage) in stages.iter().enumerate() {
        let for_rails = piece(each, stage.cuts, stage.cut);
        // Neighbours get their own data little by little, beside what their rails carry on.
        let for_neighbours = piece(each, stages.len(), number);
        let for_each = for_rails * stage.distances.len() as u64 + for_neighbours;
        for (home, node) in nodes.iter().enumerate() {
            let before = (&ready.before, &mut handed[home]);
            let gathered = gather(desk, node, for_each, protocol, before, &mut received);
            for (place, &from) in node.iter().enumerate() {
                // The GPUs that have the data tell the one whose NIC sends it, and that one posts it.
                let told = post(desk, (from, 2 * number + 1), protocol, &gathered[place]);
                let posted = post(desk, (from, 2 * number + 2), protocol, &told);
                for distance in stage.distances.clone() {
                    let to = nodes[(home + distance) % nodes.len()][place];
                    let share = share(desk, (from, to), protocol);
                    received[to].push(desk.send((from, to), for_rails * node.len() as u64, share, &posted));
                }
            }
        }
    }
    received
}

/// A stage of an exchange by rail.
struct Stage {
    /// The nodes that are served, by how many nodes they are away.
    distances: Range<usize>,
    /// Which part of the data for them.
    cut: usize,
    /// Of how many parts.
    cuts: usize,
}

/// Stages that serve `others` nodes one after the other, `parts` or fewer but at least one.
fn stages(others: usize, parts: usize) -> Vec<Stage> {
    let (batches, cuts) = (others.min(parts), (parts / others).max(1));
    let distances = |batch: usize| 1 + batch * others / batches..1 + (batch + 1) * others / batches;
    let cuts_of = |batch| (0..cuts).map(move |cut| Stage { distances: distances(batch), cut, cuts });
    (0..batches).flat_map(cuts_of).collect()
}

/// Each GPU of a node hands `bytes` to every other one, when it has `handed` over what came before, so that the first stages
/// are not as late as the last. Returns, for each place, what its rail waits for: its own data and that of the others.
fn gather(
    desk: &mut Desk<'_>,
    node: &[usize],
    bytes: Bytes,
    protocol: Option<&ExchangeSpec>,
    (before, handed): (&Front, &mut Vec<OpId>),
    received: &mut Front,
) -> Front {
    let mut gathered: Front = node.iter().map(|&rank| before[rank].clone()).collect();
    let mut earlier = std::mem::take(handed).into_iter();
    for offset in 1..node.len() {
        for (place, &from) in node.iter().enumerate() {
            let at = (place + offset) % node.len();
            let share = share(desk, (from, node[at]), protocol);
            let sent = match earlier.next() {
                Some(earlier) => desk.send((from, node[at]), bytes, share, &[earlier]),
                None => desk.send((from, node[at]), bytes, share, &before[from]),
            };
            handed.push(sent);
            received[node[at]].push(sent);
            gathered[at].push(sent);
        }
    }
    gathered
}

struct Ready {
    /// Before anything is on the wire.
    before: Front,
    /// What a rank does while its data is on the wire.
    beside: Front,
}

fn begin(desk: &mut Desk<'_>, each: Bytes, protocol: Option<&ExchangeSpec>, front: &Front) -> Ready {
    let Some(protocol) = protocol else { return Ready { before: front.clone(), beside: front.clone() } };
    let peers = front.len() as u64 - 1;
    let mut ready = Ready { before: Vec::new(), beside: Vec::new() };
    for (rank, after) in front.iter().enumerate() {
        let before = desk.software((rank, 0), protocol.before_wire(each, peers), after);
        ready.beside.push(desk.software((rank, 0), protocol.beside_wire(each, peers), &before));
        ready.before.push(before);
    }
    ready
}

fn share(desk: &Desk<'_>, (from, to): (usize, usize), protocol: Option<&ExchangeSpec>) -> Fraction {
    let Some(protocol) = protocol else { return Fraction::ONE };
    match &desk.group.costs {
        Some(costs) if !desk.group.together(from, to) => costs.network.in_exchanges(protocol.line_share),
        _ => protocol.wire_share,
    }
}

/// Posting of `rank` to its NIC, which a proxy does beside everything else: what is on other channels does not wait for it.
fn post(
    desk: &mut Desk<'_>,
    (rank, channel): (usize, usize),
    protocol: Option<&ExchangeSpec>,
    after: &[OpId],
) -> Vec<OpId> {
    match (&desk.group.costs, protocol) {
        (Some(costs), Some(_)) => desk.software((rank, channel), costs.network.step, after),
        _ => after.to_vec(),
    }
}

/// All `bytes` from the first rank to the last.
pub(super) fn one_way(desk: &mut Desk<'_>, bytes: Bytes, protocol: Option<&ExchangeSpec>, front: &Front) -> Front {
    let (from, to) = (0, front.len() - 1);
    let (before, beside) = match protocol {
        Some(protocol) => (protocol.before_wire(bytes, 1), protocol.beside_wire(bytes, 0)),
        None => (crate::units::Duration::ZERO, crate::units::Duration::ZERO),
    };
    let ready = desk.software((from, 0), before, &front[from]);
    let mut received = front.clone();
    let (share, posted) = match (&desk.group.costs, protocol) {
        (Some(costs), Some(lines)) if !desk.group.together(from, to) => {
            (costs.network.in_steps(lines.line_share), post(desk, (from, 1), protocol, &ready))
        }
        _ => (share(desk, (from, to), protocol), ready.clone()),
    };
    let sent = desk.send((from, to), bytes, share, &posted);
    let copied = desk.software((from, 0), beside, &ready);
    received[to].push(sent);
    received[from] = copied;
    received
}
