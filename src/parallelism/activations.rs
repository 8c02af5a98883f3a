//! What a layer keeps of each token until its backward pass, or holds while it computes.
//!
//! Generalises Korthikanti et al. (arXiv 2205.05198, section 4) from multi-head attention with GELU to GQA, MLA, SwiGLU
//! and mixtures of experts: the input of every operation whose gradient needs it is kept once. There is no dropout, and
//! attention is fused, so that no score matrix exists; its row statistics and the gate's scores, under one percent, are
//! left out. Gate values multiply inside the experts, so that no expert's output is kept. Tensor parallelism comes with sequence parallelism (section 4.2.2), which divides everything by `tp`.
//! Routing is taken as balanced: a GPU holds as many copies of tokens for its experts as its own tokens make.

use crate::model::{AttentionForm, AttentionSpec, ModelSpec, PrecisionSpec};
use crate::units::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// What the backward pass computes again instead of keeping it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecomputeSpec {
    /// Nothing.
    #[default]
    None,
    /// RMSNorm, the up-projections of MLA and SwiGLU, which cost little (arXiv 2412.19437, sections 3.2.3 and 3.3.3).
    Selective,
    /// Every layer, from its input.
    Full,
}

/// The two kinds of feed-forward network that a layer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FfnKind {
    Dense,
    Moe,
}

/// Values per token, by the format that stores them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Values {
    /// Of attention, dense feed-forward networks and the residual stream.
    pub plain: u64,
    /// Of experts: dispatched tokens and what lies between an expert's matrices.
    pub experts: u64,
}

/// What a layer keeps of a token for its backward pass, on one of `tp` GPUs.
pub(super) fn kept_values(model: &ModelSpec, tp: u32, ffn: FfnKind, recompute: RecomputeSpec) -> Values {
    let all = match recompute {
        RecomputeSpec::Full => Values { plain: model.hidden.wide(), experts: 0 },
        RecomputeSpec::None | RecomputeSpec::Selective => {
            let selective = recompute == RecomputeSpec::Selective;
            attention_values(model, tp, selective) + ffn_values(model, ffn, selective)
        }
    };
    all.divided(tp)
}

/// Keys and values of a token in a layer, of all heads on one of `tp` GPUs, as attention meets them.
pub(super) fn attended_values(model: &ModelSpec, tp: u32) -> u64 {
    match &model.attention {
        AttentionSpec::Mla(mla) => mla.heads.wide() / u64::from(tp) * (mla.qk_head_dim() + mla.v_head_dim.wide()),
        AttentionSpec::Gqa(gqa) => u64::from(gqa.kv_heads.get().div_ceil(tp)) * 2 * gqa.head_dim.wide(),
    }
}

/// What a layer computes again, and then holds of one micro-batch, per token on one of `tp` GPUs.
pub(super) fn recomputed_values(model: &ModelSpec, tp: u32, ffn: FfnKind, recompute: RecomputeSpec) -> Values {
    let all = kept_values(model, tp, ffn, RecomputeSpec::None);
    let kept = kept_values(model, tp, ffn, recompute);
    Values { plain: all.plain - kept.plain, experts: all.experts - kept.experts }
}

/// What a layer holds of a token while it computes without a backward pass, on one of `tp` GPUs. Nothing is taken to be
/// freed before the layer ends: an upper bound.
pub(super) fn working_values(model: &ModelSpec, tp: u32, ffn: FfnKind, form: AttentionForm) -> Values {
    let absorbed = match (&model.attention, form) {
        // Query and output meet the latent, and the expanded queries remain.
        (AttentionSpec::Mla(mla), AttentionForm::Absorbed) => {
            mla.heads.wide() * (2 * mla.kv_lora_rank.wide() + mla.qk_rope_head_dim.wide())
        }
        (AttentionSpec::Mla(_) | AttentionSpec::Gqa(_), _) => 0,
    };
    let outputs = match (ffn, &model.moe) {
        (FfnKind::Moe, Some(moe)) => moe.experts_per_token.wide() * model.hidden.wide(),
        (FfnKind::Moe | FfnKind::Dense, _) => 0,
    };
    let further = Values { plain: absorbed + outputs, experts: 0 };
    (attention_values(model, tp, false) + ffn_values(model, ffn, false) + further).divided(tp)
}

impl Values {
    /// What they take of `tokens` tokens.
    pub fn bytes(self, tokens: u64, precision: &PrecisionSpec) -> Bytes {
        precision.activations.bytes(self.plain * tokens) + precision.expert_activations.bytes(self.experts * tokens)
    }

    /// The same values `n` times.
    pub fn times(self, n: u64) -> Values {
        Values { plain: self.plain * n, experts: self.experts * n }
    }

    fn divided(self, tp: u32) -> Values {
        let tp = u64::from(tp);
        Values { plain: self.plain.div_ceil(tp), experts: self.experts.div_ceil(tp) }
    }
}

impl Add for Values {
    type Output = Values;
    fn add(self, rhs: Values) -> Values {
        Values { plain: self.plain + rhs.plain, experts: self.experts + rhs.experts }
    }
}

/// All `tp` GPUs together, of one token.
fn attention_values(model: &ModelSpec, tp: u32, selective: bool) -> Values {
    let hidden = model.hidden.wide();
    let plain = match &model.attention {
        AttentionSpec::Mla(mla) => {
            let heads = mla.heads.wide();
            let latents = mla.q_lora_rank.map_or(0, |rank| rank.wide()) + mla.kv_lora_rank.wide();
            let output = heads * mla.v_head_dim.wide();
            let least = hidden + latents + mla.qk_rope_head_dim.wide() + output;
            let normed = hidden + latents;
            let expanded = heads * (2 * mla.qk_head_dim() + mla.v_head_dim.wide());
            // Without a compressed query there is nothing to expand it from but the layer's input.
            let query = if mla.q_lora_rank.is_none() { heads * mla.qk_head_dim() } else { 0 };
            if selective { least + query } else { least + normed + expanded }
        }
        AttentionSpec::Gqa(gqa) => {
            let query = gqa.heads.wide() * gqa.head_dim.wide();
            let kv_heads = u64::from(gqa.kv_heads.get().div_ceil(tp)) * u64::from(tp);
            let least = hidden + query + 2 * kv_heads * gqa.head_dim.wide() + query;
            if selective { least } else { least + hidden }
        }
    };
    Values { plain, experts: 0 }
}

/// All GPUs that share a layer together, of one token.
fn ffn_values(model: &ModelSpec, ffn: FfnKind, selective: bool) -> Values {
    let hidden = model.hidden.wide();
    let residual = if selective { hidden } else { 2 * hidden };
    // The two halves that SwiGLU multiplies are kept; so is their product, unless it is computed again.
    let widths = if selective { 2 } else { 3 };
    match (ffn, &model.moe) {
        (FfnKind::Dense, _) => {
            let inner = widths * model.dense_intermediate.map_or(0, |width| width.wide());
            Values { plain: residual + inner, experts: 0 }
        }
        (FfnKind::Moe, Some(moe)) => {
            let width = widths * moe.intermediate.wide();
            // Every visited routed expert keeps its own copy of the token.
            let routed = moe.experts_per_token.wide() * (hidden + width);
            Values { plain: residual, experts: routed + u64::from(moe.shared_experts) * width }
        }
        (FfnKind::Moe, None) => panic!("{} has no mixture of experts", model.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::published;

    #[test]
    fn a_dense_layer_keeps_the_input_of_every_operation() {
        let model = published::llama3_1_70b();
        let (hidden, kv, inner) = (8192, 8 * 128, 28672);
        let plain = |tp, recompute| kept_values(&model, tp, FfnKind::Dense, recompute).plain;
        // Residual, its norm, query, key, value, attention's output; residual, its norm, gate, up, their product.
        let all = 2 * hidden + (hidden + 2 * kv) + hidden + 2 * hidden + 3 * inner;
        assert_eq!(plain(1, RecomputeSpec::None), all);
        assert_eq!(plain(1, RecomputeSpec::Selective), all - 2 * hidden - inner);
        assert_eq!(plain(1, RecomputeSpec::Full), hidden);
        assert_eq!(plain(8, RecomputeSpec::None), all / 8);
    }

    #[test]
    fn a_layer_of_deepseek_v3_keeps_its_latents_and_its_dispatched_tokens() {
        let model = published::deepseek_v3();
        let (hidden, output, width) = (7168, 128 * 128, 2048);
        let kept = kept_values(&model, 1, FfnKind::Moe, RecomputeSpec::Selective);
        assert_eq!(kept.plain, (hidden + 1536 + 512 + 64 + output) + hidden);
        assert_eq!(kept.experts, 8 * (hidden + 2 * width) + 2 * width);
        let again = recomputed_values(&model, 1, FfnKind::Moe, RecomputeSpec::Selective);
        let expanded = 128 * (192 + 192 + 128);
        assert_eq!(again.plain, (hidden + 1536 + 512) + expanded + hidden);
        assert_eq!(again.experts, 9 * width);
        let bytes = kept.bytes(2, &PrecisionSpec::DEEPSEEK_V3);
        assert_eq!(bytes, Bytes::new(2 * (2 * kept.plain + kept.experts)));
    }

    #[test]
    fn serving_holds_experts_outputs_and_queries_as_wide_as_the_latent() {
        let model = published::deepseek_v3();
        let expanded = working_values(&model, 1, FfnKind::Moe, AttentionForm::Expanded);
        let absorbed = working_values(&model, 1, FfnKind::Moe, AttentionForm::Absorbed);
        let kept = kept_values(&model, 1, FfnKind::Moe, RecomputeSpec::None);
        assert_eq!(expanded, kept + Values { plain: 8 * 7168, experts: 0 });
        assert_eq!(absorbed, expanded + Values { plain: 128 * (2 * 512 + 64), experts: 0 });
    }
}
