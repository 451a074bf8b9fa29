//! Files mapped into memory: weights are paged in when they are read and cost no copy.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::tensor::Bytes;

/// Maps a regular file for reading. An empty file gives empty bytes.
pub fn map(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() == 0 {
        return Ok(Arc::new(Vec::new()));
    }
    // SAFETY: the map is read-only and the bytes are only ever read as `u8`, for which any value is valid. What Rust
    // cannot rule out is another process that changes the file meanwhile: changed bytes are wrong weights, which the
    // digests show, and a file cut short ends the process with SIGBUS. The store never changes a file under its final
    // name, and training runs in a child process, so that such an end concerns one job alone.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Arc::new(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_a_folder_and_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!((*map(&path).unwrap()).as_ref(), b"abc");
        std::fs::write(&path, b"").unwrap();
        assert_eq!((*map(&path).unwrap()).as_ref(), b"");
        assert!(map(folder.path()).is_err());
        assert!(map(&folder.path().join("none")).is_err());
    }
}
