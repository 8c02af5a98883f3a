//! The replicas of the pipeline, and which of them are simulated.
//!
//! What a replica hands over between its stages and passes on in its rings is compared with what the others do, on the paths that
//! routing gives it. One replica stands for all where these paths have equal rates and equal loads: the one with the longest hand-overs, which
//! are on everyone's path. Else all replicas are simulated, because they wait for each other at the end of a step.

use super::Job;
use super::update::updates;
use crate::experiment::Known;
use crate::experiment::representative::{Case, Phase, Together, whole_groups};
use crate::id::{DeviceId, LinkId, Rank};
use crate::invalid::Invalid;
use crate::metrics::Folding;
use crate::routing::{Routes, RoutingSpec};
use crate::scenario::SymmetryChoice;
use crate::topology::Cluster;
use crate::units::Duration;
use crate::workload::{Part, Update};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The replicas that are simulated.
pub(super) struct Replicas {
    /// The ranks of each, by pipeline rank.
    pub(super) ranks: Vec<Vec<Rank>>,
    /// The share of links that is left to them.
    pub(super) shares: Vec<(LinkId, f64)>,
    pub(super) folding: Folding,
    /// How many there are.
    pub(super) all: usize,
}

/// Where a rank passes on the pieces of its two kinds of weights: in its node, and outside.
const NEXT: usize = 4;

impl Replicas {
    /// Those of `job`.
    pub(super) fn new(job: &Job<'_>, cluster: &Cluster, known: &Known) -> Result<Replicas, Invalid> {
        let plan = job.plan;
        let places = (0..plan.dp()).flat_map(|dp| (0..plan.tp()).map(move |tp| (tp, dp)));
        let ranks: Vec<Vec<Rank>> =
            places.map(|(tp, dp)| (0..plan.pp()).map(|pp| plan.rank(tp, dp, pp)).collect()).collect();
        let all = ranks.len();
        if job.scenario.symmetry == SymmetryChoice::Unfold || all == 1 {
            return Ok(Replicas { ranks, shares: Vec::new(), folding: Folding::None, all });
        }
        let found = whole_groups(job.scenario, cluster, &together(job, cluster, &ranks), known)?;
        // How far a slow hop holds up its ring hangs on all members.
        if !found.equal_rates || found.cases.iter().any(|case| case.groups.len() > 1) {
            return Ok(Replicas { ranks, shares: Vec::new(), folding: Folding::None, all });
        }
        let latencies = |case: &Case| latency(job, cluster, known, &ranks[case.groups[0]]);
        let first = latencies(&found.cases[0]);
        let (mut chosen, mut longest, mut alike) = (0, first, true);
        for (number, case) in found.cases.iter().enumerate() {
            let latency = latencies(case);
            alike &= latency == first;
            (chosen, longest) = if latency > longest { (number, latency) } else { (chosen, longest) };
        }
        let Case { groups, shares, .. } = &found.cases[chosen];
        let folding = match (alike, shares.is_empty()) {
            (false, _) => Folding::Farthest,
            (true, true) => Folding::Exact,
            (true, false) => Folding::Shared,
        };
        Ok(Replicas { ranks: vec![ranks[groups[0]].clone()], shares: shares.clone(), folding, all })
    }

    /// What the answer says where replicas differ.
    pub(super) fn note(&self, choice: SymmetryChoice) -> Option<String> {
        let (some, all) = (self.ranks.len(), self.all);
        (some > 1 && choice != SymmetryChoice::Unfold).then(|| {
            format!(
                "hand-overs between stages and rings of gradients are simulated in all {all} replicas of the pipeline, whose \
                 paths differ in rate or load"
            )
        })
    }
}

/// The latencies of what a replica hands over, one after the other.
fn latency(job: &Job<'_>, cluster: &Cluster, known: &Known, ranks: &[Rank]) -> Duration {
    let mut routes = Routes::stored(&cluster.topology, RoutingSpec::default(), 0, &known.tables);
    let mut of = |(from, to): (u32, u32)| {
        let [from, to] = [from, to].map(|rank| cluster.gpus[ranks[rank as usize].index()]);
        routes.path(from, to).map_or(Duration::ZERO, |path| path.latency)
    };
    hand_overs(job).into_iter().map(&mut of).sum()
}

/// All replicas as groups. Behind the GPUs of a replica come those to which its rings lead, rank by rank.
fn together(job: &Job<'_>, cluster: &Cluster, replicas: &[Vec<Rank>]) -> Together {
    let updates = updates(job, cluster, replicas);
    let place_of: BTreeMap<DeviceId, usize> = cluster.gpus.iter().copied().zip(0..).collect();
    let group = |(number, ranks): (usize, &Vec<Rank>)| -> Vec<usize> {
        let own = ranks.iter().map(|rank| rank.index());
        let next = ranks
            .iter()
            .zip(&updates)
            .flat_map(|(rank, update)| next(update, number).map(|to| to.map_or(rank.index(), |gpu| place_of[&gpu])));
        own.chain(next).collect()
    };
    let (size, pp) = (job.plan.pp() as usize * (1 + NEXT), job.plan.pp());
    let phase = |sends: Vec<(u32, u32)>| Phase { sends, unit: 1, times: 1 };
    // Pieces of one kind of weights go both ways at the same time.
    let ring = |ways: Range<u32>| {
        let ends = (0..pp).flat_map(|rank| ways.clone().map(move |way| (rank, pp + NEXT as u32 * rank + way)));
        phase(ends.collect())
    };
    let phases = vec![phase(hand_overs(job).into_iter().collect()), ring(0..2), ring(2..4)];
    let groups: Vec<Vec<usize>> = replicas.iter().enumerate().map(group).collect();
    assert!(groups.iter().all(|group| group.len() == size), "every rank has as many rings");
    Together { groups, phases, uneven: None, kernels: 0 }
}

/// To whom a rank of a replica passes pieces on.
fn next(update: &Update, replica: usize) -> [Option<DeviceId>; NEXT] {
    let [rest, experts] = &update.rings[..] else { panic!("weights are of two kinds") };
    [rest.inside[replica], rest.outside[replica], experts.inside[replica], experts.outside[replica]]
}

/// From which pipeline rank to which results and gradients are handed over.
fn hand_overs(job: &Job<'_>) -> BTreeSet<(u32, u32)> {
    let schedule = &job.schedule;
    let last = schedule.stages() - 1;
    let mut pairs = BTreeSet::new();
    for (rank, actions) in (0..).zip(schedule.ranks()) {
        for (part, unit) in actions.iter().flat_map(|action| action.parts()) {
            let stage = schedule.stage(rank, unit.chunk);
            let to = match part {
                Part::Forward if stage < last => stage + 1,
                Part::Input if stage > 0 => stage - 1,
                Part::Forward | Part::Input | Part::Weight => continue,
            };
            pairs.insert((rank, schedule.holder(to, unit.micro_batch).0));
        }
    }
    pairs.retain(|(from, to)| from != to);
    pairs
}
