//! The names of a snapshot's files: links to blobs, as the hub's own programs make them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use potluck_trainer::{files, removal};

/// How a link is called until it takes the place of another one.
const NEW: &str = ".potluck-link";

/// Makes `target`, which is no file and lies `depth` folders below its snapshot, a link to a blob. One to something else, or to nothing, is replaced in one step: whoever
/// reads meanwhile finds the one or the other.
pub fn put(blob: &Path, target: &Path, depth: usize, symlinks: bool) -> io::Result<()> {
    if !target.is_symlink() {
        return match make(blob, target, depth, symlinks) {
            // Another process was faster: of one commit both mean the same file.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && target.is_file() => Ok(()),
            made => made,
        };
    }
    if fs::read_link(target).is_ok_and(|to| to == beside(blob, depth)) {
        return Ok(());
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let new = target.with_file_name(format!(".{name}.{}{NEW}", std::process::id()));
    removal::temporary(&new, |name| name.ends_with(NEW))?;
    make(blob, &new, depth, symlinks)?;
    files::rename(&new, target)
}

/// The content of a link in a snapshot.
fn beside(blob: &Path, depth: usize) -> PathBuf {
    Path::new(&"../".repeat(depth + 2)).join("blobs").join(blob.file_name().unwrap_or_default())
}

/// Disks and systems without symbolic links have another name of the same file, or a copy.
fn make(blob: &Path, target: &Path, depth: usize, symlinks: bool) -> io::Result<()> {
    if symlinks {
        match symbolic(&beside(blob, depth), target) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {}
            decided => return decided,
        }
    }
    // The blob may be a link itself, to a store that several repositories share.
    let blob = fs::canonicalize(blob)?;
    match fs::hard_link(&blob, target) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => fs::copy(&blob, target).map(drop),
        decided => decided,
    }
}

#[cfg(unix)]
fn symbolic(to: &Path, target: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, target)
}

/// Only some users may make one.
#[cfg(not(unix))]
fn symbolic(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_made_kept_or_replaced() {
        let root = tempfile::tempdir().expect("a folder");
        let (blobs, folder) = (root.path().join("blobs"), root.path().join("snapshots/commit"));
        [&blobs, &folder].into_iter().for_each(|folder| fs::create_dir_all(folder).expect("writable"));
        for name in ["a", "b"] {
            fs::write(blobs.join(name), name).expect("writable");
        }
        let target = folder.join("file");
        let reads = || fs::read_to_string(&target).expect("a link to a file");
        for (blob, symlinks) in [("a", true), ("a", true), ("b", true), ("a", true), ("b", false)] {
            put(&blobs.join(blob), &target, 0, symlinks).expect("linked");
            assert_eq!((reads().as_str(), target.is_symlink()), (blob, symlinks));
        }
        let deep = folder.join("additional_chat_templates/tool_use.jinja");
        fs::create_dir(folder.join("additional_chat_templates")).expect("writable");
        put(&blobs.join("b"), &deep, 1, true).expect("linked");
        assert_eq!(fs::read_to_string(&deep).expect("through the link"), "b");
        let dangling = folder.join("dangling");
        std::os::unix::fs::symlink("../../blobs/gone", &dangling).expect("writable");
        put(&blobs.join("a"), &dangling, 0, true).expect("linked");
        assert_eq!(fs::read_to_string(&dangling).expect("no longer"), "a");
        assert_eq!(fs::read_dir(&folder).expect("readable").count(), 3, "nothing else is left");
    }

    /// As where several repositories share a store: the blob is a link too.
    #[test]
    fn a_blob_that_is_a_link_is_followed() {
        let root = tempfile::tempdir().expect("a folder");
        let (blobs, folder) = (root.path().join("blobs"), root.path().join("snapshots/commit"));
        [&blobs, &folder].into_iter().for_each(|folder| fs::create_dir_all(folder).expect("writable"));
        fs::write(root.path().join("shared"), "content").expect("writable");
        std::os::unix::fs::symlink("../shared", blobs.join("a")).expect("writable");
        for symlinks in [true, false] {
            let target = folder.join(symlinks.to_string());
            put(&blobs.join("a"), &target, 0, symlinks).expect("linked");
            assert_eq!(fs::read_to_string(&target).expect("content"), "content");
        }
    }
}
