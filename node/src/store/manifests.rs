//! Signed manifests as files named by their id. The file is written last, so one that can be seen is complete. // I7

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId, ShardId};
use potluck_protocol::limits::SIGNED_MANIFEST_MAX;
use potluck_protocol::manifest::{Kind, Manifest};
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::text::Name;
use potluck_protocol::verify::{self, Complete, Mapped, VerifyError, WellFormed};
use serde::{Deserialize, Serialize};

use crate::failpoint::What;
use crate::store::error::{Result, StoreError};
use crate::store::state::Record;
use crate::store::{Store, durable, lock, shards};

/// What lists show of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub id: ManifestId,
    pub kind: KindTag,
    pub name: Name,
    pub base: Option<BaseId>,
    pub publisher: PublicKey,
    /// Bytes of all files.
    pub total_bytes: u64,
    /// Seconds since 1970 by the publisher's clock.
    pub created: u64,
}

impl Summary {
    pub(crate) fn of(manifest: &Authentic<Manifest>) -> Self {
        let body = manifest.body();
        let kind = match body.kind {
            Kind::Adapter(_) => KindTag::Adapter,
            Kind::Base(_) => KindTag::Base,
            Kind::Dataset(_) => KindTag::Dataset,
        };
        Self {
            id: manifest.id(),
            kind,
            name: body.name.clone(),
            base: body.base(),
            publisher: body.publisher,
            total_bytes: body.total_bytes(),
            created: body.created,
        }
    }
}

impl Store {
    /// Makes a manifest visible, durably. Its shards must be in this store already; that is checked here, not
    /// believed. // I7
    pub fn commit(&self, complete: &Complete) -> Result<()> {
        let manifest = complete.manifest();
        // Waits for a batch of shards that is being written, see `publish` there.
        drop(lock(&self.0.writers));
        self.check_present(complete.mapped())?;
        let bytes = manifest.signed().encode()?;
        self.check_space(bytes.len() as u64)?;
        let path = self.layout().manifests().join(manifest.id().to_string());
        durable::write(&self.layout().tmp(), What::Manifest, &path, &bytes)?;
        self.index_manifest(&Summary::of(manifest));
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
        let path = self.layout().manifests().join(id.to_string());
        let bytes = match durable::read(&path, SIGNED_MANIFEST_MAX as u64) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(StoreError::Io { source, .. }) => return self.damaged(id, &source.to_string()).map(|()| None),
            Err(error) => return Err(error),
        };
        match verify::authentic(*id, &bytes) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => self.damaged(id, &error.to_string()).map(|()| None),
        }
    }

    fn damaged(&self, id: &ManifestId, reason: &str) -> Result<()> {
        tracing::error!(manifest = %id, reason, "a manifest on disk is damaged: moved to quarantine, pull it again");
        shards::quarantine(self.layout(), &self.layout().manifests().join(id.to_string()))?;
        self.unindex_manifest(id);
        Ok(())
    }

    /// A manifest with its shard tables. [`VerifyError::Incomplete`] if a table was damaged on disk.
    pub fn mapped(&self, id: &ManifestId) -> Result<Mapped> {
        let manifest = self.manifest(id)?.ok_or(StoreError::NoManifest(*id))?;
        Ok(self.map(manifest)?.map_err(|error: VerifyError| error)?)
    }

    /// The shard tables of a manifest that need not be here, from this store's shards.
    pub fn map(&self, manifest: Authentic<Manifest>) -> Result<std::result::Result<Mapped, VerifyError>> {
        Mapped::read(manifest, |id| self.shard(id))
    }
}
