//! Finding, driven from what the node holds and wants: says to the DHT what the store has, asks peers whom they know, and
//! looks for providers while a pull runs.
//!
//! All of it is beside other ways: a pull asks whoever is connected, announced or is named, with or without the DHT; peers
//! come by bootstrap, multicast DNS and the list of last time, with or without being named by others.

mod meet;
mod provide;
#[cfg(test)]
mod tests;

use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::bulk::{Provider, Reply};
use potluck_protocol::id::ManifestId;
use potluck_protocol::limits::{ADDRESS_MAX, ADDRESSES_MAX, PROVIDERS_MAX};
use potluck_protocol::rate_limit::RateLimiter;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::serve::busy;
use super::{Exchange, lock};
use crate::net::NetError;
use crate::net::finding::limits::{ASKED, ASKERS};
use crate::net::finding::{FindError, Key, Named};

/// Between two questions to the DHT for one manifest: first, doubling to the last.
const LOOK_FIRST: Duration = Duration::from_secs(2);
const LOOK_MAX: Duration = Duration::from_secs(60);

/// What the exchange keeps for finding.
pub(super) struct State {
    /// What the store holds has changed.
    changed: Notify,
    /// How often each peer may still ask whom we know.
    asked: std::sync::Mutex<RateLimiter<PeerId>>,
}

impl Default for State {
    fn default() -> Self {
        Self { changed: Notify::new(), asked: std::sync::Mutex::new(RateLimiter::new(ASKED, ASKERS)) }
    }
}

/// Starts what runs until the node stops.
pub(super) fn start(exchange: &Exchange) {
    let tasks = &exchange.0.tasks;
    tasks.spawn("what is provided", provide::run(exchange.clone(), exchange.0.net.events()));
    tasks.spawn("meeting peers", meet::run(exchange.clone(), exchange.0.net.events()));
}

/// Asks the DHT who provides a manifest, until it is dropped: whoever does is dialled, and then asked as all who are
/// connected are.
pub(super) fn look_for(exchange: &Exchange, id: ManifestId) -> AbortOnDropHandle<()> {
    let net = exchange.0.net.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut pause = LOOK_FIRST;
        loop {
            match net.find_providers(Key::manifest(id)).await {
                Ok(found) => tracing::debug!(manifest = %id, providers = found.len(), "the DHT was asked"),
                Err(FindError::Off | FindError::Net(NetError::Stopped)) => return,
                Err(error) => tracing::debug!(%error, "the DHT was not asked"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }))
}

impl Exchange {
    /// The store holds more than before: it is said to the DHT in its turn.
    pub fn holds_more(&self) {
        self.0.finding.changed.notify_one();
    }

    /// The answer to a peer that asks whom we know.
    pub(super) async fn peers_for(&self, asker: PeerId) -> Reply {
        if !lock(&self.0.finding.asked).take(asker, self.now_ms()) {
            return busy();
        }
        let peers = self.0.net.peers_for(asker).await.unwrap_or_default();
        Reply::Peers(peers.into_iter().filter_map(provider).take(PROVIDERS_MAX).collect())
    }
}

fn provider((peer, addresses): Named) -> Option<Provider> {
    let addresses = addresses.iter().map(|address| address.to_vec()).filter(|bytes| bytes.len() <= ADDRESS_MAX);
    let addresses: Vec<_> = addresses.take(ADDRESSES_MAX).collect();
    (!addresses.is_empty()).then(|| Provider { peer: peer.to_bytes(), addresses })
}
