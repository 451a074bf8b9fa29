//! The home and its store: blocking work on them, and room on their disk.

use potluck_protocol::announce::Announcement;
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::Complete;

use super::errors::ObjectError;
use super::failures::crashed;
use crate::failure::{Failure, Outcome};
use crate::home::Home;
use crate::store::{Store, StoreError};
use crate::task;

/// Left free beside what is written: for the index, the log and other programs.
const RESERVE: u64 = 64 << 20;

/// The home and its store. Clones share them; the home is let go of with the last one.
#[derive(Clone)]
pub struct Disk {
    pub(in crate::app) home: Home,
    /// Reads of its state are quick; what reads or writes files goes through [`Disk::on_store`].
    pub(in crate::app) store: Store,
}

impl Disk {
    /// Blocking work on the store.
    pub async fn on_store<T: Send + 'static, E: Into<Failure> + Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, E> + Send + 'static,
    ) -> Outcome<T> {
        let store = self.store.clone();
        task::blocking(move || work(&store)).await.map_err(crashed)?.map_err(Into::into)
    }

    /// The same, for who decides by the error.
    pub async fn try_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let store = self.store.clone();
        Ok(task::blocking(move || work(&store)).await.map_err(ObjectError::Crashed)??)
    }

    /// A manifest that must be here.
    pub async fn manifest(&self, id: ManifestId) -> Result<Authentic<Manifest>, ObjectError> {
        self.try_store(move |store| store.manifest(&id)?.ok_or(StoreError::NoManifest(id))).await
    }

    /// A manifest that is here with every shard; an error names what is missing.
    pub async fn complete(&self, id: ManifestId) -> Result<Complete, ObjectError> {
        self.try_store(move |store| complete(store, &id)).await
    }

    /// Whether a manifest is here with every shard, all as they should be.
    pub async fn is_whole(&self, id: ManifestId) -> Result<bool, ObjectError> {
        match self.complete(id).await {
            Ok(_) => Ok(true),
            Err(ObjectError::Store(
                StoreError::NoManifest(_) | StoreError::NoShard(_) | StoreError::Verify(_) | StoreError::Codec(_),
            )) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every announcement that is remembered.
    pub async fn heard(&self) -> Outcome<Vec<Announcement>> {
        let heard = self.on_store(|store| Ok::<_, StoreError>(store.heard())).await?;
        Ok(heard.into_iter().map(|authentic| authentic.body().clone()).collect())
    }

    /// Refuses what would fill the disk of the home: asked before anything large is begun, so that nobody waits for a
    /// download that cannot end. // I14
    pub async fn check_room(&self, bytes: u64, what: &'static str) -> Result<(), ObjectError> {
        let free = self.try_store(|store| store.free_bytes()).await?;
        if free >= bytes.saturating_add(RESERVE.max(self.store.min_free_bytes())) {
            return Ok(());
        }
        Err(ObjectError::NoRoom { what, needed: bytes, free })
    }
}

/// A manifest that is here with every shard; an error names what is missing.
pub fn complete(store: &Store, id: &ManifestId) -> Result<Complete, StoreError> {
    let mapped = store.mapped(id)?;
    let complete = mapped.complete(|shard| store.has_shard(shard))?;
    Ok(complete?)
}
