//! What an earlier run of the same command left in the folder of results, and what becomes of it.
//!
//! While points run, their log is a file of its own: what was complete before stays complete until all that replaces it is there.

use super::output::note;
use super::results::{LOG, Use, unwritten};
use octoplane::report::files::{self, Log};
use octoplane::report::folder::Claim;
use octoplane::scenario::{UserError, read_bytes};
use octoplane::sweep::{Record, read_log};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The log of all points, once they are over.
const COMPLETE: &str = "points.jsonl";

/// A folder in which points are kept one by one, and in the end an answer.
pub(super) struct Earlier {
    /// The folder.
    pub(super) claim: Claim,
    /// What runs: "sweep", "search".
    pub(super) what: &'static str,
}

impl Earlier {
    fn log(&self) -> PathBuf {
        self.claim.folder().join(LOG)
    }

    /// The log of points, to add to it.
    pub(super) fn open(&self) -> Result<Log, UserError> {
        Log::open(&self.log()).map_err(unwritten)
    }

    /// What is known from before, if the command is to go on. Nothing that was worked out is thrown away unasked.
    pub(super) fn known(&self, usage: Use) -> Result<BTreeMap<String, Record>, UserError> {
        let (begun, torn) = self.read(LOG)?;
        if usage != Use::Resume {
            if !begun.is_empty() {
                let (out, count) = (self.claim.folder().display(), begun.len());
                let message = format!("{out} holds {count} points of a {} that did not end", self.what);
                let help = "go on with --resume, start anew with --force, or name another folder with --out";
                return Err(UserError::plain(format!("{message}\n  = help: {help}")));
            }
            self.write(&BTreeMap::new())?;
            return Ok(BTreeMap::new());
        }
        if torn > 0 {
            let records = if torn == 1 { "record" } else { "records" };
            note(&format!("{torn} torn {records} of {} dropped", self.log().display()));
        }
        let (mut records, _) = self.read(COMPLETE)?;
        records.extend(begun);
        // Written anew, so that what comes next starts on a line of its own.
        self.write(&records)?;
        Ok(records)
    }

    fn read(&self, name: &str) -> Result<(BTreeMap<String, Record>, usize), UserError> {
        let path = self.claim.folder().join(name);
        Ok(if path.exists() { read_log(&read_bytes(&path)?) } else { Default::default() })
    }

    fn write(&self, records: &BTreeMap<String, Record>) -> Result<(), UserError> {
        files::write(&self.log(), lines(records.values()).as_bytes()).map_err(unwritten)
    }

    /// Drops all points that are not part of an answer.
    pub(super) fn forget(&self) -> Result<(), UserError> {
        files::remove(&self.log()).map_err(unwritten)
    }

    /// How many points the log holds.
    pub(super) fn kept(&self) -> Result<usize, UserError> {
        Ok(self.read(LOG)?.0.len())
    }

    /// Every record of the log, in an order that does not depend on when points were over.
    pub(super) fn sorted(&self) -> Result<String, UserError> {
        Ok(lines(self.read(LOG)?.0.values()))
    }

    /// Puts the answer in place: `points` as the log of all points, and `files`, of which the last one says that all are there.
    pub(super) fn finish(&self, points: String, files: Vec<(&str, Vec<u8>)>) -> Result<(), UserError> {
        let points = (COMPLETE, points.into_bytes());
        self.claim.put(&[vec![points], files].concat()).map_err(unwritten)?;
        self.forget()
    }
}

/// Records as lines of a log.
pub(super) fn lines<'r>(records: impl IntoIterator<Item = &'r Record>) -> String {
    records.into_iter().map(|record| record.line() + "\n").collect()
}
