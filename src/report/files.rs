//! Puts results on disk: each file appears whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Why a result could not be written.
#[derive(Debug)]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot write {}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for WriteError {}

/// Writes `content` to `path`, with the folders above it. A reader never sees half of it.
pub fn write(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    let written = write_part(path, content)
        .and_then(|()| fs::rename(part_of(path), path).map_err(|error| WriteError { path: path.to_owned(), error }));
    if written.is_err() {
        // Half a file helps nobody; where it cannot be removed either, the first error is the one to know.
        let _ = remove(&part_of(path));
    }
    written
}

/// The name under which a file is written before it has its own.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

/// Writes what `path` is to hold beside it, down to the disk.
pub(super) fn write_part(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    let attempt = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create(part_of(path))?;
        file.write_all(content)?;
        file.sync_all()
    };
    attempt().map_err(|error| WriteError { path: path.to_owned(), error })
}

/// A file that only grows, one line at a time: whatever happens to the process, earlier lines stay.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// None once a line could not be written whole: what came after it would be taken for its end.
    file: Mutex<Option<fs::File>>,
}

impl Log {
    /// Opens the log at `path` to add to it, and makes it and the folders above it where there are none.
    pub fn open(path: &Path) -> Result<Log, WriteError> {
        let attempt = || {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder)?;
            }
            fs::OpenOptions::new().create(true).append(true).open(path)
        };
        let file = attempt().map_err(|error| WriteError { path: path.to_owned(), error })?;
        Ok(Log { path: path.to_owned(), file: Mutex::new(Some(file)) })
    }

    /// Adds a line, which the system has when this returns.
    pub fn append(&self, line: &str) -> Result<(), WriteError> {
        assert!(!line.contains('\n'), "a record is one line: {line}");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| WriteError { path: self.path.clone(), error };
        let open = file.as_mut().ok_or_else(|| failed(io::Error::other("an earlier line could not be written")))?;
        // In one piece, so that a killed process leaves half a line at the end at worst.
        let written = open.write_all(format!("{line}\n").as_bytes());
        if written.is_err() {
            *file = None;
        }
        written.map_err(failed)
    }
}

/// Removes a result, if it is there.
pub fn remove(path: &Path) -> Result<(), WriteError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WriteError { path: path.to_owned(), error }),
        _ => Ok(()),
    }
}
