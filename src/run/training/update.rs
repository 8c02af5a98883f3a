//! What each pipeline rank reduces, updates and gathers at the end of a step.

use super::Job;
use crate::id::{DeviceId, Rank};
use crate::parallelism::trained_weights;
use crate::topology::Cluster;
use crate::workload::{Kernel, Ring, Update};

/// The end of the step of each pipeline rank, for the replicas that are simulated.
pub(super) fn updates(job: &Job<'_>, cluster: &Cluster, replicas: &[Vec<Rank>]) -> Vec<Update> {
    (0..job.plan.pp()).map(|rank| update(job, cluster, replicas, rank)).collect()
}

fn update(job: &Job<'_>, cluster: &Cluster, replicas: &[Vec<Rank>], rank: u32) -> Update {
    let held = trained_weights(job.model, &job.plan, &job.cut, &job.stages(rank), job.spec.mtp);
    let own: Vec<Rank> = replicas.iter().map(|replica| replica[rank as usize]).collect();
    let ring = |parameters: u64, members: &dyn Fn(Rank) -> Vec<Rank>| {
        let groups: Vec<Vec<Rank>> = own.iter().map(|&rank| members(rank)).collect();
        let next: Vec<Next> = own.iter().zip(&groups).map(|(&rank, group)| next(cluster, rank, group)).collect();
        Ring {
            members: groups[0].len() as u64,
            per_node: next[0].per_node,
            gradients: job.spec.optimizer.gradients.bytes(parameters),
            weights: job.spec.gathered.bytes(parameters),
            inside: next.iter().map(|next| next.inside).collect(),
            outside: next.iter().map(|next| next.outside).collect(),
        }
    };
    let rest = ring(held.rest, &|rank| with_mirror(job, rank, |rank| job.plan.dp_group(rank).collect()));
    let experts =
        ring(held.experts, &|rank| with_mirror(job, rank, |rank| job.plan.expert_replica_group(rank).collect()));
    let updated = held.rest.div_ceil(rest.members) + held.experts.div_ceil(experts.members);
    let optimizer = &job.spec.optimizer;
    let state = optimizer.master.bytes(updated) + optimizer.moments.bytes(2 * updated);
    // Gradients are read where they are reduced to, and set to zero everywhere for the next step.
    let kernel = Kernel::Elementwise {
        read: state + optimizer.gradients.bytes(updated),
        written: state + job.spec.gathered.bytes(updated) + optimizer.gradients.bytes(held.rest + held.experts),
    };
    Update { rings: vec![rest, experts], optimizer: kernel }
}

/// The members of `group`, and those of the rank that holds the same stages from the other end of the pipeline.
fn with_mirror(job: &Job<'_>, rank: Rank, group: impl Fn(Rank) -> Vec<Rank>) -> Vec<Rank> {
    let mut members = group(rank);
    if job.copies() == 2 {
        let at = job.plan.coordinates(rank);
        members.extend(group(job.plan.rank(at.tp, at.dp, job.plan.pp() - 1 - at.pp)));
        members.sort_unstable();
    }
    members
}

/// To whom a member of a ring passes on.
struct Next {
    per_node: u64,
    inside: Option<DeviceId>,
    outside: Option<DeviceId>,
}

fn next(cluster: &Cluster, rank: Rank, members: &[Rank]) -> Next {
    let node = |rank: Rank| rank.index() / cluster.gpus_per_node as usize;
    let nodes = members.chunk_by(|&a, &b| node(a) == node(b)).collect::<Vec<&[Rank]>>();
    let here = nodes.iter().position(|members| node(members[0]) == node(rank)).expect("a rank is in its own group");
    let place = nodes[here].iter().position(|&member| member == rank).expect("found above");
    let gpu = |rank: Rank| cluster.gpus[rank.index()];
    let (own, other) = (nodes[here], nodes[(here + 1) % nodes.len()]);
    Next {
        per_node: own.len() as u64,
        inside: (own.len() > 1).then(|| gpu(own[(place + 1) % own.len()])),
        outside: (nodes.len() > 1).then(|| gpu(other[place % other.len()])),
    }
}
