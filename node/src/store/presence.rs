//! Whether all of a manifest is here: one answer for whoever shows, searches or verifies.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::VerifyError;

use crate::store::error::{Result, StoreError};
use crate::store::{Store, shards};

/// What a manifest lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Content or table shards that are not here.
    pub missing: Vec<ShardId>,
    /// A table is here and is none.
    pub unreadable: bool,
}

impl Store {
    /// Whether a manifest was found well-formed and every shard of it is here still. A look at names and lengths: what
    /// rots is found by hashing.
    pub fn is_here_whole(&self, id: &ManifestId) -> Result<bool> {
        Ok(self.is_well_formed(id) && self.lacking(id)?.is_some_and(|lacking| lacking == Lacking::default()))
    }

    /// `None` if the manifest itself is not here.
    pub fn lacking(&self, id: &ManifestId) -> Result<Option<Lacking>> {
        self.manifest(id)?.map(|manifest| self.lacking_of(manifest)).transpose()
    }

    pub(crate) fn lacking_of(&self, manifest: Authentic<Manifest>) -> Result<Lacking> {
        let tables: Vec<ShardId> = manifest.body().files.iter().flat_map(|file| file.table.iter().copied()).collect();
        let (mut missing, mut unreadable) = (BTreeSet::new(), false);
        match self.map(manifest)? {
            Ok(mapped) => {
                for row in mapped.shards() {
                    if !self.has_length(&row.id, u64::from(row.len))? {
                        missing.insert(row.id);
                    }
                }
            }
            // The table that is missing is among those below.
            Err(VerifyError::Incomplete { .. }) => {}
            Err(_) => unreadable = true,
        }
        // Afterwards: one that is damaged is moved away when it is read.
        for id in tables {
            if !self.has_shard(&id)? {
                missing.insert(id);
            }
        }
        Ok(Lacking { missing: missing.into_iter().collect(), unreadable })
    }

    fn has_length(&self, id: &ShardId, len: u64) -> Result<bool> {
        let path = shards::path(self.layout(), id);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len() == len),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("look for", &path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::Fixture;

    #[test]
    fn what_is_not_here_or_too_short_is_named() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let well_formed = fixture.well_formed(&store, "x", 3000).expect("room");
        store.commit_well_formed(&well_formed).expect("room");
        let id = well_formed.manifest().id();
        assert!(store.is_here_whole(&id).expect("readable"));
        let shard = well_formed.complete().mapped().shards().next().expect("one").id;
        let path = shards::path(store.layout(), &shard);
        let bytes = std::fs::read(&path).expect("there");
        std::fs::write(&path, &bytes[1..]).expect("writable");
        let lacks = |store: &Store| store.lacking(&id).expect("readable").expect("there").missing;
        assert_eq!(lacks(&store), [shard]);
        std::fs::rename(&path, store.layout().tmp().join("away")).expect("there");
        assert_eq!(lacks(&store), [shard]);
        assert!(!store.is_here_whole(&id).expect("readable"));
        std::fs::write(&path, bytes).expect("writable");
        assert!(store.is_here_whole(&id).expect("readable"));
        let table = well_formed.manifest().body().files[0].table[0];
        std::fs::rename(shards::path(store.layout(), &table), store.layout().tmp().join("table")).expect("there");
        assert_eq!(lacks(&store), [table]);
        let absent = ManifestId(potluck_protocol::id::Digest::of(b"absent"));
        assert_eq!(store.lacking(&absent).expect("readable"), None);
    }
}
