//! Ctrl-C while many experiments run: those that were begun are ended and kept, and the command that goes on is said.

use super::output::note;
use octoplane::scenario::UserError;
use std::path::Path;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What shells expect of a program that Ctrl-C ended.
pub(super) const EXIT_CODE: u8 = 130;

/// How often Ctrl-C was pressed.
pub(super) struct Interrupts(Arc<AtomicUsize>);

impl Interrupts {
    /// From now on, Ctrl-C asks to stop; pressed again, it ends the process at once.
    pub(super) fn watch() -> Result<Interrupts, UserError> {
        let pressed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&pressed);
        let handler = move || match counted.fetch_add(1, Ordering::SeqCst) {
            0 => note("stopping after the points that have begun; Ctrl-C again stops at once and loses those"),
            _ => {
                note(&format!("stopped; go on with: {}", resuming()));
                exit(i32::from(EXIT_CODE));
            }
        };
        ctrlc::set_handler(handler).map_err(|error| UserError::plain(format!("cannot listen to Ctrl-C: {error}")))?;
        Ok(Interrupts(pressed))
    }

    /// Whether nothing more is to be begun.
    pub(super) fn stop(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// Says what is kept of `total` points in the folder `out`, and how to go on.
pub(super) fn say_kept(kept: usize, total: usize, out: &Path) {
    note(&format!(
        "stopped: {kept} of {total} points are kept in {}\n  = help: go on with: {}",
        out.display(),
        resuming()
    ));
}

/// The command that was given, so that it goes on.
fn resuming() -> String {
    let mut words: Vec<String> = std::env::args().map(|word| quoted(&word)).collect();
    if !words.iter().any(|word| word == "--resume") {
        words.push("--resume".to_owned());
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_are_quoted_where_a_shell_would_change_them() {
        let words = ["studies/a.toml", "--set", "a.b=50 GB/s", "", "it's", "$HOME"].map(quoted);
        assert_eq!(words, ["studies/a.toml", "--set", "'a.b=50 GB/s'", "''", "'it'\\''s'", "'$HOME'"]);
    }
}
