//! All-reduce by direct access to the memory of peers in one scale-up domain, as serving engines bring it along: one kernel in
//! a recorded graph, whose data is its own flag.
//!
//! In one shot every GPU writes all its data to all others and adds up what it receives. In two shots it first sends each peer the part
//! that the peer adds up, which then writes the sum to all: fewer bytes, one more way.

use super::desk::{Desk, Front, piece};
use crate::hardware::PeerCosts;
use crate::units::{Bytes, Duration, Fraction};

/// All-reduce of `bytes` in one shot.
pub(super) fn one_shot(desk: &mut Desk<'_>, bytes: Bytes, costs: Option<&PeerCosts>, front: &Front) -> Front {
    let n = desk.group.len();
    let received = to_all(desk, |_| bytes, costs, front);
    add_up(desk, |_| bytes * n as u64, costs, &received)
}

/// All-reduce of `bytes` in two shots.
pub(super) fn two_shots(desk: &mut Desk<'_>, bytes: Bytes, costs: Option<&PeerCosts>, front: &Front) -> Front {
    let n = desk.group.len();
    let parts = to_all(desk, |(_, to)| piece(bytes, n, to), costs, front);
    let sums = add_up(desk, |rank| piece(bytes, n, rank) * n as u64, costs, &parts);
    let received = to_all(desk, |(from, _)| piece(bytes, n, from), costs, &sums);
    add_up(desk, |_| bytes, costs, &received)
}

/// From every rank to every other, the nearest in turn first; what each waits for, its own data included.
fn to_all(
    desk: &mut Desk<'_>,
    bytes: impl Fn((usize, usize)) -> Bytes,
    costs: Option<&PeerCosts>,
    front: &Front,
) -> Front {
    let n = front.len();
    let share = costs.map_or(Fraction::ONE, |costs| costs.wire_share);
    let mut received = front.clone();
    for offset in 1..n {
        for (from, after) in front.iter().enumerate() {
            let to = (from + offset) % n;
            received[to].push(desk.send((from, to), bytes((from, to)), share, after));
        }
    }
    received
}

/// Each rank reads `bytes` that have arrived, adds them up and writes the sum.
fn add_up(desk: &mut Desk<'_>, bytes: impl Fn(usize) -> Bytes, costs: Option<&PeerCosts>, arrived: &Front) -> Front {
    let time = |rank| costs.map_or(Duration::ZERO, |costs| bytes(rank) / costs.copy_rate);
    arrived.iter().enumerate().map(|(rank, after)| desk.software((rank, 0), time(rank), after)).collect()
}
