//! One pull of one node: drives the scheduler as a node does, and checks it.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::{Library, Message, SMALL, Stream};
use crate::sim::{Ledger, Out};
use potluck_protocol::ask::{self, Answer, Ask, Candidate, Memory};
use potluck_protocol::fetch::{Action, Event, Fetch, Holdings, RequestId};
use potluck_protocol::splitmix::mix;

/// When so many say that they have it, nobody more is asked.
const PROVIDERS: usize = 64;

/// What the pulls of one node have in common.
pub struct Around<'a> {
    pub library: &'a Library,
    pub neighbours: &'a BTreeSet<usize>,
    pub memory: &'a mut Memory,
    pub now_ms: u64,
}

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
    /// Nodes that are said to have it.
    likely: BTreeSet<usize>,
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
    /// Whom to ask whether they have it.
    ask: Ask,
    /// Since when each question is open.
    open: BTreeMap<usize, u64>,
    wrong: BTreeSet<usize>,
}

impl Puller {
    /// Begins when it is told that the manifest exists, and not before that time.
    pub fn new(manifest: u32, not_before_ms: u64, seed: u64) -> Self {
        let (start_ms, likely, running, finished_ms) = (None, BTreeSet::new(), None, None);
        Self { manifest, not_before_ms, start_ms, likely, seed, running, finished_ms, came_bytes: 0, kept_bytes: 0 }
    }

    /// The manifest exists, and these nodes are said to have it.
    pub fn learn_of(&mut self, likely: &[usize], now_ms: u64) {
        self.start_ms.get_or_insert(now_ms.max(self.not_before_ms));
        self.likely.extend(likely);
    }

    /// When it was known to exist, and may have begun.
    pub fn start_ms(&self) -> Option<u64> {
        self.start_ms
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

    pub fn start(&mut self, around: &mut Around<'_>, have: &[bool], out: &mut Out<Message>) {
        let library = around.library;
        let shards = &library.manifests[self.manifest as usize];
        let missing = |row: &usize| !have[shards[*row] as usize];
        let rows: Vec<usize> = (0..shards.len()).filter(missing).collect();
        let wants = rows.iter().map(|row| library.shards[shards[*row] as usize]);
        let fetch = Fetch::new(wants, self.seed);
        let (ledger, ask) = (Ledger::new(&fetch), Ask::new(mix(self.seed), PROVIDERS));
        let (flows, open, wrong) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        self.running = Some(Running { fetch, ledger, rows, flows, streams: 0, ask, open, wrong });
        self.feed(around, Event::Tick, out);
        self.meet(around, around.neighbours.iter().copied().collect(), out);
    }

    /// Time passed.
    pub fn tick(&mut self, around: &mut Around<'_>, out: &mut Out<Message>) {
        self.feed(around, Event::Tick, out);
        self.ask(around, ask::Event::Tick, out);
    }

    pub fn wake_at_ms(&self, memory: &Memory, now_ms: u64) -> Option<u64> {
        match &self.running {
            None => self.start_ms,
            Some(_) if self.finished_ms.is_some() => None,
            Some(running) => {
                let asks = running.ask.wake_at_ms(now_ms, memory);
                running.fetch.wake_at_ms(now_ms).into_iter().chain(asks).min()
            }
        }
    }

    pub fn note_linked(&mut self, around: &mut Around<'_>, node: usize, out: &mut Out<Message>) {
        self.meet(around, vec![node], out);
    }

    pub fn note_lost(&mut self, around: &mut Around<'_>, node: usize, out: &mut Out<Message>) {
        if let Some(running) = &mut self.running {
            running.flows.remove(&node);
            running.open.remove(&node);
        }
        let peer = around.library.peer(node);
        self.feed(around, Event::Lost { peer }, out);
        self.ask(around, ask::Event::Gone { peer }, out);
    }

    pub fn note_holdings(&mut self, around: &mut Around<'_>, from: usize, flags: &[bool], out: &mut Out<Message>) {
        let Some(running) = &mut self.running else { return };
        running.open.remove(&from);
        let peer = around.library.peer(from);
        let flags: Vec<bool> = running.rows.iter().map(|row| flags.get(*row).copied().unwrap_or(false)).collect();
        let (holdings, answer) = if flags.iter().all(|flag| *flag) {
            (Holdings::All, Answer::Has)
        } else if flags.contains(&true) {
            (Holdings::These(flags), Answer::HasSome)
        } else {
            (Holdings::These(flags), Answer::Lacks)
        };
        self.feed(around, Event::Found { peer, holdings }, out);
        self.ask(around, ask::Event::Answered { peer, answer }, out);
    }

    fn meet(&mut self, around: &mut Around<'_>, nodes: Vec<usize>, out: &mut Out<Message>) {
        let Some(running) = &self.running else { return };
        let able = nodes.into_iter().filter(|node| !running.wrong.contains(node));
        let candidate = |node: usize| Candidate {
            peer: around.library.peer(node),
            neighbourhood: around.library.neighbourhood(node),
            likely: self.likely.contains(&node),
        };
        let peers = able.map(candidate).collect();
        self.ask(around, ask::Event::Met { peers }, out);
    }

    /// Asks whom the machine says, and checks that it keeps to its bounds.
    fn ask(&mut self, around: &mut Around<'_>, event: ask::Event, out: &mut Out<Message>) {
        let Some(running) = self.running.as_mut().filter(|_| self.finished_ms.is_none()) else { return };
        let now_ms = around.now_ms;
        for action in running.ask.handle(event, now_ms, around.memory) {
            match action {
                ask::Action::Ask { peer } => {
                    let node = around.library.node(&peer);
                    let young = running.open.values().filter(|since| now_ms < **since + ask::HEDGE_MS).count();
                    let rules = [
                        (around.neighbours.contains(&node), "only who is connected is asked"),
                        (!running.wrong.contains(&node), "who broke a rule is not asked again"),
                        (young < ask::AT_ONCE, "too many are asked at once"),
                        (running.open.len() < ask::OPEN_MAX, "too many questions are open"),
                        (running.open.insert(node, now_ms).is_none(), "one question to a peer at a time"),
                    ];
                    if let Some((_, rule)) = rules.into_iter().find(|(kept, _)| !kept) {
                        return out.fail(rule);
                    }
                    out.send(node, Message::Have { manifest: self.manifest }, SMALL);
                }
                ask::Action::GiveUp { peer } => drop(running.open.remove(&around.library.node(&peer))),
            }
        }
    }

    /// A provider's answer. Returns the shard if it is complete and right.
    pub fn take_answer(
        &mut self,
        around: &mut Around<'_>,
        from: usize,
        message: &Message,
        out: &mut Out<Message>,
    ) -> Option<u32> {
        let peer = around.library.peer(from);
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
        let wrong = matches!(event, Event::Wrong { .. });
        self.feed(around, event, out);
        if wrong {
            self.note_wrong(around, from, out);
        } else if kept.is_some() {
            around.memory.delivered(&peer);
        }
        kept
    }

    fn note_wrong(&mut self, around: &mut Around<'_>, from: usize, out: &mut Out<Message>) {
        if let Some(running) = &mut self.running {
            running.wrong.insert(from);
            running.open.remove(&from);
        }
        let peer = around.library.peer(from);
        self.ask(around, ask::Event::Answered { peer, answer: Answer::Wrong }, out);
    }

    /// Whether a node sent wrong bytes.
    pub fn is_wrong(&self, node: usize) -> bool {
        self.running.as_ref().is_some_and(|running| running.wrong.contains(&node))
    }

    fn feed(&mut self, around: &mut Around<'_>, event: Event, out: &mut Out<Message>) {
        let Some(running) = &mut self.running else { return };
        let library = around.library;
        let actions = match running.ledger.step(&mut running.fetch, event, around.now_ms) {
            Ok(actions) => actions,
            Err(rule) => return out.fail(rule),
        };
        let mut idle = Vec::new();
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
                    // As the daemon does: who said that it has something and does not deliver makes way for another, and
                    // for who had no place there may be one later.
                    match action {
                        Action::Reset { .. } => idle.push((peer, Answer::Nothing)),
                        Action::Release { .. } => idle.push((peer, Answer::Lacks)),
                        _ => {}
                    }
                    if let Some(stream) = running.stream(self.manifest, library, &peer) {
                        out.send(library.node(&peer), Message::Close { stream }, SMALL);
                    }
                    running.flows.remove(&library.node(&peer));
                }
                Action::Done => {
                    self.finished_ms = Some(around.now_ms);
                    running.ask.end(around.memory);
                    self.kept_bytes = running.fetch.wants().iter().map(|row| u64::from(row.len)).sum();
                }
            }
        }
        for (peer, answer) in idle {
            // Whatever it was asked beside that is over for the machine.
            if let Some(running) = &mut self.running {
                running.open.remove(&library.node(&peer));
            }
            self.ask(around, ask::Event::Answered { peer, answer }, out);
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
