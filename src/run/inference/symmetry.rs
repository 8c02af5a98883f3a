//! Which GPUs of a deployment stand for which, and in which order each sends.

use crate::id::DeviceId;
use crate::metrics::Folding;
use crate::routing::Routes;
use crate::scenario::SymmetryChoice;

/// In which order a GPU sends to the others, and what distances it sees.
pub(super) struct PeerOrder {
    pub(super) peers: Vec<usize>,
    /// Latency in picoseconds and rate of the way to each peer, in the same order.
    profile: Vec<(u64, u64)>,
}

impl PeerOrder {
    /// Whether all peers are equally far, so that the rotation in which one sends is that in which it receives.
    pub(super) fn is_rotation(&self) -> bool {
        self.profile.iter().all(|way| *way == self.profile[0])
    }
}

/// Every GPU of an expert-parallel group sends to the nearest first, and in a rotation among equally near ones, so that on a
/// symmetric cluster all of them do the same at the same time.
pub(super) fn peer_orders(routes: &mut Routes<'_>, gpus: &[DeviceId], ep: usize) -> Vec<PeerOrder> {
    let mut order = |rank: usize| {
        let mut peers: Vec<((u64, u64), usize)> = Vec::with_capacity(ep.saturating_sub(1));
        for offset in 1..ep {
            let peer = (rank + offset) % ep;
            let path = routes.path(gpus[rank], gpus[peer]).expect("a cluster is connected");
            peers.push(((path.latency.as_ps(), path.narrowest.get()), peer));
        }
        peers.sort_by_key(|&(profile, peer)| (profile, (peer + ep - rank) % ep));
        PeerOrder {
            peers: peers.iter().map(|&(_, peer)| peer).collect(),
            profile: peers.iter().map(|&(p, _)| p).collect(),
        }
    };
    (0..gpus.len())
        .map(|rank| if rank < ep { order(rank) } else { PeerOrder { peers: Vec::new(), profile: Vec::new() } })
        .collect()
}

/// Which GPUs are simulated: one for all, unless that is not wanted. Where their distances differ, the one with the longest
/// ways stands for them, because everyone waits for the last.
pub(super) fn simulated(choice: SymmetryChoice, orders: &[PeerOrder]) -> (Vec<usize>, Folding) {
    let alike = orders.iter().all(|order| order.profile == orders[0].profile);
    let far = |rank: &usize| orders[*rank].profile.iter().map(|(latency, _)| latency).sum::<u64>();
    let farthest = (0..orders.len()).rev().max_by_key(far).expect("a group has a GPU");
    match choice {
        SymmetryChoice::Unfold => ((0..orders.len()).collect(), Folding::None),
        SymmetryChoice::Fold if orders.len() == 1 => (vec![0], Folding::None),
        SymmetryChoice::Fold if alike => (vec![0], Folding::Exact),
        SymmetryChoice::Fold => (vec![farthest], Folding::Farthest),
    }
}
