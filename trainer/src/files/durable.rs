//! Files that survive a crash: whole under their name, or as they were before.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::removal;

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Whoever the process's umask allows.
    Umask,
    /// Its owner alone, whatever the umask is.
    Owner,
}

/// Puts a file with these bytes in the place of the one at `path`, or of nothing. When it returns, the new file survives a
/// power cut; on an error the old one is as it was.
///
/// The bytes are written to `PATH.tmp` beside it and synced, the file is renamed, and its folder is synced. What could not
/// be written whole is removed, since it would keep space from what comes next. One process, and one thread of it, at a time may replace a path.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_as(path, bytes, Access::Umask)
}

/// The same with a file that only its owner may read and write (mode 0600 on Unix).
pub fn replace_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_as(path, bytes, Access::Owner)
}

/// Makes a new file that only its owner may read and write. Fails with [`io::ErrorKind::AlreadyExists`] if there is one.
pub fn create_private(path: &Path) -> io::Result<File> {
    create(path, Access::Owner)
}

/// Gives a file or folder another name on the same file system, and makes the name durable. The content must be synced
/// before: a name can reach the disk earlier than the bytes.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Makes the names in the folder that `path` lies in durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_folder(parent(path))
}

/// Makes the names in a folder durable. Windows has no such call, and some network file systems refuse it: there names are
/// as durable as the system makes them by itself.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        Err(error) if is_no_such_call(&error) => Ok(()),
        synced => synced,
    }
}

/// What file systems answer that cannot sync a folder: `EINVAL`, `ENOTSUP`, `ENOSYS`.
fn is_no_such_call(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// The folder that a path lies in: the current one for a bare name.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn replace_as(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let temporary = temporary(path);
    // What a process that died left: made anew, it has the mode that is meant.
    removal::file(&temporary)?;
    let written = create(&temporary, access).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        let _never_made = removal::file(&temporary);
        return Err(error);
    }
    sync_parent(path)
}

fn create(path: &Path, access: Access) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _by_folder = access;
    options.open(path)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        for bytes in [&b"first"[..], b"2"] {
            replace(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        // Left by a process that died.
        fs::write(folder.path().join("a.json.tmp"), b"half of a longer te").unwrap();
        replace(&path, b"3").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"old").unwrap();
        fs::create_dir(folder.path().join("a.tmp")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(create_private(&path).is_err());
    }

    #[test]
    fn a_file_system_that_cannot_sync_folders_is_no_error() {
        for answer in [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported] {
            assert!(is_no_such_call(&io::Error::from(answer)));
        }
        assert!(!is_no_such_call(&io::Error::from(io::ErrorKind::StorageFull)));
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(folder.path().join("a.tmp"), b"readable by all").unwrap();
        replace_private(&path, b"secret").unwrap();
        rename(&path, &moved).unwrap();
        assert_eq!(fs::metadata(&moved).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!path.exists());
    }
}
