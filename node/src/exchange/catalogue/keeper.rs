//! The catalogue on disk: what changed is written in one go, a moment after it changed, and not again for a while.
//!
//! What is written is the difference between what is kept and what is known, so nothing is missed however much changes
//! at once, and no list of changes has to be bounded. It is not durable at once: what a crash loses is heard again.

use std::collections::{BTreeMap, BTreeSet};

use potluck_protocol::announce;
use potluck_protocol::catalogue::{Key, Record, Trusted, timing};
use potluck_protocol::id::{AnnouncementId, ManifestId};
use tokio::time::timeout;

use super::super::Exchange;
use super::super::limits::{CATALOGUE_KEEP, CATALOGUE_PAUSE, CATALOGUE_TRUST};
use crate::config;
use crate::store::Store;

/// Knows what the store has.
pub(in crate::exchange) struct Keeper {
    kept: BTreeMap<AnnouncementId, Key>,
}

impl Keeper {
    /// Takes what the store has into the catalogue.
    pub async fn restore(exchange: &Exchange) -> Self {
        let heard = exchange.blocking(|store| store.heard()).await;
        let kept = heard.iter().map(|one| (announce::id(one), Key::of(one.body()))).collect();
        // Before the records come: by these it is decided which of them have a place.
        refresh_trust(exchange).await;
        exchange.0.net.known().with(|catalogue| {
            catalogue.set_epoch(timing::epoch(config::seconds_since_1970()));
            catalogue.restore(heard);
        });
        Self { kept }
    }

    /// Until the node stops; what is known then is written before this ends.
    pub async fn run(mut self, exchange: Exchange) {
        let stop = exchange.0.tasks.stop().clone();
        loop {
            let changed = timeout(CATALOGUE_TRUST, exchange.0.net.known().changed());
            match stop.run_until_cancelled(changed).await {
                None => break,
                Some(Ok(())) => {}
                Some(Err(_)) => {
                    refresh_trust(&exchange).await;
                    continue;
                }
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(CATALOGUE_KEEP)).await;
            self.write(&exchange).await;
            // Whatever changes meanwhile, and however often, is one more write.
            let _ = stop.run_until_cancelled(tokio::time::sleep(CATALOGUE_PAUSE)).await;
        }
        self.write(&exchange).await;
    }

    async fn write(&mut self, exchange: &Exchange) {
        refresh_trust(exchange).await;
        let (gone, new) = self.difference(exchange);
        if gone.is_empty() && new.is_empty() {
            return;
        }
        for (id, _) in &gone {
            self.kept.remove(id);
        }
        exchange.0.metrics.records_written.inc_by(new.len() as u64);
        self.kept.extend(new.iter().map(|one| (announce::id(one), Key::of(one.body()))));
        exchange
            .blocking(move |store| {
                let keys: Vec<Key> = gone.into_iter().map(|(_, key)| key).collect();
                store.save_announcements(&keys, &new);
            })
            .await;
    }

    /// What is kept and no longer known, and what is known and not kept.
    fn difference(&self, exchange: &Exchange) -> (Vec<(AnnouncementId, Key)>, Vec<Record>) {
        exchange.0.net.known().with(|catalogue| {
            let gone = self.kept.iter().filter(|(id, key)| !catalogue.contains(&key.base, id));
            let new = catalogue.records().filter(|one| !self.kept.contains_key(&announce::id(one)));
            (gone.map(|(id, key)| (*id, *key)).collect(), new.cloned().collect())
        })
    }
}

/// What the store has decides what is trusted. One that cannot be read changes nothing.
async fn refresh_trust(exchange: &Exchange) {
    if let Some(trusted) = exchange.blocking(trusted).await {
        exchange.0.net.known().with(|catalogue| catalogue.set_trusted(trusted));
    }
}

/// Stewards of channels that are followed; manifests that are here and were checked, with their publishers.
fn trusted(store: &Store) -> Option<Trusted> {
    let manifests = store.manifests().ok()?;
    let channels: BTreeSet<ManifestId> = store.channels().iter().map(|record| record.id).collect();
    let followed = manifests.iter().filter(|one| channels.contains(&one.id)).map(|one| one.publisher).collect();
    let checked = manifests.iter().filter(|one| store.is_well_formed(&one.id));
    Some(Trusted { followed, checked: checked.map(|one| (one.id, one.publisher)).collect() })
}
