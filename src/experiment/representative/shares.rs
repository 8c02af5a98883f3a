//! What share of a link is left to those who stand for all that use it.

use super::Together;
use super::classes::Classes;
use super::traffic::{Flow, Traffic};
use crate::id::LinkId;
use std::collections::BTreeMap;

/// Groups that can be looked at without the others.
pub(super) struct Apart {
    /// One group, or all that have to be simulated together.
    pub(super) members: Vec<usize>,
    /// Those and the groups for which the one stands.
    pub(super) all: Vec<usize>,
    /// The share of links that is left to the one; none where several have to be simulated together.
    pub(super) shares: Option<Vec<(LinkId, f64)>>,
}

/// How much passes a cable, of those who stand for all and of all.
#[derive(Clone, Copy, Default)]
struct Part {
    own: f64,
    all: f64,
}

/// Shares of links, by layer; none where those who stand for all are not a fixed part of what passes some cable.
type Shares = Option<Vec<(LinkId, f64)>>;

/// The groups, taken together where they meet on cables that can be tight.
pub(super) fn of_groups(layers: &[Traffic], classes: &Classes) -> Vec<Apart> {
    let mut sets = Sets::new(classes.n_groups());
    for traffic in layers {
        let mut user = vec![None; traffic.n_cables()];
        for flow in &traffic.flows {
            for (at, _, _) in traffic.cables(flow).filter(|(_, cable, _)| cable.tight || cable.leaving) {
                match user[at] {
                    None => user[at] = Some(flow.group as usize),
                    Some(other) => sets.join(other, flow.group as usize),
                }
            }
        }
    }
    let apart = |members: Vec<usize>| {
        let one = members[0];
        let alike = members.iter().all(|&group| classes.are_alike(&[group], &[one]));
        let shares = if members.len() == 1 { Some(Vec::new()) } else { None };
        let of_one = || of(layers, |flow| flow.group as usize == one);
        match shares.or_else(|| alike.then(of_one).flatten()) {
            Some(shares) => Apart { members: vec![one], all: members, shares: Some(shares) },
            None => Apart { all: members.clone(), members, shares: None },
        }
    };
    sets.all().into_iter().map(apart).collect()
}

/// What is left to one rank that stands for its group and all groups like it.
pub(super) fn of_rank(together: &Together, layers: &[Traffic], group: usize, rank: usize) -> Shares {
    let unit = |layer: usize| together.phases[layer % together.phases.len()].unit;
    let is_own = |layer: usize, flow: &Flow| {
        flow.group as usize == group && flow.unit as usize == rank / unit(layer) * unit(layer)
    };
    of_layers(layers, is_own)
}

fn of(layers: &[Traffic], is_own: impl Fn(&Flow) -> bool) -> Shares {
    of_layers(layers, |_, flow| is_own(flow))
}

fn of_layers(layers: &[Traffic], is_own: impl Fn(usize, &Flow) -> bool) -> Shares {
    let mut links: BTreeMap<LinkId, f64> = BTreeMap::new();
    for (number, traffic) in layers.iter().enumerate() {
        // By cable, and where that can be tight by what meets there: equal transfers have equal rates.
        let mut parts: BTreeMap<usize, BTreeMap<u64, Part>> = BTreeMap::new();
        for flow in traffic.flows.iter().filter(|flow| is_own(number, flow)) {
            for (at, _, _) in traffic.cables(flow).filter(|(_, cable, _)| cable.tight || cable.leaving) {
                parts.entry(at).or_default();
            }
        }
        for flow in &traffic.flows {
            let own = is_own(number, flow);
            for (at, cable, part) in traffic.cables(flow) {
                let Some(colors) = parts.get_mut(&at) else { continue };
                let sum = colors.entry(if cable.tight { flow.color } else { 0 }).or_default();
                sum.all += part;
                sum.own += if own { part } else { 0.0 };
            }
        }
        for (at, colors) in parts {
            let mut shares = colors.values().map(|part| part.own / part.all);
            let share = shares.next().expect("some flow of its own passes");
            let same = |other: f64| (other - share).abs() <= 1e-6 * share;
            if !shares.all(same) {
                return None;
            }
            let known = *links.entry(traffic.cable(at).link).or_insert(share);
            if !same(known) {
                return None;
            }
        }
    }
    Some(links.into_iter().filter(|(_, share)| *share < 1.0 - 1e-9).collect())
}

/// Groups that are taken together.
struct Sets(Vec<usize>);

impl Sets {
    fn new(n: usize) -> Sets {
        Sets((0..n).collect())
    }

    fn first(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.first(one), self.first(other));
        let (low, high) = (one.min(other), one.max(other));
        self.0[high] = low;
    }

    /// The sets in order of their first members.
    fn all(mut self) -> Vec<Vec<usize>> {
        let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.0.len() {
            sets.entry(self.first(at)).or_default().push(at);
        }
        sets.into_values().collect()
    }
}
