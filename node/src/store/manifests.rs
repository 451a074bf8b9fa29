//! Signed manifests as files named by their id. The file is written last, so one that can be seen is complete. // I7

use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::{Complete, Mapped, VerifyError, WellFormed};

use crate::failpoint::What;
use crate::store::error::{Result, StoreError};
use crate::store::manifest_file::{Loaded, Summary, load};
use crate::store::state::Record;
use crate::store::{Store, durable, lock, shards};

impl Store {
    /// Makes a manifest visible, durably. Its shards must be in this store already; that is checked here, not
    /// believed. // I7
    pub fn commit(&self, complete: &Complete) -> Result<()> {
        let manifest = complete.manifest();
        // Waits for a batch of shards that is being written, see `publish` there.
        drop(lock(&self.0.writers));
        self.check_present(complete.mapped())?;
        let bytes = manifest.signed().encode()?;
        self.0.space.check(bytes.len() as u64)?;
        let path = self.layout().manifests().join(manifest.id().to_string());
        durable::write(&self.layout().tmp(), What::Manifest, &path, &bytes)?;
        self.0.lists.add_manifest(&Summary::of(manifest));
        Ok(())
    }

    /// [`Self::commit`], and marks the manifest as fit for announcing, merging and use. // I8
    pub fn commit_well_formed(&self, well_formed: &WellFormed) -> Result<()> {
        let id = well_formed.manifest().id();
        if self.manifest(&id)?.is_none() {
            self.commit(well_formed.complete())?;
        }
        self.record(Record::WellFormed(id))
    }

    /// Whether the manifest was committed as well-formed: only such are announced, merged and used.
    pub fn is_well_formed(&self, id: &ManifestId) -> bool {
        lock(&self.0.log).state().well_formed.contains(id)
    }

    fn check_present(&self, mapped: &Mapped) -> Result<()> {
        let tables = mapped.files().flat_map(|(file, _)| file.table.iter().copied());
        let wanted: Vec<ShardId> = tables.chain(mapped.shards().map(|row| row.id)).collect();
        for id in &wanted {
            if !self.has_shard(id)? {
                return Err(StoreError::NoShard(*id));
            }
        }
        Ok(())
    }

    /// A manifest of this store, its signature checked. `None` if it is not here, or was damaged.
    pub fn manifest(&self, id: &ManifestId) -> Result<Option<Authentic<Manifest>>> {
        match load(self.layout(), id)? {
            Loaded::Good(manifest) => Ok(Some(*manifest)),
            Loaded::None => Ok(None),
            Loaded::Damaged(reason) => self.quarantine_manifest(id, &reason).map(|()| None),
            Loaded::Newer => Err(StoreError::Newer {
                path: self.layout().manifests().join(id.to_string()),
                what: "a manifest of a kind that this version does not know",
            }),
        }
    }

    /// Moves a damaged manifest to quarantine.
    pub(crate) fn quarantine_manifest(&self, id: &ManifestId, reason: &str) -> Result<()> {
        tracing::error!(manifest = %id, reason, "a manifest on disk is damaged: moved to quarantine, pull it again");
        shards::quarantine(self.layout(), &self.layout().manifests().join(id.to_string()))?;
        self.0.lists.remove_manifest(id);
        Ok(())
    }

    /// A manifest with its shard tables. [`VerifyError::Incomplete`] if a table was damaged on disk.
    pub fn mapped(&self, id: &ManifestId) -> Result<Mapped> {
        let manifest = self.manifest(id)?.ok_or(StoreError::NoManifest(*id))?;
        Ok(self.map(manifest)??)
    }

    /// The shard tables of a manifest that need not be here, from this store's shards.
    pub fn map(&self, manifest: Authentic<Manifest>) -> Result<std::result::Result<Mapped, VerifyError>> {
        Mapped::read(manifest, |id| self.shard(id))
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::signed::{PublicKey, Signable};

    use super::*;
    use crate::failpoint;
    use crate::store::testing::Fixture;

    #[test]
    fn a_manifest_is_visible_only_with_all_its_shards() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let complete = fixture.complete(&store, "x", 3000).expect("room");
        let id = complete.manifest().id();
        let rows: Vec<_> = complete.mapped().shards().map(|row| row.id).collect();
        let tables = complete.manifest().body().files.iter().flat_map(|file| file.table.clone());
        for shard in tables.chain(rows) {
            let path = shards::path(store.layout(), &shard);
            let away = store.layout().tmp().join("away");
            std::fs::rename(&path, &away).expect("there");
            assert!(matches!(store.commit(&complete), Err(StoreError::NoShard(missing)) if missing == shard));
            assert!(store.manifest(&id).expect("readable").is_none());
            std::fs::rename(&away, &path).expect("there");
        }
        store.commit(&complete).expect("complete");
        assert_eq!(store.manifests().expect("readable"), [Summary::of(complete.manifest())]);
        assert!(!store.is_well_formed(&id), "complete is not well-formed");
    }

    #[test]
    fn a_full_disk_at_any_point_leaves_no_manifest_or_a_whole_one() {
        let fixture = Fixture::new();
        for point in failpoint::ALL.iter().filter(|point| matches!(point.what, What::Manifest | What::Append)) {
            let store = fixture.open();
            let well_formed = fixture.well_formed(&store, &point.to_string(), 100).expect("room");
            let id = well_formed.manifest().id();
            let armed = failpoint::scoped(&format!("{point}:enospc")).expect("valid");
            assert!(store.commit_well_formed(&well_formed).expect_err("full").is_no_space(), "{point}");
            drop(armed);
            assert!(!store.is_well_formed(&id), "{point}");
            drop(store);
            let store = fixture.open();
            assert!(store.verify(|_, _| ()).expect("readable").is_clean(), "{point}");
            store.commit_well_formed(&well_formed).expect("room again");
            assert!(store.is_well_formed(&id) && store.manifest(&id).expect("readable").is_some());
        }
    }

    #[test]
    fn a_damaged_manifest_is_moved_aside() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let id = fixture.add(&store, "x", 100);
        let path = store.layout().manifests().join(id.to_string());
        let good = std::fs::read(&path).expect("there");
        for bit in (0..good.len() * 8).step_by(37) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).expect("writable");
            assert!(store.manifest(&id).expect("readable").is_none(), "bit {bit}");
            assert!(!path.exists());
        }
        assert!(store.manifests().expect("readable").is_empty());
        std::fs::write(&path, good).expect("writable");
        assert!(store.manifest(&id).expect("readable").is_some());
    }

    #[test]
    fn a_manifest_of_an_unknown_kind_is_refused_and_stays_as_it_is() {
        let fixture = Fixture::new();
        let store = fixture.open();
        let known = fixture.add(&store, "x", 100);
        // Eight bytes of length, then the body, which begins with the tag of its kind.
        let bytes = std::fs::read(store.layout().manifests().join(known.to_string())).expect("there");
        let (len, rest) = bytes.split_first_chunk::<8>().expect("long");
        let mut body = rest[..u64::from_le_bytes(*len) as usize].to_vec();
        body[0] = 99;
        let id = ManifestId(potluck_protocol::signed::body_id::<Manifest>(&body));
        // A later version signs as this one does.
        let key = crate::net::testing::key(7);
        let context = Manifest::CONTEXT.as_bytes();
        let signature = key.sign(&[&[context.len() as u8], context, &body].concat());
        let one = [&1u64.to_le_bytes()[..], &PublicKey::of(&key).0.0, &signature].concat();
        let bytes = [&len[..], &body, &one].concat();
        let path = store.layout().manifests().join(id.to_string());
        std::fs::write(&path, &bytes).expect("writable");
        let error = store.manifest(&id).expect_err("unknown");
        assert!(error.to_string().contains("made by a newer potluck"), "{error}");
        let report = store.verify(|_, _| ()).expect("readable");
        assert!(report.is_clean() && report.newer == [path.display().to_string()], "{report:?}");
        drop(store);
        let store = fixture.open();
        assert_eq!(store.manifests().expect("readable").len(), 1, "the other one is listed");
        assert_eq!(std::fs::read(&path).expect("there"), bytes);
    }
}
