//! The index: what lists and totals are read from, so that no command opens every file.
//!
//! Non-goal: to be the only place of anything that cannot be made again. sled is beta by its authors' word
//! (`docs/decisions/0003-sled.md`), so every call is guarded: an error, a panic or a value that makes no sense is
//! [`Doubt`], upon which [`crate::store::rebuild`] makes a new index.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use potluck_protocol::codec::{self, Malformed, Wire};
use potluck_protocol::id::{Digest, ManifestId, ShardId};

use crate::store::heard::Heard;
use crate::store::manifest_file::Summary;

/// sled's default is a gigabyte.
const CACHE_BYTES: u64 = 32 << 20;

/// The index cannot be believed; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Doubt(pub String);

/// Runs sled code: errors and panics alike become doubt.
pub(crate) fn guard<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Doubt> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Doubt(format!("sled: {error}"))),
        Err(_) => Err(Doubt("sled panicked".to_owned())),
    }
}

/// One open sled database. Values: see the fields.
#[derive(Debug)]
pub(crate) struct Index {
    folder: PathBuf,
    db: sled::Db,
    /// Shard id to its length (`u32` le).
    shards: sled::Tree,
    /// Manifest id to its encoded [`Summary`].
    manifests: sled::Tree,
    /// The announcements of the catalogue.
    pub heard: Heard,
}

impl Index {
    /// Opens or makes the database in `folder`.
    pub fn open(folder: &Path) -> Result<Self, Doubt> {
        let config = sled::Config::default().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(1000));
        guard(|| {
            let db = config.open()?;
            let (shards, manifests) = (db.open_tree("shards")?, db.open_tree("manifests")?);
            Ok((db.open_tree("heard")?, shards, manifests, db))
        })
        .and_then(|(heard, shards, manifests, db)| {
            Ok(Self { folder: folder.to_path_buf(), heard: Heard::open(heard)?, db, shards, manifests })
        })
    }

    /// A shard of `len` bytes is here.
    pub fn put_shard(&self, id: &ShardId, len: u32) -> Result<(), Doubt> {
        guard(|| self.shards.insert(id.0.0, &len.to_le_bytes())).map(drop)
    }

    /// A shard is gone; one that was not noted is no error.
    pub fn remove_shard(&self, id: &ShardId) -> Result<(), Doubt> {
        guard(|| self.shards.remove(id.0.0)).map(drop)
    }

    /// Number and bytes of all shards.
    pub fn shard_totals(&self) -> Result<(u64, u64), Doubt> {
        guard(|| self.shards.iter().collect::<sled::Result<Vec<_>>>())?.into_iter().try_fold(
            (0, 0),
            |(count, bytes), (key, value)| {
                let len: [u8; 4] = value.as_ref().try_into().map_err(|_| Doubt("a shard's entry is cut".to_owned()))?;
                digest(&key)?;
                Ok((count + 1, bytes + u64::from(u32::from_le_bytes(len))))
            },
        )
    }

    /// A manifest is visible.
    pub fn put_manifest(&self, summary: &Summary) -> Result<(), Doubt> {
        let value = codec::encode(summary).map_err(|error| Doubt(error.to_string()))?;
        guard(|| self.manifests.insert(summary.id.0.0, value)).map(drop)
    }

    /// A manifest is gone; one that was not noted is no error.
    pub fn remove_manifest(&self, id: &ManifestId) -> Result<(), Doubt> {
        guard(|| self.manifests.remove(id.0.0)).map(drop)
    }

    /// All manifests, sorted by id.
    pub fn manifests(&self) -> Result<Vec<Summary>, Doubt> {
        let entries = guard(|| self.manifests.iter().collect::<sled::Result<Vec<_>>>())?;
        let read = |(key, value): (sled::IVec, sled::IVec)| {
            let summary: Summary = codec::decode(&value).map_err(|error| Doubt(error.to_string()))?;
            if summary.id.0 == digest(&key)? { Ok(summary) } else { Err(Doubt("a manifest's entry moved".to_owned())) }
        };
        entries.into_iter().map(read).collect()
    }

    /// Writes everything out and closes: afterwards the folder does not change any more.
    pub fn close(self) -> Result<PathBuf, Doubt> {
        let Self { folder, db, shards, manifests, heard } = self;
        guard(move || {
            db.flush()?;
            drop((heard, shards, manifests));
            drop(db);
            Ok(())
        })?;
        Ok(folder)
    }
}

fn digest(key: &[u8]) -> Result<Digest, Doubt> {
    key.try_into().map(Digest).map_err(|_| Doubt("a key is no id".to_owned()))
}

impl Wire for Summary {
    const NAME: &'static str = "manifest summary";
    const MAX: usize = 1024;

    fn check(&self) -> Result<(), Malformed> {
        Ok(())
    }
}
