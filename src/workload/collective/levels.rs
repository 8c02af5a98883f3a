//! What the levels of a hierarchical collective do, and how long a library expects them to take.
//!
//! It must not know how the levels become operations.

use super::choose::{Algorithm, Choice, Protocol, each, hop, occupied};
use super::tree::depth;
use super::{Collective, Group};
use crate::hardware::CollectiveCosts;
use crate::units::{Bytes, Duration};

/// What one part of the data goes through at one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Rings inside nodes.
    Nodes {
        /// Steps of each ring.
        steps: usize,
    },
    /// Rings between GPUs of equal index.
    Rails {
        /// Steps of each ring.
        steps: usize,
    },
    /// Two trees between GPUs of equal index.
    Trees,
}

/// The stages of `collective` on `nodes` nodes of `per_node` ranks each.
pub(super) fn stages(collective: Collective, algorithm: Algorithm, nodes: usize, per_node: usize) -> Vec<Stage> {
    let inside = Stage::Nodes { steps: per_node - 1 };
    match collective {
        Collective::AllGather => vec![Stage::Rails { steps: nodes - 1 }, inside],
        Collective::ReduceScatter => vec![inside, Stage::Rails { steps: nodes - 1 }],
        _ if algorithm == Algorithm::HierarchicalTree => vec![inside, Stage::Trees, inside],
        _ => vec![inside, Stage::Rails { steps: 2 * (nodes - 1) }, inside],
    }
}

/// How parts of the data follow each other through a stage.
///
/// A connection sends in order, while transfers in the network share links. Both come to the same where few are on the way at
/// once, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// What is done.
    pub(super) stage: Stage,
    /// Parts that are worked on at once: as many as keep ports busy while others are posted or on their way, and one more,
    /// because parts of ranks with longer ways come late.
    pub(super) at_once: usize,
    /// A part is first sent when that so many before it has first arrived. Trees are not held apart.
    pub(super) apart: usize,
}

/// How long a part of the data occupies a stage.
#[derive(Clone, Copy)]
struct Expected {
    /// From its arrival to its end, where nothing else is on the way.
    passes: Duration,
    /// Of that, how long it keeps a port or its SMs busy.
    busy: Duration,
    /// How long one transfer is on the way.
    transfer: Duration,
}

/// Stages over parts of `part` bytes.
struct Line<'a> {
    group: &'a Group,
    nodes: usize,
    per_node: usize,
    part: Bytes,
    protocol: Protocol,
}

impl Line<'_> {
    fn expected(&self, costs: &CollectiveCosts, stage: Stage) -> Expected {
        let rail = each(self.part, self.per_node);
        let (way, between, bytes, hops, sends) = match stage {
            Stage::Nodes { steps } => (self.group.inside, false, rail, steps, steps),
            Stage::Rails { steps } => (self.group.between, true, each(rail, self.nodes), steps, steps),
            // In one tree a rank has a parent and two children, in the other one a parent.
            Stage::Trees => {
                let hops = 2 * depth(self.nodes);
                (self.group.between, true, each(rail, 2), hops, hops.min(4))
            }
        };
        let occupied = occupied(costs, self.protocol, way, between, bytes);
        Expected {
            passes: hop(costs, self.protocol, way, between, bytes) * hops as u64,
            busy: occupied * sends as u64,
            transfer: occupied + way.map_or(Duration::ZERO, |way| way.latency),
        }
    }

    fn pace(&self, stage: Stage) -> Pace {
        // Without the costs of a library all data is one part.
        let Some(costs) = &self.group.costs else { return Pace { stage, at_once: 1, apart: 1 } };
        let Expected { passes, busy, transfer } = self.expected(costs, stage);
        let parts = |time: Duration| time.as_ps().div_ceil(busy.as_ps().max(1)).max(1) as usize;
        Pace { stage, at_once: parts(passes) + 1, apart: parts(transfer) }
    }
}

/// The stages of a collective over `bytes` in `parts` parts, and how parts follow each other.
pub(super) fn paces(
    collective: Collective,
    group: &Group,
    (bytes, parts): (Bytes, usize),
    (choice, nodes, per_node): (Choice, usize, usize),
) -> Vec<Pace> {
    // What has no protocol is one part, whose pace does not matter.
    let protocol = if choice.protocol == Protocol::Bare { Protocol::Simple } else { choice.protocol };
    let line = Line { group, nodes, per_node, part: each(bytes, parts), protocol };
    stages(collective, choice.algorithm, nodes, per_node).into_iter().map(|stage| line.pace(stage)).collect()
}

/// The time that a library expects of a collective over `bytes` in `parts` parts: the first passes all stages, and behind it
/// come the others as fast as the busier level lets them.
pub(super) fn predicted(
    collective: Collective,
    group: &Group,
    (bytes, parts): (Bytes, usize),
    (choice, nodes, per_node): (Choice, usize, usize),
) -> Duration {
    let costs = group.costs.as_ref().expect("predictions need costs");
    let line = Line { group, nodes, per_node, part: each(bytes, parts), protocol: choice.protocol };
    let (mut passes, mut inside, mut between) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for stage in stages(collective, choice.algorithm, nodes, per_node) {
        let expected = line.expected(costs, stage);
        passes += expected.passes;
        match stage {
            Stage::Nodes { .. } => inside += expected.busy,
            Stage::Rails { .. } | Stage::Trees => between += expected.busy,
        }
    }
    passes + inside.max(between) * (parts as u64 - 1)
}
