//! Models from the `config.json` that publishers put beside their weights on Hugging Face.
//!
//! What a description here cannot say is noted where figures stay right or nearly so, and refused where they would be
//! wrong. This module must not know any file: text comes in, text goes out.

mod features;
mod fields;
mod render;
#[cfg(test)]
mod tests;

pub use fields::ImportError;

use super::{AttentionSpec, GqaSpec, MlaSpec, ModelSpec, MoeSpec};
use crate::sources::Sources;
use crate::units::Count;
use fields::{Fields, shown};

/// A model read from a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedModel {
    /// The model, which holds together, without sources.
    pub spec: ModelSpec,
    /// What the description leaves out or simplifies, as fragments without a full stop.
    pub notes: Vec<String>,
    /// The name under which it was imported.
    origin: String,
}

/// Reads the text of a `config.json`. `name` is the model's name, "deepseek-ai/DeepSeek-V3"; the part before the slash
/// appears only as the source of the figures.
pub fn from_config(json: &str, name: &str) -> Result<ImportedModel, ImportError> {
    let fields = Fields::parse(json)?;
    features::refuse(&fields)?;
    let mut notes = features::notes(&fields)?;
    let hidden = fields.count(&["hidden_size"], "the width of the residual stream")?;
    let layers = fields.count(&["num_hidden_layers", "num_layers"], "the number of layers")?;
    let moe = moe(&fields, layers, &mut notes)?;
    let dense = moe.as_ref().is_none_or(|moe| moe.first_dense_layers > 0);
    let width = || fields.count(&["intermediate_size", "ffn_hidden_size"], "the width of the feed-forward network");
    let spec = ModelSpec {
        name: name.rsplit('/').next().unwrap_or(name).to_owned(),
        hidden,
        layers,
        vocab: fields.count(&["vocab_size"], "the size of the vocabulary")?,
        tied_embeddings: tied_embeddings(&fields)?,
        attention: attention(&fields, hidden)?,
        dense_intermediate: if dense { Some(width()?) } else { None },
        moe,
        mtp_modules: fields.optional_number(&["num_nextn_predict_layers"])?.unwrap_or(0),
        source: Sources::default(),
    };
    spec.check().map_err(ImportError::Inconsistent)?;
    Ok(ImportedModel { spec, notes, origin: name.to_owned() })
}

impl ImportedModel {
    /// The text of a file under `models/`: the notes as comments, then the model with its source. The same model gives
    /// the same text.
    pub fn to_toml(&self) -> String {
        render::model(&self.spec, &self.notes, &self.origin)
    }
}

fn attention(fields: &Fields, hidden: Count) -> Result<AttentionSpec, ImportError> {
    let heads = fields.count(&["num_attention_heads"], "the number of attention heads")?;
    if let Some(kv_lora_rank) = fields.optional_count(&["kv_lora_rank"])? {
        return Ok(AttentionSpec::Mla(MlaSpec {
            heads,
            q_lora_rank: fields.optional_count(&["q_lora_rank"])?,
            kv_lora_rank,
            qk_nope_head_dim: fields.count(&["qk_nope_head_dim"], "the width of a head without rotary position")?,
            qk_rope_head_dim: fields.count(&["qk_rope_head_dim"], "the width of a head's rotary part")?,
            v_head_dim: fields.count(&["v_head_dim"], "the width of a value head")?,
        }));
    }
    let head_dim = match fields.optional_count(&["head_dim"])? {
        Some(width) => width,
        None if hidden.get().is_multiple_of(heads.get()) => {
            Count::new(hidden.get() / heads.get()).expect("a divisor's quotient")
        }
        None => return Err(ImportError::Missing { names: vec!["head_dim"], meaning: "the width of a head" }),
    };
    Ok(AttentionSpec::Gqa(GqaSpec {
        heads,
        kv_heads: fields.optional_count(&["num_key_value_heads"])?.unwrap_or(heads),
        head_dim,
        qkv_bias: features::qkv_bias(fields)?,
    }))
}

fn moe(fields: &Fields, layers: Count, notes: &mut Vec<String>) -> Result<Option<MoeSpec>, ImportError> {
    const EXPERTS: [&str; 3] = ["n_routed_experts", "num_local_experts", "num_experts"];
    let Some(routed_experts) = fields.optional_number(&EXPERTS)?.and_then(Count::new) else {
        return features::refuse_unnumbered_experts(fields, &EXPERTS).map(|()| None);
    };
    let first_dense_layers = first_dense_layers(fields, layers)?;
    // Where nothing else is said, all feed-forward networks are experts, and their one width is that of each.
    let intermediate: &[&str] = match first_dense_layers {
        0 => &["moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size"],
        _ => &["moe_intermediate_size", "expert_ffn_hidden_size"],
    };
    let intermediate = fields.count(intermediate, "the width of an expert")?;
    let (groups, groups_per_token) = groups(fields)?;
    Ok(Some(MoeSpec {
        routed_experts,
        experts_per_token: fields.count(
            &["num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_topk"],
            "the number of experts that a token visits",
        )?,
        shared_experts: shared_experts(fields, intermediate, notes)?,
        intermediate,
        first_dense_layers,
        groups,
        groups_per_token,
    }))
}

/// Experts that every token visits. A single wider one is the same as several: their outputs add up.
fn shared_experts(fields: &Fields, width: Count, notes: &mut Vec<String>) -> Result<u32, ImportError> {
    const WIDTH: &str = "shared_expert_intermediate_size";
    if let Some(experts) = fields.optional_number(&["n_shared_experts", "num_shared_experts"])? {
        return Ok(experts);
    }
    match fields.optional_number(&[WIDTH])? {
        None | Some(0) => Ok(0),
        Some(shared) if shared.is_multiple_of(width.get()) => {
            notes.push("the gate of the shared expert, one vector per layer, is left out".to_owned());
            Ok(shared / width.get())
        }
        Some(shared) => Err(ImportError::Unsupported {
            name: WIDTH,
            what: format!("a shared expert of width {shared}, no multiple of the routed experts' {width}"),
        }),
    }
}

/// Groups of experts, and groups that a token may reach.
fn groups(fields: &Fields) -> Result<(Count, Count), ImportError> {
    let unlimited = fields.text("topk_method")? == "greedy";
    let groups = fields.optional_count(&["n_group"])?.filter(|groups| groups.get() > 1 && !unlimited);
    let Some(groups) = groups else { return Ok((Count::ONE, Count::ONE)) };
    Ok((groups, fields.count(&["topk_group"], "the number of expert groups that a token may reach")?))
}

/// Layers before the first mixture of experts, after which every layer must have one.
fn first_dense_layers(fields: &Fields, layers: Count) -> Result<u32, ImportError> {
    for name in ["moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step"] {
        let Some(value) = fields.get(name).filter(|value| !value.is_array()) else { continue };
        if value.as_u64() != Some(1) {
            let what = format!("mixtures of experts in one layer of {} only", shown(value));
            return Err(ImportError::Unsupported { name, what });
        }
    }
    if let Some(first) = fields.optional_number(&["first_k_dense_replace"])? {
        return Ok(first);
    }
    const DENSE: &str = "mlp_only_layers";
    const SPARSE: &str = "moe_layer_freq";
    let dense = fields.list(DENSE)?;
    if dense.iter().enumerate().any(|(layer, listed)| listed.as_u64() != Some(layer as u64)) {
        let what = "dense feed-forward networks elsewhere than in the first layers".to_owned();
        return Err(ImportError::Unsupported { name: DENSE, what });
    }
    let Some(sparse) = fields.get(SPARSE).and_then(|value| value.as_array()) else {
        return Ok(dense.len() as u32);
    };
    let first = sparse.iter().take_while(|layer| layer.as_u64() == Some(0)).count();
    if sparse.len() != layers.index() || sparse[first..].iter().any(|layer| layer.as_u64() != Some(1)) {
        let what = format!("something else than first dense layers, then mixtures of experts, in {layers} layers");
        return Err(ImportError::Unsupported { name: SPARSE, what });
    }
    Ok(first as u32)
}

/// Configurations omit what is their family's default: tied for Gemma and Cohere, untied for the others.
fn tied_embeddings(fields: &Fields) -> Result<bool, ImportError> {
    let family = fields.text("model_type")?;
    let default = family.starts_with("gemma") || family.starts_with("cohere");
    Ok(fields.flag("tie_word_embeddings")?.unwrap_or(default))
}
