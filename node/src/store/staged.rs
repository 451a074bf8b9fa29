//! Shards on their way: written, and not yet durable.
//!
//! A pull writes what comes at the speed of memory and waits for the disk beside it ([`Store::stage`], then
//! [`Store::settle`]). Staged shards lie in `staged/`, each named by its hash, where nobody sees them. A process that is
//! killed leaves them there: the next start takes over those that hash to their name, so that a kill costs no traffic.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use potluck_protocol::id::ShardId;
use potluck_protocol::limits::SHARD_MAX;
use potluck_protocol::shard::VerifiedShard;
use potluck_trainer::removal;

use crate::failpoint::What;
use crate::home::temporary::is_staged;
use crate::store::Store;
use crate::store::durable::{self, Staged};
use crate::store::error::{Result, StoreError};
use crate::store::shards::{BATCH, folder, is_there, path};

/// Shards that [`Store::settle`] makes durable. Dropped before that, the new ones among them are gone.
#[must_use]
pub struct StagedShards {
    pub(super) files: Vec<Staged>,
    /// Of those files, in their order.
    pub(super) rows: Vec<(ShardId, u32)>,
    /// Where all of them belong, those included that are there already.
    pub(super) folders: BTreeSet<std::path::PathBuf>,
}

impl StagedShards {
    /// Puts others behind these, so that the disk's work is shared.
    pub fn append(&mut self, other: Self) {
        self.files.extend(other.files);
        self.rows.extend(other.rows);
        self.folders.extend(other.folders);
    }

    /// How many are new.
    pub fn count(&self) -> usize {
        self.rows.len()
    }
}

impl Store {
    /// As many shards as are best made durable together.
    pub const BATCH: usize = BATCH;

    /// Writes shards to `staged/`; those that are in the store already are not written again.
    pub fn stage(&self, shards: &[VerifiedShard]) -> Result<StagedShards> {
        let layout = self.layout();
        let mut wanted = BTreeSet::new();
        let new: Vec<_> = shards.iter().filter(|shard| wanted.insert(shard.id()) && !is_there(layout, shard)).collect();
        self.0.space.check(new.iter().map(|shard| shard.bytes().len() as u64).sum())?;
        let write = |shard: &&VerifiedShard| {
            let id = shard.id();
            Staged::write(&layout.staged(), &id.to_string(), What::Shard, path(layout, &id), shard.bytes())
        };
        Ok(StagedShards {
            files: new.iter().map(write).collect::<Result<_>>()?,
            rows: new.iter().map(|shard| (shard.id(), shard.bytes().len() as u32)).collect(),
            folders: wanted.iter().map(|id| folder(layout, id)).collect(),
        })
    }

    /// Takes over what an earlier process had staged; how many shards. What does not hash to its name is removed; what no
    /// process of ours named so is left alone.
    pub(super) fn adopt_staged(&self) -> Result<usize> {
        let folder = self.layout().staged();
        if folder.is_symlink() {
            return Ok(0);
        }
        let list = || fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut found = list().map_err(StoreError::io("list", &folder))?;
        found.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_staged));
        let mut adopted = 0;
        for some in found.chunks(BATCH) {
            let mut staged = StagedShards { files: Vec::new(), rows: Vec::new(), folders: BTreeSet::new() };
            for file in some {
                match whole(file)? {
                    Some(shard) => self.adopt(file, &shard, &mut staged),
                    None => removal::temporary(file, is_staged).map_err(StoreError::io("remove", file))?,
                }
            }
            adopted += staged.count();
            self.settle(staged)?;
        }
        Ok(adopted)
    }

    fn adopt(&self, file: &Path, shard: &VerifiedShard, staged: &mut StagedShards) {
        let id = shard.id();
        // One that is in the store by now is removed by its drop.
        let one = Staged::found(file, What::Shard, path(self.layout(), &id));
        if !is_there(self.layout(), shard) {
            staged.files.push(one);
            staged.rows.push((id, shard.bytes().len() as u32));
            staged.folders.insert(folder(self.layout(), &id));
        }
    }

    /// Makes staged shards durable and visible.
    pub fn settle(&self, staged: StagedShards) -> Result<()> {
        Staged::sync(&staged.files)?;
        self.publish(staged.files, staged.folders)?;
        self.0.lists.add_shards(&staged.rows);
        Ok(())
    }
}

/// The shard that a staged file holds, if it is whole.
fn whole(file: &Path) -> Result<Option<VerifiedShard>> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(id) = name.split('.').next().and_then(|id| id.parse::<ShardId>().ok()) else { return Ok(None) };
    if !file.is_file() {
        return Ok(None);
    }
    let bytes = durable::read(file, SHARD_MAX as u64)?;
    Ok(bytes.and_then(|bytes| VerifiedShard::check(id, bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{Fixture, files_below, shards};

    #[test]
    fn what_a_killed_process_had_staged_is_taken_over() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let all = shards(2 * BATCH + 3);
        let known = &all[..2];
        // Twice, as two pulls of the same shard: and two of them are in the store by the time of the kill.
        for staged in [store.stage(&all).expect("room"), store.stage(&all[5..9]).expect("room")] {
            std::mem::forget(staged);
        }
        store.put_shards(known).expect("room");
        let folder = store.layout().staged();
        let torn = folder.join(format!("{}.9999", shards(500)[499].id()));
        fs::write(&torn, &shards(500)[499].bytes()[..100]).expect("writable");
        fs::write(folder.join("results.csv"), b"x").expect("writable");
        drop(store);
        let store = fixture.open();
        assert!(store.recovery().adopted_shards >= all.len() - known.len(), "{:?}", store.recovery());
        assert_eq!(files_below(&store.layout().staged()), [folder.join("results.csv")], "a person's stays");
        for shard in &all {
            assert_eq!(store.shard(&shard.id()).expect("readable").as_ref(), Some(shard));
        }
        assert_eq!(store.stat().expect("readable").shards, all.len() as u64);
        drop(store);
        assert_eq!(fixture.open().recovery().adopted_shards, 0);
    }

    #[test]
    fn what_is_dropped_before_it_is_settled_is_gone() {
        let fixture = Fixture::new();
        let store = fixture.open();
        drop(store.stage(&shards(3)).expect("room"));
        assert!(files_below(&store.layout().staged()).is_empty());
        assert_eq!(store.stat().expect("readable").shards, 0);
    }
}
