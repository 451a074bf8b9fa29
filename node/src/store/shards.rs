//! Shards as files named by their hash. // I1
//!
//! A shard that can be seen under its name is whole; one that [`Store::put_shards`] has returned for is durable. Reads
//! verify: bytes that do not hash to their name are moved to `quarantine/` and count as missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use potluck_protocol::id::ShardId;
use potluck_protocol::limits::SHARD_MAX;
use potluck_protocol::shard::VerifiedShard;

use crate::failpoint::{Step, What, pass};
use crate::home::Layout;
use crate::store::durable::{self, Staged};
use crate::store::error::{Result, StoreError};
use crate::store::{Store, lock};

/// Shards that go through one batch together: bounds open files, and bytes that a full disk can leave in `tmp/`.
pub(crate) const BATCH: usize = 64;

/// What the writers of shards share.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    /// Folders in which a shard may have a name that is not durable, because their fsync failed.
    unsynced: BTreeSet<PathBuf>,
}

pub(crate) fn folder(layout: &Layout, id: &ShardId) -> PathBuf {
    layout.shards().join(&id.to_string()[..2])
}

pub(crate) fn path(layout: &Layout, id: &ShardId) -> PathBuf {
    folder(layout, id).join(id.to_string())
}

impl Store {
    /// Makes shards durable; those that are here already are not written again. All or none of a batch of 64 fails
    /// for want of space, and what has been stored of a failed call stays: shards check themselves.
    pub fn put_shards(&self, shards: impl AsRef<[VerifiedShard]>) -> Result<()> {
        let shards = shards.as_ref();
        shards.chunks(BATCH).try_for_each(|batch| self.put_batch(batch))
    }

    fn put_batch(&self, batch: &[VerifiedShard]) -> Result<()> {
        let layout = self.layout();
        let mut wanted = BTreeSet::new();
        let new: Vec<_> =
            batch.iter().filter(|shard| wanted.insert(shard.id()) && !path(layout, &shard.id()).exists()).collect();
        self.check_space(new.iter().map(|shard| shard.bytes().len() as u64).sum())?;
        let write = |shard: &&VerifiedShard| {
            Staged::write(&layout.tmp(), What::Shard, path(layout, &shard.id()), shard.bytes())
        };
        let staged = new.iter().map(write).collect::<Result<Vec<_>>>()?;
        staged.iter().try_for_each(Staged::sync)?;
        let folders = wanted.iter().map(|id| folder(layout, id)).collect();
        self.publish(staged, folders)?;
        pass(What::Shard, Step::Done).map_err(StoreError::io("write", &layout.shards()))?;
        self.index_shards(new.iter().map(|shard| (shard.id(), shard.bytes().len() as u32)));
        Ok(())
    }

    /// Gives synced files their names and makes those durable. One batch at a time, so that a shard that another
    /// caller finds to be there already is durable, or its folder is in `unsynced`. // I7
    fn publish(&self, staged: Vec<Staged>, folders: BTreeSet<PathBuf>) -> Result<()> {
        let mut writers = lock(&self.0.writers);
        let mut dirty: BTreeSet<PathBuf> = folders.intersection(&writers.unsynced).cloned().collect();
        if !staged.is_empty() {
            let mut made = false;
            for folder in &folders {
                made |= make_folder(folder)?;
            }
            if made {
                durable::sync_folder(&self.layout().shards())?;
            }
            dirty = folders;
            writers.unsynced.extend(dirty.iter().cloned());
        }
        staged.into_iter().try_for_each(Staged::rename)?;
        durable::sync_folders(&dirty)?;
        writers.unsynced.retain(|folder| !dirty.contains(folder));
        Ok(())
    }

    /// Whether the shard is here. Its bytes are looked at when they are read.
    pub fn has_shard(&self, id: &ShardId) -> Result<bool> {
        let path = path(self.layout(), id);
        path.try_exists().map_err(StoreError::io("look for", &path))
    }

    /// A shard's bytes, verified. `None` if it is not here, or was not what its name says.
    pub fn shard(&self, id: &ShardId) -> Result<Option<VerifiedShard>> {
        let path = path(self.layout(), id);
        let bytes = match durable::read(&path, SHARD_MAX as u64) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            // Longer than any shard is rotten as well; so is a place on the disk that cannot be read.
            Err(StoreError::Io { source, .. }) => return self.rotten(id, &source.to_string()).map(|()| None),
            Err(error) => return Err(error),
        };
        match VerifiedShard::check(*id, bytes) {
            Ok(shard) => Ok(Some(shard)),
            Err(error) => self.rotten(id, &error.to_string()).map(|()| None),
        }
    }

    /// Moves a damaged shard aside.
    pub(crate) fn rotten(&self, id: &ShardId, reason: &str) -> Result<()> {
        let path = path(self.layout(), id);
        tracing::error!(shard = %id, reason, "a shard on disk is damaged: moved to quarantine, it counts as missing");
        // Taken with the writers' lock: nobody may count it as present meanwhile.
        let _writers = lock(&self.0.writers);
        quarantine(self.layout(), &path)?;
        self.unindex_shard(id);
        Ok(())
    }
}

/// `true` if it was not there.
fn make_folder(folder: &Path) -> Result<bool> {
    match fs::create_dir(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(StoreError::io("make the folder", folder)(error)),
    }
}

/// Moves a damaged file to `quarantine/`. One that is gone by now is fine.
pub(crate) fn quarantine(layout: &Layout, path: &Path) -> Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    match fs::rename(path, layout.quarantine().join(name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("move aside", path)(error)),
        _ => Ok(()),
    }
}
