//! Which GPUs are simulated, and for which others they stand.
//!
//! GPUs work in groups that do the same at the same time: expert-parallel or tensor-parallel groups, replicas. There are three levels:
//! one rank for its group, all ranks of one group, all groups. The lowest level is chosen whose preconditions hold; each is
//! checked on the paths that routing gives the transfers, in every state that faults leave the network in:
//!
//! * *One rank for its group*: all ranks are equally loaded, and what they send meets paths of equal rates and equal loads.
//! * *All ranks of one group*: that group and those it stands for send over paths of equal rates and equal loads, and where they share
//!   links that can be tight, all that share them are alike; each has its share of these then. Groups that differ are
//!   simulated one by one, one of each class, and the slowest decides.
//! * *All groups*: groups that differ and share links that can be tight are simulated together.
//!
//! A link can be tight where it has to pass more, for its rate, than the links on which the transfers leave their node.

mod classes;
mod shares;
mod states;
mod traffic;

use super::{Known, build};
use crate::id::LinkId;
use crate::invalid::Invalid;
use crate::metrics::{Folding, Level, Symmetry};
use crate::network::resolve;
use crate::routing::Routes;
use crate::scenario::{NetworkChoice, Scenario, SymmetryChoice, memory_room, simulation_room};
use crate::topology::Cluster;
use crate::units::{Bytes, MemoryRoom};
use crate::workload::{ExchangeKernels, GraphSize};
use classes::{Classes, classes};
use shares::{of_groups, of_rank};
use states::states;
use traffic::Traffic;

/// Groups of GPUs that do the same at the same time.
#[derive(Clone, Debug)]
pub(super) struct Together {
    /// Places of the GPUs in the cluster, by group and rank; all groups have as many.
    pub(super) groups: Vec<Vec<usize>>,
    /// What the ranks of a group send to each other.
    pub(super) phases: Vec<Phase>,
    /// Why ranks of a group are not equally loaded, where they are not.
    pub(super) uneven: Option<&'static str>,
    /// Operations of a rank beside what it sends.
    pub(super) kernels: u64,
}

/// Transfers of equal size that are under way at the same time.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// From which rank of the group to which.
    pub(super) sends: Vec<(u32, u32)>,
    /// Neighbouring ranks whose transfers are written down with those of one that stands for all.
    pub(super) unit: usize,
    /// How often these transfers take place.
    pub(super) times: u64,
}

impl Phase {
    /// Every rank of `size` to the rank that `to` names for each of `turns`.
    pub(super) fn of(size: usize, turns: usize, times: u64, to: impl Fn(usize, usize) -> usize) -> Phase {
        let pair = |from: usize, turn: usize| (from as u32, to(from, turn) as u32);
        let sends = (0..size).flat_map(|from| (0..turns).map(move |turn| (from, turn)));
        let sends = sends.map(|(from, turn)| pair(from, turn)).filter(|(from, to)| from != to).collect();
        Phase { sends, unit: 1, times }
    }
}

/// Why ranks are not equally loaded where experts are not.
pub(super) const UNEVEN_GATE: &str = "the gate loads the experts of some ranks more than others'";

/// What `kernels` send in groups of `size` ranks, `ep` at a time of which share experts; of GPUs in nodes of `per_node`.
pub(super) fn expert_phases(
    kernels: ExchangeKernels,
    size: usize,
    ep: usize,
    per_node: usize,
    times: u64,
) -> Vec<Phase> {
    let of_node = per_node.min(ep);
    let within = move |rank: usize, to: usize| rank - rank % ep + to % ep;
    let neighbours = || {
        Phase::of(size, of_node - 1, 2 * times, move |rank, turn| {
            let local = rank % ep;
            within(rank, local - local % of_node + (local + turn + 1) % of_node)
        })
    };
    match kernels {
        ExchangeKernels::Normal => {
            let nodes = ep.div_ceil(of_node);
            let rail =
                Phase::of(size, nodes - 1, 2 * times, move |rank, turn| within(rank, rank % ep + (turn + 1) * of_node));
            vec![rail, neighbours()]
        }
        ExchangeKernels::OneSided | ExchangeKernels::TwoSided => vec![neighbours()],
        ExchangeKernels::LowLatency => {
            vec![Phase::of(size, ep - 1, times, move |rank, turn| within(rank, rank % ep + turn + 1))]
        }
    }
}

/// What is simulated by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Case {
    /// The groups that are simulated together.
    pub(super) groups: Vec<usize>,
    /// The rank that stands for its group; all ranks are simulated where there is none.
    pub(super) rank: Option<usize>,
    /// The share of links that is left to what is simulated.
    pub(super) shares: Vec<(LinkId, f64)>,
    /// How alike the ranks are for which one stands.
    pub(super) folding: Folding,
}

/// The cases of which the slowest decides.
#[derive(Clone, Debug)]
pub(super) struct Representatives {
    pub(super) symmetry: Symmetry,
    pub(super) cases: Vec<Case>,
    /// What shows each group.
    pub(super) shown: Vec<Shown>,
}

/// Where it is seen what a group does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The case.
    pub(super) case: usize,
    /// The group of that case that is like it.
    pub(super) group: usize,
}

/// What is simulated by itself, what shows each group, and why no less is simulated.
pub(super) struct Cases {
    pub(super) cases: Vec<Case>,
    pub(super) shown: Vec<Shown>,
    /// Whether groups differ in latencies at most.
    pub(super) equal_rates: bool,
    because: Option<String>,
}

impl Cases {
    /// All ranks of all of some groups.
    fn all(groups: usize, because: Option<String>) -> Cases {
        let case = Case { groups: (0..groups).collect(), rank: None, shares: Vec::new(), folding: Folding::None };
        let shown = (0..groups).map(|group| Shown { case: 0, group }).collect();
        Cases { cases: vec![case], shown, equal_rates: false, because }
    }
}

/// What of `together` is simulated.
pub(super) fn representatives(
    scenario: &Scenario,
    cluster: &Cluster,
    together: &Together,
    known: &Known,
) -> Result<Representatives, Invalid> {
    let ranks = scenario.symmetry == SymmetryChoice::Group;
    found(scenario, together, compared(scenario, cluster, together, (ranks, known))?)
}

/// Which groups of `together` are simulated, all ranks of each.
pub(super) fn whole_groups(
    scenario: &Scenario,
    cluster: &Cluster,
    together: &Together,
    known: &Known,
) -> Result<Cases, Invalid> {
    compared(scenario, cluster, together, (true, known))
}

/// Compares ranks and groups by what they meet on their paths; all `ranks` of a group may be wanted, alike or not.
fn compared(
    scenario: &Scenario,
    cluster: &Cluster,
    together: &Together,
    (ranks, known): (bool, &Known),
) -> Result<Cases, Invalid> {
    let groups = together.groups.len();
    let alone = groups == 1 && together.groups[0].len() == 1;
    if alone || scenario.symmetry == SymmetryChoice::Unfold {
        return Ok(Cases::all(groups, None));
    }
    let faults = resolve(&scenario.fault, &cluster.topology).map_err(|invalid| invalid.under("fault"))?;
    let Some(states) = states(&faults, cluster.topology.n_links()) else {
        let because = "faults leave the network in more states than are compared";
        return Ok(Cases::all(groups, Some(because.to_owned())));
    };
    let routes = build::routes(scenario, cluster, known)?;
    let mut layers = Vec::new();
    for state in &states {
        let mut routes = if state.is_healthy() { routes.clone() } else { routes.restricted(&state.usable()) };
        for phase in &together.phases {
            layers.push(traffic(scenario.network, cluster, &mut routes, together, phase, state));
        }
    }
    let classes = classes(together, &layers);
    Ok(cases(together, &layers, &classes, Wanted { ranks, faulty: !faults.is_empty() }))
}

fn traffic(
    network: NetworkChoice,
    cluster: &Cluster,
    routes: &mut Routes<'_>,
    together: &Together,
    phase: &Phase,
    state: &states::State,
) -> Traffic {
    let contends = network != NetworkChoice::Analytic;
    Traffic::new(cluster, routes, together, phase, state, contends)
}

/// What else decides how much is simulated.
#[derive(Clone, Copy)]
struct Wanted {
    /// Whether all ranks of a group are wanted, alike or not.
    ranks: bool,
    faulty: bool,
}

fn cases(together: &Together, layers: &[Traffic], classes: &Classes, wanted: Wanted) -> Cases {
    let (mut cases, mut because): (Vec<Case>, Option<String>) = (Vec::new(), None);
    let mut shown = vec![Shown { case: 0, group: 0 }; together.groups.len()];
    let mut reason = |text: &str| {
        because.get_or_insert_with(|| text.to_owned());
    };
    for groups in of_groups(layers, classes) {
        // One of each class; and of groups that meet only their likes, one with its share of what they share.
        let seen = |case: &Case| classes.are_alike(&case.groups, &groups.members);
        let known = cases.iter().position(seen);
        let case = known.unwrap_or(cases.len());
        let simulated = known.map_or(groups.members.clone(), |known| cases[known].groups.clone());
        match simulated[..] {
            [one] => groups.all.iter().for_each(|&group| shown[group] = Shown { case, group: one }),
            _ => classes
                .paired(&groups.members, &simulated)
                .into_iter()
                .for_each(|(member, group)| shown[member] = Shown { case, group }),
        }
        if known.is_some() {
            continue;
        }
        let Some(shares) = groups.shares else {
            reason("groups that differ share links that can be tight");
            cases.push(Case { groups: groups.members, rank: None, shares: Vec::new(), folding: Folding::None });
            continue;
        };
        let group = groups.members[0];
        let folded = match (together.uneven, classes.are_ranks_alike(group)) {
            _ if wanted.ranks || together.groups[group].len() == 1 => None,
            (Some(uneven), _) => {
                reason(uneven);
                None
            }
            (None, false) => {
                reason(if wanted.faulty {
                    "the faults make paths of its ranks differ in rate or load"
                } else {
                    "paths of its ranks differ in rate or load"
                });
                None
            }
            (None, true) => {
                let folded = one_rank(together, layers, classes, group);
                if folded.is_none() {
                    reason("ranks share links that can be tight with others that differ");
                }
                folded
            }
        };
        let whole = Case { groups: vec![group], rank: None, shares, folding: Folding::None };
        cases.push(folded.unwrap_or(whole));
    }
    Cases { cases, shown, equal_rates: classes.have_equal_rates(), because }
}

/// The rank that stands for a group whose ranks are alike: that with the longest paths, since everyone waits for the last.
fn one_rank(together: &Together, layers: &[Traffic], classes: &Classes, group: usize) -> Option<Case> {
    let (rank, farthest) = classes.farthest(group);
    let shares = of_rank(together, layers, group, rank)?;
    let folding = match (farthest, shares.is_empty()) {
        (true, _) => Folding::Farthest,
        (false, true) => Folding::Exact,
        (false, false) => Folding::Shared,
    };
    Some(Case { groups: vec![group], rank: Some(rank), shares, folding })
}

/// The answer, unless it needs more memory than there is.
fn found(scenario: &Scenario, together: &Together, found: Cases) -> Result<Representatives, Invalid> {
    let Cases { cases, shown, because, .. } = found;
    let (all, ranks) = (together.groups.len(), together.groups[0].len());
    let simulated: usize = cases.iter().map(|case| case.groups.len()).sum();
    let whole = |case: &Case| case.rank.is_none();
    let everything = cases.iter().all(whole) && simulated == all;
    let level = match cases.iter().any(whole) {
        false => Level::OneRank,
        true if everything || cases.iter().any(|case| case.groups.len() > 1) => Level::AllGroups,
        true => Level::OneGroup,
    };
    let symmetry = Symmetry { level, groups: all as u64, simulated: simulated as u64, ranks: ranks as u64, because };
    let needed = cases.iter().map(|case| size(together, case).memory()).max().unwrap_or(0);
    let MemoryRoom { bytes, limit } = simulation_room(scenario, memory_room());
    if needed > bytes.get() {
        let (what, needed) = (symmetry.text(), Bytes::new(needed));
        let message = format!("to simulate {what}, takes about {needed} of memory, and {bytes} are left: {limit}");
        let help = "use fewer nodes or smaller groups, or raise `simulation_memory`";
        return Err(Invalid::at("symmetry", message).help(help));
    }
    Ok(Representatives { symmetry, cases, shown })
}

/// What is written down for a case; sizes of transfers are not known yet.
fn size(together: &Together, case: &Case) -> GraphSize {
    let ranks = together.groups[0].len() as u64;
    let simulated = if case.rank.is_some() { 1 } else { ranks };
    let all: u64 = together.phases.iter().map(|phase| phase.sends.len() as u64 * phase.times).sum();
    let groups = case.groups.len() as u64;
    let (sends, kernels) = (all / ranks * simulated * groups, together.kernels * simulated * groups);
    GraphSize { ops: sends + kernels, sends, bytes: 0 }
}
