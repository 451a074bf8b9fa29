//! Who might have the manifest, and when each is asked next.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::id::ManifestId;
use tokio::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

use super::super::Exchange;
use super::super::limits::{ASK_AGAIN, CANDIDATES};
use crate::net::NetError;
use crate::net::discovery::{FindError, Key};

/// Between two questions to the DHT for one manifest: first, doubling to the last.
const LOOK_UP_FIRST: Duration = Duration::from_secs(2);
const LOOK_UP_MAX: Duration = Duration::from_secs(60);

/// The peers that one pull looks at. // I12
pub struct Candidates {
    /// With the time of the next question; `None` while one is on its way, or nothing more is to be asked.
    peers: BTreeMap<PeerId, Option<Instant>>,
    /// Everybody who was asked something, for the error message.
    asked: BTreeSet<PeerId>,
    /// Dialled, with the time of the next attempt.
    dialled: BTreeMap<PeerId, Instant>,
    hints: Vec<PeerId>,
}

impl Candidates {
    /// Nobody yet; `hints` are dialled first.
    pub fn new(hints: Vec<PeerId>) -> Self {
        Self { peers: BTreeMap::new(), asked: BTreeSet::new(), dialled: BTreeMap::new(), hints }
    }

    /// Everybody who was asked something.
    pub fn asked(&self) -> Vec<PeerId> {
        self.asked.iter().copied().collect()
    }

    /// Connected peers that are to be asked now; others that may have it are dialled.
    pub async fn due(&mut self, exchange: &Exchange, id: ManifestId) -> Vec<PeerId> {
        // A network that is being restarted has nobody connected.
        let connected = exchange.0.net.peers().await.unwrap_or_default();
        let connected: Vec<PeerId> = connected.iter().map(|info| info.peer).collect();
        self.dial_likely(exchange, id, &connected).await;
        let now = Instant::now();
        let mut due = Vec::new();
        for peer in connected {
            if exchange.reputation().is_blamed(&peer, now) || self.is_full(&peer) {
                continue;
            }
            let next = self.peers.entry(peer).or_insert(Some(now));
            if next.is_some_and(|at| at <= now) {
                *next = None;
                self.asked.insert(peer);
                due.push(peer);
            }
        }
        due
    }

    /// It had nothing, or not everything: it is asked again after a while.
    pub fn ask_again(&mut self, peer: PeerId) {
        self.peers.insert(peer, Some(Instant::now() + ASK_AGAIN));
    }

    /// Everybody is to be asked anew, for other shards.
    pub fn ask_all(&mut self) {
        let now = Instant::now();
        self.peers.values_mut().for_each(|next| *next = Some(now));
    }

    /// Dials a peer that is said to have it, unless that was done a moment ago.
    pub fn dial(&mut self, exchange: &Exchange, peer: PeerId, addresses: Vec<Multiaddr>) {
        let now = Instant::now();
        let waits = self.dialled.get(&peer).is_some_and(|next| *next > now);
        let ours = peer == exchange.0.net.peer_id();
        if waits || ours || self.dialled.len() >= CANDIDATES || exchange.reputation().is_blamed(&peer, now) {
            return;
        }
        self.dialled.insert(peer, now + 2 * ASK_AGAIN);
        let net = exchange.0.net.clone();
        exchange.0.tasks.spawn("dial a holder", async move {
            if let Err(error) = net.dial(peer, addresses).await {
                tracing::debug!(%error, "a named holder cannot be reached");
            }
        });
    }

    async fn dial_likely(&mut self, exchange: &Exchange, id: ManifestId, connected: &[PeerId]) {
        let mut likely = self.hints.clone();
        likely.extend(exchange.0.net.announcers(id));
        likely.extend(exchange.holders().of(&id));
        for peer in likely.into_iter().filter(|peer| !connected.contains(peer)) {
            let addresses = exchange.0.net.addresses(peer).await.unwrap_or_default();
            if !addresses.is_empty() {
                self.dial(exchange, peer, addresses);
            }
        }
    }

    fn is_full(&self, peer: &PeerId) -> bool {
        self.peers.len() >= CANDIDATES && !self.peers.contains_key(peer)
    }
}

/// Asks the DHT who provides a manifest, until it is dropped: whoever does is dialled, and then asked as all who are
/// connected are.
pub fn look_up(exchange: &Exchange, id: ManifestId) -> AbortOnDropHandle<()> {
    let net = exchange.0.net.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut pause = LOOK_UP_FIRST;
        loop {
            match net.find_providers(Key::manifest(id)).await {
                Ok(found) => tracing::debug!(manifest = %id, providers = found.len(), "the DHT was asked"),
                Err(FindError::Off | FindError::Net(NetError::Stopped)) => return,
                Err(error) => tracing::debug!(%error, "the DHT was not asked"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_UP_MAX);
        }
    }))
}
