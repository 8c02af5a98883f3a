//! Where answers go: stdout, and files of results.

use octoplane::report::files;
use octoplane::scenario::UserError;
use std::io::{self, Write};
use std::path::Path;

/// Prints data. A reader that has seen enough (`| head`) is no error.
pub(super) fn say(text: &str) -> Result<(), UserError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(UserError::plain(format!("cannot write the answer: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a JSON value on lines of its own.
pub(super) fn say_json(value: &serde_json::Value) -> Result<(), UserError> {
    say(&format!("{value:#}\n"))
}

/// Writes a result.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), UserError> {
    files::write(path, content).map_err(|error| UserError::plain(error.to_string()))
}
