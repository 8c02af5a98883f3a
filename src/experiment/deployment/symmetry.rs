//! In which order a GPU sends to the others of its group.

use crate::id::DeviceId;
use crate::routing::Routes;

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

/// The order of the GPU at place `rank` of a group in which `ep` at a time share experts: to the nearest first, and in a rotation among
/// equally near ones, so that on a symmetric cluster all of them do the same at the same time.
pub(super) fn peer_order(routes: &mut Routes<'_>, gpus: &[DeviceId], ep: usize, rank: usize) -> PeerOrder {
    let (first, local) = (rank - rank % ep, rank % ep);
    let mut peers: Vec<((u64, u64), usize)> = Vec::with_capacity(ep.saturating_sub(1));
    for turn in 1..ep {
        let path = routes.path(gpus[rank], gpus[first + (local + turn) % ep]).expect("a cluster is connected");
        peers.push(((path.latency.as_ps(), path.narrowest.get()), turn));
    }
    peers.sort_unstable();
    PeerOrder {
        peers: peers.iter().map(|&(_, turn)| first + (local + turn) % ep).collect(),
        profile: peers.iter().map(|&(profile, _)| profile).collect(),
    }
}
