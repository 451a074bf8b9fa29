//! Files mapped into memory: weights are paged in when they are read and cost no copy.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::tensor::{Bytes, Source};

/// A mapped file, held open for reads past the map.
struct Mapped {
    map: Mmap,
    file: File,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Source for Mapped {
    fn read_at(&self, at: usize, out: &mut [u8]) -> io::Result<()> {
        read_exact_at(&self.file, out, at as u64)
    }
}

/// Fills `out` from `offset` on, whatever else reads the file.
#[cfg(unix)]
pub(crate) fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

/// Fills `out` from `offset` on, whatever else reads the file.
#[cfg(windows)]
pub(crate) fn read_exact_at(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                out = &mut out[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}

/// Maps a regular file for reading. An empty file gives empty bytes.
#[expect(unsafe_code, reason = "a map cannot be made in safe code")]
pub fn map(path: &Path) -> io::Result<Bytes> {
    let file = crate::files::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Arc::new(Vec::new()));
    }
    // SAFETY: `Mmap::map` asks that the file does not change while it is mapped. This program never writes a file that it
    // maps, and files of the store never change under their final names. That no other process changes a base which a
    // person keeps elsewhere cannot be ensured. If one does: the map is read-only and only lent as `&[u8]`, for which every
    // value is valid, so changed bytes are wrong weights, which digests show where there are any; a file that is cut short
    // ends this process with SIGBUS at the next read behind its end. Whoever maps a person's file accepts that: bases are
    // opened by the worker alone, which does each job in a process of its own, and never by the daemon (a test in
    // `tests/tests/tidy/layers.rs` keeps it so).
    let map = unsafe { Mmap::map(&file)? };
    Ok(Arc::new(Mapped { map, file }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_past_the_map_and_only_inside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"abcdef").unwrap();
        for source in [map(&path).unwrap(), Arc::new(b"abcdef".to_vec())] {
            let mut out = [0; 3];
            source.read_at(2, &mut out).unwrap();
            assert_eq!(&out, b"cde");
            assert!(source.read_at(4, &mut out).is_err() && source.read_at(usize::MAX, &mut out).is_err());
        }
    }

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
