//! What else can be said of a mistake by asking the wanted type again: what a missing key is to hold, and which choice has a key that
//! another one lacks.
//!
//! The type is asked by handing it the same tree with one thing changed, so that no list of keys is kept beside the types.

use super::deserialize::{About, Error};
use super::error::Finding;
use super::texts::Texts;
use super::tree::{Entry, Node, Span, Table, Value};
use serde::de::DeserializeOwned;

/// Where things stand that were put into a tree only to see what becomes of them.
const PROBE: Span = Span { text: usize::MAX, range: 0..0 };

/// The finding of `error`, which came up when `root` was to become a `T`, with what more can be said.
pub(super) fn explained<T: DeserializeOwned>(error: Error, root: &Node, texts: &Texts) -> Finding {
    let Error { finding, about } = error;
    let is_set = finding.span().is_some_and(|span| texts.all[span.text].is_set);
    match about {
        About::Missing(name) => match wanted::<T>(name, &finding, root) {
            Some(wanted) => finding.note(format!("`{name}` is {wanted}")),
            None => finding,
        },
        About::NoKeyOf { chosen, choices, span } => {
            let others = choices.iter().filter(|name| chosen.as_deref() != Some(**name));
            let having: Vec<String> =
                others.filter(|name| has::<T>(name, &finding, &span, root)).map(|name| format!("`{name}`")).collect();
            let finding = if is_set { with_paths(finding, root) } else { finding };
            match having.as_slice() {
                [] => finding,
                [one] => finding.note(format!("the choice {one} has this key")),
                several => finding.note(format!("the choices {} have this key", several.join(", "))),
            }
        }
        About::UnknownKey if is_set => with_paths(finding, root),
        About::SecondChoice(first) if is_set => {
            let help = format!("an overlay changes the choice that was made, `{first}`, and makes no other");
            finding.help(Some(help))
        }
        _ => finding,
    }
}

/// The same finding about a key, with the places at which there is a key of this name.
fn with_paths(finding: Finding, root: &Node) -> Finding {
    let Some(span) = finding.span() else { return finding };
    let Some(entry) = entry_at(root, span) else { return finding };
    let mut paths = Vec::new();
    paths_to(root, &entry, "", &mut paths);
    match paths.as_slice() {
        [] => finding,
        [one] => finding.help(Some(format!("did you mean {one}?"))),
        // A name that is everywhere, as `name` is, says nothing.
        several if several.len() > 4 => finding,
        several => finding.help(Some(format!("did you mean one of {}?", several.join(", ")))),
    }
}

fn paths_to(node: &Node, wanted: &Entry, above: &str, found: &mut Vec<String>) {
    let Value::Table(table) = &node.value else { return };
    for entry in &table.0 {
        if entry.key == wanted.key && entry.key_span != wanted.key_span {
            found.push(format!("`{above}{}`", entry.key));
        }
        paths_to(&entry.node, wanted, &format!("{above}{}.", entry.key), found);
    }
}

/// What the missing key `name` is to hold, seen by what is said of an empty table there.
fn wanted<T: DeserializeOwned>(name: &str, finding: &Finding, root: &Node) -> Option<String> {
    let mut root = root.clone();
    let node = table_at(&mut root, finding.span()?)?;
    let Value::Table(table) = &mut node.value else { return None };
    table.0.push(probe(name, Value::Table(Table::default())));
    let again = T::deserialize(&root).err().filter(|again| again.finding.span() == Some(&PROBE))?;
    match again.about {
        About::Wanted(wanted) => Some(wanted),
        About::Missing(_) => Some("a table".to_owned()),
        _ => None,
    }
}

/// Whether the choice `name` at `span` has the key that `finding` is about.
fn has<T: DeserializeOwned>(name: &str, finding: &Finding, span: &Span, root: &Node) -> bool {
    let mut root = root.clone();
    let (Some(key_span), Some(node)) = (finding.span(), table_at(&mut root, span)) else { return false };
    let Some(entry) = entry_at(node, key_span) else { return false };
    node.value = Value::Table(Table(vec![probe(name, Value::Table(Table(vec![entry])))]));
    match T::deserialize(&root) {
        Ok(_) => true,
        Err(again) if again.finding.span() == Some(key_span) => {
            !matches!(again.about, About::UnknownKey | About::NoKeyOf { .. })
        }
        // Of a choice that has nothing to set, the whole table is refused.
        Err(again) if again.finding.span() == Some(&PROBE) => matches!(again.about, About::Missing(_)),
        Err(_) => true,
    }
}

fn probe(key: &str, value: Value) -> Entry {
    Entry { key: key.to_owned(), key_span: PROBE, node: Node { value, span: PROBE } }
}

/// The table that stands at `span`.
fn table_at<'a>(node: &'a mut Node, span: &Span) -> Option<&'a mut Node> {
    if node.span == *span && matches!(node.value, Value::Table(_)) {
        return Some(node);
    }
    match &mut node.value {
        Value::Table(table) => table.0.iter_mut().find_map(|entry| table_at(&mut entry.node, span)),
        Value::Array(elements) => elements.iter_mut().find_map(|element| table_at(element, span)),
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => None,
    }
}

/// The entry below `node` whose key stands at `span`.
fn entry_at(node: &Node, span: &Span) -> Option<Entry> {
    let Value::Table(table) = &node.value else { return None };
    let here = table.0.iter().find(|entry| entry.key_span == *span).cloned();
    here.or_else(|| table.0.iter().find_map(|entry| entry_at(&entry.node, span)))
}
