//! Files: reading those that a person named, and the one way to write what must survive a crash.
//!
//! Only regular files are read; anything else is an error at once. Opening a pipe or a device could wait for ever, and
//! reading one may never end.

mod durable;
mod staged;

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

pub use durable::{create_private, rename, replace, replace_private, sync_folder, sync_parent};
pub use staged::StagedFolder;

/// Opens a regular file for reading, through links. Anything else is refused by what it is.
pub fn open(path: &Path) -> io::Result<File> {
    refuse_other(&fs::metadata(path).map_err(|error| explain(path, error))?)?;
    let file = File::open(path)?;
    // It may be another one by now.
    refuse_other(&file.metadata()?)?;
    Ok(file)
}

/// Whether anything is there, through links, and if not, why.
pub fn look(path: &Path) -> io::Result<()> {
    fs::metadata(path).map(drop).map_err(|error| explain(path, error))
}

/// A whole file of at most `max` bytes.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let len = file.metadata()?.len();
    let too_long = || io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {max} bytes"));
    if len > max {
        return Err(too_long());
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(too_long()) } else { Ok(bytes) }
}

/// Writes a whole file in the place of a regular one or of nothing: opening a pipe would wait for whoever reads it.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) => refuse_other(&found)?,
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {}
        Err(error) => return Err(explain(path, error)),
    }
    fs::write(path, bytes)
}

fn refuse_other(found: &Metadata) -> io::Result<()> {
    match kind(found) {
        None => Ok(()),
        Some(kind) => Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {kind}, not a file"))),
    }
}

/// What a path is, if it is no folder and no regular file.
pub fn special_kind(path: &Path) -> Option<&'static str> {
    let found = fs::metadata(path).ok()?;
    if found.is_dir() { None } else { kind(&found) }
}

/// What it is, if it is no regular file.
fn kind(found: &Metadata) -> Option<&'static str> {
    let file_type = found.file_type();
    if file_type.is_file() {
        return None;
    }
    if file_type.is_dir() {
        return Some("a folder");
    }
    Some(special(file_type))
}

#[cfg(unix)]
fn special(file_type: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn special(_: fs::FileType) -> &'static str {
    "a device"
}

/// A link to nothing looks to the system as if the link were not there.
fn explain(path: &Path, error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::NotFound && path.is_symlink() {
        return io::Error::new(ErrorKind::NotFound, "it is a link to what does not exist");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_within_its_bound_and_a_folder_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"abc");
        assert_eq!(read(&path, 2).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert!(read(root.path(), 3).unwrap_err().to_string().contains("a folder"));
    }

    #[cfg(unix)]
    #[test]
    fn what_could_block_or_never_end_is_not_opened() {
        assert!(open(Path::new("/dev/zero")).unwrap_err().to_string().contains("a device"));
        let root = tempfile::tempdir().unwrap();
        let (link, socket) = (root.path().join("link"), root.path().join("socket"));
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(open(&link).unwrap_err().to_string().contains("a link to what does not exist"));
        assert!(write(&link, b"x").unwrap_err().to_string().contains("a link to what does not exist"));
        assert!(write(Path::new("/dev/zero"), b"x").unwrap_err().to_string().contains("a device"));
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(open(&socket).unwrap_err().to_string().contains("a socket"));
    }
}
