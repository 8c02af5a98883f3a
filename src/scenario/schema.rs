//! JSON Schemas of our TOML files, for editors.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// The schema of files that hold a `T`. Any table may extend files, so that nothing is required of it.
pub fn schema_for<T: JsonSchema>(title: &str) -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    loosen(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!(title));
    }
    sorted(schema)
}

fn loosen(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("required");
            object.remove("format");
            object.remove("default");
            without_null(object);
            object.values_mut().for_each(loosen);
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                let extends = json!({
                    "description": "Files that this table builds on, relative to this file; later ones win, and so do the keys given here",
                    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
                });
                properties.insert("extends".to_owned(), extends);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(loosen),
        _ => {}
    }
}

/// TOML has no null: what may be left out is simply left out.
fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// The same value with keys in alphabetical order, so that the text never depends on how structs are written.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(String, Value)> =
                object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(elements) => Value::Array(elements.into_iter().map(sorted).collect()),
        other => other,
    }
}
