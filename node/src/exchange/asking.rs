//! Whom to ask for one manifest: drives the machine of [`potluck_protocol::ask`] with who is connected, who announced it
//! and who gave it before. The caller asks, and says what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::PeerId;
use potluck_protocol::ask::{Action, Answer, Ask, Candidate, Event};
use potluck_protocol::id::ManifestId;
use tokio::time::Instant;

use super::ask::AskError;
use super::{Exchange, lock};
use crate::net::PeerInfo;

/// One thing that is asked for. What is open counts until this is dropped.
pub struct Asking {
    exchange: Exchange,
    id: ManifestId,
    machine: Ask,
    here: BTreeSet<PeerId>,
}

impl Asking {
    /// Nobody is asked yet; once `enough` peers say that they have it, nobody more is.
    pub fn new(exchange: &Exchange, id: ManifestId, enough: usize) -> Self {
        let machine = Ask::new(exchange.draw(), enough);
        Self { exchange: exchange.clone(), id, machine, here: BTreeSet::new() }
    }

    /// These are connected now, and nobody else; of `likely` it is known that they may have it. Whom to ask.
    pub fn meet(&mut self, connected: &[PeerInfo], likely: &[PeerId]) -> Vec<PeerId> {
        let now = Instant::now();
        let mut first: BTreeSet<PeerId> = likely.iter().copied().collect();
        // Of those who are here alone: thousands of others may have announced it.
        first.extend(self.exchange.0.net.announcers_among(self.id, connected.iter().map(|info| info.peer)));
        first.extend(self.exchange.holders().likely(&self.id));
        let reputation = self.exchange.reputation();
        let able = connected.iter().filter(|info| !reputation.is_blamed(&info.peer, now));
        let peers: Vec<Candidate> = able
            .map(|info| Candidate {
                peer: info.peer,
                neighbourhood: info.group.number(),
                likely: first.contains(&info.peer),
            })
            .collect();
        drop(reputation);
        let here = peers.iter().map(|one| one.peer).collect();
        let before = std::mem::replace(&mut self.here, here);
        let gone: Vec<PeerId> = before.difference(&self.here).copied().collect();
        let mut due: Vec<PeerId> = gone.into_iter().flat_map(|peer| self.feed(Event::Gone { peer })).collect();
        due.extend(self.feed(Event::Met { peers }));
        due
    }

    /// A peer has answered, or failed to. Whom to ask.
    pub fn answered(&mut self, peer: PeerId, answer: Answer) -> Vec<PeerId> {
        self.feed(Event::Answered { peer, answer })
    }

    /// A peer gave it, or some of it: it is one that has it from now on.
    pub fn delivered(&self, peer: PeerId) {
        lock(&self.exchange.0.memory).delivered(&peer);
    }

    /// More are wanted than say that they have it. Whom to ask.
    pub fn want_more(&mut self) -> Vec<PeerId> {
        self.feed(Event::Wanting)
    }

    /// Time passed. Whom to ask.
    pub fn tick(&mut self) -> Vec<PeerId> {
        self.feed(Event::Tick)
    }

    /// When time alone changes something.
    pub fn wake(&self) -> Option<Instant> {
        let at_ms = self.machine.wake_at_ms(self.exchange.now_ms(), &lock(&self.exchange.0.memory))?;
        Some(self.exchange.0.started + Duration::from_millis(at_ms))
    }

    /// Everybody who is here has answered, or had the time to; who was silent before is not waited for.
    pub fn is_exhausted(&self) -> bool {
        self.machine.is_exhausted(self.exchange.now_ms(), &lock(&self.exchange.0.memory))
    }

    /// Nobody is left to ask now, and who still owes an answer is late with it.
    pub fn is_idle(&self) -> bool {
        self.machine.is_idle(&lock(&self.exchange.0.memory))
    }

    fn feed(&mut self, event: Event) -> Vec<PeerId> {
        let now_ms = self.exchange.now_ms();
        let actions = self.machine.handle(event, now_ms, &mut lock(&self.exchange.0.memory));
        let asked = actions.into_iter().filter_map(|action| match action {
            Action::Ask { peer } => Some(peer),
            // Every question ends by itself in the time that the machine gives it.
            Action::GiveUp { .. } => None,
        });
        asked.collect()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.machine.end(&mut lock(&self.exchange.0.memory));
    }
}

/// What the machine is told of an answer that is none.
pub fn failed(error: &AskError) -> Answer {
    if error.is_fault() { Answer::Wrong } else { Answer::Nothing }
}

impl Exchange {
    /// A number that nobody else can know: what the standard library seeds its maps with.
    pub fn draw(&self) -> u64 {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(self.0.net.peer_id())
    }
}
