//! The configuration of a decoder-only transformer, as its publisher states it.

use crate::sources::Sources;
use crate::units::Count;
use schemars::JsonSchema;
use serde::Deserialize;

/// One model.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Name, as people call it.
    pub name: String,
    /// Width of the residual stream.
    pub hidden: Count,
    /// Transformer layers, without multi-token-prediction modules.
    pub layers: Count,
    /// Vocabulary, padding included.
    pub vocab: Count,
    /// Whether the output head is the transposed embedding.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// The attention of every layer.
    pub attention: AttentionSpec,
    /// Width of the dense feed-forward networks (SwiGLU): of every layer without `moe`, of the first layers with it.
    pub dense_intermediate: Option<Count>,
    /// Mixture-of-experts feed-forward networks, where the model has them.
    pub moe: Option<MoeSpec>,
    /// Multi-token-prediction modules, each one transformer layer with a projection.
    #[serde(default)]
    pub mtp_modules: u32,
    /// Where the figures come from.
    #[serde(default)]
    pub source: Sources,
}

/// How a layer attends.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionSpec {
    /// Multi-head latent attention.
    Mla(MlaSpec),
    /// Grouped-query attention; multi-head attention is the case of one query head per key-value head.
    Gqa(GqaSpec),
}

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MlaSpec {
    /// Query heads.
    pub heads: Count,
    /// Width of the compressed query; without it queries are projected directly.
    pub q_lora_rank: Option<Count>,
    /// Width of the compressed key-value latent that the cache holds.
    pub kv_lora_rank: Count,
    /// Width of a query or key head without rotary position.
    pub qk_nope_head_dim: Count,
    /// Width of the rotary part of a query head, and of the one rotary key that all heads share.
    pub qk_rope_head_dim: Count,
    /// Width of a value head.
    pub v_head_dim: Count,
}

/// Grouped-query attention.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GqaSpec {
    /// Query heads.
    pub heads: Count,
    /// Key-value heads.
    pub kv_heads: Count,
    /// Width of a head.
    pub head_dim: Count,
    /// Whether the query, key and value projections have biases.
    #[serde(default)]
    pub qkv_bias: bool,
}

/// Mixture of experts (DeepSeekMoE).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoeSpec {
    /// Routed experts of a layer.
    pub routed_experts: Count,
    /// Routed experts that a token visits.
    pub experts_per_token: Count,
    /// Experts that every token visits.
    #[serde(default)]
    pub shared_experts: u32,
    /// Width of one expert (SwiGLU).
    pub intermediate: Count,
    /// First layers, whose feed-forward network is dense.
    #[serde(default)]
    pub first_dense_layers: u32,
    /// Groups of experts for node-limited routing; one group means no limit.
    #[serde(default = "one")]
    pub groups: Count,
    /// Groups that a token may reach.
    #[serde(default = "one")]
    pub groups_per_token: Count,
}

const fn one() -> Count {
    Count::ONE
}
