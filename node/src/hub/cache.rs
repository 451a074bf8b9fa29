//! The hub's cache on this disk, in the layout that its own programs use.
//!
//! ```text
//! CACHEDIR.TAG                                   backups pass over it
//! .locks/models--OWNER--NAME/ETAG.lock           held while that blob is written
//! models--OWNER--NAME/refs/REVISION              the commit that it was last
//!                     snapshots/COMMIT/FILE      links to
//!                     blobs/ETAG                 the content; ETAG.part while it comes
//!                     .no_exist/COMMIT/FILE      the commit has no such file
//!                     .checked/ETAG              ours: length and time of the blob when its hash was right
//!                     .checked/COMMIT.templates  ours: the commit's additional chat templates, one a line
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, UNIX_EPOCH};

use potluck_trainer::{files, removal};

use super::digest::{self, Wrong};
use super::id::is_commit;
use super::limits::{LIST_MAX, LOCKED, LOCKED_LOOK, LONG, NOTE_MAX, SETTLED};
use super::select::{TEMPLATES, is_template};
use super::{Fresh, HubError, HubId, Settings, Talk, link};
use crate::text;

/// As <https://bford.info/cachedir/> has it.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# What is in this folder can be fetched again.\n";

/// The files of one commit.
pub struct Snapshot<'a> {
    settings: &'a Settings,
    talk: &'a Talk,
    fresh: Fresh,
    /// `models--OWNER--NAME`.
    repository: PathBuf,
    commit: String,
    folder: PathBuf,
    /// What was found of a blob: nothing is read twice in one run.
    read: RefCell<BTreeMap<(String, String), Option<Wrong>>>,
}

/// What lies under a file's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    Right,
    Wrong(Wrong),
}

impl<'a> Snapshot<'a> {
    /// Nothing is made or read yet. `fresh` says whether a hash that was right before is computed anew.
    pub fn at(settings: &'a Settings, talk: &'a Talk, fresh: Fresh, id: &HubId, commit: &str) -> Self {
        let repository = settings.cache.join(id.folder());
        let folder = repository.join("snapshots").join(commit);
        let (commit, read) = (commit.to_owned(), RefCell::default());
        Self { settings, talk, fresh, repository, commit, folder, read }
    }

    /// Makes the folders that a fetch writes to.
    pub fn create(&self) -> Result<(), HubError> {
        for needed in [&self.folder, &self.repository.join("blobs")] {
            fs::create_dir_all(needed).map_err(HubError::io("make the folder", needed))?;
        }
        let tag = self.settings.cache.join("CACHEDIR.TAG");
        if !tag.exists() {
            let _not_tagged = put(&tag, TAG);
        }
        Ok(())
    }

    /// The snapshot's own folder, with its files under their names.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of the snapshot is, or would be.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the content of that etag belongs. The caller has checked that it is a plain name. // I13
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.repository.join("blobs").join(etag)
    }

    /// The etag of a file that is here: what it is a link to is called by it. A copy has none.
    pub fn etag(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.file(name)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Whether what is under the name in the snapshot is the file that the hub means.
    pub fn holds_file(&self, name: &str, etag: &str, size: Option<u64>) -> Result<Held, HubError> {
        self.holds(&self.file(name), etag, size)
    }

    /// The same of the blob, whatever links to it.
    pub fn holds_blob(&self, etag: &str, size: u64) -> Result<Held, HubError> {
        self.holds(&self.blob(etag), etag, Some(size))
    }

    fn holds(&self, path: &Path, etag: &str, size: Option<u64>) -> Result<Held, HubError> {
        // A folder or a pipe is no file of anybody's base: it is out of the way when the file comes.
        let Some(found) = fs::metadata(path).ok().filter(Metadata::is_file) else { return Ok(Held::Nothing) };
        if let Some(wanted) = size.filter(|wanted| *wanted != found.len()) {
            return Ok(Held::Wrong(Wrong::Length { is: found.len(), wanted }));
        }
        let known = (etag.to_owned(), stamp(&found));
        if let Some(read) = self.read.borrow().get(&known) {
            return Ok(held(read.clone()));
        }
        if self.fresh == Fresh::Cached && self.read_checked(etag).is_some_and(|noted| noted == known.1) {
            return Ok(Held::Right);
        }
        self.talk.go_on()?;
        if found.len() >= LONG && digest::is_hash(etag) {
            self.talk.note(format!("checking {} ({})", path.display(), text::bytes(found.len())));
        }
        let wrong = digest::check(path, etag, size).map_err(HubError::io("read", path))?;
        if wrong.is_none() {
            self.note_checked(etag, &found);
        }
        self.read.borrow_mut().insert(known, wrong.clone());
        Ok(held(wrong))
    }

    fn read_checked(&self, etag: &str) -> Option<String> {
        let noted = files::read(&self.repository.join(".checked").join(etag), NOTE_MAX).ok()?;
        String::from_utf8(noted).ok()
    }

    /// So that a base of many gigabytes is hashed once, and again when its files change. Where nothing can be written it is
    /// hashed every time; so is a file that was written just now, since a change at the same moment would show no other time.
    fn note_checked(&self, etag: &str, found: &Metadata) {
        let age = found.modified().ok().and_then(|time| time.elapsed().ok());
        if digest::is_hash(etag) && age.is_some_and(|age| age > SETTLED) {
            let _not_noted = put(&self.repository.join(".checked").join(etag), &stamp(found));
        }
    }

    /// A small file that is here.
    pub fn read(&self, name: &str, max: usize) -> Result<Vec<u8>, HubError> {
        let path = self.file(name);
        let len = fs::metadata(&path).map_err(HubError::io("look at", &path))?.len();
        if len > max as u64 {
            return Err(HubError::TooLarge { what: name.to_owned(), bytes: len, max: max as u64 });
        }
        files::read(&path, max as u64).map_err(HubError::io("read", &path))
    }

    /// Puts a blob that was fetched in its place. What was there may be a person's: it is set aside.
    pub fn place(&self, part: &Path, etag: &str) -> Result<(), HubError> {
        let blob = self.blob(etag);
        if fs::symlink_metadata(&blob).is_ok() {
            self.set_aside(&blob)?;
        }
        files::rename(part, &blob).map_err(HubError::io("rename to", &blob))
    }

    fn set_aside(&self, path: &Path) -> Result<(), HubError> {
        let aside = removal::set_aside(path).map_err(HubError::io("set aside", path))?;
        self.talk.note(format!("what was in its place in the cache is now {}", aside.display()));
        Ok(())
    }

    /// Gives a blob its name in the snapshot. A link to something else, or to nothing, is replaced; a file is set aside.
    pub fn link(&self, name: &str, etag: &str) -> Result<(), HubError> {
        let target = self.file(name);
        if fs::symlink_metadata(&target).is_ok_and(|found| !found.is_symlink()) {
            self.set_aside(&target)?;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(HubError::io("make the folder", parent))?;
        }
        let depth = name.matches('/').count();
        link::put(&self.blob(etag), &target, depth, self.settings.symlinks).map_err(HubError::io("link", &target))
    }

    /// Whether it is known that the commit has no such file.
    pub fn lacks(&self, name: &str) -> bool {
        self.absent(name).is_file()
    }

    /// Notes it for the next time, and for the hub's own programs.
    pub fn note_lacking(&self, name: &str) {
        if !self.lacks(name) {
            let _not_noted = put(&self.absent(name), "");
        }
    }

    fn absent(&self, name: &str) -> PathBuf {
        self.repository.join(".no_exist").join(&self.commit).join(name)
    }

    /// The additional chat templates that are here: all that a reader of the folder would take.
    pub fn templates(&self) -> Result<Vec<String>, HubError> {
        let folder = self.file(TEMPLATES);
        let mut names = Vec::new();
        if !folder.is_dir() {
            return Ok(names);
        }
        for entry in fs::read_dir(&folder).map_err(HubError::io("read", &folder))? {
            let name = entry.map_err(HubError::io("read", &folder))?.file_name();
            names.extend(
                name.to_str().filter(|name| name.ends_with(".jinja")).map(|name| format!("{TEMPLATES}/{name}")),
            );
        }
        names.sort();
        Ok(names)
    }

    /// Those that the commit has, if a fetch has noted them.
    pub fn noted_templates(&self) -> Option<Vec<String>> {
        let noted = String::from_utf8(files::read(&self.templates_note(), LIST_MAX as u64).ok()?).ok()?;
        let names: Vec<String> = noted.lines().map(str::to_owned).collect();
        // A note that says anything else is none. // I13
        Some(names).filter(|names| names.iter().all(|name| is_template(name)))
    }

    /// Notes them among the commit's files. The hub's own programs have no such note: a file that they know to be lacking is
    /// one whose name they know.
    pub fn note_templates(&self, files: &[String]) {
        let names = files.iter().filter(|file| is_template(file));
        let _not_noted = put(&self.templates_note(), &names.map(|name| format!("{name}\n")).collect::<String>());
    }

    /// No etag has a dot.
    fn templates_note(&self) -> PathBuf {
        self.repository.join(".checked").join(format!("{}.templates", self.commit))
    }

    /// Notes which commit the revision is: a snapshot that is noted is whole.
    pub fn point_to(&self, id: &HubId) -> Result<(), HubError> {
        if id.revision() == self.commit || commit(self.settings, id).as_ref() == Some(&self.commit) {
            return Ok(());
        }
        let path = reference(self.settings, id);
        put(&path, &self.commit).map_err(HubError::io("note the commit in", &path))
    }

    /// Held while a blob is written, by the hub's own programs too; the system lets go of it however we end.
    pub fn lock(&self, etag: &str, name: &str) -> Result<File, HubError> {
        let folder = self.repository.file_name().unwrap_or_default();
        let path = self.settings.cache.join(".locks").join(folder).join(format!("{etag}.lock"));
        let failed = |error| HubError::io("open the lock", &path)(error);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let begun = Instant::now();
        let mut said = false;
        // A disk without locks: what two processes write at once is held against its hash all the same.
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            if begun.elapsed() > LOCKED {
                return Err(HubError::Busy { file: name.to_owned() });
            }
            if !std::mem::replace(&mut said, true) {
                self.talk.note(format!("another process is fetching `{name}`; waiting for it"));
            }
            self.talk.wait(LOCKED_LOOK)?;
        }
        Ok(file)
    }
}

fn held(wrong: Option<Wrong>) -> Held {
    wrong.map_or(Held::Right, Held::Wrong)
}

/// Length and time of a file, by which a later change is noticed.
fn stamp(found: &Metadata) -> String {
    let time = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{} {}", found.len(), time.map_or(0, |since| since.as_nanos()))
}

/// Writes a small file, so that whoever reads it finds all of it or the old one. Other programs may write it at the same
/// moment: each under a name of its own.
fn put(path: &Path, text: &str) -> io::Result<()> {
    let new = PathBuf::from(format!("{}.{}.tmp", path.display(), std::process::id()));
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    files::rename(&new, path)
}

fn reference(settings: &Settings, id: &HubId) -> PathBuf {
    settings.cache.join(id.folder()).join("refs").join(id.revision())
}

/// The commit that a revision is, as far as the cache knows.
pub fn commit(settings: &Settings, id: &HubId) -> Option<String> {
    if is_commit(id.revision()) {
        return Some(id.revision().to_owned());
    }
    let noted = String::from_utf8(files::read(&reference(settings, id), NOTE_MAX).ok()?).ok()?;
    // Some editors and programs end it with a line.
    Some(noted.trim().to_owned()).filter(|commit| is_commit(commit))
}

/// `OWNER/NAME` of a folder in a hub's cache, for people: the folder itself is named by its commit.
pub fn name_of(folder: &Path) -> Option<String> {
    let commit = folder.file_name()?.to_str()?;
    let snapshots = folder.parent()?;
    let repository = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    (is_commit(commit) && snapshots.file_name()? == "snapshots").then(|| repository.replace("--", "/"))
}

#[cfg(test)]
mod tests;
