//! The merged tree as TOML again: what a run really started from.

use super::tree::{Node, Span, Table, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Keys that have no value, by the path of their table.
pub(super) type Absent = BTreeMap<Vec<String>, Vec<String>>;

/// Renders `root`, with a remark for each key that is `absent`. The same tree gives the same text, and the text reads back as the
/// same tree.
pub(super) fn toml(root: &Table, absent: &Absent) -> String {
    let mut text = String::new();
    table(&mut text, &mut Vec::new(), root, absent);
    text
}

/// Values first: TOML counts what follows a header to that header's table.
fn table(text: &mut String, path: &mut Vec<String>, content: &Table, absent: &Absent) {
    let (tables, values): (Vec<_>, Vec<_>) =
        content.0.iter().partition(|entry| matches!(entry.node.value, Value::Table(_)));
    let without = absent.get(path).map_or(&[][..], Vec::as_slice);
    if !path.is_empty() && (!values.is_empty() || tables.is_empty() || !without.is_empty()) {
        let gap = if text.is_empty() { "" } else { "\n" };
        let header: Vec<String> = path.iter().map(|name| key(name)).collect();
        writeln!(text, "{gap}[{}]", header.join(".")).expect("writing to a string");
    }
    for entry in values {
        writeln!(text, "{} = {}", key(&entry.key), value(&entry.node.value)).expect("writing to a string");
    }
    for name in without {
        writeln!(text, "# {}: not given", key(name)).expect("writing to a string");
    }
    for entry in tables {
        let Value::Table(inner) = &entry.node.value else { unreachable!("partitioned above") };
        path.push(entry.key.clone());
        table(text, path, inner, absent);
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

/// Keys whose values are for people.
const FOR_PEOPLE: &[&str] = &["source", "description"];

/// Every value below `root` that is no table, with its dotted path and its place; each table of a list is a value of its own.
pub(super) fn leaves(root: &Node) -> Vec<(String, String, &Span)> {
    let mut found = Vec::new();
    collect(root, "", &mut found);
    found
}

fn collect<'n>(node: &'n Node, path: &str, found: &mut Vec<(String, String, &'n Span)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match &node.value {
        Value::Table(table) => {
            for entry in table.0.iter().filter(|entry| !FOR_PEOPLE.contains(&entry.key.as_str())) {
                collect(&entry.node, &below(&key(&entry.key)), found);
            }
        }
        Value::Array(elements) if elements.iter().any(|element| matches!(element.value, Value::Table(_))) => {
            // Elements are called by what they begin with rather than by their place, which changes when another one goes.
            let mut met: Vec<String> = Vec::new();
            for element in elements {
                let name = match &element.value {
                    Value::Table(table) => table.0.first().map_or_else(String::new, |entry| value(&entry.node.value)),
                    other => value(other),
                };
                met.push(name.clone());
                let again = met.iter().filter(|known| **known == name).count();
                let again = if again > 1 { format!(" #{again}") } else { String::new() };
                found.push((format!("{path}[{name}{again}]"), value(&element.value), &element.span));
            }
        }
        plain => found.push((path.to_owned(), value(plain), &node.span)),
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
