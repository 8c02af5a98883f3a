//! From a path and overlays to a typed value.

use super::complete::complete;
use super::error::{Finding, UserError};
use super::explained::explained;
use super::library::Library;
use super::merge::{expand, merge, tidy};
use super::resolved::Absent;
use super::sets::Overlay;
use super::texts::{Texts, near_files};
use super::tree::{Node, Span, Table, Value};
use super::{resolved, sets};
use crate::fingerprint::Fingerprint;
use crate::invalid::Invalid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// A value that was read, with all that is needed to say where it came from.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    root: Node,
    texts: Texts,
}

/// Reads `path` with everything that it extends, lays the overlays of `sets` over it in order, and turns the result into a `T`.
///
/// # Errors
/// The first mistake in the input, as a finished message.
pub fn load<T: DeserializeOwned>(path: &Path, sets: &[String]) -> Result<Loaded<T>, UserError> {
    load_with(path, &Overlay::of_options(sets), &Library::default())
}

/// The same for one of many inputs: files that `library` has are not read again.
///
/// # Errors
/// The first mistake in the input, as a finished message.
pub fn load_with<T: DeserializeOwned>(
    path: &Path,
    overlays: &[Overlay],
    library: &Library,
) -> Result<Loaded<T>, UserError> {
    let mut texts = Texts::with_library(library);
    let value = read(path, overlays, &mut texts);
    match value {
        Ok((value, root)) => Ok(Loaded { value, root, texts }),
        Err(finding) => Err(finding.render(&texts)),
    }
}

fn read<T: DeserializeOwned>(path: &Path, overlays: &[Overlay], texts: &mut Texts) -> Result<(T, Node), Finding> {
    let path = tidy(path);
    if path.is_dir() {
        return Err(Finding::anywhere(format!("{} is a folder; a TOML file is wanted", path.display())));
    }
    if !path.is_file() {
        return Err(Finding::anywhere(format!("there is no file {}", path.display())).help(near_files(&path)));
    }
    let mut root = texts.file(&path)?;
    for overlay in overlays {
        let overlay = sets::overlay(overlay, texts)?;
        merge(table_of(&mut root), overlay)?;
    }
    expand(&mut root, texts, &[path])?;
    let value = T::deserialize(&root).map_err(|error| explained::<T>(error, &root, texts))?;
    Ok((value, root))
}

fn table_of(root: &mut Node) -> &mut Table {
    match &mut root.value {
        Value::Table(table) => table,
        _ => unreachable!("the root of a file is a table"),
    }
}

impl<T> Loaded<T> {
    /// The message for a finding about the value.
    pub fn error(&self, invalid: &Invalid) -> UserError {
        let finding = match self.span(&invalid.place) {
            Some(span) => Finding::at(span.clone(), invalid.message.as_str()),
            None => Finding::at(Span { text: 0, range: 0..0 }, invalid.message.as_str()),
        };
        finding.help(invalid.help.clone()).render(&self.texts)
    }

    /// The whole input in one piece: everything that it extends and every overlay merged in.
    pub fn resolved(&self) -> String {
        match &self.root.value {
            Value::Table(table) => resolved::toml(table, &Absent::new()),
            _ => unreachable!("the root of a file is a table"),
        }
    }

    /// The same, with every key that was taken by default, and a remark for each that has no value: it says all that a later
    /// version of the program, with other defaults, needs to understand it.
    pub fn completed(&self) -> String
    where
        T: Serialize,
    {
        let read = serde_json::to_value(&self.value).expect("what was read from a file can be written to one");
        let (mut root, mut absent) = (self.root.clone(), Absent::new());
        complete(&mut root, &read, &mut Vec::new(), &mut absent);
        resolved::toml(table_of(&mut root), &absent)
    }

    /// A name for what the input says, whatever files it says it in: the fingerprint of the resolved text.
    pub fn fingerprint(&self) -> String {
        Fingerprint::of(self.resolved().as_bytes()).to_string()
    }

    /// Every value that can matter, everything merged: its dotted path, the value as TOML, and where it comes from. Sources and
    /// descriptions say nothing to a simulation and are left out.
    pub fn leaves(&self) -> Vec<(String, String, String)> {
        let leaves = resolved::leaves(&self.root);
        let place = |(path, value, span)| (path, value, self.texts.place(span));
        leaves.into_iter().map(place).collect()
    }

    /// Where the value at the dotted `place` comes from: "file.toml:12", or "--set #1".
    pub fn origin(&self, place: &str) -> Option<String> {
        let keys: Vec<String> = place.split('.').map(str::to_owned).collect();
        self.span(&keys).map(|span| self.texts.place(span))
    }

    /// The place of the value at `keys`, or of the nearest thing above it.
    fn span(&self, keys: &[String]) -> Option<&Span> {
        let mut node = &self.root;
        let mut found = None;
        for key in keys {
            let entry = match &node.value {
                Value::Table(table) => table.get(key),
                Value::Array(elements) => {
                    let Some(element) = key.parse::<usize>().ok().and_then(|index| elements.get(index)) else { break };
                    (node, found) = (element, Some(&element.span));
                    continue;
                }
                _ => None,
            };
            let Some(entry) = entry else { break };
            node = &entry.node;
            found = Some(if matches!(node.value, Value::Table(_)) { &entry.key_span } else { &node.span });
        }
        found
    }
}
