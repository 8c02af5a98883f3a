//! A file of another kind than the command takes: which command takes it.

use octoplane::scenario::{Loaded, UserError, declared_kind, load};
use serde::de::DeserializeOwned;
use std::path::Path;

/// Kinds of files that commands take, by the names of their schemas.
const COMMANDS: [(&str, &str); 4] =
    [("scenario", "run"), ("study", "sweep"), ("goal", "search"), ("topology", "topo show")];

/// Loads a file of the `wanted` kind. Where that fails and the file says of itself that it is of another kind, that is the mistake.
pub(super) fn load_kind<T: DeserializeOwned>(
    path: &Path,
    sets: &[String],
    wanted: &str,
) -> Result<Loaded<T>, UserError> {
    load(path, sets).map_err(|error| match declared_kind(path) {
        Some(kind) if kind != wanted => other_kind(path, &kind, wanted),
        _ => error,
    })
}

fn other_kind(path: &Path, kind: &str, wanted: &str) -> UserError {
    let shown = path.display();
    let message = format!("{shown} is a {kind}, by its first line, and a {wanted} is wanted here");
    match COMMANDS.iter().find(|(known, _)| *known == kind) {
        Some((_, command)) => UserError::plain(format!("{message}\n  = help: `octoplane {command} {shown}` takes it")),
        None => UserError::plain(message),
    }
}
