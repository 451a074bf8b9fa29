//! Who might have the manifest: who is asked next, and who is dialled.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::ask::{Answer, PEERS_MAX};
use potluck_protocol::id::ManifestId;
use potluck_protocol::splitmix::SplitMix64;
use tokio::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

use super::super::Exchange;
use super::super::ask::AskError;
use super::super::asking::{Asking, failed};
use super::super::limits::{DIAL_AGAIN, DIALLED, DIALLED_OF_ONE, FRUITLESS, LOOK_AROUND, PROVIDERS_AT_ONCE};
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
    /// When more providers are wanted if nothing comes until then.
    fruitless_at: Instant,
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
            dials: Dials { rng: SplitMix64::new(exchange.draw()), attempts: BTreeMap::new() },
            hints,
            pending: Vec::new(),
            look_at: now,
            tick_at: None,
            fruitless_at: now + FRUITLESS,
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
        if now >= self.fruitless_at {
            self.fruitless_at = now + FRUITLESS;
            let due = self.asking.fruitless();
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
        self.fruitless_at = Instant::now() + FRUITLESS;
        self.gave.insert(peer);
        self.asking.delivered(peer);
    }

    /// Everybody is to be asked anew, for other shards.
    pub fn begin_stage(&mut self) {
        self.asking = Asking::new(&self.exchange, self.id, PROVIDERS_AT_ONCE);
        self.pending.clear();
        self.tick_at = None;
        self.look_at = Instant::now();
        self.fruitless_at = self.look_at + FRUITLESS;
    }

    /// Dials peers that `by` says have it.
    pub fn dial_named(&mut self, by: PeerId, named: Vec<(PeerId, Vec<Multiaddr>)>) {
        for (peer, addresses) in named {
            if self.dials.may(peer, Some(by)) {
                self.dial(peer, addresses);
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

    /// Dials those that are known to have it or say so, in an order that is drawn each time.
    async fn dial_likely(&mut self, connected: &BTreeSet<PeerId>) {
        let mut known = self.hints.clone();
        known.extend(self.exchange.holders().of(&self.id));
        let mut said = self.exchange.0.net.announcers(self.id);
        said.retain(|peer| !known.contains(peer));
        let count = said.len();
        known.extend(self.dials.rng.sample(said, count));
        let mut away: Vec<PeerId> = known.into_iter().filter(|peer| !connected.contains(peer)).collect();
        away.sort_by_key(|peer| self.dials.times(peer));
        // Who cannot be found takes no place: anybody can announce it by keys that nobody has met.
        for (peer, addresses) in self.exchange.0.net.addresses(away).await.unwrap_or_default() {
            if self.dials.may(peer, None) {
                self.dial(peer, addresses);
            }
        }
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        let blamed = self.exchange.reputation().is_blamed(&peer, Instant::now());
        if blamed || peer == self.exchange.0.net.peer_id() {
            return;
        }
        let net = self.exchange.0.net.clone();
        self.exchange.0.tasks.spawn("dial a holder", async move {
            if let Err(error) = net.dial(peer, addresses).await {
                tracing::debug!(%error, "a named holder cannot be reached");
            }
        });
    }
}

/// Whom a pull has dialled.
struct Dials {
    rng: SplitMix64,
    attempts: BTreeMap<PeerId, Attempt>,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// The next one not before this. Until then it counts.
    next: Instant,
    times: u32,
    /// Who named the peer; `None` if it said itself that it has it.
    by: Option<PeerId>,
}

impl Dials {
    /// Whether a peer may be dialled now; notes that it is. Those that a peer names leave room for the others, and for
    /// those of other peers.
    fn may(&mut self, peer: PeerId, by: Option<PeerId>) -> bool {
        let now = Instant::now();
        let count = |of: &dyn Fn(&Attempt) -> bool| {
            self.attempts.values().filter(|attempt| attempt.next > now && of(attempt)).count()
        };
        let room = count(&|attempt| attempt.by.is_some() == by.is_some()) < DIALLED
            && (by.is_none() || count(&|attempt| attempt.by == by) < DIALLED_OF_ONE);
        if !room || self.attempts.get(&peer).is_some_and(|attempt| attempt.next > now) {
            return false;
        }
        let times = self.times(&peer) + 1;
        if self.attempts.len() >= 16 * DIALLED {
            self.attempts.retain(|_, attempt| attempt.next > now);
        }
        self.attempts.insert(peer, Attempt { next: now + DIAL_AGAIN, times, by });
        true
    }

    fn times(&self, peer: &PeerId) -> u32 {
        self.attempts.get(peer).map_or(0, |attempt| attempt.times)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_one_peer_names_leaves_room_for_what_others_name_and_announce() {
        let mut dials = Dials { rng: SplitMix64::new(1), attempts: BTreeMap::new() };
        let (liar, other) = (PeerId::random(), PeerId::random());
        let named = (0..1000).filter(|_| dials.may(PeerId::random(), Some(liar))).count();
        assert_eq!(named, DIALLED_OF_ONE);
        assert!(dials.may(PeerId::random(), Some(other)));
        let crowd = (0..1000).filter(|_| dials.may(PeerId::random(), Some(PeerId::random()))).count();
        assert_eq!(named + 1 + crowd, DIALLED);
        let holder = PeerId::random();
        assert!(dials.may(holder, None), "those that say it themselves have places of their own");
        assert!(!dials.may(holder, None), "once in a while");
        assert_eq!((dials.times(&holder), dials.attempts.len()), (1, DIALLED + 1));
    }
}
