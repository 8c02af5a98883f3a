//! Which experts tokens visit, drawn from a gate: grouped top-k as DeepSeek-V3's router does it.
//!
//! Scores are independent. A token first keeps the groups with the largest sum of their two best scores, then visits the
//! best experts in them (arXiv 2412.19437, section 2.1.2 and the published inference code).

mod draws;
mod turns;

pub use draws::GateDraws;

use crate::model::MoeSpec;
use crate::rng::RandomStream;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use turns::Turns;

/// What the gate prefers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GateChoice {
    /// Nothing: scores are uniform.
    #[default]
    Uniform,
    /// Nothing, and it is exact about it: tokens take turns among the groups that they may reach, and in each group among its experts,
    /// those of one token evenly spaced. All experts are visited equally often, and no token reaches more groups than its gate allows.
    Balanced,
    /// Some experts, by the law of Zipf and Mandelbrot: the `i`-th most popular one, from 0, in proportion to
    /// `1 / (i + offset)`. Which ones they are is drawn.
    Zipf {
        /// Flattens the law: 1 for plain Zipf, large values for hardly any preference.
        offset: Count,
    },
    /// Each expert in proportion to its given load, one figure per expert.
    Histogram(Vec<f64>),
}

impl GateChoice {
    /// Whether all experts are alike, so that what holds for one holds for all.
    pub const fn is_even(&self) -> bool {
        matches!(self, GateChoice::Uniform | GateChoice::Balanced)
    }
}

/// Among how many experts a gate chooses, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateShape {
    /// Experts.
    pub experts: usize,
    /// Experts that a token visits.
    pub per_token: usize,
    /// Groups of experts.
    pub groups: usize,
    /// Groups that a token may reach.
    pub groups_per_token: usize,
}

impl GateShape {
    /// The shape of a model's gate.
    pub fn of(moe: &MoeSpec) -> GateShape {
        GateShape {
            experts: moe.routed_experts.index(),
            per_token: moe.experts_per_token.index(),
            groups: moe.groups.index(),
            groups_per_token: moe.groups_per_token.index(),
        }
    }

    /// Whether a token may reach some of the groups only.
    pub const fn is_limited(&self) -> bool {
        self.groups_per_token < self.groups
    }
}

/// The experts that a sample of tokens visits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSample {
    per_token: usize,
    experts: Vec<u32>,
}

impl GateSample {
    /// The experts of each token.
    pub fn tokens(&self) -> impl Iterator<Item = &[u32]> {
        self.experts.chunks_exact(self.per_token)
    }

    /// Tokens in the sample.
    pub fn len(&self) -> usize {
        self.experts.len() / self.per_token
    }

    /// Whether the sample holds no token.
    pub fn is_empty(&self) -> bool {
        self.experts.is_empty()
    }
}

/// Draws the experts of `tokens` tokens from a gate that prefers none.
pub fn sample_gate(moe: &MoeSpec, tokens: usize, rng: &mut RandomStream) -> GateSample {
    sample_choice(GateShape::of(moe), &GateChoice::Uniform, tokens, rng)
}

/// Draws the experts of `tokens` tokens.
pub fn sample_choice(shape: GateShape, choice: &GateChoice, tokens: usize, rng: &mut RandomStream) -> GateSample {
    let mut gate = Gate::new(shape, choice, rng);
    let mut sample = GateSample { per_token: shape.per_token, experts: Vec::new() };
    gate.pass(tokens, rng, &mut sample);
    sample
}

/// A gate at work.
struct Gate {
    shape: GateShape,
    preference: Preference,
    /// Scores of the experts for the token at hand.
    scores: Vec<f64>,
    groups: Best,
    best: Best,
}

/// Which experts a gate prefers.
enum Preference {
    None,
    InTurn(Turns),
    ByWeight(Vec<f64>),
}

impl Gate {
    /// Draws what the gate prefers, where that is left to chance.
    fn new(shape: GateShape, choice: &GateChoice, rng: &mut RandomStream) -> Gate {
        let preference = match choice {
            GateChoice::Uniform => Preference::None,
            GateChoice::Balanced => Preference::InTurn(Turns::new(shape)),
            GateChoice::Histogram(load) => Preference::ByWeight(load.clone()),
            GateChoice::Zipf { offset } => Preference::ByWeight(zipf(shape.experts, *offset, rng)),
        };
        let (groups, best) = (Best::of(shape.groups_per_token), Best::of(shape.per_token));
        Gate { shape, preference, scores: vec![0.0; shape.experts], groups, best }
    }

    /// Adds `tokens` tokens to those that passed before.
    fn pass(&mut self, tokens: usize, rng: &mut RandomStream, passed: &mut GateSample) {
        passed.experts.reserve(tokens * self.shape.per_token);
        for _ in 0..tokens {
            let scores = self.scores.iter_mut();
            match &mut self.preference {
                Preference::InTurn(turns) => {
                    turns.pass(&mut passed.experts);
                    continue;
                }
                Preference::None => scores.for_each(|score| *score = rng.unit()),
                // The largest of these is an expert with the chance of its weight, and so on among those that are left.
                Preference::ByWeight(weights) => {
                    scores.zip(&*weights).for_each(|(score, &weight)| *score = weight / (weight + rng.exponential()));
                }
            }
            self.choose();
            passed.experts.extend(self.best.chosen());
        }
    }

    /// The best experts, of the groups with the largest sum of their two best scores.
    fn choose(&mut self) {
        let GateShape { experts, groups, .. } = self.shape;
        if !self.shape.is_limited() {
            return self.best.choose(self.scores.iter().copied().zip(0..));
        }
        let size = experts / groups;
        self.groups.choose(self.scores.chunks(size).map(two_best).zip(0..));
        let members = |group: u32| group as usize * size..(group as usize + 1) * size;
        let reachable = self.groups.chosen().flat_map(members);
        self.best.choose(reachable.map(|expert| (self.scores[expert], expert as u32)));
    }
}

/// The few largest of many scores. Most scores are smaller than the least of those kept so far, so that a comparison is all they
/// cost.
struct Best {
    kept: usize,
    found: Vec<(f64, u32)>,
}

impl Best {
    fn of(kept: usize) -> Best {
        Best { kept, found: Vec::with_capacity(kept + 1) }
    }

    /// Chooses anew among `scored`.
    fn choose(&mut self, scored: impl Iterator<Item = (f64, u32)>) {
        self.found.clear();
        let mut least = f64::NEG_INFINITY;
        for (score, of) in scored {
            if score <= least {
                continue;
            }
            let larger = self.found.iter().rposition(|&(other, _)| other >= score);
            self.found.insert(larger.map_or(0, |at| at + 1), (score, of));
            self.found.truncate(self.kept);
            if self.found.len() == self.kept {
                least = self.found[self.kept - 1].0;
            }
        }
    }

    /// What has the largest scores, in falling order.
    fn chosen(&self) -> impl Iterator<Item = u32> + '_ {
        self.found.iter().map(|&(_, of)| of)
    }
}

/// How popular each of `experts` experts is by the law of Zipf and Mandelbrot.
fn zipf(experts: usize, offset: Count, rng: &mut RandomStream) -> Vec<f64> {
    let mut weights: Vec<f64> = (0..experts).map(|rank| 1.0 / (rank as f64 + f64::from(offset.get()))).collect();
    for last in (1..weights.len()).rev() {
        weights.swap(last, rng.below(last as u32 + 1) as usize);
    }
    weights
}

fn two_best(scores: &[f64]) -> f64 {
    let (mut first, mut second) = (0.0_f64, 0.0_f64);
    for &score in scores {
        second = second.max(score.min(first));
        first = first.max(score);
    }
    first + second
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;
    use crate::units::Count;
    use std::collections::BTreeSet;

    fn moe(groups: u32, groups_per_token: u32) -> MoeSpec {
        let count = |n| Count::new(n).expect("positive");
        MoeSpec {
            routed_experts: count(256),
            experts_per_token: count(8),
            shared_experts: 1,
            intermediate: count(2048),
            first_dense_layers: 3,
            groups: count(groups),
            groups_per_token: count(groups_per_token),
        }
    }

    fn groups_reached(moe: &MoeSpec) -> f64 {
        let sample = sample_gate(moe, 20_000, &mut Seed(1).stream("gate"));
        let groups = |token: &[u32]| token.iter().map(|expert| expert / 32).collect::<BTreeSet<_>>().len();
        let distinct = |token: &[u32]| token.iter().collect::<BTreeSet<_>>().len() == token.len();
        assert!(sample.tokens().all(distinct), "no token visits an expert twice");
        sample.tokens().map(groups).sum::<usize>() as f64 / sample.len() as f64
    }

    #[test]
    fn an_unlimited_gate_reaches_as_many_groups_as_drawing_without_replacement() {
        // 8 (1 - C(224,8)/C(256,8)): the chance that a group of 32 is missed by 8 draws from 256.
        let missed: f64 = (0..8).map(|i| f64::from(224 - i) / f64::from(256 - i)).product();
        let expected = 8.0 * (1.0 - missed);
        assert!((groups_reached(&moe(8, 8)) - expected).abs() < 0.02, "expected {expected}");
    }

    #[test]
    fn a_weighted_gate_visits_in_proportion() {
        let shape = GateShape { experts: 4, per_token: 1, groups: 1, groups_per_token: 1 };
        let load = GateChoice::Histogram(vec![4.0, 3.0, 2.0, 1.0]);
        let sample = sample_choice(shape, &load, 40_000, &mut Seed(1).stream("gate"));
        for (expert, expected) in [0.4, 0.3, 0.2, 0.1].into_iter().enumerate() {
            let visits = sample.tokens().filter(|token| token[0] as usize == expert).count() as f64;
            let share = visits / sample.len() as f64;
            assert!((share - expected).abs() < 0.01, "expert {expert}: {share} of {expected}");
        }
    }

    /// Every gate, whatever it prefers, keeps to the limit on groups and visits no expert twice.
    #[test]
    fn every_gate_obeys_its_limits() {
        let choices = |experts: usize| {
            let load = (1..=experts).map(|expert| expert as f64).collect();
            let zipf = GateChoice::Zipf { offset: Count::new(2).expect("positive") };
            [GateChoice::Uniform, GateChoice::Balanced, zipf, GateChoice::Histogram(load)]
        };
        for (experts, per_token, groups, groups_per_token) in SHAPES {
            let shape = GateShape { experts, per_token, groups, groups_per_token };
            for choice in choices(experts) {
                let sample = sample_choice(shape, &choice, 1_000, &mut Seed(3).stream("gate"));
                for token in sample.tokens() {
                    let distinct: BTreeSet<u32> = token.iter().copied().collect();
                    let reached: BTreeSet<u32> = token.iter().map(|at| at / (experts / groups) as u32).collect();
                    assert_eq!(distinct.len(), per_token, "{shape:?} {choice:?}");
                    assert!(reached.len() <= groups_per_token, "{shape:?} {choice:?}: groups {reached:?}");
                }
            }
        }
    }

    #[test]
    fn a_balanced_gate_loads_every_expert_equally() {
        for (experts, per_token, groups, groups_per_token) in SHAPES {
            let shape = GateShape { experts, per_token, groups, groups_per_token };
            let tokens = 3 * shape.balanced_round();
            let sample = sample_choice(shape, &GateChoice::Balanced, tokens, &mut Seed(1).stream("gate"));
            let mut visits = vec![0; experts];
            sample.tokens().flatten().for_each(|&expert| visits[expert as usize] += 1);
            assert!(visits.iter().all(|&visits| visits == tokens * per_token / experts), "{shape:?}: {visits:?}");
        }
    }

    /// Experts, visits, groups and groups that a token may reach: what models have, and what divides badly.
    const SHAPES: [(usize, usize, usize, usize); 9] = [
        (256, 8, 1, 1),
        (256, 8, 8, 8),
        (256, 8, 8, 4),
        (160, 6, 8, 3),
        (384, 8, 1, 1),
        (64, 6, 4, 3),
        (60, 7, 5, 2),
        (72, 5, 6, 5),
        (128, 8, 16, 1),
    ];

    #[test]
    fn a_limited_gate_stays_within_its_groups() {
        let reached = groups_reached(&moe(8, 4));
        assert!((3.5..4.0).contains(&reached), "{reached}");
    }
}
