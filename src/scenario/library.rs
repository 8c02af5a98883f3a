//! Files that were read and parsed before, for whoever loads many inputs that share them.
//!
//! It only saves work: what is loaded with a library is what would be loaded without, as long as no file changes meanwhile.

use super::texts::Text;
use super::tree::{Node, Table, Value};
use crate::fingerprint::Fingerprint;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Parsed files by path. Clones share what they know, also between threads.
#[derive(Clone, Debug, Default)]
pub struct Library(Arc<Mutex<BTreeMap<PathBuf, Known>>>);

type Known = Arc<(Text, Node)>;

impl Library {
    /// The file `path`, if it is known, as the `index`-th text of an input.
    pub(super) fn get(&self, path: &Path, index: usize) -> Option<(Text, Node)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()?;
        let (text, mut node) = (*known).clone();
        number(&mut node, index);
        Some((text, node))
    }

    /// Every file that is known, with the fingerprint of what it says.
    pub fn fingerprints(&self) -> Vec<(PathBuf, String)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let print = |known: &Known| Fingerprint::of(known.0.content.as_bytes()).to_string();
        known.iter().map(|(path, file)| (path.clone(), print(file))).collect()
    }

    /// Keeps a file.
    pub(super) fn put(&self, path: &Path, text: Text, node: &Node) {
        let known = Arc::new((text, node.clone()));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), known);
    }
}

/// Says of everything in a tree that it comes from the `index`-th text.
fn number(node: &mut Node, index: usize) {
    node.span.text = index;
    match &mut node.value {
        Value::Table(Table(entries)) => {
            for entry in entries {
                entry.key_span.text = index;
                number(&mut entry.node, index);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| number(element, index)),
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {}
    }
}
