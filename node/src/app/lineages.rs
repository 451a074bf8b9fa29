//! Channels and their versions as they are in the store.

use std::collections::BTreeSet;

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::VersionInfo;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::lineage::{Lineage, LineageError};
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::{Authentic, PublicKey};

use crate::app::disk::Disk;
use crate::app::errors::{ChannelError, ObjectError};
use crate::failure::Outcome;
use crate::store::{ChannelRecord, StoreError};

/// Forks of forks: each costs a fold of a whole base.
pub const FORKS_MAX: usize = 8;

/// Reads the records of channels.
#[derive(Clone)]
pub struct Lineages {
    pub(in crate::app) disk: Disk,
}

impl Lineages {
    /// The channel's versions up to `head`, from the store, each checked against the one before.
    pub async fn read(&self, channel: ManifestId, head: Option<ManifestId>) -> Outcome<Lineage> {
        self.disk
            .on_store(move |store| {
                let read =
                    |id: ManifestId| store.manifest(&id)?.ok_or(StoreError::NoManifest(id)).map_err(ObjectError::from);
                let not_of = |id: ManifestId| move |error| ChannelError::NotOf { id, error };
                let mut lineage = Lineage::open(&read(channel)?).map_err(not_of(channel))?;
                let mut chain: Vec<Authentic<Manifest>> = Vec::new();
                let mut next = head;
                while let Some(id) = next.filter(|_| chain.len() < potluck_protocol::limits::VERSIONS_MAX) {
                    let manifest = read(id)?;
                    next = match &manifest.body().kind {
                        ManifestKind::Version(version) => version.previous,
                        _ => return Err(not_of(id)(LineageError::NotAVersion)),
                    };
                    chain.push(manifest);
                }
                for version in chain.iter().rev() {
                    lineage.extend(version).map_err(not_of(version.id()))?;
                }
                Ok::<_, ChannelError>(lineage)
            })
            .await
    }

    /// The versions in force here.
    pub async fn in_force(&self, channel: &ChannelRecord) -> Outcome<Lineage> {
        self.read(channel.id, channel.current).await
    }

    /// Every version whose records are here and checked.
    pub async fn versions(&self) -> Result<Vec<(ManifestId, Box<VersionInfo>)>, ObjectError> {
        self.disk
            .try_store(|store| {
                let ids = store.manifests()?.into_iter().filter(|one| one.kind == KindTag::Version).map(|one| one.id);
                let mut versions = Vec::new();
                for id in ids.filter(|id| store.is_well_formed(id)) {
                    if let Some(manifest) = store.manifest(&id)?
                        && let ManifestKind::Version(version) = &manifest.body().kind
                    {
                        versions.push((id, version.clone()));
                    }
                }
                Ok(versions)
            })
            .await
    }

    /// The publishers of all adapters that the channel's versions took, as far as their manifests are here.
    pub async fn publishers(&self, lineage: &Lineage) -> Outcome<BTreeSet<PublicKey>> {
        let inputs = lineage.versions().iter().flat_map(|release| release.version.recipe.inputs());
        let taken: BTreeSet<ManifestId> = inputs.map(|(adapter, _)| *adapter).collect();
        self.disk
            .on_store(move |store| {
                let mut publishers = BTreeSet::new();
                for adapter in taken {
                    publishers.extend(store.manifest(&adapter)?.map(|manifest| manifest.body().publisher));
                }
                Ok::<_, StoreError>(publishers)
            })
            .await
    }

    /// Whether a version of the channel that is here has these weights.
    pub async fn is_version_of(&self, channel: ManifestId, base: BaseId) -> Outcome<bool> {
        self.disk
            .on_store(move |store| {
                for summary in store.manifests()?.into_iter().filter(|summary| summary.kind == KindTag::Version) {
                    let manifest = store.manifest(&summary.id)?;
                    if let Some(ManifestKind::Version(version)) =
                        manifest.as_ref().map(|manifest| &manifest.body().kind)
                        && version.channel == channel
                        && version.base == base
                    {
                        return Ok(true);
                    }
                }
                Ok::<_, StoreError>(false)
            })
            .await
    }
}
