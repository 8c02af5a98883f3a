//! Which ranks and groups are alike in what they send and receive.

use super::Together;
use super::traffic::{Flow, Traffic};
use crate::rng::mix;

/// What is known of the ranks of all groups.
pub(super) struct Classes {
    /// Equal for ranks that are alike, by group and rank.
    ranks: Vec<Vec<u64>>,
    /// Equal for groups that are alike.
    groups: Vec<u64>,
    /// Equal for groups that are alike but for latencies.
    rates: Vec<u64>,
    /// Sum of the latencies of what a rank sends, by group and rank.
    latencies: Vec<Vec<u64>>,
}

/// Compares all ranks and groups.
pub(super) fn classes(together: &Together, layers: &[Traffic]) -> Classes {
    let size = together.groups[0].len();
    let mut ranks = vec![vec![0_u64; size]; together.groups.len()];
    let mut latencies = vec![vec![0_u64; size]; together.groups.len()];
    for (number, traffic) in layers.iter().enumerate() {
        // What is written down with others counts for all of these.
        let salt = mix(number as u64);
        let unit = together.phases[number % together.phases.len()].unit;
        let mut of_layer = vec![vec![0_u64; size]; together.groups.len()];
        let mut add = |flow: &Flow, rank: u32, salt: u64| {
            let sum = &mut of_layer[flow.group as usize][rank as usize / unit * unit];
            *sum = sum.wrapping_add(mix(flow.color ^ salt));
        };
        for flow in &traffic.flows {
            add(flow, flow.from, salt);
            add(flow, flow.to, mix(salt));
            latencies[flow.group as usize][flow.from as usize] += flow.latency;
        }
        for (ranks, of_layer) in ranks.iter_mut().zip(&of_layer) {
            for (rank, known) in ranks.iter_mut().enumerate() {
                *known = mix(*known ^ of_layer[rank / unit * unit]);
            }
        }
    }
    let of_group = |(ranks, latencies): (&Vec<u64>, &Vec<u64>)| {
        let mut all: Vec<(u64, u64)> = ranks.iter().copied().zip(latencies.iter().copied()).collect();
        all.sort_unstable();
        all.into_iter().fold(0, |known, (rank, latency)| mix(mix(known ^ rank) ^ latency))
    };
    let groups = ranks.iter().zip(&latencies).map(of_group).collect();
    let in_order = |ranks: &Vec<u64>| {
        let mut ranks = ranks.clone();
        ranks.sort_unstable();
        ranks.into_iter().fold(0, |known, rank| mix(known ^ rank))
    };
    let rates = ranks.iter().map(in_order).collect();
    Classes { ranks, groups, rates, latencies }
}

impl Classes {
    pub(super) fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// Whether all groups have equally much to pass over paths of equal rates.
    pub(super) fn have_equal_rates(&self) -> bool {
        self.rates.iter().all(|rates| *rates == self.rates[0])
    }

    /// For each of `members` the group of `shown` that is like it; as many of each class are among both.
    pub(super) fn paired(&self, members: &[usize], shown: &[usize]) -> Vec<(usize, usize)> {
        let by_class = |groups: &[usize]| {
            let mut groups = groups.to_vec();
            groups.sort_by_key(|&group| self.groups[group]);
            groups
        };
        by_class(members).into_iter().zip(by_class(shown)).collect()
    }

    /// Whether as many groups of each class are among `some` as among `others`.
    pub(super) fn are_alike(&self, some: &[usize], others: &[usize]) -> bool {
        let sorted = |groups: &[usize]| {
            let mut classes: Vec<u64> = groups.iter().map(|&group| self.groups[group]).collect();
            classes.sort_unstable();
            classes
        };
        sorted(some) == sorted(others)
    }

    /// Whether all ranks of a group have equally much to pass over equal paths.
    pub(super) fn are_ranks_alike(&self, group: usize) -> bool {
        let ranks = &self.ranks[group];
        ranks.iter().all(|rank| *rank == ranks[0])
    }

    /// The rank with the longest paths, and whether others have shorter ones.
    pub(super) fn farthest(&self, group: usize) -> (usize, bool) {
        let latencies = &self.latencies[group];
        if latencies.iter().all(|latency| *latency == latencies[0]) {
            return (0, false);
        }
        let farthest = (0..latencies.len()).max_by_key(|&rank| latencies[rank]).expect("a group has a rank");
        (farthest, true)
    }
}
