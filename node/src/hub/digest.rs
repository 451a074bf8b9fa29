//! Whether a file is what the hub says, by its length and by the hash that names it. One check, of what was fetched and of
//! what lies in the cache.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use potluck_trainer::base::lfs::is_pointer;
use potluck_trainer::files;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::limits::CHUNK;
use super::page;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    Length {
        is: u64,
        wanted: u64,
    },
    Hash {
        is: String,
        wanted: String,
    },
    /// The few lines of Git LFS that stand for a large file.
    Pointer,
    /// A web page. None of the files of a base is one.
    Page,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { is, wanted } => write!(f, "it has {is} bytes, the hub says {wanted}"),
            Self::Hash { is, wanted } => write!(f, "it hashes to {is}, the hub says {wanted}"),
            Self::Pointer => f.write_str("it is a Git LFS pointer: the few lines that stand for a large file"),
            Self::Page => f.write_str("it is a web page"),
        }
    }
}

/// What an etag says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// Large files.
    Sha256,
    /// Small files, as git names them; some mirrors hash the bytes alone.
    GitOrSha1,
    /// What a mirror made up.
    Nothing,
}

impl Named {
    fn of(etag: &str) -> Self {
        let hex = etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        match etag.len() {
            64 if hex => Self::Sha256,
            40 if hex => Self::GitOrSha1,
            _ => Self::Nothing,
        }
    }
}

/// Whether the content can be held against the etag.
pub fn is_hash(etag: &str) -> bool {
    Named::of(etag) != Named::Nothing
}

/// Reads a file whole if its etag is a hash, else its length and its beginning. `None`: nothing is wrong with it.
pub fn check(path: &Path, etag: &str, size: Option<u64>) -> io::Result<Option<Wrong>> {
    let mut file = files::open(path)?;
    let is = file.metadata()?.len();
    if let Some(wanted) = size.filter(|wanted| *wanted != is) {
        return Ok(Some(Wrong::Length { is, wanted }));
    }
    let mut chunk = vec![0; CHUNK];
    let first = fill(&mut file, &mut chunk)?;
    // Whatever its hash: a mirror that keeps pointers names them by their own.
    if is_pointer(&chunk[..first]) {
        return Ok(Some(Wrong::Pointer));
    }
    if page::is_web_page(&chunk[..first]) {
        return Ok(Some(Wrong::Page));
    }
    let hashed = match Named::of(etag) {
        Named::Nothing => return Ok(None),
        Named::Sha256 => vec![hash(Sha256::new(), &mut file, &mut chunk, first)?],
        Named::GitOrSha1 => {
            let (mut plain, mut git) = (Sha1::new(), Sha1::new());
            git.update(format!("blob {is}\0"));
            each(&mut file, &mut chunk, first, |bytes| {
                plain.update(bytes);
                git.update(bytes);
            })?;
            vec![hex(&git.finalize()), hex(&plain.finalize())]
        }
    };
    let wanted = etag.to_ascii_lowercase();
    if hashed.contains(&wanted) {
        return Ok(None);
    }
    Ok(hashed.into_iter().next().map(|is| Wrong::Hash { is, wanted }))
}

fn hash<D: Digest>(mut hasher: D, file: &mut File, chunk: &mut [u8], first: usize) -> io::Result<String> {
    each(file, chunk, first, |bytes| hasher.update(bytes))?;
    Ok(hex(&hasher.finalize()))
}

/// All bytes: those that are in the chunk already, then the rest.
fn each(file: &mut File, chunk: &mut [u8], first: usize, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut read = first;
    while read > 0 {
        take(&chunk[..read]);
        read = fill(file, chunk)?;
    }
    Ok(())
}

/// Reads until the chunk is full or the file ends.
fn fill(file: &mut File, chunk: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < chunk.len() {
        match file.read(&mut chunk[len..])? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `hello\n`, by `sha256sum`, `git hash-object` and `sha1sum`.
    const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    const GIT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";
    const SHA1: &str = "f572d396fae9206628714fb2ce00f72e94f2258f";

    fn checked(bytes: &[u8], etag: &str, size: Option<u64>) -> Option<Wrong> {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("file");
        std::fs::write(&path, bytes).expect("writable");
        check(&path, etag, size).expect("readable")
    }

    #[test]
    fn an_etag_that_is_a_hash_is_compared() {
        for etag in [SHA256, GIT, SHA1, &SHA256.to_uppercase()] {
            assert_eq!(checked(b"hello\n", etag, Some(6)), None, "{etag}");
            let Some(Wrong::Hash { is, wanted }) = checked(b"hellO\n", etag, Some(6)) else { panic!("{etag}") };
            assert_eq!((is.len(), wanted), (etag.len(), etag.to_lowercase()));
        }
        for made_up in ["", "abc-1", &SHA256[..63], &"x".repeat(40)] {
            assert!(!is_hash(made_up));
            assert_eq!(checked(b"hellO\n", made_up, Some(6)), None, "{made_up}");
        }
    }

    #[test]
    fn a_length_is_compared_first() {
        assert_eq!(checked(b"hell", SHA256, Some(6)), Some(Wrong::Length { is: 4, wanted: 6 }));
        assert_eq!(checked(b"hello\n", SHA256, None), None);
    }

    #[test]
    fn a_file_longer_than_what_is_read_at_once_is_hashed_whole() {
        let mut bytes = vec![7; CHUNK * 2 + 5];
        let etag = hex(&Sha256::digest(&bytes));
        assert_eq!(checked(&bytes, &etag, None), None);
        *bytes.last_mut().expect("some") = 8;
        assert!(matches!(checked(&bytes, &etag, None), Some(Wrong::Hash { .. })));
    }

    #[test]
    fn pointers_and_pages_are_named_whatever_they_hash_to() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n";
        assert_eq!(checked(pointer, &hex(&Sha256::digest(pointer)), None), Some(Wrong::Pointer));
        let page = b"\n<!DOCTYPE html><html><title>Welcome</title>";
        assert_eq!(checked(page, "x", None), Some(Wrong::Page));
    }
}
