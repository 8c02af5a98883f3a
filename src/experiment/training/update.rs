//! What each pipeline rank reduces, updates and gathers at the end of a step.

use super::Job;
use crate::hardware::CollectiveCosts;
use crate::id::{DeviceId, Rank};
use crate::parallelism::{TrainedWeights, trained_weights};
use crate::topology::Cluster;
use crate::units::{Bytes, Fraction};
use crate::workload::{CastChoice, Kernel, Ring, Update, UpdateSoftware};

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
            shares: software(job)
                .map_or([Fraction::ONE; 2], |costs| [costs.simple.wire_share, costs.network.wire_share]),
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
    let optimizer_pass = Kernel::Elementwise {
        read: state + optimizer.gradients.bytes(updated),
        written: state + job.spec.gathered.bytes(updated) + optimizer.gradients.bytes(held.rest + held.experts),
    };
    let norm = Kernel::Elementwise { read: optimizer.gradients.bytes(updated), written: Bytes::ZERO };
    let partners = own.iter().map(|&rank| partners(cluster, rank)).collect();
    Update { rings: vec![rest, experts], norm, partners, optimizer: optimizer_pass, cast: cast(job, held) }
}

/// The software of collectives, where the node describes any.
fn software<'a>(job: &Job<'a>) -> Option<&'a CollectiveCosts> {
    job.scenario.hardware.communication.as_ref().map(|software| &software.collectives)
}

/// What it costs at the end of a step.
pub(super) fn update_software(job: &Job<'_>) -> UpdateSoftware {
    let costs =
        |costs: &CollectiveCosts| UpdateSoftware { start: costs.launch + costs.simple.start, step: costs.network.step };
    software(job).map(costs).unwrap_or_default()
}

/// Gathered weights are cast once a step to the format of operands, in both orientations where they are not transposed anew for
/// every micro-batch.
fn cast(job: &Job<'_>, held: TrainedWeights) -> Option<Kernel> {
    let operands = job.scenario.precision.unwrap_or_default().operands;
    let narrow = held.rest + held.experts - held.wide;
    let orientations = if job.spec.casts == CastChoice::Joint { 2 } else { 1 };
    (operands.bits() < job.spec.gathered.bits()).then(|| Kernel::Elementwise {
        read: job.spec.gathered.bytes(narrow),
        written: operands.bytes(narrow) * orientations,
    })
}

/// With whom a GPU adds up a number in rounds: over its node first, then over GPUs of its index in other nodes. In each round the
/// distance doubles; where numbers are no powers of two, some tell a GPU that itself listens to another one: the number of rounds is right,
/// who tells whom is an approximation.
fn partners(cluster: &Cluster, rank: Rank) -> Vec<DeviceId> {
    let (place, per_node) = (rank.index(), cluster.gpus_per_node as usize);
    let distances =
        |units: usize| (0..usize::BITS).map(|round| 1 << round).take_while(move |&distance| distance < units);
    let inside = distances(per_node);
    let between = distances(cluster.nodes as usize).map(|distance| distance * per_node);
    let (node, local) = (place / per_node, place % per_node);
    let partner = |distance: usize| {
        let partner = if distance < per_node {
            node * per_node + (local ^ distance) % per_node
        } else {
            (node ^ (distance / per_node)) % cluster.nodes as usize * per_node + local
        };
        cluster.gpus[partner]
    };
    inside.chain(between).map(partner).collect()
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
