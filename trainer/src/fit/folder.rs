//! A run's folder while it runs: its checkpoints, its metrics, and what the caller notes of it. One process at a time.
//!
//! ```text
//! last.checkpoint   the state that the run goes on from        metrics.jsonl   one line for each step
//! best.checkpoint   the factors with the lowest held-out loss  lock            held while a process works here
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::files::replace;
use crate::removal;

const LAST: &str = "last.checkpoint";
const BEST: &str = "best.checkpoint";
const METRICS: &str = "metrics.jsonl";
const LOCK: &str = "lock";

/// Why a run has no folder.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum FolderError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("another process is training in {}", path.display())]
    Busy { path: PathBuf },
}

/// A folder that this process alone works in, until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    lock: File,
}

impl RunFolder {
    /// Makes the folder if it is not there, and takes it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let io = |error| FolderError::Io { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(io)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The state that the run goes on from, if there is one yet.
    pub fn last(&self) -> PathBuf {
        Self::last_in(&self.path)
    }

    /// The file of the state to go on from, in a run's folder that somebody else may hold.
    pub fn last_in(path: &Path) -> PathBuf {
        path.join(LAST)
    }

    /// The factors with the lowest held-out loss, if they are kept apart.
    pub fn best(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// One line for each step and evaluation.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// Writes a note, durably and in one step.
    pub fn note(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.path.join(name);
        replace(&path, bytes).map_err(|error| FolderError::Io { path, error })
    }

    /// Removes the folder if there is neither a state in it nor a step in its metrics.
    pub fn remove_if_empty(self, notes: &[&str]) -> io::Result<()> {
        let steps = fs::metadata(self.metrics()).map_or(0, |metrics| metrics.len());
        if self.last().exists() || steps > 0 { Ok(()) } else { self.remove(notes) }
    }

    /// Removes the run's files and these notes. What else lies in the folder stays, and the folder with it.
    pub fn remove(self, notes: &[&str]) -> io::Result<()> {
        let Self { path, lock } = self;
        for name in [LAST, BEST, METRICS].iter().chain(notes) {
            removal::file(&path.join(name))?;
        }
        // Not every system removes a file that is open.
        drop(lock);
        removal::file(&path.join(LOCK))?;
        removal::empty_folder(&path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_and_goes_without_a_trace() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("deep/run");
        let folder = RunFolder::open(&path).unwrap();
        assert!(matches!(RunFolder::open(&path), Err(FolderError::Busy { .. })));
        drop(folder);
        let folder = RunFolder::open(&path).unwrap();
        folder.note("config.json", b"{}").unwrap();
        fs::write(folder.last(), b"x").unwrap();
        folder.remove(&["config.json"]).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_with_a_state_or_a_step_is_not_empty() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        for (name, stays) in [("last.checkpoint", true), ("metrics.jsonl", true), ("config.json", false)] {
            let folder = RunFolder::open(&path).unwrap();
            fs::write(path.join(name), b"x").unwrap();
            folder.remove_if_empty(&["config.json"]).unwrap();
            assert_eq!(path.exists(), stays, "{name}");
            let _gone = fs::remove_dir_all(&path);
        }
    }

    #[test]
    fn what_somebody_else_put_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(root.path()).unwrap();
        fs::write(root.path().join("mine"), b"x").unwrap();
        assert!(folder.remove(&[]).is_err());
        assert!(root.path().join("mine").exists());
    }
}
