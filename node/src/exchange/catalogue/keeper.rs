//! The catalogue on disk: what changed is written in one go, a moment after it changed, and not again for a while.
//!
//! What is written is the difference between what is kept and what is known ([`Kept`]), so nothing is missed however much
//! changes at once, and no list of changes has to be bounded. It is not durable at once, and what was only heard is not
//! written before it has stood for a while: what a crash loses is heard again.

use std::collections::BTreeSet;

use potluck_protocol::catalogue::{Trusted, timing};
use potluck_protocol::id::ManifestId;
use tokio::time::{Instant, timeout};

use super::super::Exchange;
use super::super::limits::{CATALOGUE_KEEP, CATALOGUE_PAUSE, CATALOGUE_STOOD, CATALOGUE_TRUST};
use super::kept::{Extent, Kept};
use crate::config;
use crate::store::Store;

/// Knows what the store has.
pub(in crate::exchange) struct Keeper {
    kept: Kept,
    /// When what was heard was looked at.
    looked_at: Instant,
}

impl Keeper {
    /// Takes what the store has into the catalogue.
    pub async fn restore(exchange: &Exchange) -> Self {
        let heard = exchange.blocking(|store| store.heard()).await;
        let kept = Kept::of(&heard);
        // Before the records come: by these it is decided which of them have a place.
        refresh_trust(exchange).await;
        exchange.0.net.known().with(|catalogue| {
            catalogue.set_epoch(timing::epoch(config::seconds_since_1970()));
            catalogue.restore(heard);
        });
        Self { kept, looked_at: Instant::now() }
    }

    /// Until the node stops; what is known then is written before this ends.
    pub async fn run(mut self, exchange: Exchange) {
        let stop = exchange.0.tasks.stop().clone();
        loop {
            // Without a change, what was heard has stood.
            let changed = timeout(CATALOGUE_TRUST, exchange.0.net.known().changed());
            if stop.run_until_cancelled(changed).await.is_none() {
                break;
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(CATALOGUE_KEEP)).await;
            let has_stood = self.looked_at.elapsed() >= CATALOGUE_STOOD;
            self.write(&exchange, if has_stood { Extent::Stood } else { Extent::Trusted }).await;
            // Whatever changes meanwhile, and however often, is one more write.
            let _ = stop.run_until_cancelled(tokio::time::sleep(CATALOGUE_PAUSE)).await;
        }
        self.write(&exchange, Extent::All).await;
    }

    async fn write(&mut self, exchange: &Exchange, extent: Extent) {
        refresh_trust(exchange).await;
        if extent != Extent::Trusted {
            self.looked_at = Instant::now();
        }
        let changes = exchange.0.net.known().with(|catalogue| self.kept.changes(catalogue, extent));
        if changes.gone.is_empty() && changes.new.is_empty() {
            return;
        }
        exchange.0.metrics.records_written.inc_by(changes.new.len() as u64);
        exchange.blocking(move |store| store.save_announcements(&changes.gone, &changes.new)).await;
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
