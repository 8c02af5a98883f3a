//! A folder of results that one process at a time writes into, and whose files change together.

use super::files::{WriteError, part_of, remove, write_part};
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file whose lock is the right to write; while it is held, it holds the process id of the holder.
pub const LOCK: &str = ".lock";

/// The right to write into a folder, until this is dropped or the process ends, however it ends: the system drops the lock of a
/// process that is killed.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    lock: fs::File,
}

impl Claim {
    /// Takes the right to write into `folder`, which is made if there is none; nothing, if another process has it.
    ///
    /// # Errors
    /// When the folder or its lock cannot be made.
    pub fn take(folder: &Path) -> Result<Option<Claim>, WriteError> {
        let lock = open_lock(folder)?;
        match lock.try_lock() {
            Ok(()) => Claim::held(folder, lock).map(Some),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(WriteError { path: folder.join(LOCK), error }),
        }
    }

    /// The same, once the process that has it is done.
    ///
    /// # Errors
    /// As for [`Claim::take`].
    pub fn wait(folder: &Path) -> Result<Claim, WriteError> {
        let lock = open_lock(folder)?;
        lock.lock().map_err(|error| WriteError { path: folder.join(LOCK), error })?;
        Claim::held(folder, lock)
    }

    fn held(folder: &Path, mut lock: fs::File) -> Result<Claim, WriteError> {
        let mut sign = || {
            lock.set_len(0)?;
            lock.write_all(std::process::id().to_string().as_bytes())
        };
        sign().map_err(|error| WriteError { path: folder.join(LOCK), error })?;
        Ok(Claim { folder: folder.to_owned(), lock })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts `files` into the folder together: all are on disk before the first has its name. The last one is the one whose presence
    /// says that the others belong together: it goes first and comes last.
    ///
    /// # Errors
    /// When one of them cannot be written; then none has changed.
    pub fn put(&self, files: &[(&str, Vec<u8>)]) -> Result<(), WriteError> {
        for (at, (name, content)) in files.iter().enumerate() {
            if let Err(error) = write_part(&self.folder.join(name), content) {
                self.remove_parts(files[..=at].iter().map(|(name, _)| *name));
                return Err(error);
            }
        }
        if let Some((last, _)) = files.last().filter(|_| files.len() > 1) {
            remove(&self.folder.join(last))?;
        }
        for (name, _) in files {
            let path = self.folder.join(name);
            fs::rename(part_of(&path), &path).map_err(|error| WriteError { path, error })?;
        }
        sync(&self.folder).map_err(|error| WriteError { path: self.folder.clone(), error })
    }

    /// Removes what a process that was killed left of files called `names` while it wrote them.
    pub fn remove_parts<'n>(&self, names: impl Iterator<Item = &'n str>) {
        for name in names {
            // What cannot be removed is in nobody's way.
            let _ = remove(&part_of(&self.folder.join(name)));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The id of a process that has ended would mislead.
        let _ = self.lock.set_len(0);
    }
}

fn open_lock(folder: &Path) -> Result<fs::File, WriteError> {
    let path = folder.join(LOCK);
    let open = || {
        fs::create_dir_all(folder)?;
        OpenOptions::new().create(true).append(true).open(&path)
    };
    open().map_err(|error| WriteError { path: path.clone(), error })
}

/// Makes the names of files in `folder` last, where the system can be asked to.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { OpenOptions::new().read(true).open(folder)?.sync_all() } else { Ok(()) }
}
