//! Configurations as publishers write them, and what is made of them.

use super::super::published;
use super::*;

const DEEPSEEK_V3: &str = r#"{
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "vocab_size": 129280,
    "intermediate_size": 18432, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 256,
    "num_experts_per_tok": 8, "n_shared_experts": 1, "moe_intermediate_size": 2048, "first_k_dense_replace": 3,
    "moe_layer_freq": 1, "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc", "num_nextn_predict_layers": 1,
    "tie_word_embeddings": false, "hidden_act": "silu", "attention_bias": false,
    "quantization_config": {"quant_method": "fp8"}
}"#;
const DEEPSEEK_V2: &str = r#"{
    "model_type": "deepseek_v2", "hidden_size": 5120, "num_hidden_layers": 60, "vocab_size": 102400,
    "intermediate_size": 12288, "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 160,
    "num_experts_per_tok": 6, "n_shared_experts": 2, "moe_intermediate_size": 1536, "first_k_dense_replace": 1,
    "n_group": 8, "topk_group": 3, "topk_method": "group_limited_greedy"
}"#;
const DEEPSEEK_V2_LITE: &str = r#"{
    "model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27, "vocab_size": 102400,
    "intermediate_size": 10944, "num_attention_heads": 16, "q_lora_rank": null, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 64,
    "num_experts_per_tok": 6, "n_shared_experts": 2, "moe_intermediate_size": 1408, "first_k_dense_replace": 1,
    "n_group": 1, "topk_group": 1, "topk_method": "greedy"
}"#;
const QWEN2_5_72B: &str = r#"{
    "model_type": "qwen2", "hidden_size": 8192, "num_hidden_layers": 80, "vocab_size": 152064,
    "intermediate_size": 29568, "num_attention_heads": 64, "num_key_value_heads": 8, "sliding_window": 131072,
    "use_sliding_window": false, "tie_word_embeddings": false
}"#;
const LLAMA_405B: &str = r#"{
    "model_type": "llama", "hidden_size": 16384, "num_hidden_layers": 126, "vocab_size": 128256,
    "intermediate_size": 53248, "num_attention_heads": 128, "num_key_value_heads": 8, "hidden_act": "silu"
}"#;
const MIXTRAL: &str = r#"{
    "model_type": "mixtral", "hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 32000,
    "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
    "num_experts_per_tok": 2, "sliding_window": null
}"#;
const QWEN3_MOE: &str = r#"{
    "model_type": "qwen3_moe", "hidden_size": 4096, "num_hidden_layers": 94, "vocab_size": 151936,
    "intermediate_size": 12288, "moe_intermediate_size": 1536, "num_attention_heads": 64, "num_key_value_heads": 4,
    "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": []
}"#;

/// `json` with one field more, or another value of it.
fn with(json: &str, name: &str, value: serde_json::Value) -> String {
    let mut config: serde_json::Value = serde_json::from_str(json).expect("a configuration");
    config[name] = value;
    config.to_string()
}

fn import(json: &str) -> ImportedModel {
    from_config(json, "test/Model").expect("a model")
}

fn refusal(json: &str, name: &str, value: serde_json::Value) -> String {
    from_config(&with(json, name, value), "test/Model").expect_err("a refusal").to_string()
}

#[test]
fn published_configurations_give_the_models_of_this_repository() {
    let models = [
        (DEEPSEEK_V3, published::deepseek_v3()),
        (DEEPSEEK_V2, published::deepseek_v2()),
        (DEEPSEEK_V2_LITE, published::deepseek_v2_lite()),
        (QWEN2_5_72B, published::qwen2_5_72b()),
        (LLAMA_405B, published::llama3_1_405b()),
        (MIXTRAL, published::mixtral_8x7b()),
        (QWEN3_MOE, published::qwen3_235b_a22b()),
    ];
    for (json, model) in models {
        let imported = from_config(json, &format!("publisher/{}", model.name)).expect("a model");
        assert_eq!(imported.spec, ModelSpec { source: Sources::default(), ..model });
    }
}

#[test]
fn the_text_of_a_model_reads_back_with_its_sources() {
    for json in [DEEPSEEK_V3, DEEPSEEK_V2_LITE, QWEN2_5_72B, MIXTRAL] {
        let imported = import(json);
        let read: ModelSpec = toml::from_str(&imported.to_toml()).expect("a model");
        assert_eq!(read.source.of("attention"), Some("config.json of test/Model"));
        assert_eq!(ModelSpec { source: Sources::default(), ..read }, imported.spec);
    }
}

#[test]
fn the_text_of_a_model_is_laid_out_like_the_files_of_this_repository() {
    let imported = from_config(LLAMA_405B, "meta-llama/Llama-3.1-405B").expect("a model");
    let file = include_str!("../../../models/llama3_1_405b.toml").replace("; arXiv 2407.21783, table 3", "");
    assert_eq!(imported.to_toml(), file);
}

#[test]
fn names_cannot_break_out_of_the_text() {
    let name = "a \"quoted\"\nname\\\u{7f}";
    let imported = from_config(LLAMA_405B, name).expect("a model");
    let read: ModelSpec = toml::from_str(&imported.to_toml()).expect("a model");
    assert_eq!(read.name, name);
    let method = serde_json::json!({ "quant_method": "fp8\"\nlayers = 1" });
    let imported = import(&with(LLAMA_405B, "quantization_config", method));
    assert!(imported.to_toml().lines().all(|line| line != "layers = 1"));
}

#[test]
fn a_missing_field_is_named_with_its_alternatives() {
    let error = from_config(r#"{"hidden_size": 64}"#, "m").expect_err("an error");
    assert_eq!(error.to_string(), "the number of layers is missing (looked for `num_hidden_layers`, `num_layers`)");
    let error = refusal(DEEPSEEK_V3, "moe_intermediate_size", serde_json::Value::Null);
    let names = "`moe_intermediate_size`, `expert_ffn_hidden_size`";
    assert_eq!(error, format!("the width of an expert is missing (looked for {names})"));
}

#[test]
fn an_unexpected_value_is_shown() {
    assert_eq!(
        refusal(LLAMA_405B, "vocab_size", serde_json::json!("many")),
        "`vocab_size` is \"many\", but a whole number is wanted"
    );
    assert_eq!(
        refusal(LLAMA_405B, "num_hidden_layers", serde_json::json!(0)),
        "`num_hidden_layers` is 0, but a whole number of at least 1 is wanted"
    );
    assert!(refusal(LLAMA_405B, "num_key_value_heads", serde_json::json!(7)).contains("does not divide `heads = 128`"));
    let syntax = from_config("[1]", "m").expect_err("an error").to_string();
    assert_eq!(syntax, "a JSON object is wanted, found [1]");
    assert!(from_config("{", "m").expect_err("an error").to_string().starts_with("not JSON"));
}

#[test]
fn what_would_give_wrong_figures_is_refused() {
    let cases = [
        (DEEPSEEK_V3, "moe_layer_freq", serde_json::json!(2)),
        (DEEPSEEK_V3, "index_topk", serde_json::json!(2048)),
        (QWEN3_MOE, "decoder_sparse_step", serde_json::json!(2)),
        (QWEN3_MOE, "mlp_only_layers", serde_json::json!([3])),
        (QWEN3_MOE, "shared_expert_intermediate_size", serde_json::json!(2000)),
        (LLAMA_405B, "hidden_act", serde_json::json!("relu2")),
        (LLAMA_405B, "layer_types", serde_json::json!(["linear_attention"])),
        (LLAMA_405B, "is_encoder_decoder", serde_json::json!(true)),
    ];
    for (json, name, value) in cases {
        let error = from_config(&with(json, name, value), "m").expect_err(name);
        assert!(matches!(error, ImportError::Unsupported { name: found, .. } if found == name), "{error}");
    }
}

#[test]
fn leading_dense_layers_are_read_in_every_spelling() {
    let first = |json: &str| import(json).spec.moe.expect("a mixture of experts").first_dense_layers;
    assert_eq!(first(&with(QWEN3_MOE, "mlp_only_layers", serde_json::json!([0, 1]))), 2);
    let sparse: Vec<u32> = (0..94).map(|layer| u32::from(layer >= 5)).collect();
    assert_eq!(first(&with(QWEN3_MOE, "moe_layer_freq", serde_json::json!(sparse))), 5);
    let model = import(&with(QWEN3_MOE, "mlp_only_layers", serde_json::json!([0])));
    assert_eq!(model.spec.dense_intermediate, Count::new(12288));
}

#[test]
fn a_wide_shared_expert_counts_as_several() {
    let imported = import(&with(QWEN3_MOE, "shared_expert_intermediate_size", serde_json::json!(4 * 1536)));
    assert_eq!(imported.spec.moe.expect("a mixture of experts").shared_experts, 4);
    assert!(imported.notes.iter().any(|note| note.contains("gate of the shared expert")));
}

#[test]
fn simplifications_are_noted_in_the_text() {
    let layers = serde_json::json!(["sliding_attention", "full_attention"]);
    let config = with(&with(MIXTRAL, "layer_types", layers), "sliding_window", serde_json::json!(128));
    let text = import(&config).to_toml();
    assert!(text.contains("\n# Note: attention slides over 128 tokens"), "{text}");
    assert_eq!(import(QWEN2_5_72B).notes, Vec::<String>::new());
    assert_eq!(import(DEEPSEEK_V3).notes.len(), 1);
}

#[test]
fn the_text_model_of_a_larger_one_is_read() {
    let text: serde_json::Value = serde_json::from_str(LLAMA_405B).expect("a configuration");
    let config = serde_json::json!({ "model_type": "seeing", "text_config": text, "tie_word_embeddings": true });
    let imported = import(&config.to_string());
    assert!(imported.spec.tied_embeddings);
    assert_eq!(imported.spec.layers, published::llama3_1_405b().layers);
    assert_eq!(imported.notes.len(), 1);
}

#[test]
fn experts_that_nobody_numbers_are_refused_and_strange_families_noted() {
    let mut config: serde_json::Value = serde_json::from_str(QWEN3_MOE).expect("a configuration");
    config["num_experts"] = serde_json::Value::Null;
    let error = from_config(&config.to_string(), "test").expect_err("no number of experts");
    assert!(error.to_string().starts_with("the number of routed experts is missing"), "{error}");
    let strange = import(&with(LLAMA_405B, "model_type", "novel".into()));
    assert!(strange.notes[0].contains("nobody has compared models of type \"novel\""), "{:?}", strange.notes);
    assert!(import(LLAMA_405B).notes.is_empty());
}
