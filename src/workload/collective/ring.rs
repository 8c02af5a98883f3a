//! Rings: in every step each rank passes on to the next what it received in the step before.

use super::desk::{Desk, Front, piece};
use crate::hardware::ProtocolSpec;
use crate::units::{Bytes, Fraction};

/// `steps` steps of a ring over `members`, a piece of `bytes` in each. Those who take part are the ranks in `members`; the
/// front of everyone else stays as it is.
pub(super) fn ring(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    steps: usize,
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &Front,
) -> Front {
    let n = members.len();
    let mut held = front.clone();
    for step in 0..steps {
        let mut received = held.clone();
        members.iter().for_each(|&rank| received[rank].clear());
        for (place, &from) in members.iter().enumerate() {
            let to = members[(place + 1) % n];
            // A rank starts the ring with its own piece, so that in step s it passes on the piece of s ranks before it.
            let chunk = piece(bytes, n, (place + steps * n - step) % n);
            hop(desk, (from, to, channel), chunk, protocol, &held[from], &mut received);
        }
        held = received;
    }
    held
}

/// One step of one rank: the next waits for the data, and the rank for its own copying.
pub(super) fn hop(
    desk: &mut Desk<'_>,
    (from, to, channel): (usize, usize, usize),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    held: &[crate::id::OpId],
    received: &mut Front,
) {
    let Some(protocol) = protocol else {
        received[to].push(desk.send((from, to), bytes, Fraction::ONE, held));
        return;
    };
    let (mut before, mut share) = (protocol.before_wire(bytes), protocol.wire_share);
    if let (false, Some(costs)) = (desk.group.together(from, to), &desk.group.costs) {
        (before, share) = (before + costs.network.step, costs.network.wire_share);
    }
    let ready = desk.software((from, channel), before, held);
    received[to].push(desk.send((from, to), bytes, share, &ready));
    received[from].extend(desk.software((from, channel), protocol.beside_wire(bytes), &ready));
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
