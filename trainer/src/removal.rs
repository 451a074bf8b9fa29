//! The one place that removes anything. A person's files are theirs: every function here asks whether what is to go is
//! this program's own, and leaves what is not. A test (`only_one_file_removes`) keeps other files from removing.
//!
//! What a person may have changed is never removed: it gets another name ([`set_aside`]).

#![expect(clippy::disallowed_methods, reason = "the one file that removes: it asks first")]

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Tries of a removal that somebody races, such as the worker of a process that was killed.
const TRIES: usize = 4;
/// Folders of one name that are set aside.
const ASIDE_MAX: usize = 1000;

/// Removes a regular file of which the caller knows that this program wrote it: by this process, or under a name that is
/// the program's own. One that is gone already is no error. A link, a folder or a device under that name stays.
pub fn file(path: &Path) -> io::Result<()> {
    of_kind(path, Metadata::is_file, "a file of this program")
}

/// Removes a socket that a process left behind. What is no socket stays.
#[cfg(unix)]
pub fn socket(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    of_kind(path, |metadata| metadata.file_type().is_socket(), "a socket")
}

/// Elsewhere sockets are no files.
#[cfg(not(unix))]
pub fn socket(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn of_kind(path: &Path, ours: impl Fn(&Metadata) -> bool, kind: &str) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) => return gone(Err(error)),
        Ok(found) => found,
    };
    if !ours(&found) {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("it is not {kind}, so it stays")));
    }
    gone(fs::remove_file(path))
}

/// What somebody else has removed meanwhile is removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Removes a folder that is empty. One that is not stays, and is an error.
pub fn empty_folder(path: &Path) -> io::Result<()> {
    gone(fs::remove_dir(path))
}

/// Removes a file or a folder with all in it, if its name is one that only this program gives. Links are not followed:
/// neither the folder itself nor the one that it lies in may be one.
pub fn temporary(path: &Path, ours: impl Fn(&str) -> bool) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str());
    if !name.is_some_and(ours) || path.parent().is_some_and(Path::is_symlink) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "its name is not one of this program's, so it stays"));
    }
    for _ in 1..TRIES {
        match tree(path) {
            // Somebody writes there: a process that was killed may have left a worker that ends just now.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            decided => return decided,
        }
    }
    tree(path)
}

fn tree(path: &Path) -> io::Result<()> {
    gone(match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    })
}

/// Removes those entries of a folder whose names are this program's, and then the folder if it is empty. Whether it is
/// gone.
pub fn entries(folder: &Path, ours: impl Fn(&str) -> bool) -> io::Result<bool> {
    if folder.is_symlink() {
        return Ok(false);
    }
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        listed => listed?,
    };
    let mut all = true;
    for entry in listed {
        let path = entry?.path();
        let own = path.file_name().and_then(|name| name.to_str()).is_some_and(&ours);
        all &= own;
        if own {
            tree(&path)?;
        }
    }
    if all {
        empty_folder(folder)?;
    }
    Ok(all)
}

/// Gives a folder or file another name beside its own, and says which.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default();
    for number in 1..=ASIDE_MAX {
        let mut aside = name.to_owned();
        aside.push(format!(".changed-{number}"));
        let aside = path.with_file_name(aside);
        if fs::symlink_metadata(&aside).is_err() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, format!("{ASIDE_MAX} changed ones lie beside it: move them away")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(name: &str) -> bool {
        name.starts_with("own-")
    }

    #[test]
    fn only_own_names_go_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["mine", "own-1"] {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join("a"), b"x").unwrap();
        }
        assert!(temporary(&at("mine"), ours).is_err() && at("mine/a").exists());
        temporary(&at("own-1"), ours).unwrap();
        temporary(&at("own-1"), ours).unwrap();
        assert!(!at("own-1").exists());
        assert!(file(&at("mine")).is_err() && empty_folder(&at("mine")).is_err());
        fs::write(at("mine/own-2"), b"x").unwrap();
        assert!(!entries(&at("mine"), ours).unwrap());
        assert!(at("mine/a").exists() && !at("mine/own-2").exists());
    }

    #[cfg(unix)]
    #[test]
    fn what_lies_behind_a_link_stays() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("mine")).unwrap();
        fs::write(at("mine/own-1"), b"x").unwrap();
        symlink(at("mine"), at("own-link")).unwrap();
        assert!(temporary(&at("own-link/own-1"), ours).is_err());
        assert!(!entries(&at("own-link"), ours).unwrap());
        assert!(file(&at("own-link")).is_err() && socket(&at("mine/own-1")).is_err());
        temporary(&at("own-link"), ours).unwrap();
        assert!(at("mine/own-1").exists() && !at("own-link").is_symlink());
    }

    #[test]
    fn what_was_changed_gets_another_name_each_time() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("adapter");
        for number in 1..=2 {
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("a"), number.to_string()).unwrap();
            let aside = set_aside(&folder).unwrap();
            assert_eq!(aside, root.path().join(format!("adapter.changed-{number}")));
            assert_eq!(fs::read_to_string(aside.join("a")).unwrap(), number.to_string());
        }
    }
}
