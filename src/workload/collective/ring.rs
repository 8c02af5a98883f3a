//! Rings: in every step each rank passes on to the next what it received in the step before.

use super::desk::{Desk, Front, piece};
use crate::hardware::ProtocolSpec;
use crate::id::OpId;
use crate::units::{Bytes, Duration, Fraction};

/// `steps` steps of a ring over `members`, a piece of `bytes` in each. Those who take part are the ranks in `members`; the
/// front of everyone else stays as it is.
pub(super) fn ring(
    desk: &mut Desk<'_>,
    members: (&[usize], usize),
    steps: usize,
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    ring_behind(desk, members, steps, bytes, protocol, (front, None)).0
}

/// The same behind an earlier ring on the same links: nothing is sent before what is `ahead` of it has arrived, but posted. Returns
/// the front and what is sent in the first step, by who sends it.
pub(super) fn ring_behind(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    steps: usize,
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    (front, ahead): (&Front, Option<&Front>),
) -> (Front, Front) {
    let n = members.len();
    let mut held = front.clone();
    let mut first: Front = vec![Vec::new(); front.len()];
    for step in 0..steps {
        let mut received = held.clone();
        members.iter().for_each(|&rank| received[rank].clear());
        for (place, &from) in members.iter().enumerate() {
            let to = members[(place + 1) % n];
            // A rank starts the ring with its own piece, so that in step s it passes on the piece of s ranks before it.
            let chunk = piece(bytes, n, (place + steps * n - step) % n);
            let ahead = ahead.filter(|_| step == 0).map_or(&[][..], |ahead| &ahead[from]);
            let sent = hop(desk, (from, to, channel), chunk, protocol, (&held[from], ahead), &mut received);
            if step == 0 {
                first[from].push(sent);
            }
        }
        held = received;
    }
    (held, first)
}

/// One step of one rank: the next waits for the data, and the rank for its own copying. It begins with what is `held`, and is on
/// the wire when what is `ahead` has arrived. Returns the transfer.
pub(super) fn hop(
    desk: &mut Desk<'_>,
    (from, to, channel): (usize, usize, usize),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    (held, ahead): (&[OpId], &[OpId]),
    received: &mut Front,
) -> OpId {
    let (mut before, mut share) = match protocol {
        Some(protocol) => (protocol.before_wire(bytes), protocol.wire_share),
        None => (Duration::ZERO, Fraction::ONE),
    };
    if let (false, Some(costs), Some(_)) = (desk.group.together(from, to), &desk.group.costs, protocol) {
        (before, share) = (before + costs.network.step, costs.network.wire_share);
    }
    let ready = desk.software((from, channel), before, held);
    let sent = match ahead {
        [] => desk.send((from, to), bytes, share, &ready),
        _ => desk.send((from, to), bytes, share, &[&ready, ahead].concat()),
    };
    received[to].push(sent);
    if let Some(protocol) = protocol {
        received[from].extend(desk.software((from, channel), protocol.beside_wire(bytes), &ready));
    }
    sent
}

/// Each member's own piece, copied to where the result goes.
pub(super) fn own_piece(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let Some(protocol) = protocol else { return front.clone() };
    let mut copied = front.clone();
    for (place, &rank) in members.iter().enumerate() {
        let time = piece(bytes, members.len(), place) / protocol.copy_rate;
        copied[rank] = desk.software((rank, channel), time, &front[rank]);
    }
    copied
}
