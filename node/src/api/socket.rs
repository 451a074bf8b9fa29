//! Where the local socket is.

use std::path::{Path, PathBuf};

use interprocess::local_socket::{GenericFilePath, Name, ToFsName};
use potluck_protocol::id::Digest;
use potluck_trainer::files;
use potluck_trainer::files::replace;

use crate::config;

/// Unix allows about 104 bytes for a socket's path.
const PATH_MAX: usize = 100;

/// Where a daemon says that its socket is, if that is not in the home: whoever asks may have another temporary folder.
const NOTE: &str = "daemon.at";
/// Bytes of a note: no socket's path is longer.
const NOTE_MAX: u64 = 4096;

/// The path at which a daemon makes its socket: inside the home, or, where that path is too long for a socket, in a
/// private folder of its own in the temporary folder, named by the home's path.
pub fn path(home: &Path) -> PathBuf {
    let inside = inside(home);
    if inside.as_os_str().len() <= PATH_MAX {
        return inside;
    }
    let tag = Digest::of(home.as_os_str().as_encoded_bytes()).short();
    config::temporary().join(format!("potluck-{tag}")).join("daemon.sock")
}

fn inside(home: &Path) -> PathBuf {
    home.join("daemon.sock")
}

/// Leaves word where the socket is.
pub fn note(home: &Path, path: &Path) -> std::io::Result<()> {
    if path == inside(home) {
        return Ok(());
    }
    replace(&home.join(NOTE), path.as_os_str().as_encoded_bytes())
}

/// The path at which a daemon of this home has made its socket, if it runs.
pub fn noted(home: &Path) -> PathBuf {
    let path = path(home);
    if path == inside(home) {
        return path;
    }
    let note = files::read(&home.join(NOTE), NOTE_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    note.map_or(path, PathBuf::from)
}

/// The path in the form that the socket library takes.
pub fn name(path: &Path) -> std::io::Result<Name<'_>> {
    path.to_fs_name::<GenericFilePath>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_home_still_has_a_short_socket() {
        let short = Path::new("/home/me");
        assert_eq!(path(short), short.join("daemon.sock"));
        let long = Path::new("/").join("x".repeat(150));
        assert!(path(&long).as_os_str().len() <= PATH_MAX);
        assert_ne!(path(&long), path(&long.join("y")));
    }

    #[test]
    fn a_client_with_another_temporary_folder_finds_the_socket_by_its_note() {
        let root = tempfile::tempdir().expect("a folder");
        let home = root.path().join("x".repeat(150));
        std::fs::create_dir(&home).expect("writable");
        assert_eq!(noted(&home), path(&home));
        note(&home, Path::new("/elsewhere/daemon.sock")).expect("writable");
        assert_eq!(noted(&home), Path::new("/elsewhere/daemon.sock"));
        note(root.path(), &path(root.path())).expect("nothing to note");
        assert!(!root.path().join(NOTE).exists());
    }
}
