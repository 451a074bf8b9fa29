//! Publications of a base whose manifests somebody hands out: several are looked for at once, in an order that those who
//! announce them do not choose. One that nobody hands out costs a turn and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use potluck_protocol::announce::KindTag;
use potluck_protocol::ask::spread;
use potluck_protocol::backoff::Delays;
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::splitmix::SplitMix64;
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::app::call::Call;
use crate::app::network::{Network, next_heard};
use crate::app::rests::Rests;
use crate::exchange::{Options, PullError};
use crate::failure::{Failure, Outcome};
use crate::net;

/// Manifests that are looked for at once.
const AT_ONCE: usize = 16;

/// How long each is looked for while others wait: time to reach its publisher and ask.
const TURN: Duration = Duration::from_secs(5);

/// How long a publisher rests of whose publications one led nowhere: first, doubling to the last.
const DELAYS: Delays = Delays { first_ms: 60_000, longest_ms: 24 * 3_600_000 };

/// Publishers whose rest is remembered. // I12
const RESTING: usize = 4096;

/// Publishers whose publications led nowhere.
pub type Publishers = Rests<PublicKey>;

/// None of them rests.
pub fn all_awake() -> Publishers {
    Rests::new(DELAYS, RESTING)
}

/// An announcement, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    publisher: PublicKey,
    manifest: ManifestId,
    peer: Option<PeerId>,
    /// How often it was looked for.
    turns: u32,
}

type Finding = BoxFuture<'static, (Wanted, Result<Authentic<Manifest>, PullError>)>;

/// The search for one base.
pub struct Hunt<'a> {
    call: &'a Call<'a>,
    network: &'a Network,
    base: BaseId,
    publishers: &'a Publishers,
    rng: SplitMix64,
    events: Receiver<net::Event>,
    /// Every announcement that was taken up; as many as a catalogue has of one base.
    seen: BTreeSet<(PublicKey, ManifestId)>,
    queue: VecDeque<Wanted>,
    /// Manifests that are looked for now, since when, and what ends that.
    turns: BTreeMap<ManifestId, (Instant, CancellationToken)>,
    running: FuturesUnordered<Finding>,
    found: BTreeSet<ManifestId>,
    /// Why the first manifest that could not be read could not.
    unreadable: Option<PullError>,
}

impl<'a> Hunt<'a> {
    /// Nothing is looked for yet.
    pub fn new(call: &'a Call<'a>, network: &'a Network, base: BaseId, publishers: &'a Publishers) -> Self {
        Self {
            call,
            network,
            base,
            publishers,
            rng: SplitMix64::new(network.exchange.draw()),
            // Listening first: what is heard before the look at the catalogue is in it.
            events: network.handle.events(),
            seen: BTreeSet::new(),
            queue: VecDeque::new(),
            turns: BTreeMap::new(),
            running: FuturesUnordered::new(),
            found: BTreeSet::new(),
            unreadable: None,
        }
    }

    /// How many manifests were announced.
    pub fn announced(&self) -> usize {
        self.seen.iter().map(|(_, manifest)| manifest).collect::<BTreeSet<_>>().len()
    }

    /// Others are known, or being looked for.
    pub fn has_more(&self) -> bool {
        !self.queue.is_empty() || !self.running.is_empty()
    }

    /// The next manifest that somebody hands out, with who announced it; `None` if there is none until then. Without
    /// `wait` those that are known are looked for once, and no others are waited for.
    pub async fn next(&mut self, until: Instant, wait: bool) -> Outcome<Option<(PublicKey, Authentic<Manifest>)>> {
        loop {
            self.take_up().await;
            self.begin(until);
            if Instant::now() >= until || (!wait && !self.has_more()) {
                return Ok(None);
            }
            let turn_ends = self.end_turns(wait);
            let cancel = self.call.cancel;
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(Failure::interrupted()),
                Some((wanted, found)) = self.running.next(), if !self.running.is_empty() => {
                    if let Some(manifest) = self.ended(wanted, found, wait)? {
                        return Ok(Some((wanted.publisher, manifest)));
                    }
                }
                heard = next_heard(&mut self.events) => heard?,
                () = sleep_until(turn_ends.unwrap_or(until).min(until)) => {}
            }
        }
    }

    /// Takes up what was announced since, and puts all that waits into a new order: what was looked for least; of
    /// publishers that did not lead nowhere; of connected ones; and of these one of each before a second of any.
    async fn take_up(&mut self) {
        let announced = self.network.handle.announcements(self.base);
        let bodies = announced.iter().map(|record| record.body()).filter(|body| body.kind == KindTag::Base);
        let new: Vec<Wanted> = bodies
            .filter(|body| self.seen.insert((body.publisher, body.manifest)))
            .map(|body| Wanted {
                publisher: body.publisher,
                manifest: body.manifest,
                peer: body.publisher.peer_id(),
                turns: 0,
            })
            .collect();
        if new.is_empty() {
            return;
        }
        // A network that is being restarted has nobody connected.
        let peers = self.network.handle.peers().await.unwrap_or_default();
        let connected: BTreeSet<PeerId> = peers.into_iter().map(|info| info.peer).collect();
        let all = self.queue.drain(..).chain(new).collect();
        let mut order = spread(all, |wanted| wanted.publisher, &mut self.rng);
        order.sort_by_cached_key(|wanted| {
            let away = wanted.peer.is_none_or(|peer| !connected.contains(&peer));
            (wanted.turns, self.publishers.is_resting(&wanted.publisher), away)
        });
        self.queue = order.into();
    }

    fn begin(&mut self, until: Instant) {
        while self.running.len() < AT_ONCE
            && let Some(wanted) = self.queue.pop_front()
        {
            // Several may announce the same one.
            if self.turns.contains_key(&wanted.manifest) || self.found.contains(&wanted.manifest) {
                continue;
            }
            let (now, cancel) = (Instant::now(), self.call.cancel.child_token());
            self.turns.insert(wanted.manifest, (now, cancel.clone()));
            let find = until.saturating_duration_since(now);
            let (exchange, options) = (self.network.exchange.clone(), Options { find, cancel, ..Options::default() });
            let finding = async move { (wanted, exchange.find(wanted.manifest, options).await) };
            self.running.push(Box::pin(finding));
        }
    }

    /// Ends the turns that are over, if others wait for theirs; when the next one is over.
    fn end_turns(&self, wait: bool) -> Option<Instant> {
        if wait && self.queue.is_empty() {
            return None;
        }
        let now = Instant::now();
        let ends = self.turns.values().map(|(began, cancel)| (*began + TURN, cancel));
        let (over, running): (Vec<_>, Vec<_>) = ends.partition(|(end, _)| *end <= now);
        over.into_iter().for_each(|(_, cancel)| cancel.cancel());
        running.into_iter().map(|(end, _)| end).min()
    }

    fn ended(
        &mut self,
        wanted: Wanted,
        found: Result<Authentic<Manifest>, PullError>,
        wait: bool,
    ) -> Outcome<Option<Authentic<Manifest>>> {
        self.turns.remove(&wanted.manifest);
        match found {
            Ok(manifest) => {
                self.found.insert(wanted.manifest);
                Ok(Some(manifest))
            }
            Err(PullError::NotFound { .. } | PullError::Cancelled(_)) => {
                self.publishers.missed(wanted.publisher);
                if wait {
                    self.queue.push_back(Wanted { turns: wanted.turns + 1, ..wanted });
                }
                Ok(None)
            }
            // Anybody can sign what no version can read.
            Err(PullError::Verify(error)) => {
                self.publishers.missed(wanted.publisher);
                self.unreadable.get_or_insert(PullError::Verify(error));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Why a manifest that somebody handed out could not be read.
    pub fn unreadable(self) -> Option<Failure> {
        self.unreadable.map(Failure::from)
    }
}
