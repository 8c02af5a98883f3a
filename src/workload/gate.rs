//! Which experts tokens visit, drawn from a gate: grouped top-k as DeepSeek-V3's router does it.
//!
//! Scores are independent. A token first keeps the groups with the largest sum of their two best scores, then visits the
//! best experts in them (arXiv 2412.19437, section 2.1.2 and the published inference code).

use crate::model::MoeSpec;
use crate::rng::RandomStream;
use crate::units::Count;
use schemars::JsonSchema;
use serde::Deserialize;

/// What the gate prefers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateChoice {
    /// Nothing: scores are uniform.
    #[default]
    Uniform,
    /// Nothing, and it is exact about it: the experts of a token are evenly spaced, and tokens take turns.
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

    /// The tokens of a part of the sample.
    pub fn slice(&self, tokens: std::ops::Range<usize>) -> GateSample {
        let part = tokens.start * self.per_token..tokens.end * self.per_token;
        GateSample { per_token: self.per_token, experts: self.experts[part].to_vec() }
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
    let GateShape { experts: all, per_token, .. } = shape;
    if *choice == GateChoice::Balanced {
        let spaced = |token: usize| (0..per_token).map(move |turn| ((token + turn * all / per_token) % all) as u32);
        return GateSample { per_token, experts: (0..tokens).flat_map(spaced).collect() };
    }
    let weights = weights(shape, choice, rng);
    let mut experts = Vec::with_capacity(tokens * per_token);
    let mut scores = vec![0.0; all];
    for _ in 0..tokens {
        match &weights {
            None => scores.iter_mut().for_each(|score| *score = rng.unit()),
            // The largest of these is an expert with the chance of its weight, and so on among those that are left.
            Some(weights) => {
                let score = |weight: f64, rng: &mut RandomStream| weight / (weight + rng.exponential());
                scores.iter_mut().zip(weights).for_each(|(at, &weight)| *at = score(weight, rng));
            }
        }
        let mut candidates = reachable(&scores, shape.groups, shape.groups_per_token);
        let best = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]);
        if candidates.len() > per_token {
            candidates.select_nth_unstable_by(per_token - 1, best);
            candidates.truncate(per_token);
        }
        candidates.sort_unstable_by(best);
        experts.extend_from_slice(&candidates);
    }
    GateSample { per_token, experts }
}

/// How popular each expert is, where they are not all alike.
fn weights(shape: GateShape, choice: &GateChoice, rng: &mut RandomStream) -> Option<Vec<f64>> {
    match choice {
        GateChoice::Uniform | GateChoice::Balanced => None,
        GateChoice::Histogram(load) => Some(load.clone()),
        GateChoice::Zipf { offset } => {
            let mut weights: Vec<f64> =
                (0..shape.experts).map(|rank| 1.0 / (rank as f64 + f64::from(offset.get()))).collect();
            for last in (1..weights.len()).rev() {
                weights.swap(last, rng.below(last as u32 + 1) as usize);
            }
            Some(weights)
        }
    }
}

/// The experts of the `kept` groups with the largest sum of their two best scores.
fn reachable(scores: &[f64], groups: usize, kept: usize) -> Vec<u32> {
    if kept == groups {
        return (0..scores.len() as u32).collect();
    }
    let size = scores.len() / groups;
    let mut ranked: Vec<(f64, usize)> = scores.chunks(size).map(two_best).zip(0..groups).collect();
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    ranked[..kept].iter().flat_map(|&(_, group)| (group * size) as u32..((group + 1) * size) as u32).collect()
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

    #[test]
    fn a_balanced_gate_loads_every_expert_equally() {
        let shape = GateShape { experts: 256, per_token: 8, groups: 1, groups_per_token: 1 };
        let sample = sample_choice(shape, &GateChoice::Balanced, 256, &mut Seed(1).stream("gate"));
        let visits = |expert: u32| sample.tokens().flatten().filter(|&&at| at == expert).count();
        assert!((0..256).all(|expert| visits(expert) == 8));
    }

    #[test]
    fn a_limited_gate_stays_within_its_groups() {
        let reached = groups_reached(&moe(8, 4));
        assert!((3.5..4.0).contains(&reached), "{reached}");
    }
}
