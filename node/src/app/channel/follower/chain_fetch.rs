//! The versions of a channel that its steward has signed: those that are here, and those that peers know of.
//!
//! Only announcements by the steward's key are looked at, so what others announce costs nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::Authentic;
use tokio::time::{Instant, timeout, timeout_at};

use crate::app::call::Call;
use crate::app::channel::follower::chain::{Gathered, version_of};
use crate::app::channel::follower::limits::{ANNOUNCED_MAX, CATCH_UP, LOOK, QUIET};
use crate::app::disk::Disk;
use crate::app::errors::ChannelError;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::failure::{Failure, Outcome};
use crate::net::Event;

/// Gathers the versions of channels.
#[derive(Clone)]
pub struct Chains {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) objects: Arc<Objects>,
}

impl Chains {
    /// Those that are in the store.
    pub async fn gather_local(&self, lineage: &Lineage) -> Outcome<Gathered> {
        let mut gathered = Gathered::default();
        let (steward, genesis) = (lineage.steward(), lineage.spec().genesis);
        let stored = self.disk.on_store(move |store| {
            let all = store.manifests()?;
            let ours = all
                .into_iter()
                .filter(|one| one.kind == KindTag::Version && one.publisher == steward && one.base == Some(genesis));
            ours.filter_map(|one| store.manifest(&one.id).transpose()).collect::<Result<Vec<_>, _>>()
        });
        for manifest in stored.await? {
            gathered.add(lineage, manifest);
        }
        Ok(gathered)
    }

    /// Those, the announced ones, and what lies between them. Everything that is found is kept.
    pub async fn gather(&self, call: &Call<'_>, lineage: &Lineage, patience: Duration) -> Outcome<Gathered> {
        let mut gathered = self.gather_local(lineage).await?;
        let (announced, unobtained) = self.announced_versions(lineage).await?;
        gathered.unobtained = unobtained;
        for manifest in announced {
            // Kept before it is believed: it may be half of a proof.
            if version_of(lineage, &manifest).is_none() {
                continue;
            }
            match self.objects.ensure_present(call, manifest.id(), patience).await {
                Ok(bytes) => {
                    gathered.fetched_bytes += bytes;
                    gathered.add(lineage, manifest);
                }
                Err(error) if error.is_cancelled() => return Err(error.into()),
                Err(error) => {
                    gathered.compare(lineage, &manifest);
                    gathered.gap.get_or_insert(Failure::from(error).context("the records of a version"));
                }
            }
        }
        self.fill(call, lineage, &mut gathered, patience).await?;
        Ok(gathered)
    }

    /// Manifests that the steward announces as versions and that are not here; and those of them that nobody hands out.
    async fn announced_versions(&self, lineage: &Lineage) -> Outcome<(Vec<Authentic<Manifest>>, Vec<ManifestId>)> {
        let Some(network) = &self.network else { return Ok(Default::default()) };
        let announced = network.handle.announcements(lineage.spec().genesis);
        let mut new: Vec<_> = announced
            .iter()
            .map(|record| record.body())
            .filter(|body| body.kind == KindTag::Version && body.publisher == lineage.steward())
            .map(|body| (std::cmp::Reverse(body.sequence), body.manifest))
            .collect();
        new.sort();
        let here: BTreeSet<_> =
            self.disk.on_store(|store| store.manifests()).await?.into_iter().map(|summary| summary.id).collect();
        let wanted: Vec<_> =
            new.into_iter().map(|(_, id)| id).filter(|id| !here.contains(id)).take(ANNOUNCED_MAX).collect();
        let seen = network.exchange.look_at(wanted.clone(), LOOK).await;
        let missing = |id: &ManifestId| seen.iter().all(|manifest| manifest.id() != *id);
        let unobtained = wanted.into_iter().filter(missing).collect();
        Ok((seen, unobtained))
    }

    /// Walks from the highest version back, and fetches what nobody announced.
    async fn fill(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        gathered: &mut Gathered,
        patience: Duration,
    ) -> Outcome<()> {
        let mut height = gathered.by_height.keys().next_back().copied().unwrap_or(0);
        while height > 1 {
            let link = gathered.by_height.get(&height).and_then(|manifest| version_of(lineage, manifest));
            let Some(previous) = link.and_then(|version| version.previous) else { return Ok(()) };
            height -= 1;
            if gathered.by_height.contains_key(&height) {
                continue;
            }
            match self.link(call, lineage, previous, patience).await {
                Ok((manifest, bytes)) => {
                    gathered.fetched_bytes += bytes;
                    gathered.add(lineage, manifest);
                }
                Err(error) if error.is_cancelled() => return Err(error.into()),
                Err(error) => {
                    gathered.gap = Some(Failure::from(error).context(format!("version {height} of the channel")));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn link(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        id: ManifestId,
        patience: Duration,
    ) -> Result<(Authentic<Manifest>, u64), ChannelError> {
        let manifest = self.objects.find_manifest(call, id, patience).await?;
        if version_of(lineage, &manifest).is_none() {
            // Its place is not known yet; whose it is and what, that is told before its place is looked at.
            return Err(match lineage.clone().extend(&manifest) {
                Err(error) => ChannelError::NotOf { id, error },
                Ok(_) => ChannelError::NoVersion(id),
            });
        }
        let bytes = self.objects.ensure_present(call, id, patience).await?;
        Ok((manifest, bytes))
    }

    /// Waits until what connected peers know of a topic has come: a person asked, so it is worth a moment.
    pub async fn catch_up(&self, call: &Call<'_>, genesis: BaseId, channel: ManifestId) -> Outcome<()> {
        let Some(network) = &self.network else { return Ok(()) };
        // Listening first: what is heard before the look at the catalogue is in it.
        let mut events = network.handle.events();
        network.handle.subscribe(genesis).await?;
        let until = Instant::now() + CATCH_UP;
        // A node that has only just come knows nobody: what it remembers of the topic may be old.
        let alone = network.handle.peers().await.unwrap_or_default().is_empty();
        let caught_up = async {
            if alone {
                while heard(&mut events).await != Some(genesis) {}
            }
            let known = |network: &Network| {
                network.handle.announcements(genesis).iter().any(|record| record.body().manifest == channel)
            };
            while !known(network) {
                heard(&mut events).await;
            }
            while timeout(QUIET, heard(&mut events)).await.is_ok() {}
        };
        tokio::select! {
            biased;
            () = call.cancel.cancelled() => Err(Failure::interrupted()),
            // Whether all has come, nobody can know; what comes later the daemon hears.
            _ = timeout_at(until, caught_up) => Ok(()),
        }
    }
}

/// Until something was heard, or some of it was missed, or somebody is there who follows a base: that base. For ever once
/// the network has ended.
async fn heard(events: &mut tokio::sync::broadcast::Receiver<Event>) -> Option<BaseId> {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match events.recv().await {
            Ok(Event::Subscribed { base, .. }) => return Some(base),
            Ok(Event::Heard(_)) | Err(RecvError::Lagged(_)) => return None,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
