//! The configuration of a decoder-only transformer, as its publisher states it.

use crate::invalid::Invalid;
use crate::sources::Sources;
use crate::units::Count;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttentionSpec {
    /// Multi-head latent attention.
    Mla(MlaSpec),
    /// Grouped-query attention; multi-head attention is the case of one query head per key-value head.
    Gqa(GqaSpec),
}

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
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

impl ModelSpec {
    /// Checks what single fields cannot say.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_layers()?;
        self.attention.check()?;
        self.moe.as_ref().map_or(Ok(()), MoeSpec::check)?;
        self.check_size()
    }

    /// Layers whose feed-forward network is dense; they come first.
    pub fn dense_layers(&self) -> u32 {
        self.moe.as_ref().map_or(self.layers.get(), |moe| moe.first_dense_layers)
    }

    /// Layers with a mixture of experts; they come last.
    pub fn moe_layers(&self) -> u32 {
        self.layers.get() - self.dense_layers()
    }

    /// Keeps mistyped figures away from integer arithmetic, which would overflow.
    fn check_size(&self) -> Result<(), Invalid> {
        const MOST: f64 = 1e15;
        let hidden = f64::from(self.hidden.get());
        let experts = self.moe.as_ref().map_or(0.0, |moe| {
            let experts = f64::from(moe.routed_experts.get()) + f64::from(moe.shared_experts);
            experts * f64::from(moe.intermediate.get())
        });
        let dense = self.dense_intermediate.map_or(0.0, |width| f64::from(width.get()));
        let layer = hidden * (3.0 * (experts + dense) + 2.0 * hidden) + self.attention.magnitude(hidden);
        let layers = f64::from(self.layers.get()) + f64::from(self.mtp_modules);
        let tables = 2.0 * (1.0 + f64::from(self.mtp_modules)) * f64::from(self.vocab.get()) * hidden;
        if layers * layer + tables > MOST {
            let message = "the model has more than 10^15 parameters";
            return Err(Invalid::at("", message).help("one of its widths or counts is mistyped"));
        }
        Ok(())
    }

    fn check_layers(&self) -> Result<(), Invalid> {
        if let Some(moe) = &self.moe
            && moe.first_dense_layers > self.layers.get()
        {
            let message = format!(
                "`moe.first_dense_layers` is {}, but the model has `layers = {}`",
                moe.first_dense_layers, self.layers
            );
            return Err(Invalid::at("moe.first_dense_layers", message));
        }
        if self.dense_layers() > 0 && self.dense_intermediate.is_none() {
            let message = match &self.moe {
                Some(moe) => format!(
                    "`moe.first_dense_layers` is {}, but `dense_intermediate`, their width, is missing",
                    moe.first_dense_layers
                ),
                None => "neither `dense_intermediate` nor `moe` describes the feed-forward networks".to_owned(),
            };
            return Err(Invalid::at("dense_intermediate", message).help("add `dense_intermediate = WIDTH`"));
        }
        Ok(())
    }
}

impl AttentionSpec {
    /// Query heads.
    pub fn heads(&self) -> Count {
        match self {
            AttentionSpec::Mla(mla) => mla.heads,
            AttentionSpec::Gqa(gqa) => gqa.heads,
        }
    }

    /// At least the parameters of one layer's attention, in arithmetic that cannot overflow.
    fn magnitude(&self, hidden: f64) -> f64 {
        let wide = |count: Count| f64::from(count.get());
        match self {
            AttentionSpec::Mla(mla) => {
                let head = wide(mla.qk_nope_head_dim) + wide(mla.qk_rope_head_dim) + wide(mla.v_head_dim);
                let latents = wide(mla.kv_lora_rank) + mla.q_lora_rank.map_or(0.0, wide);
                (wide(mla.heads) * head + latents) * (hidden + latents)
            }
            AttentionSpec::Gqa(gqa) => 2.0 * (wide(gqa.heads) + wide(gqa.kv_heads)) * wide(gqa.head_dim) * hidden,
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        match self {
            AttentionSpec::Gqa(gqa) if !gqa.heads.get().is_multiple_of(gqa.kv_heads.get()) => {
                let message = format!("`kv_heads = {}` does not divide `heads = {}`", gqa.kv_heads, gqa.heads);
                Err(Invalid::at("attention.gqa.kv_heads", message)
                    .help("each key-value head serves the same number of query heads"))
            }
            AttentionSpec::Gqa(_) | AttentionSpec::Mla(_) => Ok(()),
        }
    }
}

impl MoeSpec {
    /// Routed experts of one group.
    pub fn experts_per_group(&self) -> u32 {
        self.routed_experts.get() / self.groups.get()
    }

    fn check(&self) -> Result<(), Invalid> {
        let (experts, groups) = (self.routed_experts, self.groups);
        if !experts.get().is_multiple_of(groups.get()) {
            let message = format!("`groups = {groups}` does not divide `routed_experts = {experts}`");
            return Err(Invalid::at("moe.groups", message).help("groups hold equally many experts"));
        }
        if self.groups_per_token > groups {
            let message =
                format!("a token reaches `groups_per_token = {}` of only `groups = {groups}`", self.groups_per_token);
            return Err(Invalid::at("moe.groups_per_token", message));
        }
        let reachable = self.groups_per_token.wide() * u64::from(self.experts_per_group());
        if self.experts_per_token.wide() > reachable {
            let message = format!(
                "a token visits `experts_per_token = {}`, but its {} of {groups} groups hold only {reachable} of the \
                 {experts} routed experts",
                self.experts_per_token, self.groups_per_token
            );
            return Err(Invalid::at("moe.experts_per_token", message).help("raise `groups_per_token`"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::published;
    use super::*;

    fn finding(change: impl FnOnce(&mut ModelSpec)) -> String {
        let mut model = published::deepseek_v3();
        change(&mut model);
        model.check().expect_err("a finding").to_string()
    }

    fn moe(model: &mut ModelSpec) -> &mut MoeSpec {
        model.moe.as_mut().expect("a mixture of experts")
    }

    fn count(n: u32) -> Count {
        Count::new(n).expect("at least one")
    }

    #[test]
    fn published_models_are_sound() {
        for (file, model) in published::all() {
            assert_eq!(model.check(), Ok(()), "{file}");
        }
    }

    #[test]
    fn every_figure_of_a_published_model_has_a_source() {
        for (file, model) in published::all() {
            let sourced = |path: &str| model.source.of(path).is_some();
            let always = ["hidden", "layers", "vocab", "attention.mla.heads", "attention.gqa.heads"];
            assert!(always.into_iter().all(sourced), "{file}");
            assert_eq!(model.dense_intermediate.is_some(), sourced("dense_intermediate"), "{file}");
            assert_eq!(model.moe.is_some(), sourced("moe.routed_experts"), "{file}");
            assert_eq!(model.mtp_modules > 0, sourced("mtp_modules"), "{file}");
        }
    }

    #[test]
    fn findings_name_the_field_and_the_values() {
        let missing = finding(|m| m.dense_intermediate = None);
        assert!(missing.starts_with("dense_intermediate: `moe.first_dense_layers` is 3"), "{missing}");
        let dense = finding(|m| (m.dense_intermediate, m.moe) = (None, None));
        assert!(dense.starts_with("dense_intermediate: neither"), "{dense}");
        let layers = finding(|m| moe(m).first_dense_layers = 62);
        assert!(layers.contains("is 62, but the model has `layers = 61`"), "{layers}");
        let groups = finding(|m| moe(m).groups = count(7));
        assert!(groups.contains("`groups = 7` does not divide `routed_experts = 256`"), "{groups}");
        let reached = finding(|m| moe(m).groups_per_token = count(9));
        assert!(reached.contains("`groups_per_token = 9` of only `groups = 8`"), "{reached}");
        let visited = finding(|m| moe(m).experts_per_token = count(129));
        assert!(visited.contains("4 of 8 groups hold only 128 of the 256"), "{visited}");
    }

    #[test]
    fn mistyped_widths_are_found_before_they_overflow() {
        let most = count(u32::MAX);
        let changes: [fn(&mut ModelSpec, Count); 6] = [
            |m, n| m.hidden = n,
            |m, n| (m.vocab, m.hidden) = (n, n),
            |m, n| m.layers = n,
            |m, n| m.dense_intermediate = Some(n),
            |m, n| moe(m).intermediate = n,
            |m, n| m.mtp_modules = n.get(),
        ];
        for change in changes {
            let finding = finding(|model| change(model, most));
            assert_eq!(finding, "the model has more than 10^15 parameters");
        }
    }

    #[test]
    fn a_model_without_dense_layers_needs_no_dense_width() {
        let mut model = published::deepseek_v3();
        moe(&mut model).first_dense_layers = 0;
        model.dense_intermediate = None;
        assert_eq!(model.check(), Ok(()));
        assert_eq!((model.dense_layers(), model.moe_layers()), (0, 61));
    }

    #[test]
    fn key_value_heads_serve_equally_many_queries() {
        let mut model = published::qwen2_5_72b();
        let AttentionSpec::Gqa(gqa) = &mut model.attention else { panic!("Qwen2.5 has grouped-query attention") };
        gqa.kv_heads = count(12);
        let finding = model.check().expect_err("a finding");
        assert_eq!(finding.place, ["attention", "gqa", "kv_heads"]);
        assert_eq!(finding.message, "`kv_heads = 12` does not divide `heads = 64`");
    }
}
