//! What some GPUs that stand for others see of a cluster in which they are not alone.

use crate::id::LinkId;
use crate::topology::Cluster;

/// The cluster where links have the given parts of their rates; none where it is as it was.
pub(super) fn with_parts(cluster: &Cluster, parts: &[(LinkId, f64)]) -> Option<Cluster> {
    (!parts.is_empty()).then(|| Cluster { topology: cluster.topology.with_parts(parts), ..cluster.clone() })
}
