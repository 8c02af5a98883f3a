//! Files that extend files: later keys win, tables merge, everything else is replaced.
//!
//! `extends` is itself a key like any other until it is followed. A file that extends another and says anew what one of its tables
//! extends therefore replaces that table's base and keeps what the other file changed in it.

use super::error::Finding;
use super::texts::{Texts, near_files};
use super::tree::{Entry, Node, Table, Value};
use std::path::{Path, PathBuf};

const EXTENDS: &str = "extends";

/// Lays `over` on `base`.
pub(super) fn merge(base: &mut Table, over: Table) -> Result<(), Finding> {
    for entry in over.0 {
        match base.get_mut(&entry.key) {
            None => base.0.push(entry),
            Some(below) => merge_entry(below, entry)?,
        }
    }
    Ok(())
}

fn merge_entry(below: &mut Entry, over: Entry) -> Result<(), Finding> {
    match (&mut below.node.value, over.node.value) {
        (Value::Table(base), Value::Table(over_table)) => {
            merge(base, over_table)?;
            below.node.span = over.node.span;
            below.key_span = over.key_span;
        }
        (Value::Table(_), value) if over.key != EXTENDS => {
            let message = format!("`{}` is a table in the file below, and cannot become {}", over.key, value.kind());
            let finding = Finding::at(over.node.span, message).other(below.key_span.clone(), "the table");
            let key = &over.key;
            let help =
                format!("change keys below it, as `{key}.KEY`, or the file that it builds on, as `{key}.extends`");
            return Err(finding.help(Some(help)));
        }
        // A choice without anything to set is a text, and may give way to one that is a table.
        (value, Value::Table(_)) if !matches!(value, Value::Text(_)) => {
            let message = format!("`{}` is {} in the file below, and cannot become a table", over.key, value.kind());
            return Err(Finding::at(over.key_span, message).other(below.node.span.clone(), "the value"));
        }
        (_, value) => *below = Entry { node: Node { value, span: over.node.span }, ..over },
    }
    Ok(())
}

/// Replaces every `extends` below and including `node` by what it names.
pub(super) fn expand(node: &mut Node, texts: &mut Texts, open: &[PathBuf]) -> Result<(), Finding> {
    match &mut node.value {
        Value::Table(table) => {
            // What a file extends at its root is followed here; what it extends further down comes up again below, and must
            // not lead back into a file that this table is already made of.
            let mut open = open.to_vec();
            let chain = open.clone();
            resolve(table, texts, &chain, &mut open)?;
            table.0.iter_mut().try_for_each(|entry| expand(&mut entry.node, texts, &open))
        }
        Value::Array(elements) => elements.iter_mut().try_for_each(|element| expand(element, texts, open)),
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(()),
    }
}

/// The files that an `extends` names, with the place that names each.
fn bases(entry: &Entry, texts: &Texts) -> Result<Vec<(PathBuf, Node)>, Finding> {
    let named = match &entry.node.value {
        Value::Text(_) => vec![entry.node.clone()],
        Value::Array(elements) => elements.clone(),
        _ => vec![entry.node.clone()],
    };
    let path = |node: Node| match &node.value {
        Value::Text(path) => Ok((tidy(&texts.all[node.span.text].folder.join(path)), node)),
        other => {
            let message = format!("`extends` names files, and this is {}", other.kind());
            Err(Finding::at(node.span, message)
                .help(Some("write `extends = \"file.toml\"` or `extends = [\"a.toml\", \"b.toml\"]`".to_owned())))
        }
    };
    named.into_iter().map(path).collect()
}

/// Replaces the `extends` of this one table, not of those below it. `chain` leads here; all files met are added to `met`.
fn resolve(table: &mut Table, texts: &mut Texts, chain: &[PathBuf], met: &mut Vec<PathBuf>) -> Result<(), Finding> {
    let Some(entry) = table.remove(EXTENDS) else { return Ok(()) };
    let mut base = Table::default();
    for (path, mention) in bases(&entry, texts)? {
        merge(&mut base, follow(&path, &mention, texts, chain, met)?)?;
    }
    merge(&mut base, std::mem::take(table))?;
    *table = base;
    Ok(())
}

/// The root of a file, with what that extends in turn but nothing below it expanded.
fn follow(
    path: &Path,
    mention: &Node,
    texts: &mut Texts,
    chain: &[PathBuf],
    met: &mut Vec<PathBuf>,
) -> Result<Table, Finding> {
    if chain.iter().any(|file| file == path) {
        let names: Vec<String> = chain.iter().map(|file| file.display().to_string()).collect();
        let finding = Finding::at(mention.span.clone(), format!("{} extends itself", path.display()));
        return Err(finding.note(format!("by way of {}", names.join(", "))));
    }
    if !path.is_file() {
        let finding = Finding::at(mention.span.clone(), format!("there is no file {}", path.display()));
        return Err(finding.help(near_files(path)));
    }
    met.push(path.to_owned());
    let root = texts.file(path)?;
    let Value::Table(mut table) = root.value else { unreachable!("the root of a file is a table") };
    let chain = [chain, &[path.to_owned()]].concat();
    resolve(&mut table, texts, &chain, met)?;
    Ok(table)
}

/// The same path without detours through `..`, as people would write it.
pub(super) fn tidy(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut parts: Vec<Component<'_>> = Vec::new();
    for part in path.components() {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.iter().collect()
}
