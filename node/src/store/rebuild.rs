//! Which index is used, and how a new one is made.
//!
//! ```text
//! index/00000007/   a sled database
//! index/current     "potluck-index/1 7 HASH": written when that database was closed, removed before it is opened
//! ```
//!
//! A database is used only if `current` names it and HASH is the hash of all its files: so sled never sees bytes that
//! it did not write itself, and one that was not closed (a crash) or was touched by anything is not believed. Then a
//! new one is built beside it from the files, and takes its place. Announcements are taken over from the old one as far
//! as they can be read and their signatures hold.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use potluck_protocol::id::{Digest, ManifestId, ShardId};
use potluck_trainer::removal;

use crate::failpoint::What;
use crate::home::Layout;
use crate::store::durable;
use crate::store::durable::names_in;
use crate::store::error::{Result, StoreError};
use crate::store::index::{Doubt, Index};
use crate::store::manifest_file::{Loaded, Summary, load};

/// Changes with what the index holds: one of another schema is not believed.
const SCHEMA: &str = "potluck-index/1";
const CURRENT_MAX: u64 = 256;

/// The index in use, and why it had to be built anew, if so. No index (a full disk, say) is no reason to fail: lists
/// are then read from the files.
pub(crate) fn open(layout: &Layout) -> (Option<Index>, Option<String>) {
    let doubt = match open_trusted(layout) {
        Ok(index) => return (Some(index), None),
        Err(doubt) => doubt.0,
    };
    let built = sync_names(layout).and_then(|()| build(layout, None));
    if let Err(error) = &built {
        tracing::warn!(%error, "no index: lists are read from the files");
    }
    (built.ok(), Some(doubt))
}

fn open_trusted(layout: &Layout) -> Result<Index, Doubt> {
    let doubt = |error: StoreError| Doubt(error.to_string());
    let path = current(layout);
    let bytes =
        durable::read(&path, CURRENT_MAX).map_err(doubt)?.ok_or_else(|| Doubt("it was not closed".to_owned()))?;
    let (number, hash) = parse(&bytes).ok_or_else(|| Doubt(format!("{} is not readable", path.display())))?;
    let folder = generation(layout, number);
    if hash_folder(&folder).map_err(doubt)? != hash {
        return Err(Doubt("its files are not as they were left".to_owned()));
    }
    // From here on a crash leaves an index that is not believed.
    removal::file(&path).map_err(StoreError::io("remove", &path)).map_err(doubt)?;
    durable::sync_folder(&layout.index()).map_err(doubt)?;
    let index = Index::open(&folder)?;
    let listed: BTreeSet<ManifestId> = index.manifests()?.iter().map(|summary| summary.id).collect();
    let there: BTreeSet<ManifestId> = names_in(&layout.manifests()).map_err(doubt)?.into_iter().collect();
    if listed == there { Ok(index) } else { Err(Doubt("it lists other manifests than there are".to_owned())) }
}

fn current(layout: &Layout) -> PathBuf {
    layout.index().join("current")
}

fn generation(layout: &Layout, number: u32) -> PathBuf {
    layout.index().join(format!("{number:08}"))
}

fn parse(bytes: &[u8]) -> Option<(u32, Digest)> {
    let mut words = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split(' ');
    let (schema, number, hash) = (words.next()?, words.next()?, words.next()?);
    let parsed = (number.parse().ok()?, hash.parse().ok()?);
    (schema == SCHEMA && words.next().is_none()).then_some(parsed)
}

/// Numbers of the databases that there are, sorted.
fn generations(layout: &Layout) -> Result<Vec<u32>> {
    let folder = layout.index();
    let mut numbers = Vec::new();
    for entry in fs::read_dir(&folder).map_err(StoreError::io("list", &folder))? {
        let name = entry.map_err(StoreError::io("list", &folder))?.file_name();
        numbers.extend(name.to_str().filter(|name| name.len() == 8).and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Closes an index and leaves word that it may be believed.
pub(crate) fn close(layout: &Layout, index: Index) -> Result<()> {
    let folder = index.close().map_err(|doubt| StoreError::Index(doubt.0))?;
    let number = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let number: u32 = number.parse().map_err(|_| StoreError::Index(format!("{} is no index", folder.display())))?;
    let text = format!("{SCHEMA} {number} {}\n", hash_folder(&folder)?);
    durable::write(&layout.tmp(), What::Index, &current(layout), text.as_bytes())
}

/// One hash over the names, lengths and bytes of all files.
fn hash_folder(folder: &Path) -> Result<Digest> {
    let mut files = Vec::new();
    collect_files(folder, folder, &mut files)?;
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for name in files {
        let path = folder.join(&name);
        let io = |error| StoreError::io("read", &path)(error);
        let file = File::open(&path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        hasher.update(name.as_os_str().as_encoded_bytes()).update(&[0]).update(&len.to_le_bytes());
        hasher.update_reader(file).map_err(io)?;
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

fn collect_files(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(StoreError::io("list", folder))? {
        let path = entry.map_err(StoreError::io("list", folder))?.path();
        if path.is_dir() {
            collect_files(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push(name.to_path_buf());
        }
    }
    Ok(())
}

/// Builds a new index from the files, and removes all others. `old` is the one that was open, if one was.
pub(crate) fn build(layout: &Layout, old: Option<Index>) -> Result<Index> {
    let numbers = generations(layout)?;
    let folder = generation(layout, numbers.last().map_or(1, |last| last.wrapping_add(1)));
    let heard = match old {
        Some(old) => old.heard.readable(),
        None => salvage(layout, &numbers),
    };
    let built = fill(layout, &folder).and_then(|index| {
        heard.iter().try_for_each(|announcement| index.heard.put(announcement).map(drop)).map_err(index_error)?;
        Ok(index)
    });
    if built.is_err() {
        let _ = removal::entries(&folder, is_sleds);
    }
    let index = built?;
    for number in numbers {
        // What stays is removed by the next build.
        let _ = removal::entries(&generation(layout, number), is_sleds);
    }
    Ok(index)
}

/// What sled puts into a database's folder.
fn is_sleds(name: &str) -> bool {
    matches!(name, "conf" | "db" | "blobs") || name.starts_with("snap.")
}

fn index_error(doubt: Doubt) -> StoreError {
    StoreError::Index(doubt.0)
}

fn fill(layout: &Layout, folder: &Path) -> Result<Index> {
    let index = Index::open(folder).map_err(index_error)?;
    for (id, len) in scan_shards(layout)? {
        index.put_shard(&id, len).map_err(index_error)?;
    }
    for summary in scan_manifests(layout)? {
        index.put_manifest(&summary).map_err(index_error)?;
    }
    Ok(index)
}

/// What can still be read of the announcements in databases that are not believed. A marker keeps a database on which
/// sled kills or hangs the process from being tried twice.
fn salvage(
    layout: &Layout,
    numbers: &[u32],
) -> Vec<potluck_protocol::signed::Authentic<potluck_protocol::announce::Announcement>> {
    let marker = layout.index().join("salvaging");
    let mut heard = Vec::new();
    if numbers.is_empty() || marker.exists() || fs::write(&marker, b"").is_err() {
        let _ = removal::file(&marker);
        return heard;
    }
    for number in numbers {
        if let Ok(index) = Index::open(&generation(layout, *number)) {
            heard.extend(index.heard.readable());
        }
    }
    let _ = removal::file(&marker);
    heard
}

/// Every shard file with its length, by folder.
pub(crate) fn scan_shards(layout: &Layout) -> Result<Vec<(ShardId, u32)>> {
    let mut shards = Vec::new();
    for folder in shard_folders(layout)? {
        for id in names_in::<ShardId>(&folder)? {
            let path = folder.join(id.to_string());
            let len = fs::metadata(&path).map_err(StoreError::io("look at", &path))?.len();
            shards.push((id, u32::try_from(len).unwrap_or(u32::MAX)));
        }
    }
    Ok(shards)
}

/// The summaries of all manifests, from their files. Damaged ones are left out; reading them by id moves them aside.
pub(crate) fn scan_manifests(layout: &Layout) -> Result<Vec<Summary>> {
    let mut summaries = Vec::new();
    for id in names_in::<ManifestId>(&layout.manifests())? {
        if let Loaded::Good(manifest) = load(layout, &id)? {
            summaries.push(Summary::of(&manifest));
        }
    }
    Ok(summaries)
}

pub(crate) fn shard_folders(layout: &Layout) -> Result<Vec<PathBuf>> {
    let root = layout.shards();
    let mut folders = Vec::new();
    for entry in fs::read_dir(&root).map_err(StoreError::io("list", &root))? {
        let path = entry.map_err(StoreError::io("list", &root))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// After a crash: a name that we see may not be on disk yet, and will be taken for durable from now on. // I7
fn sync_names(layout: &Layout) -> Result<()> {
    let folders = [layout.shards(), layout.manifests(), layout.recipes()].into_iter().chain(shard_folders(layout)?);
    durable::sync_folders(&folders.collect())
}

#[cfg(test)]
mod tests;
