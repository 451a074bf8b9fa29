//! A folder that appears whole or not at all.
//!
//! ```text
//! nothing is there      PARENT/.NAME.partial-PID-N/whole  gets the name in one step
//!                       or FOLDER/.NAME.partial-PID-N/whole, where FOLDER is one of the caller's on the same disk
//! an empty folder is    FOLDER/.potluck.partial-PID-N/whole: its files are moved up one by one; the folder stays what it
//!                       is, such as a mount point, a link's end, or the folder that a shell is in
//! ```
//!
//! Anything else is refused. What a process that died left under a temporary name is removed by the next that writes there,
//! and what it had moved up by then as well, as long as it is unchanged.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::durable::{parent, rename, sync_folder};
use crate::removal;

/// Held while a process writes the folder: one that nobody holds was left by a process that died.
const LOCK: &str = ".lock";
/// Holds what is to appear.
const WHOLE: &str = "whole";
/// What is moved up into a folder that was there: written before the first move.
const MOVED: &str = ".moved";
/// More than the list of any folder needs.
const MOVED_MAX: u64 = 1 << 20;
/// Of the target's name, in the temporary one: a name has an end on every system.
const NAME_MAX: usize = 100;
/// The name of a folder that is filled from within.
const WITHIN: &str = "potluck";

/// Distinguishes the folders that one process writes at the same time.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A folder under a temporary name. Dropped without [`StagedFolder::commit`], it is removed.
pub struct StagedFolder {
    staging: PathBuf,
    place: Place,
    lock: Option<File>,
}

/// Where the folder is to appear.
enum Place {
    /// There is nothing yet.
    New(PathBuf),
    /// An empty folder, by its real path.
    There(PathBuf),
}

/// A file that is moved up, as it was written.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moved {
    name: String,
    len: u64,
    mtime_nanos: u64,
}

impl StagedFolder {
    /// Fails with [`ErrorKind::AlreadyExists`] if `target` exists, unless it is an empty folder or a link to one.
    pub fn create(target: &Path) -> io::Result<Self> {
        let place = Place::of(target)?;
        let (parent, name) = place.beside()?;
        fs::create_dir_all(&parent)?;
        Self::create_beside(&parent, &name, place)
    }

    /// The same for whoever may make no files beside `target`: the temporary folder lies in `work`, a folder on the same disk.
    pub fn create_in(work: &Path, target: &Path) -> io::Result<Self> {
        let place = Place::of(target)?;
        let (parent, name) = place.beside()?;
        match place {
            Place::New(_) => Self::create_beside(work, &name, place),
            Place::There(_) => Self::create_beside(&parent, &name, place),
        }
    }

    fn create_beside(parent: &Path, name: &OsStr, place: Place) -> io::Result<Self> {
        let prefix = prefix(name);
        if let Place::New(_) = place {
            sweep(parent, &prefix, None)?;
        } else {
            sweep(parent, &prefix, Some(parent))?;
            refuse_full(parent, None)?;
        }
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let staging = parent.join(format!("{prefix}{}-{number}", std::process::id()));
        fs::create_dir(&staging)?;
        let mut staged = Self { staging, place, lock: None };
        let lock = File::create_new(staged.staging.join(LOCK))?;
        // A file system without locks is no reason not to write: there, what the dead left stays.
        let _unlockable = lock.try_lock();
        staged.lock = Some(lock);
        fs::create_dir(staged.path())?;
        Ok(staged)
    }

    /// Whether something lies in the place of this target that is no empty folder: what [`StagedFolder::create`] refuses
    /// first of all. Nothing is tried.
    pub fn is_free(target: &Path) -> io::Result<()> {
        let place = Place::of(target)?;
        let (folder, name) = place.beside()?;
        match place {
            Place::New(_) => Ok(()),
            Place::There(_) => refuse_full(&folder, Some(&prefix(&name))),
        }
    }

    /// Whether [`StagedFolder::create`] would refuse this target: asked before long work.
    pub fn check(target: &Path) -> io::Result<()> {
        let place = Place::of(target)?;
        let (mut above, name) = place.beside()?;
        if let Place::There(folder) = &place {
            refuse_full(folder, Some(&prefix(&name)))?;
            return probe(folder, &prefix(&name));
        }
        while fs::symlink_metadata(&above).is_err_and(|error| error.kind() == ErrorKind::NotFound) && above.pop() {}
        match fs::metadata(&above) {
            Ok(found) if found.is_dir() => probe(&above, &prefix(&name)),
            Ok(_) => Err(io::Error::new(ErrorKind::NotADirectory, format!("{} is no folder", above.display()))),
            Err(error) if above.as_os_str().is_empty() && error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", above.display()))),
        }
    }

    /// Where the files lie until the commit.
    pub fn path(&self) -> PathBuf {
        self.staging.join(WHOLE)
    }

    /// A new file in the folder. Call `sync_all` on it before [`StagedFolder::commit`].
    pub fn file(&self, name: &str) -> io::Result<File> {
        File::create_new(self.path().join(name))
    }

    /// A whole file, synced.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.file(name)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Gives the folder its final name, or its files their final folder: files, then their folder, then its parent are
    /// durable.
    pub fn commit(self) -> io::Result<()> {
        sync_folder(&self.path())?;
        match &self.place {
            Place::New(target) => {
                // A rename would replace an empty folder that somebody made since.
                refuse_existing(target)?;
                rename(&self.path(), target)
            }
            Place::There(folder) => {
                refuse_full(folder, Some(&prefix(OsStr::new(WITHIN))))?;
                self.move_up(folder)
            }
        }
    }

    fn move_up(&self, folder: &Path) -> io::Result<()> {
        let mut names =
            fs::read_dir(self.path())?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        let moved = names.iter().filter_map(|name| Moved::of(&self.path(), name)).collect::<Vec<_>>();
        let mut list = File::create_new(self.staging.join(MOVED))?;
        list.write_all(&serde_json::to_vec(&moved)?)?;
        list.sync_all()?;
        sync_folder(&self.staging)?;
        let up = |name: &std::ffi::OsString| {
            refuse_existing(&folder.join(name))?;
            fs::rename(self.path().join(name), folder.join(name))
        };
        let done = names.iter().try_for_each(up).and_then(|()| sync_folder(folder));
        if done.is_ok() {
            // From here on what was moved is the person's.
            removal::file(&self.staging.join(MOVED))?;
        } else {
            take_back(&self.staging, folder);
        }
        done
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        // Not every system removes what is open.
        drop(self.lock.take());
        // What a failure leaves here is removed by the next run.
        let _left = removal::temporary(&self.staging, is_temporary);
    }
}

impl Place {
    fn of(target: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(target) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::New(target.to_owned())),
            Err(error) => Err(error),
            Ok(found) => {
                let real = fs::canonicalize(target).map_err(|error| match found.is_symlink() {
                    true => io::Error::new(error.kind(), format!("it is a link that leads nowhere: {error}")),
                    false => error,
                })?;
                if real.is_dir() { Ok(Self::There(real)) } else { Err(exists()) }
            }
        }
    }

    /// The folder that the temporary one is made in, and the name that it is made of.
    fn beside(&self) -> io::Result<(PathBuf, std::ffi::OsString)> {
        match self {
            Self::There(folder) => Ok((folder.clone(), WITHIN.into())),
            Self::New(target) => {
                let name =
                    target.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "no folder's name"))?;
                Ok((parent(target).to_owned(), name.to_owned()))
            }
        }
    }
}

impl Moved {
    /// `None` of what is no file.
    fn of(folder: &Path, name: &OsStr) -> Option<Self> {
        let found = fs::symlink_metadata(folder.join(name)).ok().filter(Metadata::is_file)?;
        let since = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { name: name.to_str()?.to_owned(), len: found.len(), mtime_nanos: since.as_nanos() as u64 })
    }
}

/// Removes from a folder what was moved up into it, unless somebody has changed it since.
fn take_back(staging: &Path, folder: &Path) {
    let list = crate::files::read(&staging.join(MOVED), MOVED_MAX).ok();
    let moved: Vec<Moved> = list.and_then(|list| serde_json::from_slice(&list).ok()).unwrap_or_default();
    for one in moved {
        let plain = Path::new(&one.name).file_name() == Some(OsStr::new(&one.name));
        if plain && Moved::of(folder, OsStr::new(&one.name)).as_ref() == Some(&one) {
            let _stays = removal::file(&folder.join(&one.name));
        }
    }
}

/// Whether something can be written in a folder: only trying it tells, of modes, read-only file systems and full ones alike.
fn probe(folder: &Path, prefix: &str) -> io::Result<()> {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let trial = folder.join(format!("{prefix}{}-{number}", std::process::id()));
    fs::create_dir(&trial)?;
    removal::empty_folder(&trial)
}

fn prefix(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= NAME_MAX).last();
    format!(".{}.partial-", &name[..end.unwrap_or_default()])
}

/// The names of temporary folders, those of earlier versions too: `.NAME.partial-PID` or `.NAME.partial-PID-N`.
fn is_temporary(name: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok();
    name.starts_with('.')
        && name.rsplit_once(".partial-").is_some_and(|(_, end)| match end.split_once('-') {
            Some((process, count)) => number(process) && number(count),
            None => number(end),
        })
}

/// Removes what processes that died left under temporary names of this target, and what they moved up into `folder`. What
/// cannot be removed is no reason not to write.
fn sweep(parent: &Path, prefix: &str, folder: Option<&Path>) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(prefix) && is_temporary(name));
        if ours && is_abandoned(&entry.path()) {
            if let Some(folder) = folder {
                take_back(&entry.path(), folder);
            }
            let _left = removal::temporary(&entry.path(), is_temporary);
        }
    }
    Ok(())
}

/// Made by a process that died. One without a lock had just been made, or was half removed by another that died: it holds
/// nothing but what is ours.
fn is_abandoned(staging: &Path) -> bool {
    if staging.is_symlink() {
        return false;
    }
    match File::options().read(true).open(staging.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let own = |entry: io::Result<fs::DirEntry>| {
                entry.is_ok_and(|entry| [WHOLE, MOVED].iter().any(|name| entry.file_name() == *name))
            };
            fs::read_dir(staging).is_ok_and(|mut entries| entries.all(own))
        }
        Err(_) => false,
    }
}

/// A folder that has anything in it but temporary folders of ours is somebody's.
fn refuse_full(folder: &Path, but: Option<&str>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let ours = name.to_str().is_some_and(|name| but.is_some_and(|but| name.starts_with(but)) && is_temporary(name));
        if !ours {
            return Err(exists());
        }
    }
    Ok(())
}

fn refuse_existing(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() { Err(exists()) } else { Ok(()) }
}

fn exists() -> io::Error {
    io::Error::new(
        ErrorKind::AlreadyExists,
        "it exists and is not an empty folder: choose another name, or move it away",
    )
}

#[cfg(test)]
mod tests;
