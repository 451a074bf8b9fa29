//! One pull's loop: asks who has what, lets the scheduler decide, runs a task for each provider, keeps what comes.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::fetch::{Action, Event, Fetch};
use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::shard::VerifiedShard;
use potluck_protocol::verify::{Complete, VerifyError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::super::error::Why;
use super::super::limits::{ASK_AGAIN, NOTES, ORDERS};
use super::super::{Exchange, PullError, finding};
use super::candidates::Candidates;
use super::gather::Gather;
use super::landing::Landing;
use super::questions::Note;
use super::worker::{self, Ask, Order, Said};
use super::{Found, Options, Phases, Progress, Pulled};
use crate::net::Misdeed;

/// Both ends of a queue: the sender is cloned for each task.
type Channel<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// One pull.
pub struct Session {
    pub(super) exchange: Exchange,
    pub(super) id: ManifestId,
    options: Options,
    started: Instant,
    /// The scheduler's zero. Moves on while we wait for our own disk, so that no provider is thought silent for that.
    epoch: Instant,
    pub(super) candidates: Candidates,
    workers: HashMap<PeerId, Worker>,
    said: Channel<(PeerId, Said)>,
    pub(super) notes: Channel<Note>,
    gather: Gather,
    blamed: BTreeMap<PeerId, String>,
    /// When the last new shard came, or the stage began.
    advanced: Instant,
    progress: Progress,
    /// Asks the DHT meanwhile.
    _looking: AbortOnDropHandle<()>,
}

/// A provider's task, ended with the pull.
struct Worker {
    orders: mpsc::Sender<Order>,
    _task: AbortOnDropHandle<()>,
}

/// What the loop woke up for.
enum Woken {
    Said(PeerId, Said),
    Note(Note),
    Time,
    Cancelled,
}

impl Session {
    pub async fn new(exchange: &Exchange, id: ManifestId, options: Options) -> Self {
        let now = Instant::now();
        Self {
            exchange: exchange.clone(),
            id,
            candidates: Candidates::new(options.hints.clone()),
            options,
            started: now,
            epoch: now,
            workers: HashMap::new(),
            said: mpsc::channel(NOTES),
            notes: mpsc::channel(NOTES),
            gather: Gather::default(),
            blamed: BTreeMap::new(),
            advanced: now,
            progress: Progress::default(),
            _looking: finding::look_for(exchange, id),
        }
    }

    /// The manifest, from whoever has it.
    pub async fn find(&mut self) -> Result<Found, PullError> {
        let until = self.started + self.options.find;
        loop {
            for peer in self.candidates.due(&self.exchange, self.id).await {
                self.ask_manifest(peer);
            }
            if Instant::now() >= until.min(self.deadline()) {
                let (manifest, asked) = (self.id, self.candidates.asked());
                return Err(PullError::NotFound { manifest, asked, waited: self.started.elapsed() });
            }
            // Looks at who is connected a few times a second: cheaper to follow than every event of the network.
            match self.woken(until.min(Instant::now() + ASK_AGAIN / 12)).await {
                Woken::Note(Note::Manifest(_, Ok(Some(found)))) => return Ok(*found),
                Woken::Note(Note::Manifest(peer, result)) => {
                    self.candidates.ask_again(peer);
                    if let Err(error) = result {
                        self.failed(peer, &error);
                    }
                }
                Woken::Note(Note::Named(peers)) => self.named(peers),
                Woken::Cancelled => return Err(PullError::Cancelled(self.id)),
                Woken::Note(Note::Have(..)) | Woken::Said(..) | Woken::Time => {}
            }
        }
    }

    /// Fetches every shard that is wanted. Whatever came is durable when this returns, however it returns. When the
    /// last one had been written.
    pub async fn fetch(&mut self, fetch: Fetch) -> Result<Instant, PullError> {
        let landing = Landing::new(&self.exchange);
        let result = self.fetch_all(fetch, &landing).await;
        let written = landing.finish().await;
        // What the disk says comes first: the transfer ends early for it.
        written.and_then(|written| result.map(|()| written))
    }

    async fn fetch_all(&mut self, mut fetch: Fetch, landing: &Landing) -> Result<(), PullError> {
        self.begin_stage(&fetch);
        let wants: Vec<ShardId> = fetch.wants().iter().map(|row| row.id).collect();
        self.feed(&mut fetch, Event::Tick);
        let mut look_at = Instant::now();
        while !fetch.is_done() {
            if Instant::now() >= look_at {
                look_at = Instant::now() + ASK_AGAIN / 12;
                for peer in self.candidates.due(&self.exchange, self.id).await {
                    self.ask_have(peer, wants.clone());
                }
            }
            self.check_time(&fetch)?;
            match self.woken(self.next_wake(&fetch, look_at)).await {
                Woken::Said(peer, said) => {
                    if !self.said(&mut fetch, landing, peer, said).await? {
                        return Ok(());
                    }
                }
                Woken::Note(Note::Have(peer, result)) => self.has(&mut fetch, peer, result),
                Woken::Note(Note::Named(peers)) => self.named(peers),
                Woken::Time => self.feed(&mut fetch, Event::Tick),
                Woken::Cancelled => return Err(PullError::Cancelled(self.id)),
                Woken::Note(Note::Manifest(..)) => {}
            }
        }
        Ok(())
    }

    /// What the pull did.
    pub fn finish(self, complete: Complete, total_bytes: u64, phases: Phases) -> Pulled {
        let gather = self.gather;
        for peer in gather.from.keys() {
            self.exchange.holders().note(self.id, *peer);
        }
        Pulled {
            complete,
            fetched_bytes: gather.bytes,
            fetched_from: gather.from,
            had_bytes: total_bytes.saturating_sub(self.progress.bytes_total),
            wasted_bytes: gather.wasted,
            blamed: self.blamed,
            phases,
        }
    }

    fn begin_stage(&mut self, fetch: &Fetch) {
        self.advanced = Instant::now();
        // A provider's task knows only the requests of one stage.
        self.workers.clear();
        self.said = mpsc::channel(NOTES);
        self.notes = mpsc::channel(NOTES);
        self.candidates.ask_all();
        let bytes_total = fetch.wants().iter().map(|row| u64::from(row.len)).sum();
        self.progress = Progress { shards_total: fetch.wants().len(), bytes_total, ..Progress::default() };
        self.report();
    }

    /// Reports come before time: a provider must not be thought silent because we were busy.
    async fn woken(&mut self, at: Instant) -> Woken {
        tokio::select! {
            biased;
            () = self.options.cancel.cancelled() => Woken::Cancelled,
            // The answers are few; shards come without end.
            Some(note) = self.notes.1.recv() => Woken::Note(note),
            Some((peer, said)) = self.said.1.recv() => Woken::Said(peer, said),
            () = sleep_until(at) => Woken::Time,
        }
    }

    fn next_wake(&self, fetch: &Fetch, look_at: Instant) -> Instant {
        let now_ms = self.now_ms();
        let scheduler = fetch.wake_at_ms(now_ms).map(|at| self.epoch + Duration::from_millis(at));
        let stuck = self.advanced + self.options.patience;
        let all = [Some(look_at), scheduler, Some(stuck), Some(self.deadline())];
        all.into_iter().flatten().min().unwrap_or(look_at)
    }

    fn deadline(&self) -> Instant {
        // Without a deadline: later than anybody waits.
        let limit = self.options.deadline.unwrap_or(Duration::from_secs(365 * 24 * 3600));
        self.started + limit
    }

    fn check_time(&self, fetch: &Fetch) -> Result<(), PullError> {
        let now = Instant::now();
        let why = if now >= self.deadline() {
            Why::Deadline
        } else if now >= self.advanced + self.options.patience {
            Why::Stuck
        } else {
            return Ok(());
        };
        let (missing, total) = (fetch.missing_count().0, fetch.wants().len());
        Err(PullError::Incomplete { manifest: self.id, missing, total, asked: self.candidates.asked(), why })
    }

    /// `false` if the disk has failed.
    async fn said(
        &mut self,
        fetch: &mut Fetch,
        landing: &Landing,
        peer: PeerId,
        said: Said,
    ) -> Result<bool, PullError> {
        let event = match said {
            Said::Progress { request, bytes } => Event::Progress { peer, request, bytes },
            Said::Arrived { ask, shard } => {
                // The bytes are right and the publisher's table states another length for them.
                if shard.bytes().len() != ask.shard.len as usize {
                    let reason = format!("the table states {} bytes for shard {}", ask.shard.len, ask.shard.id.short());
                    return Err(VerifyError::Content { path: self.id.to_string(), reason }.into());
                }
                self.exchange.0.metrics.shards_verified.inc();
                if self.gather.count(peer, &shard) && !self.land(landing, shard).await {
                    return Ok(false);
                }
                self.advanced = Instant::now();
                Event::Arrived { peer, request: ask.request }
            }
            Said::NotFound(request) => Event::NotFound { peer, request },
            Said::Busy { request, retry_ms } => Event::Busy { peer, request, retry_ms },
            Said::Wrong(reason) => {
                self.blame(peer, reason);
                Event::Wrong { peer }
            }
            Said::Lost(reason) => {
                tracing::debug!(%peer, %reason, "a provider was lost");
                self.workers.remove(&peer);
                self.candidates.ask_again(peer);
                Event::Lost { peer }
            }
        };
        let arrived = matches!(event, Event::Arrived { .. });
        self.feed(fetch, event);
        if arrived {
            self.count(fetch);
        }
        Ok(true)
    }

    /// While we wait for our own disk, no time passes for the providers.
    async fn land(&mut self, landing: &Landing, shard: VerifiedShard) -> bool {
        let begun = Instant::now();
        let works = landing.put(shard).await;
        self.epoch += begun.elapsed();
        works
    }

    pub(super) fn feed(&mut self, fetch: &mut Fetch, event: Event) {
        for action in fetch.handle(event, self.now_ms()) {
            match action {
                Action::Ask { peer, request, shard } => {
                    // A task that cannot take more has ended, and its last word is on its way.
                    let _ = self.worker(peer).orders.try_send(Order::Ask(Ask { request, shard }));
                }
                Action::Cancel { peer, request } => {
                    if let Some(worker) = self.workers.get(&peer) {
                        // Not told, it sends the whole shard: waste, and nothing worse.
                        let _ = worker.orders.try_send(Order::CallBack(request));
                    }
                }
                Action::Reset { peer } | Action::Drop { peer } => drop(self.workers.remove(&peer)),
                Action::Done => {}
            }
        }
    }

    fn worker(&mut self, peer: PeerId) -> &Worker {
        self.workers.entry(peer).or_insert_with(|| {
            let (orders, mailbox) = mpsc::channel(ORDERS);
            let task = worker::run(self.exchange.clone(), peer, mailbox, self.said.0.clone());
            Worker { orders, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
        })
    }

    pub(super) fn blame(&mut self, peer: PeerId, reason: String) {
        tracing::warn!(%peer, %reason, "a provider sent wrong bytes and is not asked again");
        self.workers.remove(&peer);
        self.exchange.blame(peer, Misdeed::WrongBytes);
        self.blamed.insert(peer, reason);
    }

    fn count(&mut self, fetch: &Fetch) {
        let (shards, bytes) = fetch.missing_count();
        self.progress.shards = self.progress.shards_total - shards;
        self.progress.bytes = self.progress.bytes_total - bytes;
        self.progress.providers = self.gather.from.len();
        self.report();
    }

    fn report(&self) {
        if let Some(progress) = &self.options.progress {
            progress.send_replace(self.progress.clone());
        }
    }

    /// The scheduler's clock.
    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}
