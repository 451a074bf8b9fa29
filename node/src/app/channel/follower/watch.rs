//! The daemon's part: hears of versions and proofs, and updates what is followed, one channel after the other.
//!
//! What it does is bounded by what it follows: announcements by other keys than the steward's are not looked at, proofs
//! are limited, and what is heard while one update runs, or soon after it, waits for one more.

use std::collections::{BTreeMap, BTreeSet};

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::signed::PublicKey;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::app::call::{Call, ChosenBy};
use crate::app::channel::follower::Follower;
use crate::app::channel::follower::limits::{EVERY, PAUSE};
use crate::app::channel::follower::update::Asked;
use crate::failure::Outcome;
use crate::net::Event;
use crate::store::ChannelRecord;

/// What is followed: by channel, the topic and whose word counts.
type Followed = BTreeMap<ManifestId, (BaseId, PublicKey)>;

/// Until the node stops.
pub async fn watch(follower: Follower, stop: CancellationToken) {
    let Some(mut events) = follower.network.as_ref().map(|network| network.handle.events()) else { return };
    let (mut followed, mut due) = (Followed::new(), BTreeSet::new());
    let (mut all_at, mut not_before) = (Instant::now(), Instant::now());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = events.recv() => match event {
                Ok(Event::Heard(record)) => {
                    follower.refresh(&mut followed).await;
                    due.extend(concerned(&follower, &followed, record.body()));
                }
                Err(RecvError::Lagged(_)) => all_at = Instant::now(),
                Err(RecvError::Closed) => return,
                Ok(_) => {}
            },
            () = sleep_until(all_at) => {
                all_at = Instant::now() + EVERY;
                follower.refresh(&mut followed).await;
                due.extend(followed.keys().copied());
            }
            () = sleep_until(not_before), if !due.is_empty() => {
                for id in std::mem::take(&mut due) {
                    follower.update_unasked(id, &stop).await;
                }
                not_before = Instant::now() + PAUSE;
            }
        }
    }
}

/// The channels that an announcement may matter to.
fn concerned(follower: &Follower, followed: &Followed, heard: &Announcement) -> Vec<ManifestId> {
    let matters = |steward: &PublicKey| match heard.kind {
        KindTag::Version => heard.publisher == *steward,
        KindTag::Proof => !follower.auditor.is_judged(&heard.manifest),
        KindTag::Adapter | KindTag::Base | KindTag::Dataset | KindTag::Channel | KindTag::Proposal => false,
    };
    let ours = followed.iter().filter(|(_, (genesis, steward))| *genesis == heard.base && matters(steward));
    ours.map(|(id, _)| *id).collect()
}

impl Follower {
    /// Channels of which the daemon takes versions by itself. The records of each are read once.
    async fn refresh(&self, followed: &mut Followed) {
        let records = self.disk.store.channels();
        let active: Vec<_> = records.iter().filter(|record| !record.held && record.halted.is_none()).collect();
        followed.retain(|id, _| active.iter().any(|record| record.id == *id));
        for record in active {
            if followed.contains_key(&record.id) {
                continue;
            }
            match self.lineages.read(record.id, None).await {
                Ok(lineage) => drop(followed.insert(record.id, (lineage.spec().genesis, lineage.steward()))),
                Err(failure) => tracing::warn!(channel = %record.name, "not followed: {failure}"),
            }
        }
    }

    async fn update_unasked(&self, id: ManifestId, stop: &CancellationToken) {
        let Some(ChannelRecord { name, held: false, halted: None, .. }) = self.disk.store.channel(&id) else { return };
        // Nobody is told how far it is.
        let (progress, cancel) = (mpsc::channel(1).0, stop.child_token());
        let call = Call { progress: &progress, cancel: &cancel, chosen_by: ChosenBy::Others };
        match self.update(&call, id, Asked::Daemon).await {
            Ok(updated) => {
                let height = updated.lineage.next_height() - 1;
                if height > updated.from {
                    tracing::info!(channel = %name, "version {height} is in force, before it was {}", updated.from);
                }
            }
            Err(failure) if failure.is_interrupted() => {}
            Err(failure) => tracing::warn!(channel = %name, "{failure}"),
        }
    }

    /// Hears of what is announced about the channels that are followed.
    pub async fn subscribe(&self) -> Outcome<()> {
        let Some(network) = &self.network else { return Ok(()) };
        for record in self.disk.store.channels() {
            match self.lineages.read(record.id, None).await {
                Ok(lineage) => network.handle.subscribe(lineage.spec().genesis).await?,
                Err(failure) => tracing::warn!(channel = %record.name, "not followed: {failure}"),
            }
        }
        Ok(())
    }
}
