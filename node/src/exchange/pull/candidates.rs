//! Who might have the manifest: who is asked next, and who is dialled.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::ask::{Answer, More, PEERS_MAX};
use potluck_protocol::id::ManifestId;
use tokio::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

use super::super::ask::AskError;
use super::super::asking::{Asking, failed};
use super::super::limits::{LOOK_AROUND, PROVIDERS_AT_ONCE};
use super::super::{Exchange, lock};
use super::dials::{Candidate as Dialled, Dials, Rank};
use crate::net::NetError;
use crate::net::discovery::{FindError, Key};

/// Between two questions to the DHT for one manifest: first, doubling to the last.
const LOOK_UP_FIRST: Duration = Duration::from_secs(2);
const LOOK_UP_MAX: Duration = Duration::from_secs(60);

/// The peers that one pull looks at. // I12
pub struct Candidates {
    exchange: Exchange,
    id: ManifestId,
    asking: Asking,
    /// Everybody who was asked something, for the error message.
    asked: BTreeSet<PeerId>,
    /// Those that gave something of it: they are asked first in the next stage.
    gave: BTreeSet<PeerId>,
    dials: Dials,
    hints: Vec<PeerId>,
    /// Whom to ask when the loop comes round.
    pending: Vec<PeerId>,
    /// When it is looked at who is connected.
    look_at: Instant,
    /// When time alone changes something.
    tick_at: Option<Instant>,
    /// When more providers are wanted.
    more: More,
}

impl Candidates {
    /// Nobody yet; `hints` are dialled and asked first.
    pub fn new(exchange: &Exchange, id: ManifestId, hints: Vec<PeerId>) -> Self {
        let now = Instant::now();
        Self {
            exchange: exchange.clone(),
            id,
            asking: Asking::new(exchange, id, PROVIDERS_AT_ONCE),
            asked: BTreeSet::new(),
            gave: BTreeSet::new(),
            dials: Dials::new(exchange.draw()),
            hints,
            pending: Vec::new(),
            look_at: now,
            tick_at: None,
            more: More::new(exchange.now_ms()),
        }
    }

    /// Everybody who was asked something.
    pub fn asked(&self) -> Vec<PeerId> {
        self.asked.iter().copied().collect()
    }

    /// When [`Self::due`] is to be called if nothing else happens.
    pub fn wake(&self) -> Instant {
        self.tick_at.unwrap_or(self.look_at).min(self.look_at)
    }

    /// Whom to ask now; others that may have it are dialled.
    pub async fn due(&mut self) -> Vec<PeerId> {
        let now = Instant::now();
        if now >= self.look_at {
            self.look_at = now + LOOK_AROUND;
            // A network that is being restarted has nobody connected.
            let connected = self.exchange.0.net.peers().await.unwrap_or_default();
            let likely: Vec<PeerId> = self.hints.iter().chain(&self.gave).copied().collect();
            let due = self.asking.meet(&connected, &likely);
            self.ask_later(due);
            let connected = connected.iter().map(|info| info.peer).collect();
            self.dial_likely(&connected).await;
        }
        if self.more.is_due(self.exchange.now_ms()) {
            let due = self.asking.want_more();
            self.ask_later(due);
        }
        if self.tick_at.is_some_and(|at| now >= at) {
            let due = self.asking.tick();
            self.ask_later(due);
        }
        std::mem::take(&mut self.pending)
    }

    /// A peer has answered.
    pub fn answered(&mut self, peer: PeerId, answer: Answer) {
        let due = self.asking.answered(peer, answer);
        self.ask_later(due);
    }

    /// A question failed.
    pub fn failed(&mut self, peer: PeerId, error: &AskError) {
        self.answered(peer, failed(error));
    }

    /// Something new of it came from this peer.
    pub fn delivered(&mut self, peer: PeerId) {
        self.more.delivered(self.exchange.now_ms());
        self.gave.insert(peer);
        self.asking.delivered(peer);
    }

    /// Everybody is to be asked anew, for other shards.
    pub fn begin_stage(&mut self) {
        self.asking = Asking::new(&self.exchange, self.id, PROVIDERS_AT_ONCE);
        self.pending.clear();
        self.tick_at = None;
        self.look_at = Instant::now();
        self.more = More::new(self.exchange.now_ms());
    }

    /// Dials peers that `by` says have it.
    pub fn dial_named(&mut self, by: PeerId, named: Vec<(PeerId, Vec<Multiaddr>)>) {
        let now_ms = self.exchange.now_ms();
        for (peer, addresses) in named {
            let one = Dialled { peer, addresses, rank: Rank::Said };
            let may = self.may_be_dialled(&peer)
                && self.dials.may_dial_named(&one, by, &lock(&self.exchange.0.unreachable), now_ms);
            if may {
                self.dial(one);
            }
        }
    }

    fn ask_later(&mut self, due: Vec<PeerId>) {
        self.tick_at = self.asking.wake();
        for peer in due {
            if self.asked.len() < PEERS_MAX {
                self.asked.insert(peer);
            }
            self.pending.push(peer);
        }
    }

    /// Dials those that are known to have it or say so.
    async fn dial_likely(&mut self, connected: &BTreeSet<PeerId>) {
        let net = self.exchange.0.net.clone();
        let mut ranks = BTreeMap::new();
        let gave = self.hints.iter().copied().chain(self.exchange.holders().of(&self.id));
        let some = net.announcers(self.id);
        // The best reason first: it is the one that counts.
        let all = gave
            .map(|peer| (peer, Rank::Gave))
            .chain(net.vouched_announcers(self.id).into_iter().map(|peer| (peer, Rank::Vouched)))
            .chain(some.into_iter().map(|peer| (peer, Rank::Said)));
        for (peer, rank) in all.filter(|(peer, _)| !connected.contains(peer) && self.may_be_dialled(peer)) {
            ranks.entry(peer).or_insert(rank);
        }
        if ranks.is_empty() {
            return;
        }
        let known = net.addresses(ranks.keys().copied().collect()).await.unwrap_or_default();
        let away = known.into_iter().filter_map(|(peer, addresses)| {
            let rank = *ranks.get(&peer)?;
            Some(Dialled { peer, addresses, rank })
        });
        let now_ms = self.exchange.now_ms();
        let chosen = self.dials.choose(away.collect(), &lock(&self.exchange.0.unreachable), now_ms);
        chosen.into_iter().for_each(|one| self.dial(one));
    }

    fn may_be_dialled(&self, peer: &PeerId) -> bool {
        *peer != self.exchange.0.net.peer_id() && !self.exchange.reputation().is_blamed(peer, Instant::now())
    }

    fn dial(&self, Dialled { peer, addresses, .. }: Dialled) {
        let exchange = self.exchange.clone();
        self.exchange.0.tasks.spawn("dial a holder", async move {
            let reached = exchange.0.net.dial(peer, addresses).await;
            let mut unreachable = lock(&exchange.0.unreachable);
            match reached {
                Ok(()) => unreachable.reset(&peer),
                Err(error) => {
                    tracing::debug!(%error, "a named holder cannot be reached");
                    unreachable.back_off_once(peer, exchange.now_ms());
                }
            }
        });
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
