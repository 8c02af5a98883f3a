//! What an earlier run of the same command left in the folder of results, and what becomes of it.

use super::output::{note, write};
use octoplane::report::files;
use octoplane::scenario::{UserError, read_bytes};
use octoplane::sweep::{Record, read_log};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder in which points are kept one by one, and in the end an answer.
pub(super) struct Earlier<'a> {
    /// The folder.
    pub(super) out: &'a Path,
    /// The file that is there once all is over.
    pub(super) answer: &'a str,
    /// What runs: "sweep", "search".
    pub(super) what: &'a str,
}

impl Earlier<'_> {
    /// The log of points.
    pub(super) fn log(&self) -> PathBuf {
        self.out.join("points.jsonl")
    }

    /// What is known from before, if the command is to `resume`. Nothing that was worked out is thrown away unasked.
    pub(super) fn known(&self, resume: bool) -> Result<BTreeMap<String, Record>, UserError> {
        let log = self.log();
        if !log.exists() {
            return Ok(BTreeMap::new());
        }
        let (records, torn) = read_log(&read_bytes(&log)?);
        let answer = self.out.join(self.answer);
        if !resume {
            if !answer.exists() && !records.is_empty() {
                let (out, count) = (self.out.display(), records.len());
                let message = format!("{out} holds {count} points of a {} that did not end", self.what);
                return Err(UserError::plain(format!(
                    "{message}\n  = help: go on with --resume, or name another folder with --out"
                )));
            }
            files::remove(&answer).map_err(|error| UserError::plain(error.to_string()))?;
            write(&log, b"")?;
            return Ok(BTreeMap::new());
        }
        if torn > 0 {
            let records = if torn == 1 { "record" } else { "records" };
            note(&format!("{torn} torn {records} of {} dropped", log.display()));
        }
        // What is gone on with has no answer any more.
        files::remove(&answer).map_err(|error| UserError::plain(error.to_string()))?;
        // Written anew, so that what comes next starts on a line of its own.
        self.write(&records)?;
        Ok(records)
    }

    /// Brings the log into an order that does not depend on when points were over.
    pub(super) fn sort(&self) -> Result<(), UserError> {
        let (records, _) = read_log(&read_bytes(&self.log())?);
        self.write(&records)
    }

    fn write(&self, records: &BTreeMap<String, Record>) -> Result<(), UserError> {
        let lines: String = records.values().map(|record| record.line() + "\n").collect();
        write(&self.log(), lines.as_bytes())
    }

    /// Drops all points.
    pub(super) fn forget(&self) -> Result<(), UserError> {
        write(&self.log(), b"")
    }

    /// How many points the log holds.
    pub(super) fn kept(&self) -> Result<usize, UserError> {
        Ok(read_log(&read_bytes(&self.log())?).0.len())
    }
}
