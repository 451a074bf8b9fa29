//! Shards as files named by their hash. // I1
//!
//! A shard that can be seen under its name is whole; one that [`Store::put_shards`] has returned for is durable. Reads
//! verify: bytes that do not hash to their name are moved to `quarantine/` and count as missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use potluck_protocol::id::ShardId;
use potluck_protocol::limits::SHARD_MAX;
use potluck_protocol::shard::{ShardError, VerifiedShard};

use crate::failpoint::{Step, What, pass};
use crate::home::Layout;
use crate::store::durable::{self, Staged};
use crate::store::error::{Result, StoreError};
use crate::store::{Store, lock};

/// Shards that go through one batch together: bounds what one call holds in memory, and what a full disk refuses at
/// once.
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
        shards.chunks(BATCH).try_for_each(|batch| self.settle(self.stage(batch)?))
    }

    /// Gives synced files their names and makes those durable. One batch at a time, so that a shard that another
    /// caller finds to be there already is durable, or its folder is in `unsynced`. // I7
    pub(super) fn publish(&self, staged: Vec<Staged>, folders: BTreeSet<PathBuf>) -> Result<()> {
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
        pass(What::Shard, Step::Done).map_err(StoreError::io("write", &self.layout().shards()))
    }

    /// Whether the shard is here. Its bytes are looked at when they are read.
    pub fn has_shard(&self, id: &ShardId) -> Result<bool> {
        let path = path(self.layout(), id);
        path.try_exists().map_err(StoreError::io("look for", &path))
    }

    /// A shard's bytes, verified. `None` if it is not here, or was not what its name says.
    pub fn shard(&self, id: &ShardId) -> Result<Option<VerifiedShard>> {
        match load(self.layout(), id)? {
            Some(Ok(shard)) => Ok(Some(shard)),
            Some(Err(_)) => self.set_aside(id).map(|()| None),
            None => Ok(None),
        }
    }

    /// Moves a damaged shard to quarantine.
    fn set_aside(&self, id: &ShardId) -> Result<()> {
        // With the writers' lock held: nobody may find it to be there meanwhile.
        let _writers = lock(&self.0.writers);
        // Another reader may have done it, and the good one may be here again.
        if let Some(Err(error)) = load(self.layout(), id)? {
            tracing::error!(shard = %id, %error, "a shard on disk is damaged: moved to quarantine, it counts as missing");
            quarantine(self.layout(), &path(self.layout(), id))?;
            self.0.lists.remove_shard(id);
        }
        Ok(())
    }
}

/// What lies under a shard's name. An error of the disk is no verdict on the shard.
fn load(layout: &Layout, id: &ShardId) -> Result<Option<Result<VerifiedShard, ShardError>>> {
    let bytes = durable::read(&path(layout, id), SHARD_MAX as u64)?;
    Ok(bytes.map(|bytes| VerifiedShard::check(*id, bytes)))
}

/// Whether there is a file of the right length: a shorter one is what some file systems leave of a power cut.
pub(super) fn is_there(layout: &Layout, shard: &VerifiedShard) -> bool {
    fs::metadata(path(layout, &shard.id())).is_ok_and(|found| found.len() == shard.bytes().len() as u64)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failpoint;
    use crate::store::testing::{Fixture, bytes, files_below, shards};

    #[test]
    fn what_is_put_is_there_after_reopening() {
        let fixture = Fixture::new();
        let all = shards(2 * BATCH + 3);
        let store = fixture.open();
        store.put_shards(&all).expect("room");
        // Twice in one call, and again.
        store.put_shards([all[0].clone(), all[0].clone()]).expect("room");
        drop(store);
        let store = fixture.open();
        for shard in &all {
            assert_eq!(store.shard(&shard.id()).expect("readable").as_ref(), Some(shard));
        }
        let stat = store.stat().expect("readable");
        assert_eq!(stat.shards, all.len() as u64);
        assert_eq!(stat.shard_bytes, all.iter().map(|shard| shard.bytes().len() as u64).sum::<u64>());
    }

    #[test]
    fn a_full_or_failing_disk_at_any_point_shows_nothing_half() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let points = failpoint::ALL.iter().filter(|point| point.what == What::Shard);
        for (n, point) in points.enumerate() {
            for action in ["enospc", "eio"] {
                let batch: Vec<_> = (0..4)
                    .map(|k| VerifiedShard::of(bytes(&format!("{n} {k} {action}"), 500)).expect("short"))
                    .collect();
                let armed = failpoint::scoped(&format!("{point}@2:{action}")).expect("valid");
                let done = failpoint::Step::Done == point.step;
                let result = store.put_shards(&batch);
                assert_eq!(result.is_ok(), done, "{point} is passed {} a batch", if done { "once" } else { "often" });
                assert!(done || result.is_err_and(|error| error.is_no_space() == (action == "enospc")));
                drop(armed);
                assert!(files_below(&store.layout().staged()).is_empty(), "{point}");
                assert!(store.verify(|_, _| ()).expect("readable").is_clean(), "{point}");
                store.put_shards(&batch).expect("room again");
                assert!(batch.iter().all(|shard| store.has_shard(&shard.id()).expect("readable")), "{point}");
            }
        }
    }

    #[test]
    fn a_name_whose_folder_was_not_synced_is_synced_before_it_counts() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let batch = shards(3);
        let armed = failpoint::scoped("shard.renamed@3:eio").expect("valid");
        store.put_shards(&batch).expect_err("the disk fails");
        assert!(store.has_shard(&batch[0].id()).expect("readable"), "it has its name");
        assert!(!lock(&store.0.writers).unsynced.is_empty(), "but does not count as durable");
        drop(armed);
        store.put_shards(&batch).expect("works again");
        assert!(lock(&store.0.writers).unsynced.is_empty());
    }

    #[test]
    fn a_rotten_shard_is_moved_aside_and_can_be_put_again() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let all = shards(1);
        let file = path(store.layout(), &all[0].id());
        let good = all[0].bytes().to_vec();
        let mut flipped = good.clone();
        flipped[999] ^= 1;
        for rotten in [flipped, Vec::new(), good[..10].to_vec(), vec![0; SHARD_MAX + 9]] {
            store.put_shards(&all).expect("room");
            fs::write(&file, &rotten).expect("writable");
            assert_eq!(store.shard(&all[0].id()).expect("readable"), None);
            assert!(!store.has_shard(&all[0].id()).expect("readable"));
            assert_eq!(store.stat().expect("readable").shards, 0);
            assert_eq!(fs::read(store.layout().quarantine().join(all[0].id().to_string())).expect("kept"), rotten);
        }
        fs::write(&file, b"cut").expect("writable");
        store.put_shards(&all).expect("a file of another length is no reason to skip it");
        assert_eq!(store.shard(&all[0].id()).expect("readable").as_ref(), Some(&all[0]));
    }

    #[test]
    fn many_writers_of_the_same_shards_agree() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let all = shards(40);
        std::thread::scope(|scope| {
            for start in 0..4 {
                let (store, all) = (&store, &all);
                scope.spawn(move || all[start..].chunks(7).try_for_each(|some| store.put_shards(some)).expect("room"));
            }
        });
        assert_eq!(store.stat().expect("readable").shards, 40);
        assert!(store.verify(|_, _| ()).expect("readable").is_clean());
    }
}
