//! Collectives as sends and the software around them, with the byte counts of nccl-tests.
//!
//! `bytes` is what nccl-tests calls the size: the buffer of an all-reduce or all-to-all, the whole output of an all-gather,
//! the whole input of a reduce-scatter. One file per family of algorithms; `choose` picks one. How long software takes is
//! read from the hardware's description, how long transfers take is the network's to say.

mod choose;
pub(super) mod desk;
mod exchange;
mod group;
mod in_switch;
mod levels;
mod parts;
mod peers;
mod ring;
mod tree;

pub use choose::{Algorithm, Choice, Protocol, choose, choose_in_engine, expected};
pub use group::{Group, Way, WaysBetween};

use super::Workload;
use super::op::{Chosen, Label, OpGraph, Phase};
use crate::id::{DeviceId, OpId};
use crate::invalid::Invalid;
use crate::units::{Bytes, Duration, Time};
use desk::{Desk, Front};
use levels::Levels;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A collective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Collective {
    /// Everyone has the sum of all.
    AllReduce,
    /// Everyone has the pieces of all.
    AllGather,
    /// Everyone has its piece of the sum of all.
    ReduceScatter,
    /// `bytes / n` from everyone to everyone else.
    AllToAll,
    /// All `bytes` from the first rank to the last.
    Send,
}

impl Collective {
    /// The name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Collective::AllReduce => "all_reduce",
            Collective::AllGather => "all_gather",
            Collective::ReduceScatter => "reduce_scatter",
            Collective::AllToAll => "all_to_all",
            Collective::Send => "send",
        }
    }

    /// Bus bandwidth per algorithm bandwidth, as nccl-tests defines it (its PERFORMANCE.md).
    pub fn bus_factor(self, ranks: usize) -> f64 {
        let n = ranks as f64;
        match self {
            Collective::AllReduce => 2.0 * (n - 1.0) / n,
            Collective::AllGather | Collective::ReduceScatter | Collective::AllToAll => (n - 1.0) / n,
            Collective::Send => 1.0,
        }
    }
}

/// Adds a collective among the ranks of `group`, each of which joins when its operations in `after` have finished.
/// Returns, for each rank, the operations whose end completes the collective there.
pub fn expand(
    graph: &mut OpGraph,
    (collective, choice): (Collective, Choice),
    group: &Group,
    bytes: Bytes,
    after: &[Vec<OpId>],
    label: Label,
) -> Vec<Vec<OpId>> {
    assert_eq!(group.len(), after.len(), "every rank joins once");
    let n = group.len();
    let Choice { algorithm, protocol } = choice;
    graph.chose(Chosen { collective, algorithm, protocol, ranks: n, bytes });
    let mut desk = Desk::new(graph, group, label);
    let desk = &mut desk;
    let protocol = choice.protocol.on_ring(group.costs.as_ref());
    let pairs = choice.protocol.in_exchange(group.costs.as_ref());
    let front = start(desk, choice, after);
    match (choice.algorithm, collective) {
        (Algorithm::InSwitch, _) => {
            let spec = group.costs.as_ref().and_then(|costs| costs.in_switch);
            in_switch::in_switch_all_reduce(desk, bytes, spec.as_ref(), &front)
        }
        (Algorithm::OneShot, _) => peers::one_shot(desk, bytes, choice.protocol.by_peers(group.costs.as_ref()), &front),
        (Algorithm::TwoShots, _) => {
            peers::two_shots(desk, bytes, choice.protocol.by_peers(group.costs.as_ref()), &front)
        }
        (Algorithm::Ring | Algorithm::Tree | Algorithm::Hierarchical | Algorithm::HierarchicalTree, _) => {
            let levels = Levels::of(collective, choice.algorithm, group);
            let paces = levels.paces(group, bytes, choice.protocol);
            parts::in_parts(desk, (&levels, &paces), collective, bytes, protocol, &front)
        }
        (Algorithm::ByRail, _) => {
            let nodes = group.by_node().expect("only groups over nodes have rails");
            let chunks = choose::chunks(group, desk::piece(bytes, n, 0) * nodes.len() as u64, choice.protocol);
            exchange::by_rail(desk, (&nodes, chunks), bytes, pairs, &front)
        }
        (Algorithm::Direct, Collective::Send) => exchange::one_way(desk, bytes, pairs, &front),
        (Algorithm::Direct, _) => exchange::direct(desk, bytes, pairs, &front),
    }
}

/// Launch, and what the algorithm does once.
fn start(desk: &mut Desk<'_>, choice: Choice, after: &[Vec<OpId>]) -> Front {
    let time = match (&desk.group.costs, choice.protocol) {
        (None, _) | (_, Protocol::Bare) => Duration::ZERO,
        (Some(costs), _) => choice.start(costs),
    };
    after.iter().enumerate().map(|(rank, after)| desk.software((rank, 0), time, after)).collect()
}

/// One collective, run once by each of some groups, side by side.
pub struct CollectiveWorkload {
    collective: Collective,
    groups: Vec<(Choice, Group)>,
    bytes: Bytes,
    started: bool,
}

impl CollectiveWorkload {
    /// `collective` of `bytes` among `ranks`, in its plain form and without software.
    pub fn new(collective: Collective, ranks: Vec<DeviceId>, bytes: Bytes) -> CollectiveWorkload {
        let group = Group::bare(ranks);
        let choice = choose(collective, &group, bytes, None, None).expect("every collective has a plain form");
        CollectiveWorkload::chosen(collective, choice, group, bytes)
    }

    /// `collective` of `bytes` in a group, as chosen.
    pub fn chosen(collective: Collective, choice: Choice, group: Group, bytes: Bytes) -> CollectiveWorkload {
        CollectiveWorkload::side_by_side(collective, vec![(choice, group)], bytes)
    }

    /// `collective` of `bytes` in each of `groups`, as chosen there.
    pub fn side_by_side(collective: Collective, groups: Vec<(Choice, Group)>, bytes: Bytes) -> CollectiveWorkload {
        CollectiveWorkload { collective, groups, bytes, started: false }
    }
}

impl Workload for CollectiveWorkload {
    fn next_arrival(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _: Time, _: &[OpId], graph: &mut OpGraph) -> Result<(), Invalid> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        for (choice, group) in &self.groups {
            let after = vec![Vec::new(); group.len()];
            expand(graph, (self.collective, *choice), group, self.bytes, &after, Label::of(Phase::Collective));
        }
        Ok(())
    }
}
