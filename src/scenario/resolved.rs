//! The merged tree as TOML again: what a run really started from.

use super::tree::{Table, Value};
use std::fmt::Write;

/// Renders `root`. The same tree gives the same text, and the text reads back as the same tree.
pub(super) fn toml(root: &Table) -> String {
    let mut text = String::new();
    table(&mut text, &mut Vec::new(), root);
    text
}

/// Values first: TOML counts what follows a header to that header's table.
fn table(text: &mut String, path: &mut Vec<String>, content: &Table) {
    let (tables, values): (Vec<_>, Vec<_>) =
        content.0.iter().partition(|entry| matches!(entry.node.value, Value::Table(_)));
    if !path.is_empty() && (!values.is_empty() || tables.is_empty()) {
        let gap = if text.is_empty() { "" } else { "\n" };
        writeln!(text, "{gap}[{}]", path.join(".")).expect("writing to a string");
    }
    for entry in values {
        writeln!(text, "{} = {}", key(&entry.key), value(&entry.node.value)).expect("writing to a string");
    }
    for entry in tables {
        let Value::Table(inner) = &entry.node.value else { unreachable!("partitioned above") };
        path.push(key(&entry.key));
        table(text, path, inner);
        path.pop();
    }
}

fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { quoted(name) }
}

fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Integer(integer) => integer.to_string(),
        // A float keeps its point, so that it reads back as one.
        Value::Float(float) => format!("{float:?}"),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(|element| self::value(&element.value)).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Table(table) => {
            let entry =
                |entry: &super::tree::Entry| format!("{} = {}", key(&entry.key), self::value(&entry.node.value));
            format!("{{ {} }}", table.0.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => write!(quoted, "\\u{:04X}", c as u32).expect("writing to a string"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
