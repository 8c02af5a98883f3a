//! What the levels of a ring, a tree or a hierarchical collective do, and how long a library expects them to take.
//!
//! It must not know how the levels become operations.

use super::choose::{Algorithm, Protocol, begun, chunks, each, hop, occupied};
use super::tree::{self, Parents, asked};
use super::{Collective, Group, Way};
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
    /// Rings between nodes.
    Rails {
        /// Steps of each ring.
        steps: usize,
    },
    /// Two trees between nodes.
    Trees,
}

/// Who does what, one level after the other.
pub(super) struct Levels {
    /// The ranks of each node.
    pub(super) nodes: Vec<Vec<usize>>,
    /// The ranks that work together between nodes: those of equal index, or everyone.
    pub(super) rails: Vec<Vec<usize>>,
    /// The trees over the places of each rail, where there are any.
    pub(super) trees: [Parents; 2],
    /// What every part of the data goes through.
    pub(super) stages: Vec<Stage>,
    /// What divides the data until a piece of it is cut into chunks.
    pieces: usize,
}

impl Levels {
    /// The levels of `collective`; flat algorithms have one, in which everyone takes part.
    pub(super) fn of(collective: Collective, algorithm: Algorithm, group: &Group) -> Levels {
        let n = group.len();
        let both = if collective == Collective::AllReduce { 2 } else { 1 };
        let everyone = || vec![(0..n).collect::<Vec<usize>>()];
        let flat =
            |stage, trees, pieces| Levels { nodes: everyone(), rails: everyone(), trees, stages: vec![stage], pieces };
        match algorithm {
            // What a protocol costs in a node is known of whole steps.
            Algorithm::Ring if group.between.is_none() => {
                flat(Stage::Nodes { steps: both * (n - 1) }, Default::default(), usize::MAX)
            }
            // Chunks of a ring are parts of its steps, those of a tree parts of its half.
            Algorithm::Ring => flat(Stage::Rails { steps: both * (n - 1) }, Default::default(), n),
            Algorithm::Tree => flat(Stage::Trees, tree::over(group), 2),
            _ => {
                let nodes = group.by_node().expect("only groups over nodes have levels");
                let (count, per_node) = (nodes.len(), nodes[0].len());
                let rails = (0..per_node).map(|index| nodes.iter().map(|node| node[index]).collect()).collect();
                let inside = Stage::Nodes { steps: per_node - 1 };
                let between = match algorithm {
                    Algorithm::HierarchicalTree => Stage::Trees,
                    _ => Stage::Rails { steps: both * (count - 1) },
                };
                let stages = match collective {
                    Collective::AllGather => vec![between, inside],
                    Collective::ReduceScatter => vec![inside, between],
                    _ => vec![inside, between, inside],
                };
                Levels { nodes, rails, trees: tree::trees(count), stages, pieces: per_node }
            }
        }
    }

    /// Parts of `bytes` that follow each other: as many as there are chunks. Every part takes all steps of all ranks, so that of
    /// many ranks there are fewer, but not so few that they would be noticed.
    pub(super) fn parts(&self, group: &Group, bytes: Bytes, protocol: Protocol) -> usize {
        let most = match self.pieces {
            usize::MAX => 1,
            pieces => chunks(group, each(bytes, pieces), protocol),
        };
        let time = |parts: usize| self.predicted(group, (bytes, parts), protocol).as_ps();
        // A ring that is all there is has no more than hide what comes between its steps, as parts on the way at once share links. It
        // is two or three of them, of however many ranks.
        if let [Stage::Nodes { .. } | Stage::Rails { .. }] = self.stages[..] {
            let best = (1..=most).map(time).min().unwrap_or_default();
            return (1..=most).find(|&parts| time(parts) <= best + best / NOTICED_OF_RING).unwrap_or(most);
        }
        let affordable = (HOPS / self.hops().max(1)).max(1);
        if most <= affordable {
            return most;
        }
        let unnoticed = time(most) / NOTICED;
        (affordable..most).find(|&parts| time(parts) <= time(most) + unnoticed).unwrap_or(most)
    }

    /// Transfers of one part.
    fn hops(&self) -> usize {
        let ranks: usize = self.nodes.iter().map(Vec::len).sum();
        let steps = self.stages.iter().map(|stage| match stage {
            Stage::Nodes { steps } | Stage::Rails { steps } => *steps,
            // Up and down in each of two trees.
            Stage::Trees => 4,
        });
        ranks * steps.sum::<usize>()
    }

    /// How parts of `bytes` follow each other through the stages.
    pub(super) fn paces(&self, group: &Group, bytes: Bytes, protocol: Protocol) -> Paces {
        // Without the costs of a library all data is one part, whose pace does not matter.
        let (Some(costs), false) = (&group.costs, protocol == Protocol::Bare) else {
            let alone = |&stage: &Stage| Pace { stage, at_once: 1, apart: 1 };
            return Paces { parts: 1, stages: self.stages.iter().map(alone).collect() };
        };
        let parts = self.parts(group, bytes, protocol);
        let line = Line { levels: self, group, part: each(bytes, parts), protocol };
        let pace = |&stage: &Stage| match (stage, self.stages.len()) {
            // Where a tree is all there is, nothing waits for its first parts.
            (Stage::Trees, 1) => Pace { stage, at_once: parts, apart: 1 },
            _ => line.expected(costs, stage).pace(stage),
        };
        Paces { parts, stages: self.stages.iter().map(pace).collect() }
    }

    /// The time that a library expects of a collective over `bytes` in `parts` parts: the first passes all stages, and behind it
    /// come the others as fast as the busier level lets them.
    pub(super) fn predicted(&self, group: &Group, (bytes, parts): (Bytes, usize), protocol: Protocol) -> Duration {
        let costs = group.costs.as_ref().expect("predictions need costs");
        let line = Line { levels: self, group, part: each(bytes, parts), protocol };
        let expected: Vec<Expected> = self.stages.iter().map(|&stage| line.expected(costs, stage)).collect();
        let all: Duration = expected.iter().map(|stage| stage.passes).sum();
        let level = |inside: bool| {
            let there = || expected.iter().filter(move |stage| stage.inside == inside);
            let passes: Duration = there().map(|stage| stage.passes).sum();
            let busy: Duration = there().map(|stage| stage.busy).sum();
            // Parts of rings fit in between each other until their links never rest; where those of trees are at the top, what is
            // below waits.
            let late: Duration = there().map(|stage| stage.late).sum();
            let filled = all - passes + busy * parts as u64 + late;
            filled.max(all + there().map(|stage| stage.behind).max().unwrap_or(Duration::ZERO) * (parts as u64 - 1))
        };
        level(true).max(level(false))
    }
}

/// Transfers of a collective that are simulated without asking whether fewer would do.
const HOPS: usize = 1 << 18;
/// Of its time, what a collective of more transfers may take longer for having fewer parts: one in so many.
const NOTICED: u64 = 33;
/// The same for a ring, so little that no number of ranks stands out.
const NOTICED_OF_RING: u64 = 1000;

/// How parts of the data follow each other through the stages.
pub(super) struct Paces {
    /// Parts that follow each other.
    pub(super) parts: usize,
    /// What every part goes through.
    pub(super) stages: Vec<Pace>,
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
    /// Whether it stays inside nodes.
    inside: bool,
    /// From its arrival to its end, where nothing else is on the way.
    passes: Duration,
    /// Of that, how long it keeps a port or its SMs busy.
    busy: Duration,
    /// How long one transfer is on the way.
    transfer: Duration,
    /// By how much its end is behind that of the part before it, at least.
    behind: Duration,
    /// From when the ports have done all parts until the last has ended, and before they are first busy.
    late: Duration,
}

impl Expected {
    fn pace(self, stage: Stage) -> Pace {
        let parts = |time: Duration| time.as_ps().div_ceil(self.busy.as_ps().max(1)).max(1) as usize;
        Pace { stage, at_once: parts(self.passes) + 1, apart: parts(self.transfer) }
    }
}

/// Stages over parts of `part` bytes.
struct Line<'a> {
    levels: &'a Levels,
    group: &'a Group,
    part: Bytes,
    protocol: Protocol,
}

impl Line<'_> {
    fn expected(&self, costs: &CollectiveCosts, stage: Stage) -> Expected {
        let rail = each(self.part, self.levels.rails.len());
        match stage {
            Stage::Nodes { steps } => {
                let node = &self.levels.nodes[0];
                self.ring(costs, steps, each(self.part, node.len()), node)
            }
            Stage::Rails { steps } => {
                let members = &self.levels.rails[0];
                self.ring(costs, steps, each(rail, members.len()), members)
            }
            Stage::Trees => {
                let asked = asked(self.group, &self.levels.rails[0], &self.levels.trees);
                let near = self.step(costs, self.group.inside, false, each(rail, 2));
                let far = self.step(costs, self.group.between.map(|ways| ways.trees), true, each(rail, 2));
                let busy = (near.busy * asked.sends.0 as u64).max(far.busy * asked.sends.1 as u64);
                Expected {
                    inside: asked.depth.1 == 0,
                    // On the way down, the second child waits for what the first is sent.
                    passes: (near.hop * asked.depth.0 as u64 + far.hop * asked.depth.1 as u64) * 2
                        + near.busy * asked.waits.0 as u64
                        + far.busy * asked.waits.1 as u64,
                    busy,
                    transfer: if asked.depth.1 == 0 { near.transfer } else { far.transfer },
                    behind: busy,
                    late: Duration::ZERO,
                }
            }
        }
    }

    /// A ring, whose pieces pass as many hops between nodes as inside them, one in so many as there are of each.
    fn ring(&self, costs: &CollectiveCosts, steps: usize, piece: Bytes, members: &[usize]) -> Expected {
        let n = members.len();
        let far_hops = (0..n).filter(|&at| !self.group.together(members[at], members[(at + 1) % n])).count();
        let far_steps = (steps * far_hops).div_ceil(n.max(1));
        let near = self.step(costs, self.group.inside, false, piece);
        // A ring over everyone, or one of those between ranks of equal index.
        let all = members.len() == self.group.len();
        let between = self.group.between.map(|ways| if all { ways.ring } else { ways.rails });
        let far = self.step(costs, between, true, piece);
        let slower = if far_hops == 0 { near } else { far };
        let busy = slower.busy * steps as u64;
        Expected {
            inside: far_hops == 0,
            // A rank posts one step after the other, however early their data is there.
            passes: (near.hop * (steps - far_steps) as u64 + far.hop * far_steps as u64)
                .max(slower.begun * steps as u64),
            busy,
            transfer: slower.transfer,
            behind: slower.transfer,
            late: slower.hop - slower.busy,
        }
    }

    /// One step over `bytes`.
    fn step(&self, costs: &CollectiveCosts, way: Option<Way>, between: bool, bytes: Bytes) -> Step {
        let busy = occupied(costs, self.protocol, way, between, bytes);
        let latency = way.map_or(Duration::ZERO, |way| way.latency);
        Step {
            begun: begun(costs, self.protocol, between, bytes),
            hop: hop(costs, self.protocol, way, between, bytes),
            busy,
            transfer: busy + latency,
        }
    }
}

/// How long one step takes.
#[derive(Clone, Copy)]
struct Step {
    /// From when the data is there until it is on the wire.
    begun: Duration,
    /// From when the data is there until it is at the next.
    hop: Duration,
    /// For how long it keeps a port or the SMs from the next one.
    busy: Duration,
    /// How long the transfer is on the way.
    transfer: Duration,
}
