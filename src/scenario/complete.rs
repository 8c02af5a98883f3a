//! An input with what its files leave out: every key that was taken by default, and the names of those that have no value.

use super::resolved::Absent;
use super::tree::{Entry, Node, Span, Table, Value};
use serde_json::Value as Json;

/// Adds to `node` every key that `read`, which was read from it, has beyond it; what the files say stays as they say it. Keys
/// without a value are noted in `absent` under the path of their table.
pub(super) fn complete(node: &mut Node, read: &Json, path: &mut Vec<String>, absent: &mut Absent) {
    match (&mut node.value, read) {
        (Value::Table(table), Json::Object(read)) => {
            for (key, value) in read {
                if value.is_null() {
                    absent.entry(path.clone()).or_default().push(key.clone());
                    continue;
                }
                if table.get(key).is_none() {
                    let added = Node { value: value_of(value, &node.span), span: node.span.clone() };
                    table.0.push(Entry { key: key.clone(), key_span: node.span.clone(), node: added });
                }
                let entry = table.get_mut(key).expect("it was there or was added");
                path.push(key.clone());
                complete(&mut entry.node, value, path, absent);
                path.pop();
            }
        }
        // Elements are written in one line, which has no place to name what is absent.
        (Value::Array(elements), Json::Array(read)) => {
            for (element, read) in elements.iter_mut().zip(read) {
                complete(element, read, &mut Vec::new(), &mut Absent::new());
            }
        }
        _ => {}
    }
}

/// A value as TOML has it; what is null is left out.
fn value_of(json: &Json, span: &Span) -> Value {
    let node = |json: &Json| Node { value: value_of(json, span), span: span.clone() };
    match json {
        Json::Null => Value::Table(Table::default()),
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(elements) => Value::Array(elements.iter().map(node).collect()),
        Json::Object(entries) => {
            let there = entries.iter().filter(|(_, value)| !value.is_null());
            let entry =
                |(key, value): (&String, &Json)| Entry { key: key.clone(), key_span: span.clone(), node: node(value) };
            Value::Table(Table(there.map(entry).collect()))
        }
    }
}
