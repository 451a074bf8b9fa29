//! The free space of a disk.

use std::io;
use std::path::Path;

/// Bytes that this user can still write to the file system of `path`.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Where the system is not asked, there is no bound.
#[cfg(not(unix))]
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    std::fs::metadata(path).map(|_| u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_free_space_and_what_is_not_there_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(free_bytes(folder.path()).expect("it is there") > 0);
        assert!(free_bytes(&folder.path().join("missing")).is_err());
    }
}
