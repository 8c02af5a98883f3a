//! What models do that a description here cannot say: refused or noted.

use super::fields::{Fields, ImportError, shown};

/// Fields whose presence says that figures would be wrong, and what they stand for.
const REFUSED: &[(&str, &str)] = &[
    ("index_topk", "sparse attention over an indexer's choice"),
    ("num_kv_shared_layers", "layers that share a key-value cache"),
    ("cross_attention_layers", "cross-attention"),
    ("full_attention_interval", "linear attention in some layers"),
    ("linear_attn_config", "linear attention in some layers"),
    ("attn_type_list", "linear attention in some layers"),
    ("attention_chunk_size", "attention within chunks"),
    ("intermediate_size_mlp", "dense layers and shared experts of a width of their own"),
    ("attn_layer_period", "state-space layers"),
    ("hybrid_override_pattern", "state-space layers"),
    ("mamba_d_state", "state-space layers"),
    ("ssm_cfg", "state-space layers"),
    ("global_head_dim", "heads of different widths"),
    ("shared_intermediate_size", "a shared feed-forward network beside the experts"),
    ("block_configs", "layers of different shapes"),
];

/// Beginnings of the types of models whose configurations are understood.
const FAMILIES: &[&str] =
    &["deepseek", "kimi", "qwen", "llama", "mistral", "mixtral", "ministral", "gemma", "gpt_oss", "glm", "phi", "olmo"];

/// Refuses models whose figures would be wrong.
pub(super) fn refuse(fields: &Fields) -> Result<(), ImportError> {
    for (name, what) in REFUSED {
        let says_nothing = |value: &serde_json::Value| value.as_u64() == Some(0) || *value == serde_json::json!([]);
        if fields.get(name).is_some_and(|value| !says_nothing(value)) {
            return Err(ImportError::Unsupported { name, what: (*what).to_owned() });
        }
    }
    if fields.flag("is_encoder_decoder")? == Some(true) {
        let what = "an encoder beside the decoder".to_owned();
        return Err(ImportError::Unsupported { name: "is_encoder_decoder", what });
    }
    for layer in fields.list("layer_types")? {
        if !matches!(layer.as_str(), Some("full_attention" | "sliding_attention")) {
            let what = format!("layers of type {}", shown(layer));
            return Err(ImportError::Unsupported { name: "layer_types", what });
        }
    }
    refuse_ungated(fields)
}

/// Feed-forward networks have three matrices here; without a gate they would have two.
fn refuse_ungated(fields: &Fields) -> Result<(), ImportError> {
    let gemma = fields.text("model_type")?.starts_with("gemma");
    for name in ["hidden_act", "hidden_activation", "activation_function", "activation"] {
        match fields.text(name)? {
            "" | "silu" | "swish" | "swiglu" => {}
            _ if gemma => {}
            other => {
                let what = format!("feed-forward networks with {other:?}, which have no gate in most models");
                return Err(ImportError::Unsupported { name, what });
            }
        }
    }
    Ok(())
}

/// Refuses experts of which nobody says how many there are: without them the model would be described as dense.
pub(super) fn refuse_unnumbered_experts(fields: &Fields, names: &[&'static str]) -> Result<(), ImportError> {
    const OF_EXPERTS: [&str; 6] = [
        "num_experts_per_tok",
        "num_experts_per_token",
        "moe_topk",
        "moe_intermediate_size",
        "expert_ffn_hidden_size",
        "n_shared_experts",
    ];
    let says = |name: &&&'static str| fields.get(name).is_some_and(|value| value.as_u64() != Some(0));
    let is_numbered = names.iter().any(|name| fields.get(name).is_some());
    match OF_EXPERTS.iter().find(says) {
        Some(_) if !is_numbered => {
            Err(ImportError::Missing { names: names.to_vec(), meaning: "the number of routed experts" })
        }
        _ => Ok(()),
    }
}

/// What stays right, or nearly so, and is worth knowing.
pub(super) fn notes(fields: &Fields) -> Result<Vec<String>, ImportError> {
    let mut notes = Vec::new();
    let family = fields.text("model_type")?;
    if !family.is_empty() && !FAMILIES.iter().any(|known| family.starts_with(known)) {
        notes.push(format!(
            "nobody has compared models of type {family:?} with a description: layers that work otherwise than those of \
             Llama, Qwen, Mixtral or DeepSeek are not noticed; check every figure"
        ));
    }
    if fields.is_nested() {
        notes.push("only the text model is described; encoders of images or sound are left out".to_owned());
    }
    let windowed = fields.list("layer_types")?.iter().any(|layer| layer.as_str() == Some("sliding_attention"))
        || fields.get("layer_types").is_none() && fields.flag("use_sliding_window")? != Some(false);
    if let Some(window) = fields.optional_number(&["sliding_window"])?.filter(|_| windowed) {
        notes.push(format!(
            "attention slides over {window} tokens in some or all layers; it is described as full, so that cache and \
             work are upper bounds beyond that"
        ));
    }
    if fields.flag("attention_bias")? == Some(true) {
        notes.push("a bias of the output projection of attention, where there is one, is left out".to_owned());
    }
    if family.starts_with("qwen3") || family.starts_with("gemma3") || fields.flag("use_qk_norm")? == Some(true) {
        notes.push("the norms of queries and keys, two vectors of a head's width per layer, are left out".to_owned());
    }
    if family == "gpt_oss" {
        notes.push("the biases of gates and experts and the sinks of attention are left out".to_owned());
    }
    if let Some(method) = fields.get("quantization_config").and_then(|config| config.get("quant_method")) {
        notes.push(format!("the published weights are quantized ({}); formats belong to a scenario", shown(method)));
    }
    Ok(notes)
}

/// Whether queries, keys and values have biases. Qwen2 has them without saying so.
pub(super) fn qkv_bias(fields: &Fields) -> Result<bool, ImportError> {
    let stated = match fields.flag("attention_bias")? {
        Some(stated) => Some(stated),
        None => fields.flag("qkv_bias")?,
    };
    Ok(stated.unwrap_or(fields.text("model_type")?.starts_with("qwen2")))
}
