//! Bulk transfer: serving what the store has, and pulling manifests from several providers at once.
//!
//! Goals: whatever comes is verified before it gets a name; one honest provider is enough; what is here is never fetched
//! again; nothing is answered by silence. Non-goals: to judge content (that is the inspection after the pull), to decide
//! what is worth pulling, to find peers that nobody names.
//!
//! ```text
//! net::Inbound -> serve -> Store            find -> pull: table shards -> content shards -> commit(Complete)
//!                 catalogue: what others have announced, compared with theirs, and kept
//! ```

mod around;
mod ask;
mod asking;
mod catalogue;
pub mod counters;
mod error;
mod holders;
pub mod limits;
mod look;
mod pace;
mod peer_exchange;
pub mod pull;
mod reprovider;
mod reputation;
#[cfg(test)]
mod restart;
mod serve;
mod stalls;
mod uploads;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};

use libp2p::PeerId;
use potluck_protocol::ask::Memory;
use potluck_protocol::backoff::Backoff;
use potluck_protocol::catalogue::Record;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::rate_limit::RateLimiter;
use potluck_protocol::signed::Authentic;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

pub use around::{Backed, Backer};
pub use error::PullError;
pub use look::Looked;
pub use pace::Speed;
pub use pull::{Options, Phases, Progress, Pulled};
pub use uploads::Speeds;

use crate::lock::lock;
use crate::net::discovery::limits::{ASKED, ASKERS};
use crate::net::{Handle, Inbound, Misdeed};
use crate::store::Store;
use crate::task::{self, Tasks};
use counters::{ExchangeCounters, Pull};
use holders::Holders;
use reputation::Reputation;
use uploads::{Downloads, Uploads};

/// The exchange of a node. Clones share it.
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    net: Handle,
    store: Store,
    tasks: Tasks,
    holders: Mutex<Holders>,
    reputation: Mutex<Reputation>,
    /// What is remembered of peers that were asked for something.
    memory: Mutex<Memory>,
    /// What the last look at offers for other bases saw.
    around: Mutex<Vec<Record>>,
    /// Manifests that nobody handed out.
    missing: Mutex<Backoff<ManifestId>>,
    /// Peers that could not be reached when somebody wanted something of them.
    unreachable: Mutex<Backoff<PeerId>>,
    /// Shards being read or sent at once.
    serving: Arc<Semaphore>,
    stalls: stalls::Stalls,
    /// Small questions being looked up at once.
    asking: Arc<Semaphore>,
    uploads: Arc<Uploads>,
    downloads: Downloads,
    /// Peers whose comparison showed a difference.
    asked: mpsc::Sender<(PeerId, BaseId)>,
    /// What each peer may still ask.
    turns: Mutex<serve::Turns>,
    /// What the store holds has changed.
    holdings_changed: Notify,
    /// How often each peer may still ask whom we know.
    peer_questions: Mutex<RateLimiter<PeerId>>,
    started: Instant,
    metrics: ExchangeCounters,
}

impl Exchange {
    /// Takes the catalogue over from `store`; then serves `inbound` streams from it, and keeps the catalogue equal to
    /// those of its peers, until `tasks` are stopped.
    pub async fn start(
        net: Handle,
        inbound: mpsc::Receiver<Inbound>,
        store: Store,
        tasks: &Tasks,
        speeds: Speeds,
    ) -> Self {
        let (asked, differences) = mpsc::channel(limits::CATALOGUE_ASKED);
        let exchange = Self(Arc::new(Inner {
            net,
            store,
            tasks: tasks.clone(),
            holders: Mutex::default(),
            reputation: Mutex::default(),
            memory: Mutex::default(),
            around: Mutex::default(),
            missing: Mutex::new(Backoff::new(limits::MISSING_RESTS, limits::MISSING)),
            unreachable: Mutex::new(Backoff::new(limits::UNREACHABLE_RESTS, limits::UNREACHABLE)),
            serving: Arc::new(Semaphore::new(limits::SERVING)),
            stalls: stalls::Stalls::default(),
            asking: Arc::new(Semaphore::new(limits::ASKING)),
            uploads: Arc::new(Uploads::new(speeds)),
            downloads: Downloads::new(speeds),
            asked,
            turns: Mutex::default(),
            holdings_changed: Notify::new(),
            peer_questions: Mutex::new(RateLimiter::new(ASKED, ASKERS)),
            started: Instant::now(),
            metrics: ExchangeCounters::default(),
        }));
        let kept = catalogue::Keeper::restore(&exchange).await;
        // Listening before the first event can come.
        let events = exchange.0.net.events();
        tasks.spawn("serve", serve::run(exchange.clone(), inbound));
        tasks.spawn("catalogue", catalogue::run(exchange.clone(), events, differences));
        tasks.spawn("catalogue on disk", kept.run(exchange.clone()));
        tasks.spawn("what is provided", reprovider::run(exchange.clone(), exchange.0.net.events()));
        tasks.spawn("meeting peers", peer_exchange::run(exchange.clone(), exchange.0.net.events()));
        exchange
    }

    /// Fetches all shards of a manifest that [`Self::find`] gave, from everybody who has some of them, and makes it
    /// visible in the store. What the store has already is not fetched. Its content has not been inspected then.
    pub async fn pull(&self, manifest: Authentic<Manifest>, options: Options) -> Result<Pulled, PullError> {
        let metrics = &self.0.metrics;
        metrics.pulls.inc(Pull::Started);
        let pulled = pull::run(self, manifest, options).await;
        metrics.pulls.inc(if pulled.is_ok() { Pull::Completed } else { Pull::Failed });
        self.holds_more();
        pulled
    }

    /// The signed manifest, from whoever has it within `options.find`; of what it names nothing is fetched.
    pub async fn find(&self, manifest: ManifestId, options: Options) -> Result<Authentic<Manifest>, PullError> {
        pull::find(self, manifest, options).await
    }

    /// The store holds more than before: it is said to the DHT in its turn.
    pub fn holds_more(&self) {
        self.0.holdings_changed.notify_one();
    }

    /// Peers that gave us a manifest or its shards, as far as that is remembered; the newest first.
    pub fn holders_of(&self, manifest: &ManifestId) -> Vec<PeerId> {
        self.holders().of(manifest)
    }

    /// What is counted here.
    pub fn metrics(&self) -> &ExchangeCounters {
        &self.0.metrics
    }

    /// A peer sent what no honest peer sends: it is not asked for a while, and banned if it goes on.
    fn blame(&self, peer: PeerId, misdeed: Misdeed) {
        self.0.metrics.providers_blamed.inc();
        self.reputation().blame(peer, Instant::now());
        self.0.net.report(peer, misdeed);
    }

    /// Milliseconds since the start.
    fn now_ms(&self) -> u64 {
        self.0.started.elapsed().as_millis() as u64
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        lock(&self.0.holders)
    }

    fn reputation(&self) -> MutexGuard<'_, Reputation> {
        lock(&self.0.reputation)
    }

    /// Runs something that waits for the disk, where waiting is allowed.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> T + Send + 'static) -> T {
        let store = self.0.store.clone();
        task::resume(tokio::task::spawn_blocking(move || work(&store)).await).await
    }
}
