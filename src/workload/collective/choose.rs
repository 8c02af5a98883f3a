//! Which algorithm and protocol a collective runs: the one whose predicted time is shortest, as NCCL's tuner decides.
//!
//! Predictions are what a library can know before anything moves: the form of each algorithm over an idle network. They choose;
//! how long a collective takes is what the run of its operations says.

use super::in_switch::passed;
use super::levels::Levels;
use super::{Collective, Group, Way};
use crate::hardware::{CollectiveCosts, ExchangeSpec, PeerCosts, ProtocolSpec, on_wire};
use crate::units::{Bytes, Duration, Fraction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How data moves between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// One ring over all ranks.
    Ring,
    /// Two binary trees over nodes, and chains inside them; in one node two binary trees over its ranks.
    Tree,
    /// Inside the scale-up switch.
    InSwitch,
    /// All data to every peer of a scale-up domain, which adds it up.
    OneShot,
    /// To each peer the part that it adds up, and the sums back to all.
    TwoShots,
    /// Rings inside nodes, and rings between GPUs of equal index.
    Hierarchical,
    /// Rings inside nodes, and trees between GPUs of equal index.
    HierarchicalTree,
    /// From source to destination.
    Direct,
    /// Between nodes only among GPUs of equal index, and inside nodes to and from these.
    ByRail,
}

impl Algorithm {
    /// The name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Ring => "ring",
            Algorithm::Tree => "tree",
            Algorithm::InSwitch => "in_switch",
            Algorithm::OneShot => "one_shot",
            Algorithm::TwoShots => "two_shots",
            Algorithm::Hierarchical => "hierarchical",
            Algorithm::HierarchicalTree => "hierarchical_tree",
            Algorithm::Direct => "direct",
            Algorithm::ByRail => "by_rail",
        }
    }
}

/// What surrounds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Nothing: transfers cost the wire alone.
    Bare,
    /// Words with flags.
    Ll,
    /// Lines of 128 bytes with flags.
    Ll128,
    /// Chunks in buffers.
    Simple,
}

impl Protocol {
    /// The name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Bare => "bare",
            Protocol::Ll => "ll",
            Protocol::Ll128 => "ll128",
            Protocol::Simple => "simple",
        }
    }

    /// What it costs on rings and trees.
    pub(super) fn on_ring(self, costs: Option<&CollectiveCosts>) -> Option<&ProtocolSpec> {
        match self {
            Protocol::Bare => None,
            Protocol::Ll => Some(&costs?.ll),
            Protocol::Ll128 => Some(&costs?.ll128),
            Protocol::Simple => Some(&costs?.simple),
        }
    }

    /// What it costs by direct access to peers.
    pub(super) fn by_peers(self, costs: Option<&CollectiveCosts>) -> Option<&PeerCosts> {
        match self {
            Protocol::Bare => None,
            _ => costs?.peers.as_ref(),
        }
    }

    /// What it costs between all pairs.
    pub(super) fn in_exchange(self, costs: Option<&CollectiveCosts>) -> Option<&ExchangeSpec> {
        match self {
            Protocol::Bare => None,
            Protocol::Ll | Protocol::Ll128 => Some(&costs?.exchange_ll),
            Protocol::Simple => Some(&costs?.exchange_simple),
        }
    }
}

/// How a collective is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The protocol.
    pub protocol: Protocol,
}

impl Choice {
    /// Launch of the kernel, the library's or that of an engine's own in a graph, and what the algorithm does once. Exchanges count
    /// their start with what they do per peer.
    pub(super) fn start(self, costs: &CollectiveCosts) -> Duration {
        let protocol = self.protocol.on_ring(Some(costs)).map_or(Duration::ZERO, |protocol| protocol.start);
        match self.algorithm {
            Algorithm::OneShot | Algorithm::TwoShots => costs.peers.map_or(costs.launch, |peers| peers.launch),
            Algorithm::InSwitch => costs.launch + costs.in_switch.map_or(Duration::ZERO, |spec| spec.start),
            Algorithm::Direct | Algorithm::ByRail => costs.launch,
            Algorithm::Ring | Algorithm::Tree | Algorithm::Hierarchical | Algorithm::HierarchicalTree => {
                costs.launch + protocol
            }
        }
    }
}

/// Parts that follow each other through the levels of a collective, at most.
const PARTS_MAX: u64 = 32;

/// The choice with the shortest predicted time among those that agree with what is wanted; the first of equals. None where
/// nothing agrees.
pub fn choose(
    collective: Collective,
    group: &Group,
    bytes: Bytes,
    algorithm: Option<Algorithm>,
    protocol: Option<Protocol>,
) -> Option<Choice> {
    let wanted = |choice: &Choice| {
        algorithm.is_none_or(|a| a == choice.algorithm) && protocol.is_none_or(|p| p == choice.protocol)
    };
    // Without costs, or where none are wanted, nothing can be predicted and the plain form is taken.
    if group.costs.is_none() || protocol == Some(Protocol::Bare) {
        let bare = |algorithm| Choice { algorithm, protocol: Protocol::Bare };
        return possible(collective, group, true).into_iter().map(bare).find(wanted);
    }
    let explicit = algorithm.is_some();
    let all = possible(collective, group, explicit)
        .into_iter()
        .flat_map(|algorithm| protocols(algorithm).iter().map(move |&protocol| Choice { algorithm, protocol }));
    all.filter(wanted).min_by_key(|choice| predicted(collective, group, bytes, *choice))
}

/// How a serving engine reduces `bytes` over a tensor-parallel group: by the kernels that it brings along, where the hardware's
/// description has them and they are expected to be faster than the library.
pub fn choose_in_engine(group: &Group, bytes: Bytes) -> Choice {
    let library = choose(Collective::AllReduce, group, bytes, None, None).expect("every group can reduce");
    if group.costs.is_none() {
        return library;
    }
    let own = [Algorithm::OneShot, Algorithm::TwoShots]
        .map(|own| choose(Collective::AllReduce, group, bytes, Some(own), None));
    let all = own.into_iter().flatten().chain([library]);
    all.min_by_key(|choice| predicted(Collective::AllReduce, group, bytes, *choice)).unwrap_or(library)
}

/// The algorithms that can run here. Some are only taken when they are asked for: trees in one node, because libraries build them
/// over nodes; trees without rails where GPUs have them; direct exchange between nodes, for the same reason; direct access to
/// peers, because engines have it and libraries of collectives do not.
fn possible(collective: Collective, group: &Group, explicit: bool) -> Vec<Algorithm> {
    let several = group.by_node().is_some();
    let mut algorithms = match collective {
        Collective::AllReduce | Collective::AllGather | Collective::ReduceScatter => vec![Algorithm::Ring],
        Collective::AllToAll if several && !explicit => Vec::new(),
        Collective::AllToAll | Collective::Send => vec![Algorithm::Direct],
    };
    match collective {
        Collective::AllReduce => {
            let one_switch = group.between.is_none() && group.switches.iter().all(Option::is_some);
            if one_switch && group.costs.as_ref().is_some_and(|costs| costs.in_switch.is_some()) {
                algorithms.push(Algorithm::InSwitch);
            }
            if explicit || (group.between.is_some() && !several) {
                algorithms.push(Algorithm::Tree);
            }
            let one_domain = group.between.is_none() && group.costs.as_ref().is_none_or(|costs| costs.peers.is_some());
            if explicit && one_domain {
                algorithms.extend([Algorithm::OneShot, Algorithm::TwoShots]);
            }
            if several {
                algorithms.extend([Algorithm::Hierarchical, Algorithm::HierarchicalTree]);
            }
        }
        Collective::AllGather | Collective::ReduceScatter if several => algorithms.push(Algorithm::Hierarchical),
        Collective::AllToAll if several => algorithms.push(Algorithm::ByRail),
        _ => {}
    }
    algorithms
}

fn protocols(algorithm: Algorithm) -> &'static [Protocol] {
    match algorithm {
        Algorithm::InSwitch => &[Protocol::Simple],
        Algorithm::OneShot | Algorithm::TwoShots => &[Protocol::Ll],
        Algorithm::Direct | Algorithm::ByRail => &[Protocol::Ll, Protocol::Simple],
        _ => &[Protocol::Ll, Protocol::Ll128, Protocol::Simple],
    }
}

/// Chunks that follow each other when `bytes` pass through stages: only the protocol with buffers has several.
pub(super) fn chunks(group: &Group, bytes: Bytes, protocol: Protocol) -> usize {
    match &group.costs {
        Some(costs) if protocol == Protocol::Simple => {
            (bytes.get() / costs.network.chunk.get().max(1)).clamp(1, PARTS_MAX) as usize
        }
        _ => 1,
    }
}

/// The time that a library expects of `collective` over `bytes`, where it is known what software costs.
pub fn expected(collective: Collective, group: &Group, bytes: Bytes, choice: Choice) -> Option<Duration> {
    (group.costs.is_some() && choice.protocol != Protocol::Bare).then(|| predicted(collective, group, bytes, choice))
}

/// The same where it is known.
fn predicted(collective: Collective, group: &Group, bytes: Bytes, choice: Choice) -> Duration {
    let costs = group.costs.as_ref().expect("predictions need costs");
    let n = group.len();
    let own = match (collective, choice.protocol.on_ring(Some(costs))) {
        (Collective::AllGather, Some(protocol)) => each(bytes, n) / protocol.copy_rate,
        _ => Duration::ZERO,
    };
    let moved = match choice.algorithm {
        Algorithm::Ring | Algorithm::Tree | Algorithm::Hierarchical | Algorithm::HierarchicalTree => {
            let levels = Levels::of(collective, choice.algorithm, group);
            let parts = levels.parts(group, bytes, choice.protocol);
            levels.predicted(group, (bytes, parts), choice.protocol)
        }
        Algorithm::InSwitch => {
            let share = costs.in_switch.map_or(Fraction::ONE, |spec| spec.wire_share);
            wire(group.inside, passed(bytes, n), share)
        }
        Algorithm::OneShot | Algorithm::TwoShots => by_peers(costs, group, bytes, choice.algorithm),
        Algorithm::Direct | Algorithm::ByRail => exchange(collective, group, bytes, choice),
    };
    choice.start(costs) + own + moved
}

/// One or two shots over `bytes`: to all peers, and what has arrived is added up.
fn by_peers(costs: &CollectiveCosts, group: &Group, bytes: Bytes, algorithm: Algorithm) -> Duration {
    let Some(spec) = &costs.peers else { return Duration::ZERO };
    let n = group.len() as u64;
    let shot = |each: Bytes, added: Bytes| wire(group.inside, each * (n - 1), spec.wire_share) + added / spec.copy_rate;
    match algorithm {
        Algorithm::OneShot => shot(bytes, bytes * n),
        _ => shot(each(bytes, n as usize), bytes) + shot(each(bytes, n as usize), bytes),
    }
}

fn exchange(collective: Collective, group: &Group, bytes: Bytes, choice: Choice) -> Duration {
    let costs = group.costs.as_ref().expect("predictions need costs");
    let protocol = choice.protocol.in_exchange(Some(costs)).expect("a library has protocols");
    let n = group.len();
    let (each, peers) = match collective {
        Collective::Send => (bytes, 1),
        _ => (each(bytes, n), n as u64 - 1),
    };
    let (local, remote) = match collective {
        Collective::Send => (0, u64::from(group.between.is_some())),
        _ => {
            let near = (1..n).filter(|&rank| group.together(0, rank)).count() as u64;
            (near, peers - near)
        }
    };
    let mut inside = wire(
        group.inside,
        each * (local + u64::from(collective == Collective::Send && remote == 0)),
        protocol.wire_share,
    );
    if choice.algorithm == Algorithm::ByRail {
        // Almost everything passes the scale-up domain once.
        inside = wire(group.inside, each * remote, protocol.wire_share);
    }
    let posts = if choice.algorithm == Algorithm::ByRail { 2 } else { 1 };
    let between = match remote {
        0 => Duration::ZERO,
        _ => {
            let share = match collective {
                Collective::Send => costs.network.in_steps(protocol.line_share),
                _ => costs.network.in_exchanges(protocol.line_share),
            };
            let between = group.between.map(|ways| if collective == Collective::Send { ways.ends } else { ways.peers });
            costs.network.step * posts + wire(between, each * remote, share)
        }
    };
    // Whoever sends to one peer has no part of its own.
    let copied = if collective == Collective::Send { 0 } else { peers };
    protocol.before_wire(each, peers) + inside.max(between).max(protocol.beside_wire(each, copied))
}

/// One step over `bytes`.
pub(super) fn hop(
    costs: &CollectiveCosts,
    protocol: Protocol,
    way: Option<Way>,
    between: bool,
    bytes: Bytes,
) -> Duration {
    let spec = protocol.on_ring(Some(costs)).expect("a library has protocols");
    let (_, share) = step(costs, spec, between);
    begun(costs, protocol, between, bytes) + wire(way, bytes, share).max(spec.beside_wire(bytes))
}

/// From when the data of one step is there until it is on the wire.
pub(super) fn begun(costs: &CollectiveCosts, protocol: Protocol, between: bool, bytes: Bytes) -> Duration {
    let spec = protocol.on_ring(Some(costs)).expect("a library has protocols");
    let (post, _) = step(costs, spec, between);
    post + spec.before_wire(bytes)
}

/// How long one step over `bytes` keeps a port or the SMs from the next one.
pub(super) fn occupied(
    costs: &CollectiveCosts,
    protocol: Protocol,
    way: Option<Way>,
    between: bool,
    bytes: Bytes,
) -> Duration {
    let spec = protocol.on_ring(Some(costs)).expect("a library has protocols");
    let (_, share) = step(costs, spec, between);
    let wire = way.map_or(Duration::ZERO, |way| on_wire(bytes, share) / way.rate);
    wire.max(spec.beside_wire(bytes))
}

/// Posting, and the share of the wire that is left for data.
fn step(costs: &CollectiveCosts, spec: &ProtocolSpec, between: bool) -> (Duration, Fraction) {
    match between {
        true => (costs.network.step, costs.network.in_steps(spec.line_share)),
        false => (Duration::ZERO, spec.wire_share),
    }
}

fn wire(way: Option<Way>, bytes: Bytes, share: Fraction) -> Duration {
    way.map_or(Duration::ZERO, |way| way.latency + on_wire(bytes, share) / way.rate)
}

pub(super) fn each(bytes: Bytes, n: usize) -> Bytes {
    Bytes::new(bytes.get().div_ceil(n as u64))
}
