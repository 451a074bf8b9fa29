//! The versions of a channel that its steward has signed: those that are here, and those that peers know of.
//!
//! Only announcements by the steward's key are looked at, so what others announce costs nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::announce::{Announcement, KindTag};
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
use crate::exchange::Looked;
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
        let announced = self.announced_versions(lineage);
        let looked = self.look_for_new(&announced).await?;
        for manifest in looked.found {
            // Kept before it is believed: it may be half of a proof.
            let Some(height) = version_of(lineage, &manifest).map(|version| version.height) else { continue };
            match self.objects.ensure_present(call, manifest.id(), patience).await {
                Ok(bytes) => {
                    gathered.fetched_bytes += bytes;
                    gathered.add(lineage, manifest);
                }
                Err(error) if error.is_cancelled() => return Err(error.into()),
                Err(error) => {
                    gathered.compare(lineage, &manifest);
                    let failure = Failure::from(error).context(format!("the records of version {height}"));
                    gathered.gap.get_or_insert((height, failure));
                }
            }
        }
        gathered.unobtained = [looked.missing, looked.unasked].concat();
        gathered.withheld = withheld(lineage, &gathered, &announced);
        self.fill(call, lineage, &mut gathered, patience).await?;
        Ok(gathered)
    }

    /// What the steward announces as versions, the newest first.
    fn announced_versions(&self, lineage: &Lineage) -> Vec<Announcement> {
        let Some(network) = &self.network else { return Vec::new() };
        let announced = network.handle.announcements(lineage.spec().genesis);
        let bodies = announced.iter().map(|record| record.body());
        let versions = bodies.filter(|body| body.kind == KindTag::Version && body.publisher == lineage.steward());
        let mut versions: Vec<Announcement> = versions.cloned().collect();
        versions.sort_by_key(|body| (std::cmp::Reverse(body.sequence), body.manifest));
        versions
    }

    /// The manifests of those that are not here.
    async fn look_for_new(&self, announced: &[Announcement]) -> Outcome<Looked> {
        let Some(network) = &self.network else { return Ok(Looked::default()) };
        let here: BTreeSet<_> =
            self.disk.on_store(|store| store.manifests()).await?.into_iter().map(|summary| summary.id).collect();
        let new = announced.iter().map(|body| body.manifest).filter(|id| !here.contains(id));
        Ok(network.exchange.look_at(new.take(ANNOUNCED_MAX).collect(), LOOK).await)
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
                    let failure = Failure::from(error).context(format!("version {height} of the channel"));
                    gathered.gap = Some((height, failure));
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

/// How many versions of this channel were announced after the newest one that is here, and handed out by nobody. An
/// announcement says no channel; its name is the channel's.
fn withheld(lineage: &Lineage, gathered: &Gathered, announced: &[Announcement]) -> usize {
    let had: BTreeSet<ManifestId> = gathered.by_height.values().map(Authentic::id).collect();
    let newest = announced.iter().filter(|body| had.contains(&body.manifest)).map(|body| body.sequence).max();
    let newer = |body: &&Announcement| newest.is_none_or(|newest| body.sequence > newest);
    let ours = announced.iter().filter(newer).filter(|body| body.name == *lineage.name());
    ours.filter(|body| gathered.unobtained.contains(&body.manifest)).count()
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
