//! Writing a model as the text of a file under `models/`.

use crate::model::{AttentionSpec, ModelSpec, MoeSpec};
use std::fmt::Write;

/// The lines of one table.
struct Table(String);

impl Table {
    fn put(&mut self, key: &str, value: impl std::fmt::Display) {
        writeln!(self.0, "{key} = {value}").expect("text grows");
    }

    fn open(&mut self, name: &str) {
        writeln!(self.0, "\n[{name}]").expect("text grows");
    }

    fn comment(&mut self, text: &str) {
        writeln!(self.0, "# {}", text.escape_debug()).expect("text grows");
    }
}

/// `spec` with its `notes` as comments; every figure's source is the configuration that `origin` names.
pub(super) fn model(spec: &ModelSpec, notes: &[String], origin: &str) -> String {
    let mut table = Table("#:schema ../schemas/model.schema.json\n".to_owned());
    for note in notes {
        table.comment(&format!("Note: {note}."));
    }
    table.0.push('\n');
    table.put("name", quoted(&spec.name));
    table.put("hidden", spec.hidden);
    table.put("layers", spec.layers);
    table.put("vocab", spec.vocab);
    if spec.tied_embeddings {
        table.put("tied_embeddings", true);
    }
    if let Some(width) = spec.dense_intermediate {
        table.put("dense_intermediate", width);
    }
    if spec.mtp_modules > 0 {
        table.put("mtp_modules", spec.mtp_modules);
    }
    attention(&mut table, &spec.attention);
    if let Some(spec) = &spec.moe {
        moe(&mut table, spec);
    }
    source(&mut table, spec, origin);
    table.0
}

fn attention(table: &mut Table, attention: &AttentionSpec) {
    match attention {
        AttentionSpec::Mla(mla) => {
            table.open("attention.mla");
            table.put("heads", mla.heads);
            if let Some(rank) = mla.q_lora_rank {
                table.put("q_lora_rank", rank);
            }
            table.put("kv_lora_rank", mla.kv_lora_rank);
            table.put("qk_nope_head_dim", mla.qk_nope_head_dim);
            table.put("qk_rope_head_dim", mla.qk_rope_head_dim);
            table.put("v_head_dim", mla.v_head_dim);
        }
        AttentionSpec::Gqa(gqa) => {
            table.open("attention.gqa");
            table.put("heads", gqa.heads);
            table.put("kv_heads", gqa.kv_heads);
            table.put("head_dim", gqa.head_dim);
            if gqa.qkv_bias {
                table.put("qkv_bias", true);
            }
        }
    }
}

fn moe(table: &mut Table, moe: &MoeSpec) {
    table.open("moe");
    table.put("routed_experts", moe.routed_experts);
    table.put("experts_per_token", moe.experts_per_token);
    if moe.shared_experts > 0 {
        table.put("shared_experts", moe.shared_experts);
    }
    table.put("intermediate", moe.intermediate);
    if moe.first_dense_layers > 0 {
        table.put("first_dense_layers", moe.first_dense_layers);
    }
    if moe.groups.get() > 1 {
        table.put("groups", moe.groups);
        table.put("groups_per_token", moe.groups_per_token);
    }
}

fn source(table: &mut Table, spec: &ModelSpec, origin: &str) {
    let keys = [
        ("hidden", true),
        ("layers", true),
        ("vocab", true),
        ("tied_embeddings", spec.tied_embeddings),
        ("dense_intermediate", spec.dense_intermediate.is_some()),
        ("mtp_modules", spec.mtp_modules > 0),
        ("attention", true),
        ("moe", spec.moe.is_some()),
    ];
    table.open("source");
    for (key, _) in keys.into_iter().filter(|(_, there)| *there) {
        table.put(&quoted(key), quoted(&format!("config.json of {origin}")));
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => write!(quoted, "\\u{:04X}", c as u32).expect("text grows"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
