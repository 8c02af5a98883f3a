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
    let attempt = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let part = path.with_file_name(name);
        let mut file = fs::File::create(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    attempt().map_err(|error| WriteError { path: path.to_owned(), error })
}

/// A file that only grows, one line at a time: whatever happens to the process, earlier lines stay.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Mutex<fs::File>,
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
        Ok(Log { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Adds a line, which the system has when this returns.
    pub fn append(&self, line: &str) -> Result<(), WriteError> {
        assert!(!line.contains('\n'), "a record is one line: {line}");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // In one piece, so that a killed process leaves half a line at the end at worst.
        file.write_all(format!("{line}\n").as_bytes()).map_err(|error| WriteError { path: self.path.clone(), error })
    }
}

/// Removes a result, if it is there.
pub fn remove(path: &Path) -> Result<(), WriteError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WriteError { path: path.to_owned(), error }),
        _ => Ok(()),
    }
}
