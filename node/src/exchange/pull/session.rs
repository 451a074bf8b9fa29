//! One pull's loop: asks who has what, lets the scheduler decide, runs a task for each provider, keeps what comes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::ask::Answer as Had;
use potluck_protocol::fetch::{Action, Event, Fetch, Holdings};
use potluck_protocol::id::{ManifestId, ShardId};
use potluck_protocol::shard::VerifiedShard;
use potluck_protocol::verify::{Complete, VerifyError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::super::error::Why;
use super::super::limits::{COMMANDS, EVENTS};
use super::super::{Exchange, PullError, ask};
use super::candidates::{self, Candidates};
use super::provider::{self, Ask, ProviderCommand, ProviderEvent};
use super::shard_writer::ShardWriter;
use super::{Found, Options, Phases, Progress, Pulled};
use crate::net::Misdeed;

/// Both ends of a queue: the sender is cloned for each task.
type Channel<T> = (mpsc::Sender<T>, mpsc::Receiver<T>);

/// One pull.
pub struct Session {
    exchange: Exchange,
    id: ManifestId,
    options: Options,
    started: Instant,
    /// The scheduler's zero. Moves on while we wait for our own disk, so that no provider is thought silent for that.
    epoch: Instant,
    candidates: Candidates,
    /// Those that are being asked what they have.
    looking: HashSet<PeerId>,
    providers: HashMap<PeerId, Provider>,
    events: Channel<(PeerId, ProviderEvent)>,
    answers: Channel<Answer>,
    received: Received,
    blamed: BTreeMap<PeerId, String>,
    /// When the last new shard came, or the stage began.
    advanced: Instant,
    progress: Progress,
    /// Asks the DHT meanwhile.
    _lookup: AbortOnDropHandle<()>,
}

/// A provider's task, ended with the pull.
struct Provider {
    commands: mpsc::Sender<ProviderCommand>,
    _task: AbortOnDropHandle<()>,
}

/// What has come so far, and from whom.
#[derive(Default)]
struct Received {
    seen: HashSet<ShardId>,
    from: BTreeMap<PeerId, u64>,
    bytes: u64,
    wasted: u64,
}

impl Received {
    /// `true` if the shard is new; one that came before counts as waste.
    fn add(&mut self, peer: PeerId, shard: &VerifiedShard) -> bool {
        let len = shard.bytes().len() as u64;
        if !self.seen.insert(shard.id()) {
            self.wasted += len;
            return false;
        }
        *self.from.entry(peer).or_default() += len;
        self.bytes += len;
        true
    }
}

/// Answers to the small questions of a pull, each from a task of its own.
enum Answer {
    Manifest(PeerId, Result<Option<Box<Found>>, ask::AskError>),
    Have(PeerId, Result<Vec<bool>, ask::AskError>),
    /// Further peers that may have it.
    Named(PeerId, Vec<(PeerId, Vec<Multiaddr>)>),
}

/// What the loop woke up for.
enum Wakeup {
    Event(PeerId, ProviderEvent),
    Answer(Answer),
    Time,
    Cancelled,
}

impl Session {
    /// A pull that begins now, and asks the DHT for providers from now on.
    pub async fn new(exchange: &Exchange, id: ManifestId, options: Options) -> Self {
        let now = Instant::now();
        Self {
            exchange: exchange.clone(),
            id,
            candidates: Candidates::new(exchange, id, options.hints.clone()),
            options,
            started: now,
            epoch: now,
            looking: HashSet::new(),
            providers: HashMap::new(),
            events: mpsc::channel(EVENTS),
            answers: mpsc::channel(EVENTS),
            received: Received::default(),
            blamed: BTreeMap::new(),
            advanced: now,
            progress: Progress::default(),
            _lookup: candidates::look_up(exchange, id),
        }
    }

    /// The manifest, from whoever has it.
    pub async fn find(&mut self) -> Result<Found, PullError> {
        let until = self.started + self.options.find;
        loop {
            for peer in self.candidates.due().await {
                self.ask_manifest(peer);
            }
            if Instant::now() >= until.min(self.deadline()) {
                let (manifest, asked) = (self.id, self.candidates.asked());
                return Err(PullError::NotFound { manifest, asked, waited: self.started.elapsed() });
            }
            match self.next_wakeup(until.min(self.candidates.wake())).await {
                Wakeup::Answer(Answer::Manifest(peer, Ok(Some(found)))) => {
                    self.candidates.delivered(peer);
                    self.exchange.holders().note(self.id, peer);
                    return Ok(*found);
                }
                // Nobody else has other bytes of that id.
                Wakeup::Answer(Answer::Manifest(_, Err(ask::AskError::Unreadable(error)))) => return Err(error.into()),
                Wakeup::Answer(Answer::Manifest(peer, result)) => self.note_no_manifest(peer, result.map(|_| ())),
                Wakeup::Answer(Answer::Named(by, peers)) => self.candidates.dial_named(by, peers),
                Wakeup::Cancelled => return Err(PullError::Cancelled(self.id)),
                Wakeup::Answer(Answer::Have(..)) | Wakeup::Event(..) | Wakeup::Time => {}
            }
        }
    }

    /// It does not have it, or did not answer.
    fn note_no_manifest(&mut self, peer: PeerId, result: Result<(), ask::AskError>) {
        match result {
            Ok(()) => self.candidates.answered(peer, Had::Lacks),
            Err(error) => {
                self.note_failure(peer, &error);
                self.candidates.failed(peer, &error);
            }
        }
    }

    /// Fetches every shard that is wanted. Whatever came is durable when this returns, however it returns. When the
    /// last one had been written.
    pub async fn fetch(&mut self, fetch: Fetch) -> Result<Instant, PullError> {
        let writer = ShardWriter::new(&self.exchange);
        let result = self.fetch_all(fetch, &writer).await;
        let written = writer.finish().await;
        // What the disk says comes first: the transfer ends early for it.
        written.and_then(|written| result.map(|()| written))
    }

    async fn fetch_all(&mut self, mut fetch: Fetch, writer: &ShardWriter) -> Result<(), PullError> {
        self.begin_stage(&fetch);
        let wants: Vec<ShardId> = fetch.wants().iter().map(|row| row.id).collect();
        self.feed(&mut fetch, Event::Tick);
        while !fetch.is_done() {
            for peer in self.candidates.due().await {
                // With many shards an answer takes many questions, and longer than is waited for: it is not asked twice.
                if self.looking.insert(peer) {
                    self.ask_have(peer, wants.clone());
                }
            }
            self.check_time(&fetch)?;
            match self.next_wakeup(self.next_wake(&fetch)).await {
                Wakeup::Event(peer, event) => {
                    if !self.handle_event(&mut fetch, writer, peer, event).await? {
                        return Ok(());
                    }
                }
                Wakeup::Answer(Answer::Have(peer, result)) => self.add_holdings(&mut fetch, peer, result),
                Wakeup::Answer(Answer::Named(by, peers)) => self.candidates.dial_named(by, peers),
                Wakeup::Time => self.feed(&mut fetch, Event::Tick),
                Wakeup::Cancelled => return Err(PullError::Cancelled(self.id)),
                Wakeup::Answer(Answer::Manifest(..)) => {}
            }
        }
        Ok(())
    }

    /// What the pull did.
    pub fn finish(self, complete: Complete, total_bytes: u64, phases: Phases) -> Pulled {
        let received = self.received;
        for peer in received.from.keys() {
            self.exchange.holders().note(self.id, *peer);
        }
        Pulled {
            complete,
            fetched_bytes: received.bytes,
            fetched_from: received.from,
            had_bytes: total_bytes.saturating_sub(self.progress.bytes_total),
            wasted_bytes: received.wasted,
            blamed: self.blamed,
            phases,
        }
    }

    fn begin_stage(&mut self, fetch: &Fetch) {
        self.advanced = Instant::now();
        // A provider's task knows only the requests of one stage.
        self.providers.clear();
        self.events = mpsc::channel(EVENTS);
        self.answers = mpsc::channel(EVENTS);
        self.candidates.begin_stage();
        self.looking.clear();
        let bytes_total = fetch.wants().iter().map(|row| u64::from(row.len)).sum();
        self.progress = Progress { shards_total: fetch.wants().len(), bytes_total, ..Progress::default() };
        self.report();
    }

    /// Reports come before time: a provider must not be thought silent because we were busy.
    async fn next_wakeup(&mut self, at: Instant) -> Wakeup {
        tokio::select! {
            biased;
            () = self.options.cancel.cancelled() => Wakeup::Cancelled,
            // The answers are few; shards come without end.
            Some(answer) = self.answers.1.recv() => Wakeup::Answer(answer),
            Some((peer, event)) = self.events.1.recv() => Wakeup::Event(peer, event),
            () = sleep_until(at) => Wakeup::Time,
        }
    }

    fn next_wake(&self, fetch: &Fetch) -> Instant {
        let now_ms = self.now_ms();
        let scheduler = fetch.wake_at_ms(now_ms).map(|at| self.epoch + Duration::from_millis(at));
        let stuck = self.advanced + self.options.patience;
        let others = [self.candidates.wake(), stuck, self.deadline()];
        scheduler.into_iter().chain(others).min().unwrap_or(stuck)
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
    async fn handle_event(
        &mut self,
        fetch: &mut Fetch,
        writer: &ShardWriter,
        peer: PeerId,
        event: ProviderEvent,
    ) -> Result<bool, PullError> {
        let event = match event {
            ProviderEvent::Progress { request, bytes } => Event::Progress { peer, request, bytes },
            ProviderEvent::Arrived { ask, shard } => {
                // The bytes are right and the publisher's table states another length for them.
                if shard.bytes().len() != ask.shard.len as usize {
                    let reason = format!("the table states {} bytes for shard {}", ask.shard.len, ask.shard.id.short());
                    return Err(VerifyError::Content { path: self.id.to_string(), reason }.into());
                }
                self.exchange.0.metrics.shards_verified.inc();
                if self.received.add(peer, &shard) && !self.write(writer, shard).await {
                    return Ok(false);
                }
                self.candidates.delivered(peer);
                self.advanced = Instant::now();
                Event::Arrived { peer, request: ask.request }
            }
            ProviderEvent::NotFound(request) => Event::NotFound { peer, request },
            ProviderEvent::Busy { request, retry_ms } => Event::Busy { peer, request, retry_ms },
            ProviderEvent::Wrong(reason) => {
                self.blame(peer, reason);
                Event::Wrong { peer }
            }
            ProviderEvent::Lost(reason) => {
                tracing::debug!(%peer, %reason, "a provider was lost");
                self.providers.remove(&peer);
                self.candidates.answered(peer, Had::Nothing);
                Event::Lost { peer }
            }
        };
        let arrived = matches!(event, Event::Arrived { .. });
        self.feed(fetch, event);
        if arrived {
            self.update_progress(fetch);
        }
        Ok(true)
    }

    /// While we wait for our own disk, no time passes for the providers.
    async fn write(&mut self, writer: &ShardWriter, shard: VerifiedShard) -> bool {
        let begun = Instant::now();
        let works = writer.put(shard).await;
        self.epoch += begun.elapsed();
        works
    }

    fn feed(&mut self, fetch: &mut Fetch, event: Event) {
        for action in fetch.handle(event, self.now_ms()) {
            match action {
                Action::Ask { peer, request, shard } => {
                    // A task that cannot take more has ended, and its last word is on its way.
                    let _ = self.provider(peer).commands.try_send(ProviderCommand::Ask(Ask { request, shard }));
                }
                Action::Cancel { peer, request } => {
                    if let Some(provider) = self.providers.get(&peer) {
                        // Not told, it sends the whole shard: waste, and nothing worse.
                        let _ = provider.commands.try_send(ProviderCommand::Cancel(request));
                    }
                }
                Action::Reset { peer } => {
                    self.providers.remove(&peer);
                    // It said that it has something, and does not deliver: its place is another's.
                    self.candidates.answered(peer, Had::Nothing);
                }
                Action::Release { peer } => {
                    self.providers.remove(&peer);
                    // No failure: it may be asked again, and somebody else now.
                    self.candidates.answered(peer, Had::Lacks);
                }
                Action::Drop { peer } => drop(self.providers.remove(&peer)),
                Action::Done => {}
            }
        }
    }

    fn provider(&mut self, peer: PeerId) -> &Provider {
        self.providers.entry(peer).or_insert_with(|| {
            let (commands, mailbox) = mpsc::channel(COMMANDS);
            let task = provider::run(self.exchange.clone(), peer, mailbox, self.events.0.clone());
            Provider { commands, _task: AbortOnDropHandle::new(tokio::spawn(task)) }
        })
    }

    fn blame(&mut self, peer: PeerId, reason: String) {
        tracing::warn!(%peer, %reason, "a provider sent wrong bytes and is not asked again");
        self.providers.remove(&peer);
        self.exchange.blame(peer, Misdeed::WrongBytes);
        self.blamed.insert(peer, reason);
    }

    fn update_progress(&mut self, fetch: &Fetch) {
        let (shards, bytes) = fetch.missing_count();
        self.progress.shards = self.progress.shards_total - shards;
        self.progress.bytes = self.progress.bytes_total - bytes;
        self.progress.providers = self.received.from.len();
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

    /// A question failed: by the peer's fault, or not.
    fn note_failure(&mut self, peer: PeerId, error: &ask::AskError) {
        if error.is_fault() {
            self.blame(peer, error.to_string());
        } else {
            tracing::debug!(%peer, %error, "a question was not answered");
        }
    }

    fn ask_manifest(&self, peer: PeerId) {
        let (net, id, answers) = (self.exchange.0.net.clone(), self.id, self.answers.0.clone());
        self.exchange.0.tasks.spawn("ask for a manifest", async move {
            let manifest = ask::manifest(&net, peer, id).await.map(|found| found.map(Box::new));
            // The pull may have ended.
            let _ = answers.send(Answer::Manifest(peer, manifest)).await;
            if let Ok(peers) = ask::providers(&net, peer, id).await {
                let _ = answers.send(Answer::Named(peer, peers)).await;
            }
        });
    }

    fn ask_have(&self, peer: PeerId, wants: Vec<ShardId>) {
        let (net, id, answers) = (self.exchange.0.net.clone(), self.id, self.answers.0.clone());
        self.exchange.0.tasks.spawn("ask for shards", async move {
            let _ = answers.send(Answer::Have(peer, ask::have(&net, peer, &wants).await)).await;
            if let Ok(peers) = ask::providers(&net, peer, id).await {
                let _ = answers.send(Answer::Named(peer, peers)).await;
            }
        });
    }

    fn add_holdings(&mut self, fetch: &mut Fetch, peer: PeerId, result: Result<Vec<bool>, ask::AskError>) {
        self.looking.remove(&peer);
        match result {
            Ok(flags) => {
                let (all, some) = (flags.iter().all(|flag| *flag), flags.contains(&true));
                let had = match (all, some) {
                    (true, _) => Had::Has,
                    (false, true) => Had::HasSome,
                    (false, false) => Had::Lacks,
                };
                self.candidates.answered(peer, had);
                let holdings = if all { Holdings::All } else { Holdings::These(flags) };
                self.feed(fetch, Event::Found { peer, holdings });
            }
            Err(error) => {
                self.note_failure(peer, &error);
                self.candidates.failed(peer, &error);
            }
        }
    }
}
