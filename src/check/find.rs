//! Which files there are to check, and what each of them is.

use crate::scenario::{Library, Literal, Loaded, UserError, load_with, tomls_under};
use std::path::{Path, PathBuf};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A fabric.
    Topology,
    /// An experiment.
    Scenario,
}

impl Kind {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Topology => "topology",
            Kind::Scenario => "scenario",
        }
    }
}

/// A file to check.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// What it is, or why that cannot be said.
    pub kind: Result<Kind, UserError>,
}

/// The files that `paths` name: themselves, and all topologies and scenarios under those that are folders. There, a file that is
/// another kind of description, or without a name and hence a part of others, is passed over.
pub fn find(paths: &[PathBuf], library: &Library) -> Result<Vec<Found>, UserError> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            for path in tomls_under(path)? {
                match kind(&path, library) {
                    Ok(None) => {}
                    Ok(Some(kind)) => found.push(Found { path, kind: Ok(kind) }),
                    Err(error) => found.push(Found { path, kind: Err(error) }),
                }
            }
        } else {
            if !path.is_file() {
                return Err(UserError::plain(format!("there is no file or folder {}", path.display())));
            }
            let neither = || UserError::plain(format!("{} is neither a topology nor a scenario", path.display()));
            let kind = kind(path, library).and_then(|kind| kind.ok_or_else(neither));
            found.push(Found { path: path.clone(), kind });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

/// What the file is, judged by the tables that it has once everything that it extends is merged in.
fn kind(path: &Path, library: &Library) -> Result<Option<Kind>, UserError> {
    let loaded: Loaded<Literal> = load_with(path, &[], library)?;
    let Literal::Table(entries) = &loaded.value else { return Ok(None) };
    let has = |wanted: &str| entries.iter().any(|(key, _)| key == wanted);
    Ok(match has("name") {
        true if has("shape") => Some(Kind::Topology),
        true if has("workload") || has("hardware") => Some(Kind::Scenario),
        _ => None,
    })
}
