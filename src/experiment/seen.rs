//! What one GPU that stands for all sees of a cluster in which it is not alone.
//!
//! The other GPUs of its node do the same at the same time. Where they send through the same ports, because there are fewer NICs than
//! GPUs, or because data changes planes before it leaves the node, each has its part of these.

use crate::id::LinkId;
use crate::routing::Routes;
use crate::topology::Cluster;
use std::collections::BTreeMap;

/// To which GPUs of other nodes GPUs send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To all of them.
    All,
    /// To those of their own index, which pass on what is for others.
    Rail,
}

/// The links through which the `one`th of the GPUs `members` sends beside others of its node, all of which send alike, with its part of
/// what passes them.
pub(super) fn shared_ports(
    routes: &mut Routes<'_>,
    cluster: &Cluster,
    members: &[usize],
    one: usize,
    reach: Reach,
) -> Vec<(LinkId, f64)> {
    let local = |gpu: usize| gpu % cluster.gpus_per_node as usize;
    let home = cluster.node_of(members[one]);
    // Ways to other nodes through each port: of all GPUs of the node, and of the one.
    let mut ports: BTreeMap<LinkId, (u64, u64)> = BTreeMap::new();
    for (place, &from) in members.iter().enumerate().filter(|(_, gpu)| cluster.node_of(**gpu) == home) {
        let is_peer = |to: usize| cluster.node_of(to) != home && (reach == Reach::All || local(to) == local(from));
        for &to in members.iter().filter(|to| is_peer(**to)) {
            let path = routes.path(cluster.gpus[from], cluster.gpus[to]).expect("a cluster is connected");
            for exit in &path.ports {
                let (all, own) = ports.entry(routes.cables().get(exit.cable).link).or_default();
                *all += 1;
                *own += u64::from(place == one);
            }
        }
    }
    let shared = ports.into_iter().filter(|(_, (all, own))| *own > 0 && own < all);
    shared.map(|(port, (all, own))| (port, own as f64 / all as f64)).collect()
}

/// The cluster where ports have the given parts of their rates; none where it is as it was.
pub(super) fn with_parts(cluster: &Cluster, parts: &[(LinkId, f64)]) -> Option<Cluster> {
    (!parts.is_empty()).then(|| Cluster { topology: cluster.topology.with_parts(parts), ..cluster.clone() })
}

/// The cluster as the `one`th of the GPUs `members` sees it, all of which send alike; none where it has all its ports for itself.
pub(super) fn seen_by(
    routes: &mut Routes<'_>,
    cluster: &Cluster,
    members: &[usize],
    one: usize,
    reach: Reach,
) -> Option<Cluster> {
    with_parts(cluster, &shared_ports(routes, cluster, members, one, reach))
}
