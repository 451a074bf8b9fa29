//! Folders that a request writes for a person: refused before anything is fetched or computed if they could not be written
//! at the end, and never in the place of what a person has changed.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use potluck_trainer::files::StagedFolder;
use potluck_trainer::{files, removal};

use crate::failure::{Failure, Outcome};

/// Bytes that are compared at once.
const PIECE: usize = 1 << 20;

/// Whether the folder can be written: nothing is there yet, or an empty folder.
pub fn check(out: &Path) -> Outcome<()> {
    StagedFolder::check(out).map_err(|error| unwritable(out, &error))
}

/// The first half of it, for a worker, which may not try: nothing is there yet, or an empty folder.
pub fn check_free(out: &Path) -> Outcome<()> {
    StagedFolder::is_free(out).map_err(|error| unwritable(out, &error))
}

/// A folder that a worker fills, and that gets its name here: the worker can write nowhere else.
pub struct Pending {
    staged: StagedFolder,
    out: PathBuf,
}

impl Pending {
    /// Makes an empty folder beside the place where it is to appear. Dropped without [`Pending::place`], it is removed.
    pub fn create(out: &Path) -> Outcome<Self> {
        let staged = StagedFolder::create(out).map_err(|error| unwritable(out, &error))?;
        Ok(Self { staged, out: out.to_path_buf() })
    }

    /// Where the worker writes.
    pub fn path(&self) -> PathBuf {
        self.staged.path()
    }

    /// Where it is to appear.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Gives it its name, with notes beside what the worker wrote.
    pub fn place(self, notes: &[(&str, &[u8])]) -> Outcome<PathBuf> {
        let written = notes.iter().try_for_each(|(name, bytes)| self.staged.write(name, bytes));
        let placed = written.and_then(|()| self.staged.commit());
        placed.map_err(|error| unwritable(&self.out, &error)).map(|()| self.out)
    }
}

/// Why a folder is not written.
pub fn unwritable(out: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::io(format!("write {}", out.display()), error);
    match error.kind() {
        ErrorKind::AlreadyExists => failure.hint("choose another folder with --out, or move that one away"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => failure,
        _ => failure.hint("give a folder that can be written with --out"),
    }
}

/// Gives what lies at a place of ours another name, and says so: a person may have changed it.
pub fn make_room(place: &Path) -> Outcome<()> {
    if fs::symlink_metadata(place).is_err() {
        return Ok(());
    }
    let aside =
        removal::set_aside(place).map_err(|error| Failure::io(format!("set {} aside", place.display()), &error))?;
    tracing::warn!(
        "{} was changed by another program: the changed files are kept as {}",
        place.display(),
        aside.display()
    );
    Ok(())
}

/// Whether two folders hold the same files with the same bytes.
pub fn same(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (first, second) = (fs::symlink_metadata(one)?, fs::symlink_metadata(other)?);
    if first.is_dir() && second.is_dir() {
        let (names, others) = (names(one)?, names(other)?);
        if names != others {
            return Ok(false);
        }
        for name in names {
            if !same(&one.join(&name), &other.join(&name))? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let files = first.is_file() && second.is_file() && first.len() == second.len();
    Ok(files && same_bytes(one, other)?)
}

fn names(folder: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn same_bytes(one: &Path, other: &Path) -> std::io::Result<bool> {
    let (mut one, mut other) = (files::open(one)?, files::open(other)?);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    loop {
        first.clear();
        second.clear();
        one.by_ref().take(PIECE as u64).read_to_end(&mut first)?;
        other.by_ref().take(PIECE as u64).read_to_end(&mut second)?;
        if first != second || first.is_empty() {
            return Ok(first == second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn folders_are_the_same_by_names_and_bytes() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |name: &str| root.path().join(name);
        for folder in ["one", "other"] {
            fs::create_dir_all(at(folder).join("deep")).expect("writable");
            fs::write(at(folder).join("deep/a"), b"x").expect("writable");
        }
        assert!(same(&at("one"), &at("other")).expect("readable"));
        fs::write(at("other/deep/a"), b"y").expect("writable");
        assert!(!same(&at("one"), &at("other")).expect("readable"), "other bytes");
        fs::write(at("other/deep/a"), b"x").expect("writable");
        fs::write(at("other/notes.txt"), b"a person's").expect("writable");
        assert!(!same(&at("one"), &at("other")).expect("readable"), "another file");
        make_room(&at("other")).expect("ours");
        assert!(!at("other").exists() && at("other.changed-1/notes.txt").exists());
        make_room(&at("other")).expect("nothing is there");
    }

    #[test]
    fn a_full_folder_is_a_conflict() {
        let root = tempfile::tempdir().expect("a folder");
        check(&root.path().join("new")).expect("free");
        check(root.path()).expect("empty");
        fs::write(root.path().join("mine"), b"x").expect("writable");
        let failure = check(root.path()).expect_err("a person's");
        assert!(failure.kind == Kind::Conflict && failure.hint.is_some(), "{failure:?}");
    }
}
