//! Rings: in every step each rank passes on to the next what it received in the step before.

use super::desk::{Desk, Front, piece};
use crate::hardware::ProtocolSpec;
use crate::id::OpId;
use crate::units::{Bytes, Duration, Fraction};

/// `steps` steps of a ring over `members`, a piece of `bytes` in each, behind an earlier ring on the same links: nothing is sent
/// before what is `ahead` of it has arrived, but posted. Fronts are those of the members, in their order. Returns the front and
/// what is sent in the first step, by who sends it.
pub(super) fn ring_behind(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    steps: usize,
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    (front, ahead): (Front, Option<&Front>),
) -> (Front, Front) {
    let n = members.len();
    let mut held = front;
    let mut first: Front = vec![Vec::new(); n];
    for step in 0..steps {
        let mut received: Front = vec![Vec::new(); n];
        for (place, &from) in members.iter().enumerate() {
            let next = (place + 1) % n;
            // A rank starts the ring with its own piece, so that in step s it passes on the piece of s ranks before it.
            let chunk = piece(bytes, n, (place + steps * n - step) % n);
            let ahead = ahead.filter(|_| step == 0).map_or(&[][..], |ahead| &ahead[place]);
            let to = [members[next]];
            let handed = hand_on(desk, (from, channel, &to), chunk, protocol, (&held[place], ahead));
            for (_, sent) in handed.sent {
                if step == 0 {
                    first[place].push(sent);
                }
                received[next].push(sent);
            }
            received[place].extend(handed.copied);
        }
        held = received;
    }
    (held, first)
}

/// What one step of one rank leads to.
pub(super) struct Handed {
    /// The transfers, each with the index of its receiver.
    pub(super) sent: Vec<(usize, OpId)>,
    /// What the rank itself has to finish.
    pub(super) copied: Vec<OpId>,
}

/// One step of one rank, which hands the same `bytes` to everyone in `to`: those wait for the data, and the rank for its own
/// copying. It begins with what is `held`, and is on the wire when what is `ahead` has arrived. SMs handle the data once, and one
/// posting stands for all transfers that leave the node.
pub(super) fn hand_on(
    desk: &mut Desk<'_>,
    (from, channel, to): (usize, usize, &[usize]),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    (held, ahead): (&[OpId], &[OpId]),
) -> Handed {
    let mut handed = Handed { sent: Vec::with_capacity(to.len()), copied: Vec::new() };
    let group = desk.group;
    let mut before = protocol.map_or(Duration::ZERO, |protocol| protocol.before_wire(bytes));
    let mut ready = held.to_vec();
    for near in [true, false] {
        let mut receivers = to.iter().enumerate().filter(|&(_, &to)| group.together(from, to) == near).peekable();
        if receivers.peek().is_none() {
            continue;
        }
        let mut share = protocol.map_or(Fraction::ONE, |protocol| protocol.wire_share);
        if let (false, Some(costs), Some(protocol)) = (near, &group.costs, protocol) {
            (before, share) = (before + costs.network.step, costs.network.in_steps(protocol.line_share));
        }
        ready = desk.software((from, channel), before, &ready);
        before = Duration::ZERO;
        for (index, &to) in receivers {
            let sent = match ahead {
                [] => desk.send((from, to), bytes, share, &ready),
                _ => desk.send((from, to), bytes, share, &[&ready, ahead].concat()),
            };
            handed.sent.push((index, sent));
        }
    }
    if let Some(protocol) = protocol {
        handed.copied = desk.software((from, channel), protocol.beside_wire(bytes), &ready);
    }
    handed
}

/// Each member's own piece, copied to where the result goes.
pub(super) fn own_piece(
    desk: &mut Desk<'_>,
    (members, channel): (&[usize], usize),
    bytes: Bytes,
    protocol: Option<&ProtocolSpec>,
    front: &mut Front,
) {
    let Some(protocol) = protocol else { return };
    for (place, &rank) in members.iter().enumerate() {
        let time = piece(bytes, members.len(), place) / protocol.copy_rate;
        front[rank] = desk.software((rank, channel), time, &front[rank]);
    }
}
