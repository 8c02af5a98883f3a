//! How many copies of a token travel, and how many rows each expert of a GPU sees.

use super::placement::{Placement, Room};
use super::spec::{BalanceChoice, CopyPer, ExpertsSpec};
use crate::model::MoeSpec;
use crate::parallelism::{ExpertPlacement, Plan};
use crate::rng::Seed;
use crate::workload::gate::{GateDraws, GateShape};
use crate::workload::moe::Copies;

/// Tokens beyond which a sample of the gate adds nothing but time.
const SAMPLE_MAX: usize = 1 << 14;
/// Tokens of a sample for means.
const SAMPLE_MIN: usize = 1 << 10;
/// Rows of an expert that cost as much as one: its weights are read, and a tile computed.
const BLOCK: u64 = 64;

/// The expert traffic of one micro-batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertTraffic {
    /// Copies of a token that leave its GPU, on average.
    pub copies_per_token: f64,
    /// Copies by destination, those that stay at home included.
    pub copies: Copies,
    /// For each GPU, the rows of each of its experts that sees any.
    pub rows: Vec<Vec<u64>>,
    /// Tokens of the whole group.
    pub tokens: u64,
}

/// Who exchanges tokens with whom.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    /// The experts.
    pub moe: &'a MoeSpec,
    /// How they are spread.
    pub plan: &'a Plan,
    /// How they are reached.
    pub spec: &'a ExpertsSpec,
    /// GPUs of a node.
    pub per_node: usize,
    /// Whether one GPU stands for all: then all are taken to be as busy as the busiest.
    pub folded: bool,
    /// What passes the gate.
    pub draws: &'a GateDraws,
    /// What it depends on.
    pub seed: Seed,
}

impl ExpertTraffic {
    /// Rows of the experts of the busiest GPU.
    pub fn most_rows(&self) -> u64 {
        self.rows.iter().map(|rows| rows.iter().sum()).max().unwrap_or(0)
    }

    /// Tokens that a GPU receives, its own included, when only `part` of `whole` tokens pass.
    pub fn received(&self, gpu: usize, part: u64, whole: u64) -> u64 {
        let passed = self.tokens as f64 * part as f64 / whole as f64;
        (self.copies.to_gpu[gpu] * passed).ceil() as u64
    }

    /// The rows of the experts of a GPU when only `part` of `whole` tokens pass.
    pub fn rows_of(&self, gpu: usize, part: u64, whole: u64) -> Vec<u64> {
        self.rows[gpu].iter().map(|rows| (rows * part).div_ceil(whole)).collect()
    }
}

/// The traffic of a micro-batch in which an expert-parallel group has `tokens` tokens, all its GPUs together.
pub fn expert_traffic(exchange: Exchange<'_>, tokens: u64, micro_batch: usize) -> ExpertTraffic {
    let Exchange { moe, plan, spec, .. } = exchange;
    let gpus = plan.ep() as usize;
    let shared = if plan.shared_everywhere() { 0 } else { u64::from(moe.shared_experts) };
    let visits = moe.experts_per_token.wide() + shared;
    if plan.placement() == ExpertPlacement::OneExpertPerDevice {
        let rows = vec![vec![(tokens * visits).div_ceil(gpus as u64)]; gpus];
        let each = visits as f64 / gpus as f64;
        let nodes = gpus.div_ceil(exchange.per_node);
        // A token that visits several GPUs of a node is there once.
        let missed = |visit: u64| (gpus - exchange.per_node.min(gpus)).saturating_sub(visit as usize) as f64;
        let never: f64 =
            (0..visits.min(gpus as u64)).map(|visit| missed(visit) / (gpus as f64 - visit as f64)).product();
        let to_node = vec![1.0 - never; nodes];
        let copies = Copies { to_gpu: vec![each; gpus], to_experts: vec![each; gpus], to_node };
        return ExpertTraffic { copies_per_token: visits as f64, copies, rows, tokens };
    }
    let shape = GateShape::of(moe);
    let size = (tokens as usize).clamp(1, SAMPLE_MAX);
    let drawn = |name: &str, tokens: usize| exchange.draws.sample((exchange.seed, name), shape, &spec.gate, tokens);
    let sample = drawn(&format!("micro-batch {micro_batch}"), size);
    // Loads are what was seen before, on other tokens of the same gate; and means of a small sample are taken over a larger one.
    let small = size < SAMPLE_MIN;
    let looked_at = if small || spec.balance == BalanceChoice::ByLoad { size.max(SAMPLE_MIN) } else { 0 };
    let before = drawn("before", looked_at);
    let count = Count::new(exchange, before.tokens().take(looked_at), shared);
    let now = count.of(sample.tokens().take(size));
    let larger = small.then(|| count.of(before.tokens().take(looked_at)));
    let means = larger.as_ref().unwrap_or(&now);
    let rows = if tokens <= SAMPLE_MAX as u64 || !spec.gate.is_even() {
        now.rows(tokens, size as u64, exchange.folded || spec.gate.is_even())
    } else {
        even_rows(plan, moe, (tokens * visits).div_ceil(gpus as u64))
    };
    let alike = if spec.gate.is_even() { Alike::Mean } else { Alike::No };
    let alike = if exchange.folded && alike == Alike::No { Alike::Busiest } else { alike };
    let per = means.tokens as f64;
    let copies = Copies {
        to_gpu: per_token(&means.to_gpu, per, alike),
        to_experts: per_token(&means.to_experts, per, alike),
        to_node: per_token(&means.to_node, per, alike),
    };
    ExpertTraffic { copies_per_token: means.leaving as f64 / per, copies, rows, tokens }
}

/// Where so many tokens pass that chance evens out: every place sees the same.
fn even_rows(plan: &Plan, moe: &MoeSpec, rows: u64) -> Vec<Vec<u64>> {
    let experts = moe.routed_experts.wide() + u64::from(plan.redundant_experts());
    let places = (experts + plan.shared_copies().map_or(0, |copies| copies.wide())) / u64::from(plan.ep());
    vec![super::spec::parts(rows, places); plan.ep() as usize]
}

/// What destinations have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alike {
    /// They differ by chance only.
    Mean,
    /// One stands for all, as busy as the busiest.
    Busiest,
    /// They differ.
    No,
}

fn per_token(counts: &[u64], tokens: f64, alike: Alike) -> Vec<f64> {
    let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    let most = counts.iter().copied().max().unwrap_or(0) as f64;
    let value = |count: u64| match alike {
        Alike::Mean => mean,
        Alike::Busiest => most,
        Alike::No => count as f64,
    };
    counts.iter().map(|&count| value(count) / tokens).collect()
}

/// Counts the visits of tokens.
struct Count {
    placement: Placement,
    /// For each copy of an expert, its place among those of its GPU.
    places: Vec<Vec<usize>>,
    /// Places of each GPU for routed experts.
    sizes: Vec<usize>,
    per: CopyPer,
    gpus: usize,
    per_node: usize,
    /// Places of the shared expert, where tokens travel to it, and how often a token visits it.
    shared: Vec<usize>,
    shared_visits: u64,
}

/// What was counted.
struct Counted {
    tokens: usize,
    /// Copies that leave their GPU.
    leaving: u64,
    to_gpu: Vec<u64>,
    to_experts: Vec<u64>,
    to_node: Vec<u64>,
    /// For each GPU, visits of each of its places, the shared expert's at the end.
    places: Vec<Vec<u64>>,
}

impl Count {
    fn new<'s>(exchange: Exchange<'_>, before: impl Iterator<Item = &'s [u32]>, shared_visits: u64) -> Count {
        let Exchange { moe, plan, spec, per_node, .. } = exchange;
        let (gpus, experts) = (plan.ep() as usize, moe.routed_experts.index());
        let redundant = plan.redundant_experts() as usize;
        let room = Room { gpus, per_node: per_node.min(gpus), redundant, groups: moe.groups.index() };
        let copies = plan.shared_copies().map_or(0, |copies| copies.index());
        let placement = match spec.balance {
            BalanceChoice::InOrder => Placement::in_order(experts, room, copies),
            BalanceChoice::ByLoad => {
                let mut loads = vec![0.0; experts];
                before.flatten().for_each(|&expert| loads[expert as usize] += 1.0);
                Placement::by_load(&loads, room)
            }
        };
        let per_gpu = (experts + redundant + copies).div_ceil(gpus);
        let shared = (0..copies).map(|copy| (experts + redundant + copy) / per_gpu).collect();
        let mut sizes = vec![0; gpus];
        let mut place = |&gpu: &usize| {
            sizes[gpu] += 1;
            sizes[gpu] - 1
        };
        let places = placement.holders.iter().map(|holders| holders.iter().map(&mut place).collect()).collect();
        Count { placement, places, sizes, per: spec.one_copy_per, gpus, per_node, shared, shared_visits }
    }

    fn of<'s>(&self, sample: impl Iterator<Item = &'s [u32]>) -> Counted {
        let nodes = self.gpus.div_ceil(self.per_node);
        let mut counted = Counted {
            tokens: 0,
            leaving: 0,
            to_gpu: vec![0; self.gpus],
            to_experts: vec![0; self.gpus],
            to_node: vec![0; nodes],
            places: self.sizes.iter().map(|&size| vec![0; size + 1]).collect(),
        };
        let mut visited: Vec<usize> = Vec::new();
        for (token, experts) in sample.enumerate() {
            counted.tokens += 1;
            let (home, turn) = (token % self.gpus, token / self.gpus);
            visited.clear();
            for &expert in experts {
                let holders = &self.placement.holders[expert as usize];
                let copy = turn % holders.len();
                visited.push(holders[copy]);
                counted.places[holders[copy]][self.places[expert as usize][copy]] += 1;
            }
            for _ in 0..self.shared_visits {
                let gpu = self.shared.get(token % self.shared.len().max(1)).copied().unwrap_or(home);
                visited.push(gpu);
                *counted.places[gpu].last_mut().expect("a GPU has a place for the shared expert") += 1;
            }
            counted.add(&mut visited, home, self);
        }
        counted
    }
}

impl Counted {
    fn add(&mut self, visited: &mut Vec<usize>, home: usize, count: &Count) {
        visited.iter().for_each(|&gpu| self.to_experts[gpu] += 1);
        let away = |visited: &[usize]| visited.iter().filter(|&&gpu| gpu != home).count() as u64;
        let every = away(visited);
        visited.sort_unstable();
        visited.dedup();
        self.leaving += if count.per == CopyPer::Device { away(visited) } else { every };
        visited.iter().for_each(|&gpu| self.to_gpu[gpu] += 1);
        visited.iter_mut().for_each(|gpu| *gpu /= count.per_node);
        visited.dedup();
        visited.iter().for_each(|&node| self.to_node[node] += 1);
    }

    /// The rows of each GPU's experts when `all` tokens pass, of which `sampled` were looked at. Where GPUs differ by chance only, or
    /// one stands for all, all are as busy as the busiest: everyone waits for that one.
    fn rows(&self, all: u64, sampled: u64, alike: bool) -> Vec<Vec<u64>> {
        let scaled = |visits: &u64| (visits * all).div_ceil(sampled);
        let busy = |places: &Vec<u64>| places.iter().filter(|&&visits| visits > 0).map(scaled).collect();
        let rows: Vec<Vec<u64>> = self.places.iter().map(busy).collect();
        if !alike {
            return rows;
        }
        let blocks = |rows: &Vec<u64>| rows.iter().map(|rows| rows.div_ceil(BLOCK)).sum::<u64>();
        let most = |rows: &&Vec<u64>| (blocks(rows), rows.iter().sum::<u64>());
        let busiest = rows.iter().max_by_key(most).expect("a group has a GPU").clone();
        vec![busiest; rows.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;
    use crate::parallelism::PlanSpec;
    use crate::units;
    use crate::workload::gate::GateChoice;

    fn traffic(
        placement: ExpertPlacement,
        spec: &ExpertsSpec,
        [ep, redundant]: [u32; 2],
        tokens: u64,
    ) -> ExpertTraffic {
        let model = published::deepseek_v3();
        let count = units::Count::new(ep).expect("positive");
        let plan = PlanSpec { ep: count, placement, redundant_experts: redundant, ..PlanSpec::default() };
        let plan = plan.check(ep, &model).expect("a plan");
        let moe = model.moe.as_ref().expect("experts");
        let exchange =
            Exchange { moe, plan: &plan, spec, per_node: 8, folded: true, draws: &GateDraws::default(), seed: Seed(1) };
        expert_traffic(exchange, tokens * u64::from(ep), 0)
    }

    fn spread(per: CopyPer, ep: u32, tokens: u64) -> ExpertTraffic {
        let spec = ExpertsSpec { one_copy_per: per, ..ExpertsSpec::default() };
        traffic(ExpertPlacement::Spread, &spec, [ep, 0], tokens)
    }

    #[test]
    fn the_ideal_placement_sends_every_copy() {
        let found = traffic(ExpertPlacement::OneExpertPerDevice, &ExpertsSpec::default(), [72, 0], 32);
        assert_eq!((found.copies_per_token, found.rows[0].as_slice()), (9.0, [288].as_slice()));
    }

    #[test]
    fn one_copy_in_n_stays_at_home() {
        let found = spread(CopyPer::Expert, 64, 128).copies_per_token;
        assert!((found - 8.0 * 63.0 / 64.0).abs() < 0.02, "{found}");
    }

    #[test]
    fn copies_per_gpu_are_fewer_than_copies_per_expert() {
        // 4 experts on each of 64 GPUs. 8 experts drawn evenly from 4 groups of 8 GPUs fall on 32 (1 - C(124,8)/C(128,8)) =
        // 7.36 GPUs, exactly two of each group on 4 * 2 (1 - 3/31 / 2) = 7.61; keeping the groups with the best two is between.
        let found = spread(CopyPer::Device, 64, 128).copies_per_token * 64.0 / 63.0;
        assert!((7.36..7.61).contains(&found), "{found}");
    }

    #[test]
    fn a_single_request_wakes_only_its_own_experts() {
        assert_eq!(spread(CopyPer::Expert, 1, 1).rows[0].len(), 8);
        assert_eq!(spread(CopyPer::Expert, 1, 4096).rows[0].len(), 256);
    }

    #[test]
    fn rows_are_visits() {
        // Everything that one GPU sends it visits itself; in a group the busiest has more than the mean.
        assert_eq!(spread(CopyPer::Expert, 1, 100).most_rows(), 800);
        let most = spread(CopyPer::Expert, 64, 128).most_rows();
        assert!((1024..1300).contains(&most), "{most}");
        // Beyond the sample chance is taken to even out.
        assert_eq!(spread(CopyPer::Expert, 64, 4096).most_rows(), 4096 * 8);
    }

    #[test]
    fn balancing_by_load_takes_most_of_a_skew_away() {
        let gate = GateChoice::Zipf { offset: units::Count::new(20).expect("positive") };
        let most = |balance| {
            let spec = ExpertsSpec { gate: gate.clone(), balance, ..ExpertsSpec::default() };
            traffic(ExpertPlacement::Spread, &spec, [32, 32], 4096).most_rows() as f64 / f64::from(4096 * 8)
        };
        let (skewed, balanced) = (most(BalanceChoice::InOrder), most(BalanceChoice::ByLoad));
        assert!(skewed > 1.4 && balanced < 1.15, "{skewed} {balanced}");
    }
}
