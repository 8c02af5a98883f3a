//! The groups of GPUs that exchange tokens or share sequences, of all stages and replicas at once, and which of them are simulated.

use super::Job;
use crate::experiment::Known;
use crate::experiment::representative::{
    Case, Phase, Representatives, Shown, Together, expert_phases, representatives,
};
use crate::invalid::Invalid;
use crate::metrics::{Folding, Symmetry};
use crate::topology::Cluster;
use crate::workload::ExchangeKernels;

/// Operations of a GPU for each layer of a chunk, beside what it sends: kernels, and the software of exchanges.
const KERNELS_PER_LAYER: u64 = 300;

/// The groups of a training step.
pub(super) struct Groups {
    /// Places of the GPUs in the cluster, by group, in rank order.
    places: Vec<Vec<usize>>,
    /// The pipeline rank of each group.
    stages: Vec<u32>,
    found: Representatives,
}

impl Groups {
    /// The groups of `job`. All of them are taken to send at the same time.
    pub(super) fn new(job: &Job<'_>, cluster: &Cluster, known: &Known) -> Result<Groups, Invalid> {
        let plan = job.plan;
        let (mut places, mut stages): (Vec<Vec<usize>>, Vec<u32>) = (Vec::new(), Vec::new());
        let replicas = (0..plan.dp()).flat_map(|dp| (0..plan.tp()).map(move |tp| (tp, dp)));
        for (pp, (tp, dp)) in (0..plan.pp()).flat_map(|pp| replicas.clone().map(move |replica| (pp, replica))) {
            let rank = plan.rank(tp, dp, pp);
            let group: Vec<usize> = if plan.ep() > plan.tp() * plan.cp() {
                plan.ep_group(rank).map(|rank| rank.index()).collect()
            } else {
                plan.sequence_group(rank).map(|rank| rank.index()).collect()
            };
            if group[0] == rank.index() {
                places.push(group);
                stages.push(pp);
            }
        }
        let together = Together {
            phases: phases(job, cluster, places[0].len()),
            groups: places.clone(),
            // Where experts are unevenly loaded, a GPU with the load that decides stands for all (see `Chunks::loads`).
            uneven: None,
            kernels: KERNELS_PER_LAYER * layers(job),
        };
        let found = representatives(job.scenario, cluster, &together, known)?;
        Ok(Groups { places, stages, found })
    }

    /// What is simulated by itself.
    pub(super) fn case(&self, number: usize) -> &Case {
        &self.found.cases[number]
    }

    /// What was found out about the groups.
    pub(super) fn symmetry(&self) -> &Symmetry {
        &self.found.symmetry
    }

    /// Where it is seen what the groups of a pipeline rank do, each place once: the slowest decides.
    pub(super) fn of_stage(&self, rank: u32) -> Vec<Shown> {
        let own = self.found.shown.iter().zip(&self.stages).filter(|(_, stage)| **stage == rank);
        let mut shown: Vec<Shown> = own.map(|(&shown, _)| shown).collect();
        shown.sort_unstable_by_key(|shown| (shown.case, shown.group));
        shown.dedup();
        shown
    }

    /// Places in the cluster of the GPUs of a group.
    pub(super) fn places(&self, group: usize) -> &[usize] {
        &self.places[group]
    }

    /// GPUs of each group.
    pub(super) fn size(&self) -> usize {
        self.places[0].len()
    }

    /// The ranks of each group of a case that are simulated.
    pub(super) fn ranks(&self, case: usize) -> Vec<usize> {
        self.case(case).rank.map_or_else(|| (0..self.size()).collect(), |one| vec![one])
    }

    /// How alike the ranks are for which one stands, where any does.
    pub(super) fn folding(&self) -> Folding {
        self.found.cases.iter().map(|case| case.folding).fold(Folding::None, weaker)
    }
}

/// What holds where both of two foldings took place: the one that says less.
pub(super) fn weaker(one: Folding, other: Folding) -> Folding {
    let order = |folding: Folding| match folding {
        Folding::None => 0,
        Folding::Exact => 1,
        Folding::Shared => 2,
        Folding::Sampled => 3,
        Folding::Farthest => 4,
    };
    if order(other) > order(one) { other } else { one }
}

/// Layers of the largest stage.
fn layers(job: &Job<'_>) -> u64 {
    job.cut.iter().map(|layers| u64::from(layers.end - layers.start)).max().unwrap_or(1)
}

/// What GPUs of a group of `size` send each other: tokens to experts and back, pieces of hidden states, keys and values.
fn phases(job: &Job<'_>, cluster: &Cluster, size: usize) -> Vec<Phase> {
    let (plan, layers) = (job.plan, layers(job));
    let mut phases = Vec::new();
    if job.model.moe.is_some() && size > 1 {
        // By rail, whether kernels, a co-processor or nothing but the wire is in between; four times, for there are gradients, too. What
        // crosses the fabric and what stays in a node are under way at the same time, and meet where a fault turns rails aside.
        let per_node = cluster.gpus_per_node as usize;
        let ways = expert_phases(ExchangeKernels::Normal, size, size, per_node, 4 * layers);
        let sends = ways.iter().flat_map(|phase| &phase.sends).copied().collect();
        phases.push(Phase { sends, ..ways[0].clone() });
    }
    let (tp, shared) = (plan.tp() as usize, (plan.tp() * plan.cp()) as usize);
    let ring = |stride: usize, all: usize, times: u64| {
        let next = move |rank: usize, _: usize| rank - rank % all + (rank + stride) % all;
        Phase::of(size, 1, times * (all / stride - 1) as u64, next)
    };
    phases.extend((tp > 1).then(|| ring(1, tp, 8 * layers)));
    phases.extend((shared > tp).then(|| ring(tp, shared, 3 * layers)));
    phases
}
