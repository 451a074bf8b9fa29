//! A folder that appears whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Held while a process writes the folder: one that nobody holds was left by a process that died.
const LOCK: &str = ".lock";

/// A folder under a temporary name beside its final one. Dropped without [`StagedFolder::commit`], it is removed; left
/// by a process that died, it is removed by the next that writes a folder of its name.
pub struct StagedFolder {
    staging: PathBuf,
    target: PathBuf,
    lock: Option<File>,
}

impl StagedFolder {
    /// Fails if `target` exists, unless it is an empty folder.
    pub fn create(target: &Path) -> io::Result<Self> {
        let name =
            target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a folder's name"))?;
        refuse_existing(target)?;
        let parent = parent(target);
        fs::create_dir_all(parent)?;
        let prefix = format!(".{}.partial-", name.to_string_lossy());
        sweep(parent, &prefix)?;
        let staging = parent.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&staging)?;
        let lock = File::create_new(staging.join(LOCK))?;
        // A file system without locks is no reason not to write: there, what the dead left stays.
        let _unlockable = lock.try_lock();
        Ok(Self { staging, target: target.to_owned(), lock: Some(lock) })
    }

    /// A new file in the folder. Call `sync_all` on it before [`StagedFolder::commit`].
    pub fn file(&self, name: &str) -> io::Result<File> {
        File::create_new(self.staging.join(name))
    }

    /// A whole file, synced.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file(name)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Gives the folder its final name: files, then the folder, then its parent are durable.
    pub fn commit(mut self) -> io::Result<()> {
        // Not every system moves what is open.
        drop(self.lock.take());
        fs::remove_file(self.staging.join(LOCK))?;
        sync_folder(&self.staging)?;
        if self.target.exists() {
            // Empty when we began; `remove_dir` fails if somebody filled it since.
            fs::remove_dir(&self.target)?;
        }
        fs::rename(&self.staging, &self.target)?;
        sync_folder(parent(&self.target))
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        drop(self.lock.take());
        // After a commit the name is gone; a failure leaves a folder that the next run removes.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

/// Removes what processes that died left under temporary names of this target.
fn sweep(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
        if process.is_some() && is_abandoned(&entry.path()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn is_abandoned(staging: &Path) -> bool {
    match File::open(staging.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn refuse_existing(target: &Path) -> io::Result<()> {
    let free = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if free {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "exists already: choose another name or remove it"))
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes names in a folder durable. Windows has no such call and needs none.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_there_before_the_commit_and_all_of_it_after() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/out");
        let staged = StagedFolder::create(&target).unwrap();
        staged.write("a", b"1").unwrap();
        assert!(!target.exists());
        staged.commit().unwrap();
        assert_eq!(fs::read(target.join("a")).unwrap(), b"1");
        assert_eq!(fs::read_dir(root.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_dropped_folder_leaves_nothing_and_a_full_one_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        StagedFolder::create(&target).unwrap().write("a", b"1").unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        fs::create_dir(&target).unwrap();
        StagedFolder::create(&target).unwrap().commit().unwrap();
        fs::write(target.join("mine"), b"").unwrap();
        let error = StagedFolder::create(&target).err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::AlreadyExists));
    }

    #[test]
    fn what_the_dead_left_goes_and_what_the_living_write_stays() {
        let root = tempfile::tempdir().unwrap();
        let left = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("model.safetensors"), b"half of it").unwrap();
            fs::write(path.join(LOCK), b"").unwrap();
            path
        };
        let (dead, living) = (left(".out.partial-1"), left(".out.partial-2"));
        let (other, mine) = (left(".other.partial-1"), left(".out.partial-mine"));
        let lock = File::open(living.join(LOCK)).unwrap();
        lock.lock().unwrap();
        let staged = StagedFolder::create(&root.path().join("out")).unwrap();
        assert!(!dead.exists() && living.exists() && other.exists() && mine.exists());
        staged.commit().unwrap();
        assert_eq!(fs::read_dir(root.path().join("out")).unwrap().count(), 0, "the lock is not part of it");
    }
}
