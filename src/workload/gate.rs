//! Which experts tokens visit, drawn from a gate that prefers none: grouped top-k as DeepSeek-V3's router does it.
//!
//! Scores are independent and uniform. A token first keeps the groups with the largest sum of their two best scores, then
//! visits the best experts in them (arXiv 2412.19437, section 2.1.2 and the published inference code).

use crate::model::MoeSpec;
use crate::rng::RandomStream;

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

/// Draws the experts of `tokens` tokens.
pub fn sample_gate(moe: &MoeSpec, tokens: usize, rng: &mut RandomStream) -> GateSample {
    let per_token = moe.experts_per_token.index();
    let mut experts = Vec::with_capacity(tokens * per_token);
    let mut scores = vec![0.0; moe.routed_experts.index()];
    for _ in 0..tokens {
        scores.iter_mut().for_each(|score| *score = rng.unit());
        let mut candidates = reachable(&scores, moe.groups.index(), moe.groups_per_token.index());
        candidates.sort_unstable_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        experts.extend_from_slice(&candidates[..per_token]);
    }
    GateSample { per_token, experts }
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
    fn a_limited_gate_stays_within_its_groups() {
        let reached = groups_reached(&moe(8, 4));
        assert!((3.5..4.0).contains(&reached), "{reached}");
    }
}
