//! Files that are either whole under their final name or not there.
//!
//! The order is always: bytes to `tmp/` (shards: `staged/`), fsync, rename, fsync of the folder. After the last step the file survives a
//! power cut; before the rename nobody can see it. A batch goes through each step together, so that its fsyncs share
//! the disk's work. [`crate::failpoint`] has a point between any two steps: that, and the batches, is what is
//! added here to `potluck_trainer::files`.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use potluck_trainer::{files, removal};

use crate::failpoint::{Step, What, pass};
use crate::home::temporary;
use crate::store::error::{Result, StoreError};

/// A file in `tmp/` or `staged/` that waits for its final name. Dropped before that, it is removed.
pub(crate) struct Staged {
    what: What,
    tmp: Option<PathBuf>,
    target: PathBuf,
}

/// Distinguishes the files that one process writes at the same time; `tmp/` has one process only.
static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Staged {
    /// Writes `bytes` to a new file in `tmp`, whose name begins with `name`; `target` is on the same file system. The
    /// file is not kept open: thousands may wait for the disk.
    pub fn write(tmp: &Path, name: &str, what: What, target: PathBuf, bytes: &[u8]) -> Result<Self> {
        let path = tmp.join(format!("{name}.{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        pass(what, Step::Begin).map_err(StoreError::io("write", &target))?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // Whatever the umask is: what is in a home is its user's alone.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(StoreError::io("make", &path))?;
        let staged = Self { what, tmp: Some(path), target };
        fill(what, file, bytes).map_err(StoreError::io("write", &staged.target))?;
        Ok(staged)
    }

    /// A file that lies there already, whole.
    pub fn found(file: &Path, what: What, target: PathBuf) -> Self {
        Self { what, tmp: Some(file.to_path_buf()), target }
    }

    /// Waits until the bytes of all are on disk.
    pub fn sync(all: &[Self]) -> Result<()> {
        together(all, |staged| staged.tmp.as_deref().map_or(Ok(()), sync_file))?;
        all.iter().try_for_each(|one| pass(one.what, Step::Synced).map_err(StoreError::io("fsync", &one.target)))
    }

    /// Gives the file its name. The caller has called [`Self::sync`] and will sync the folder.
    pub fn rename(mut self) -> Result<()> {
        if let Some(tmp) = self.tmp.take() {
            let renamed = fs::rename(&tmp, &self.target);
            if renamed.is_err() {
                self.tmp = Some(tmp);
            }
            renamed.and_then(|()| pass(self.what, Step::Renamed)).map_err(StoreError::io("rename", &self.target))?;
        }
        Ok(())
    }
}

fn fill(what: What, mut file: File, bytes: &[u8]) -> std::io::Result<()> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    pass(what, Step::Half)?;
    file.write_all(second)?;
    pass(what, Step::Written)
}

/// An error of writing the bytes back that nobody has been told of is told to whoever opens the file next and syncs it.
fn sync_file(path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path).map_err(StoreError::io("open", path))?;
    file.sync_all().map_err(StoreError::io("fsync", path))
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(tmp) = self.tmp.take() {
            // Best effort: the next start removes it anyway.
            let _ = removal::file(&tmp);
        }
    }
}

/// Writes one file, durably when it returns. An existing one is replaced at once.
pub(crate) fn write(tmp: &Path, what: What, target: &Path, bytes: &[u8]) -> Result<()> {
    let staged = Staged::write(tmp, temporary::FILE, what, target.to_path_buf(), bytes)?;
    Staged::sync(std::slice::from_ref(&staged))?;
    staged.rename()?;
    sync_parent(target)?;
    pass(what, Step::Done).map_err(StoreError::io("write", target))
}

/// Makes the names in the folder of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    files::sync_parent(path).map_err(StoreError::io("fsync the folder of", path))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    files::sync_folder(folder).map_err(StoreError::io("fsync the folder", folder))
}

/// Makes the names in several folders durable.
pub(crate) fn sync_folders(folders: &BTreeSet<PathBuf>) -> Result<()> {
    together(&folders.iter().collect::<Vec<_>>(), |folder| sync_folder(folder))
}

/// Threads that wait for the disk together. A journaling file system writes what waits at the same time in one commit:
/// sixteen fsyncs take hardly longer than one.
const WAITERS: usize = 16;

/// Does something slow, but not for the processor, with each item.
fn together<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    if items.len() < 2 {
        return items.iter().try_for_each(work);
    }
    let io = |error| StoreError::io("wait for", Path::new("the disk"))(error);
    let work = &work;
    std::thread::scope(|scope| {
        let wait = |some| std::thread::Builder::new().spawn_scoped(scope, move || share(some, work)).map_err(io);
        let chunks = items.chunks(items.len().div_ceil(WAITERS));
        let waiting = chunks.map(wait).collect::<Result<Vec<_>>>()?;
        let lost = || Err(io(std::io::Error::other("a thread panicked")));
        waiting.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| lost()))
    })
}

fn share<T>(items: &[T], work: impl Fn(&T) -> Result<()>) -> Result<()> {
    items.iter().try_for_each(work)
}

/// Reads a file of at most `max` bytes; `None` if there is none. Of a longer one come `max + 1` bytes, which no check of
/// the content accepts.
pub(crate) fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    let file = match files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    let len = file.metadata().map_or(0, |metadata| metadata.len().min(max));
    // One more than the file has: the end is seen without growing.
    let mut bytes = Vec::with_capacity(len as usize + 1);
    file.take(max + 1).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    Ok(Some(bytes))
}

/// The file names of a folder that are ids, sorted; other files are left alone.
pub(crate) fn names_in<T: std::str::FromStr + Ord>(folder: &Path) -> Result<Vec<T>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(folder).map_err(StoreError::io("list", folder))? {
        let name = entry.map_err(StoreError::io("list", folder))?.file_name();
        ids.extend(name.to_str().and_then(|name| name.parse().ok()));
    }
    ids.sort();
    Ok(ids)
}
