//! Whether a folder is a home, may become one, or is a person's: asked before anything in it is touched.

use std::fs::{self, DirEntry, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::{HomeError, Layout, io_error};
use crate::owner;

/// What is written into every home, so that it is known by its own file.
const MARKER: &str = "\
This folder is a home of potluck: it keeps its data here, and removes what it no longer needs below tmp, staged and index.
";
/// The first bytes of an ed25519 key pair in libp2p's encoding, and how many there are.
const KEY_START: [u8; 4] = [8, 1, 18, 64];
const KEY_LEN: u64 = 68;
/// The first bytes of every version's `state.log`.
const LOG_START: &[u8] = b"potluck state/";
/// A process id and a line's end.
const LOCK_MAX: u64 = 16;

/// Makes the folder if nothing is there. What is there must be a home, or hold nothing of a person's; it is this user's
/// alone afterwards.
pub fn claim(layout: &Layout) -> Result<(), HomeError> {
    if !is_folder(layout.root())? {
        super::make(layout.root())?;
    }
    usable(layout)?;
    tighten(layout.root());
    Ok(())
}

/// Whether a process has begun to use the folder as a home. What may not become one is an error, as it is for [`claim`].
pub fn is_there(layout: &Layout) -> Result<bool, HomeError> {
    if !is_folder(layout.root())? {
        return Ok(false);
    }
    usable(layout)?;
    Ok(is_home(layout) || layout.lock().is_file())
}

/// `false` if nothing is there.
fn is_folder(root: &Path) -> Result<bool, HomeError> {
    match fs::metadata(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !root.is_symlink() => Ok(false),
        Err(error) => Err(io_error("look at the home", root)(error)),
        Ok(found) if !found.is_dir() => Err(HomeError::NoFolder { root: root.to_path_buf() }),
        Ok(_) => Ok(true),
    }
}

/// The folder is a home, or holds nothing of a person's.
fn usable(layout: &Layout) -> Result<(), HomeError> {
    let root = layout.root();
    if let Some(uid) = owner::stranger(root).map_err(io_error("look at the home", root))? {
        return Err(HomeError::Anothers { root: root.to_path_buf(), uid });
    }
    if !is_home(layout)
        && let Some(found) = persons(layout).map_err(io_error("list", root))?
    {
        return Err(HomeError::NotAHome { root: root.to_path_buf(), found });
    }
    Ok(())
}

/// Takes others' rights from a folder or file of the home.
pub fn tighten(path: &Path) {
    // A file system without modes, or one that cannot be written, is no reason not to open.
    if let Ok(Some(mode)) = owner::tighten(path)
        && mode & 0o022 != 0
    {
        tracing::warn!("{} could be written by other users (mode {mode:o}): now only its owner can", path.display());
    }
}

/// Leaves word that this folder is a home. A full disk must not keep anybody from opening it and making room.
pub fn mark(layout: &Layout) -> Result<(), HomeError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let path = layout.marker();
    match options.open(&path).and_then(|mut file| file.write_all(MARKER.as_bytes())) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::StorageFull) => {
            Err(io_error("write", &path)(error))
        }
        _ => Ok(()),
    }
}

/// Known by a file that only a home has. Those of earlier versions have no marker.
fn is_home(layout: &Layout) -> bool {
    let key = || {
        let path = layout.identity();
        fs::metadata(&path).is_ok_and(|found| found.len() == KEY_LEN) && starts_with(&path, &KEY_START)
    };
    // A crash while the marker was written leaves an empty one.
    layout.marker().is_file() || key() || starts_with(&layout.state_log(), LOG_START)
}

fn starts_with(path: &Path, start: &[u8]) -> bool {
    let mut bytes = Vec::new();
    // What is no regular file is not opened: reading it might never end.
    path.is_file()
        && fs::File::open(path).is_ok_and(|file| file.take(start.len() as u64).read_to_end(&mut bytes).is_ok())
        && bytes == start
}

/// The name of something in the folder that potluck did not leave there, if there is any. A process that was killed at its
/// first start leaves a lock and empty folders; a person may have put their lists and keys there before it.
fn persons(layout: &Layout) -> io::Result<Option<String>> {
    for entry in fs::read_dir(layout.root())? {
        let entry = entry?;
        if !is_harmless(layout, &entry)? {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn is_harmless(layout: &Layout, entry: &DirEntry) -> io::Result<bool> {
    let (path, kind) = (entry.path(), entry.file_type()?);
    if kind.is_dir() {
        let made = layout.folders().contains(&path) && fs::read_dir(&path)?.next().is_none();
        // What mkfs leaves at the top of a volume.
        return Ok(made || entry.file_name() == "lost+found");
    }
    if path == layout.lock() {
        return Ok(kind.is_file() && entry.metadata()?.len() <= LOCK_MAX);
    }
    Ok([layout.bootstrap(), layout.allow(), layout.swarm_key()].contains(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    fn below(folder: &Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                found.extend(below(&path));
            }
            found.push(path);
        }
        found.sort();
        found
    }

    /// A folder of a person's, and what it says when it is taken for a home.
    fn refused(fill: impl Fn(&Path)) {
        let root = tempfile::tempdir().expect("a folder");
        fill(root.path());
        let before = below(root.path());
        let error = Home::open(root.path()).expect_err("not a home");
        assert!(matches!(error, HomeError::NotAHome { .. }), "{error}");
        assert_eq!(below(root.path()), before, "nothing went and nothing came");
    }

    fn write(path: std::path::PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    #[test]
    fn a_folder_of_a_persons_is_refused_and_left_as_it_is() {
        refused(|root| write(root.join("tmp/thesis/chapter1.tex"), "work"));
        refused(|root| write(root.join("staged/results.csv"), "rows"));
        refused(|root| write(root.join("lock"), "more than any process id is long"));
        refused(|root| write(root.join("identity.key"), "another program's key"));
        refused(|root| write(root.join("shards/ab/x"), "another program's shards"));
        #[cfg(unix)]
        refused(|root| {
            write(root.join("other/keep.txt"), "keep");
            std::os::unix::fs::symlink("other", root.join("tmp")).expect("writable");
        });
    }

    #[test]
    fn looking_for_a_home_makes_none() {
        let root = tempfile::tempdir().expect("a folder");
        let there = |name: &str| Home::is_there(&root.path().join(name));
        write(root.path().join("empty/bootstrap"), "# nobody\n");
        write(root.path().join("thesis/chapter1.tex"), "work");
        let before = below(root.path());
        assert!(!there("none").expect("free") && !there("none/below").expect("free"));
        assert!(!there("empty").expect("a list makes no home"));
        assert!(matches!(there("thesis"), Err(HomeError::NotAHome { .. })));
        assert!(matches!(there("thesis/chapter1.tex"), Err(HomeError::NoFolder { .. })));
        assert_eq!(below(root.path()), before, "nothing came");
        drop(Home::open(root.path().join("empty")).expect("nothing of a person's"));
        assert!(there("empty").expect("ours"));
    }

    #[test]
    fn a_file_is_no_home() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path().join("file"), "x");
        let error = Home::open(root.path().join("file")).expect_err("a file");
        assert!(matches!(error, HomeError::NoFolder { .. }), "{error}");
    }

    #[test]
    fn an_empty_folder_a_persons_lists_and_an_unfinished_start_become_a_home() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path().join("bootstrap"), "# nobody\n");
        write(root.path().join("lock"), "17\n");
        fs::create_dir(root.path().join("shards")).expect("writable");
        fs::create_dir(root.path().join("lost+found")).expect("writable");
        drop(Home::open(root.path()).expect("nothing of a person's is in danger"));
        write(root.path().join("tmp/notes.txt"), "a person's");
        write(root.path().join("tmp/file.0"), "ours");
        drop(Home::open(root.path()).expect("known by its marker"));
        assert!(root.path().join("tmp/notes.txt").exists() && !root.path().join("tmp/file.0").exists());
        fs::remove_file(root.path().join("potluck-home")).expect("there");
        assert!(Home::open(root.path()).is_err(), "without the marker, a key or a log it is not known");
        fs::write(root.path().join("state.log"), b"potluck state/1\n").expect("writable");
        Home::open(root.path()).expect("known by its log");
    }

    #[cfg(unix)]
    #[test]
    fn a_home_that_others_could_enter_is_its_owners_alone() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let root = tempfile::tempdir().expect("a folder");
        let shards = root.path().join("shards");
        fs::create_dir(&shards).expect("writable");
        for folder in [root.path(), &shards] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o775)).expect("ours");
        }
        let _home = Home::open(root.path()).expect("empty");
        for folder in [root.path(), &shards] {
            assert_eq!(fs::metadata(folder).expect("there").mode() & 0o777, 0o700);
        }
    }
}
