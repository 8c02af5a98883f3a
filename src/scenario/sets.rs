//! `--set a.b.c=value`: one value from the command line or from a study, laid over the file.

use super::error::Finding;
use super::texts::{Text, Texts};
use super::tree::{Node, Span, Table, Value};
use std::path::PathBuf;

/// One value to lay over a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// What messages call it: "--set #1".
    pub name: String,
    /// `a.b.c=value`.
    pub text: String,
    /// The folder from which relative paths in it start.
    pub folder: PathBuf,
}

impl Overlay {
    /// The overlays that the `--set` options of a command line ask for.
    pub(super) fn of_options(sets: &[String]) -> Vec<Overlay> {
        let overlay = |(number, set): (usize, &String)| Overlay {
            name: format!("--set #{number}"),
            text: set.clone(),
            folder: PathBuf::new(),
        };
        (1..).zip(sets).map(overlay).collect()
    }
}

/// The table that one overlay amounts to.
pub(super) fn overlay(overlay: &Overlay, texts: &mut Texts) -> Result<Table, Finding> {
    let set = overlay.text.as_str();
    let text = |content: &str| Text {
        name: overlay.name.clone(),
        content: content.into(),
        folder: overlay.folder.clone(),
        is_set: true,
    };
    let how = || Some("write --set a.b.c=value, for example --set hardware.scale_up.latency=\"1 us\"".to_owned());
    let at = |texts: &mut Texts, range: std::ops::Range<usize>, message: &str| {
        texts.all.push(text(set));
        Finding::at(Span { text: texts.all.len() - 1, range }, message).help(how())
    };
    let Some(equals) = set.find('=') else {
        return Err(at(texts, 0..set.len(), "this overlay has no `=`"));
    };
    if set[..equals].trim().is_empty() {
        return Err(at(texts, 0..equals + 1, "this overlay names no key"));
    }
    if set[..equals].contains('[') {
        return Err(at(texts, 0..equals, "an overlay cannot reach into a list; give the whole list"));
    }
    if let Ok(root) = texts.parse(text(set)) {
        return Ok(into_table(root));
    }
    texts.forget_last();
    // Not TOML as it stands, so that the value is taken as a text: --set a.b=50 GB/s.
    let value = set[equals + 1..].trim();
    let start = equals + 1 + (set[equals + 1..].len() - set[equals + 1..].trim_start().len());
    let keys = format!("{} = 0", &set[..equals]);
    let parsed = texts.parse(text(&keys));
    let index = texts.all.len() - 1;
    texts.all[index].content = set.into();
    let mut root = parsed
        .map_err(|_| Finding::at(Span { text: index, range: 0..equals }, "this is not a dotted key").help(how()))?;
    let span = Span { text: index, range: start..start + value.len() };
    *leaf(&mut root) = Node { value: Value::Text(value.to_owned()), span };
    Ok(into_table(root))
}

fn leaf(node: &mut Node) -> &mut Node {
    if !matches!(node.value, Value::Table(_)) {
        return node;
    }
    match &mut node.value {
        Value::Table(table) => leaf(&mut table.0[0].node),
        _ => unreachable!("checked above"),
    }
}

fn into_table(root: Node) -> Table {
    match root.value {
        Value::Table(table) => table,
        _ => unreachable!("the root of a text is a table"),
    }
}
