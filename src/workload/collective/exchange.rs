//! Everyone to everyone: straight, or over the rail of the destination.

use super::desk::{Desk, Front, piece};
use crate::hardware::ExchangeSpec;
use crate::id::OpId;
use crate::units::{Bytes, Fraction};

/// `bytes / n` from everyone to everyone else, at once.
pub(super) fn direct(desk: &mut Desk<'_>, bytes: Bytes, protocol: Option<&ExchangeSpec>, front: &Front) -> Front {
    let n = desk.group.len();
    let ready = begin(desk, piece(bytes, n, 0), protocol, front);
    let mut received = ready.beside;
    let mut posted: Vec<Option<Vec<OpId>>> = vec![None; n];
    for offset in 1..n {
        for (from, after) in ready.before.iter().enumerate() {
            let to = (from + offset) % n;
            let share = share(desk, (from, to), protocol);
            let after = post(desk, (from, to), protocol, after, &mut posted[from]);
            received[to].push(desk.send((from, to), piece(bytes, n, to), share, after));
        }
    }
    received
}

/// The same where each GPU of a node has its own NIC: data for another node first goes to the GPU of this node that shares a
/// rail with its destination, and crosses between GPUs of equal index, in `chunks` chunks that overlap.
pub(super) fn by_rail(
    desk: &mut Desk<'_>,
    (nodes, chunks): (&[Vec<usize>], usize),
    bytes: Bytes,
    protocol: Option<&ExchangeSpec>,
    front: &Front,
) -> Front {
    let n = desk.group.len();
    let each = piece(bytes, n, 0);
    let ready = begin(desk, each, protocol, front);
    let mut received = ready.beside;
    let others = nodes.len() - 1;
    for chunk in 0..chunks {
        let part = piece(each, chunks, chunk);
        for (home, node) in nodes.iter().enumerate() {
            // What each GPU of the node holds for its rail, its own data first.
            let mut gathered: Vec<Vec<_>> = node.iter().map(|&rank| ready.before[rank].clone()).collect();
            for offset in 1..node.len() {
                for (place, &from) in node.iter().enumerate() {
                    let to = node[(place + offset) % node.len()];
                    let share = share(desk, (from, to), protocol);
                    // For the neighbour itself, and for its rail in every other node.
                    let bytes = part * (1 + others as u64);
                    let sent = desk.send((from, to), bytes, share, &ready.before[from]);
                    received[to].push(sent);
                    gathered[(place + offset) % node.len()].push(sent);
                }
            }
            // Posted twice: by the GPU that has the data, and by the one whose NIC sends it.
            let mut handed: Vec<Option<Vec<OpId>>> = vec![None; node.len()];
            let mut posted = handed.clone();
            for offset in 1..nodes.len() {
                for (place, &from) in node.iter().enumerate() {
                    let to = nodes[(home + offset) % nodes.len()][place];
                    let share = share(desk, (from, to), protocol);
                    let handed = post(desk, (from, to), protocol, &gathered[place], &mut handed[place]);
                    let after = post(desk, (from, to), protocol, handed, &mut posted[place]);
                    received[to].push(desk.send((from, to), part * node.len() as u64, share, after));
                }
            }
        }
    }
    received
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
        Some(costs) if !desk.group.together(from, to) => costs.network.wire_share,
        _ => protocol.wire_share,
    }
}

/// Posting to the NIC, which a proxy does beside everything else. One channel per peer: transfers are posted without waiting for
/// each other, so that all that wait for the same are posted at the same time. One operation stands for them, in `posted`.
fn post<'p>(
    desk: &mut Desk<'_>,
    (from, to): (usize, usize),
    protocol: Option<&ExchangeSpec>,
    after: &'p [OpId],
    posted: &'p mut Option<Vec<OpId>>,
) -> &'p [OpId] {
    match (&desk.group.costs, protocol) {
        (Some(costs), Some(_)) if !desk.group.together(from, to) => {
            let step = costs.network.step;
            posted.get_or_insert_with(|| desk.software((from, 1), step, after))
        }
        _ => after,
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
    let share = share(desk, (from, to), protocol);
    let mut posted = None;
    let posted = post(desk, (from, to), protocol, &ready, &mut posted);
    let sent = desk.send((from, to), bytes, share, posted);
    let copied = desk.software((from, 0), beside, &ready);
    received[to].push(sent);
    received[from] = copied;
    received
}
