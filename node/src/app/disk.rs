//! The home and its store: blocking work on them, and room on their disk.

use potluck_protocol::announce::Announcement;
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use potluck_protocol::verify::Complete;

use super::failures::crashed;
use crate::failure::{Failure, Kind, Outcome};
use crate::home::Home;
use crate::store::{Store, StoreError};
use crate::{task, text};

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

    /// A manifest that must be here.
    pub async fn manifest(&self, id: ManifestId) -> Outcome<Authentic<Manifest>> {
        self.on_store(move |store| store.manifest(&id)?.ok_or(StoreError::NoManifest(id))).await
    }

    /// A manifest that is here with every shard; an error names what is missing.
    pub async fn complete(&self, id: ManifestId) -> Outcome<Complete> {
        self.on_store(move |store| complete(store, &id)).await
    }

    /// Whether a manifest is here with every shard, all as they should be.
    pub async fn is_whole(&self, id: ManifestId) -> Outcome<bool> {
        match self.complete(id).await {
            Ok(_) => Ok(true),
            Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Verification) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Every announcement that is remembered.
    pub async fn heard(&self) -> Outcome<Vec<Announcement>> {
        let heard = self.on_store(|store| Ok::<_, StoreError>(store.heard())).await?;
        Ok(heard.into_iter().map(|authentic| authentic.body().clone()).collect())
    }

    /// Refuses what would fill the disk of the home: asked before anything large is begun, so that nobody waits for a
    /// download that cannot end. // I14
    pub async fn check_room(&self, bytes: u64, what: &str) -> Outcome<()> {
        let free = self.on_store(|store| store.free_bytes()).await?;
        if free >= bytes.saturating_add(RESERVE) {
            return Ok(());
        }
        let message = format!("{what}: {} are needed and {} are free", text::bytes(bytes), text::bytes(free));
        Err(Failure::new(Kind::NoSpace, message)
            .hint("free some space on the disk of the home folder, or use another one with `--home DIR`"))
    }
}

/// A manifest that is here with every shard; an error names what is missing.
pub fn complete(store: &Store, id: &ManifestId) -> Outcome<Complete> {
    let mapped = store.mapped(id)?;
    let complete = mapped.complete(|shard| store.has_shard(shard))?;
    Ok(complete.map_err(StoreError::from)?)
}
