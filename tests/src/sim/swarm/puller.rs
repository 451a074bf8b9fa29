//! One pull of one node: drives the scheduler as a node does, and checks it.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::{Library, Message, SMALL, Stream};
use crate::sim::{Ledger, Out};
use potluck_protocol::fetch::{Action, Event, Fetch, Holdings, RequestId};

/// Those that have not everything are asked again so often.
const ASK_AGAIN_MS: u64 = 3_000;

/// Requests on their way to one provider.
#[derive(Clone, Debug)]
struct Flow {
    number: u32,
    asked: BTreeMap<RequestId, Coming>,
}

#[derive(Clone, Copy, Debug)]
struct Coming {
    shard: u32,
    good: bool,
}

/// A pull.
#[derive(Clone, Debug)]
pub struct Puller {
    pub manifest: u32,
    pub not_before_ms: u64,
    /// When it begins; `None` while nobody has said that the manifest exists.
    start_ms: Option<u64>,
    seed: u64,
    running: Option<Running>,
    pub finished_ms: Option<u64>,
    /// Bytes of pieces that came, and of whole shards that were kept.
    pub came_bytes: u64,
    pub kept_bytes: u64,
}

#[derive(Clone, Debug)]
struct Running {
    fetch: Fetch,
    ledger: Ledger,
    /// Where in the manifest each wanted shard stands.
    rows: Vec<usize>,
    flows: BTreeMap<usize, Flow>,
    streams: u32,
    /// Nodes that have everything.
    full: BTreeSet<usize>,
    ask_at_ms: u64,
}

impl Puller {
    /// Begins when it is told that the manifest exists, and not before that time.
    pub fn new(manifest: u32, not_before_ms: u64, seed: u64) -> Self {
        let (start_ms, running, finished_ms) = (None, None, None);
        Self { manifest, not_before_ms, start_ms, seed, running, finished_ms, came_bytes: 0, kept_bytes: 0 }
    }

    /// The manifest exists.
    pub fn learn_of(&mut self, now_ms: u64) {
        self.start_ms.get_or_insert(now_ms.max(self.not_before_ms));
    }

    pub fn is_due(&self, now_ms: u64) -> bool {
        self.running.is_none() && self.start_ms.is_some_and(|at| at <= now_ms)
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some() && self.finished_ms.is_none()
    }

    pub fn wasted_bytes(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.ledger.duplicate_bytes())
    }

    pub fn start(&mut self, library: &Library, have: &[bool], now_ms: u64, out: &mut Out<Message>) {
        let shards = &library.manifests[self.manifest as usize];
        let missing = |row: &usize| !have[shards[*row] as usize];
        let rows: Vec<usize> = (0..shards.len()).filter(missing).collect();
        let wants = rows.iter().map(|row| library.shards[shards[*row] as usize]);
        let fetch = Fetch::new(wants, self.seed);
        let ledger = Ledger::new(&fetch);
        let (flows, full) = (BTreeMap::new(), BTreeSet::new());
        self.running = Some(Running { fetch, ledger, rows, flows, streams: 0, full, ask_at_ms: now_ms });
        self.feed(library, Event::Tick, now_ms, out);
    }

    /// Time passed.
    pub fn tick(&mut self, library: &Library, neighbours: &BTreeSet<usize>, now_ms: u64, out: &mut Out<Message>) {
        self.feed(library, Event::Tick, now_ms, out);
        let Some(running) = self.running.as_mut().filter(|_| self.finished_ms.is_none()) else { return };
        if now_ms >= running.ask_at_ms {
            running.ask_at_ms = now_ms + ASK_AGAIN_MS;
            for node in neighbours.difference(&running.full) {
                out.send(*node, Message::Have { manifest: self.manifest }, SMALL);
            }
        }
    }

    pub fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        match &self.running {
            None => self.start_ms,
            Some(_) if self.finished_ms.is_some() => None,
            Some(running) => running.fetch.wake_at_ms(now_ms).into_iter().chain([running.ask_at_ms]).min(),
        }
    }

    pub fn note_linked(&self, node: usize, out: &mut Out<Message>) {
        if self.is_running() {
            out.send(node, Message::Have { manifest: self.manifest }, SMALL);
        }
    }

    pub fn note_lost(&mut self, library: &Library, node: usize, now_ms: u64, out: &mut Out<Message>) {
        if let Some(running) = &mut self.running {
            running.flows.remove(&node);
            running.full.remove(&node);
        }
        self.feed(library, Event::Lost { peer: library.peer(node) }, now_ms, out);
    }

    pub fn note_holdings(
        &mut self,
        library: &Library,
        from: usize,
        flags: &[bool],
        now_ms: u64,
        out: &mut Out<Message>,
    ) {
        let Some(running) = &mut self.running else { return };
        let flags: Vec<bool> = running.rows.iter().map(|row| flags.get(*row).copied().unwrap_or(false)).collect();
        let all = flags.iter().all(|flag| *flag);
        if all {
            running.full.insert(from);
        }
        let holdings = if all { Holdings::All } else { Holdings::These(flags) };
        self.feed(library, Event::Found { peer: library.peer(from), holdings }, now_ms, out);
    }

    /// A provider's answer. Returns the shard if it is complete and right.
    pub fn take_answer(
        &mut self,
        library: &Library,
        from: usize,
        message: &Message,
        now_ms: u64,
        out: &mut Out<Message>,
    ) -> Option<u32> {
        let peer = library.peer(from);
        let (stream, request) = match message {
            Message::Piece { stream, request, .. }
            | Message::NotFound { stream, request }
            | Message::Busy { stream, request, .. } => (stream, *request),
            _ => return None,
        };
        let flow = self.running.as_mut()?.flows.get_mut(&from).filter(|flow| flow.number == stream.number)?;
        let mut coming = *flow.asked.get(&request)?;
        let mut kept = None;
        let event = match message {
            Message::Piece { bytes, last, good, .. } => {
                self.came_bytes += u64::from(*bytes);
                coming.good &= good;
                flow.asked.insert(request, coming);
                match (last, coming.good) {
                    (false, _) => Event::Progress { peer, request, bytes: *bytes },
                    (true, true) => {
                        kept = Some(coming.shard);
                        Event::Arrived { peer, request }
                    }
                    (true, false) => Event::Wrong { peer },
                }
            }
            Message::Busy { retry_ms, .. } => Event::Busy { peer, request, retry_ms: *retry_ms },
            _ => Event::NotFound { peer, request },
        };
        if !matches!(event, Event::Progress { .. }) {
            flow.asked.remove(&request);
        }
        self.feed(library, event, now_ms, out);
        kept
    }

    fn feed(&mut self, library: &Library, event: Event, now_ms: u64, out: &mut Out<Message>) {
        let Some(running) = &mut self.running else { return };
        let actions = match running.ledger.step(&mut running.fetch, event, now_ms) {
            Ok(actions) => actions,
            Err(rule) => return out.fail(rule),
        };
        for action in actions {
            match action {
                Action::Ask { peer, request, shard } => {
                    let shard = library.number(&shard.id);
                    let stream = running.open(self.manifest, library.node(&peer), request, shard);
                    out.send(library.node(&peer), Message::Ask { stream, request, shard }, SMALL);
                }
                Action::Cancel { peer, request } => {
                    if let Some(stream) = running.stream(self.manifest, library, &peer) {
                        out.send(library.node(&peer), Message::Cancel { stream, request }, SMALL);
                    }
                }
                Action::Reset { peer } | Action::Drop { peer } | Action::Release { peer } => {
                    if matches!(action, Action::Release { .. }) {
                        // There may be a place for it later.
                        running.full.remove(&library.node(&peer));
                    }
                    if let Some(stream) = running.stream(self.manifest, library, &peer) {
                        out.send(library.node(&peer), Message::Close { stream }, SMALL);
                    }
                    running.flows.remove(&library.node(&peer));
                }
                Action::Done => {
                    self.finished_ms = Some(now_ms);
                    self.kept_bytes = running.fetch.wants().iter().map(|row| u64::from(row.len)).sum();
                }
            }
        }
    }
}

impl Running {
    fn open(&mut self, manifest: u32, node: usize, request: RequestId, shard: u32) -> Stream {
        let streams = &mut self.streams;
        let flow = self.flows.entry(node).or_insert_with(|| {
            *streams += 1;
            Flow { number: *streams, asked: BTreeMap::new() }
        });
        flow.asked.insert(request, Coming { shard, good: true });
        Stream { manifest, number: flow.number }
    }

    fn stream(&self, manifest: u32, library: &Library, peer: &PeerId) -> Option<Stream> {
        let flow = self.flows.get(&library.node(peer))?;
        Some(Stream { manifest, number: flow.number })
    }
}
