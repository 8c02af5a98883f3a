//! What commands share: where answers go, stdout and files of results, and how many experiments run at once.

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

/// Tells whoever watches. Nobody may: a closed stderr is no error.
pub(super) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a JSON value on lines of its own.
pub(super) fn say_json(value: &serde_json::Value) -> Result<(), UserError> {
    say(&format!("{value:#}\n"))
}

/// Refuses to go on where `path`, which comes with the program's sources, is not there.
pub(super) fn inside_repository(path: &Path) -> Result<(), UserError> {
    if path.exists() {
        return Ok(());
    }
    let message = format!("there is no {}, which comes with the program's sources", path.display());
    Err(UserError::plain(format!(
        "{message}\n  = help: run it in a clone of the repository, or name one with --root DIR"
    )))
}

/// Writes a result.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), UserError> {
    files::write(path, content).map_err(|error| UserError::plain(error.to_string()))
}

/// How many points are simulated at the same time: as many as asked for, else one for each processor.
pub(super) fn jobs(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()), usize::from)
}
