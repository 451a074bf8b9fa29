//! The machine itself.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;

use super::memory::Memory;
use super::{AGAIN_MS, ANSWER_MS, AT_ONCE, Action, Answer, Candidate, Event, HEDGE_MS, PEERS_MAX};
use crate::splitmix::{SplitMix64, mix};

/// Of so many questions one goes to a peer that is not likely, if there is one.
const UNLIKELY_TURN: u64 = 4;

/// [`AGAIN_MS`] doubles so often.
const AGAIN_DOUBLINGS: u32 = 3;

/// A peer that owes too many answers to other asks is looked at again after this.
const HELD_MS: u64 = 250;

/// One thing that is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    rng: SplitMix64,
    /// Ordered, so that one seed has one trace.
    peers: BTreeMap<PeerId, Peer>,
    /// When so many say that they have it, nobody more is asked.
    enough: usize,
    questions: u64,
}

#[derive(Clone, Debug)]
struct Peer {
    neighbourhood: u64,
    likely: bool,
    /// Drawn when it was met.
    lot: u64,
    /// How often.
    asked: u32,
    /// It says that it has it, or a part.
    has: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may be asked from that time on.
    Waiting { at_ms: u64 },
    /// A question is open.
    Open { since_ms: u64, late: bool },
    /// It is not asked any more.
    Settled,
}

impl Peer {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    fn is_fresh(&self) -> bool {
        matches!(self.state, State::Open { late: false, .. })
    }

    fn is_due(&self, now_ms: u64) -> bool {
        matches!(self.state, State::Waiting { at_ms } if at_ms <= now_ms)
    }

    fn wait(&mut self, now_ms: u64) {
        let doublings = self.asked.saturating_sub(1).min(AGAIN_DOUBLINGS);
        self.state = State::Waiting { at_ms: now_ms.saturating_add(AGAIN_MS << doublings) };
    }

    /// Its question has ended, if one was open.
    fn close(&mut self, peer: &PeerId, memory: &mut Memory) {
        if self.is_open() {
            memory.closed(peer);
        }
    }
}

impl Ask {
    /// Knows nobody. `enough` peers that say they have it, and nobody more is asked. The seed makes the order: it must be
    /// one that strangers do not know.
    pub fn new(seed: u64, enough: usize) -> Self {
        Self { rng: SplitMix64::new(mix(seed)), peers: BTreeMap::new(), enough, questions: 0 }
    }

    /// Takes an event at a time (milliseconds of any clock that does not go back) and says what to do.
    pub fn handle(&mut self, event: Event, now_ms: u64, memory: &mut Memory) -> Vec<Action> {
        let mut actions = Vec::new();
        self.note(event, now_ms, memory);
        self.note_late(now_ms, memory, &mut actions);
        while let Some(peer) = self.next(now_ms, memory) {
            let Some(one) = self.peers.get_mut(&peer) else { break };
            one.state = State::Open { since_ms: now_ms, late: false };
            one.asked = one.asked.saturating_add(1);
            self.questions += 1;
            memory.opened(peer);
            actions.push(Action::Ask { peer });
        }
        actions
    }

    /// When [`Event::Tick`] is wanted next if nothing else happens; `None` if time alone changes nothing.
    pub fn wake_at_ms(&self, now_ms: u64, memory: &Memory) -> Option<u64> {
        let held = |(peer, one): (&PeerId, &Peer)| one.is_due(now_ms) && !memory.has_room(peer);
        let held = self.peers.iter().any(held).then_some(now_ms + HELD_MS);
        let times = self.peers.values().filter_map(|one| match one.state {
            State::Waiting { at_ms } => Some(at_ms),
            State::Open { since_ms, late: false } => Some(since_ms + HEDGE_MS),
            State::Open { since_ms, late: true } => Some(since_ms + ANSWER_MS),
            State::Settled => None,
        });
        times.chain(held).filter(|at| *at > now_ms).min()
    }

    /// Everybody who is here has answered, or had the time to. Who was silent before, and is late again, is not waited for:
    /// else one silent peer would cost each ask for what nobody has [`ANSWER_MS`].
    pub fn is_exhausted(&self, now_ms: u64, memory: &Memory) -> bool {
        self.peers.iter().all(|(peer, one)| {
            let owes = one.is_open() || one.asked == 0 && one.state != State::Settled;
            let silent = !one.is_fresh() && (one.is_open() || !memory.has_room(peer));
            !owes || silent && memory.is_silent(peer, now_ms)
        })
    }

    /// Nobody is left to ask now, and who still owes an answer is late with it.
    pub fn is_idle(&self, memory: &Memory) -> bool {
        let to_ask = |(peer, one): (&PeerId, &Peer)| one.asked == 0 && !one.is_open() && memory.has_room(peer);
        !self.peers.values().any(Peer::is_fresh) && !self.peers.iter().any(to_ask)
    }

    /// It is not asked any more: open questions no longer count.
    pub fn end(&mut self, memory: &mut Memory) {
        self.peers.iter_mut().for_each(|(peer, one)| one.close(peer, memory));
        self.peers.clear();
    }

    fn note(&mut self, event: Event, now_ms: u64, memory: &mut Memory) {
        match event {
            Event::Met { peers } => peers.into_iter().for_each(|one| self.note_met(one, now_ms)),
            Event::Gone { peer } => {
                if let Some(mut one) = self.peers.remove(&peer) {
                    one.close(&peer, memory);
                }
            }
            Event::Answered { peer, answer } => self.note_answer(peer, answer, now_ms, memory),
            Event::Wanting => {
                // While fewer have it, everybody is asked as it is.
                if self.peers.values().filter(|one| one.has).count() >= self.enough {
                    self.enough = self.enough.saturating_add(AT_ONCE);
                }
            }
            Event::Tick => {}
        }
    }

    fn note_met(&mut self, Candidate { peer, neighbourhood, likely }: Candidate, now_ms: u64) {
        if let Some(one) = self.peers.get_mut(&peer) {
            one.neighbourhood = neighbourhood;
            if likely && !std::mem::replace(&mut one.likely, likely) && matches!(one.state, State::Waiting { .. }) {
                // What it says now is news: it is as if it had not been asked.
                (one.asked, one.state) = (0, State::Waiting { at_ms: now_ms });
            }
            return;
        }
        if self.peers.len() >= PEERS_MAX && !(likely && self.make_room()) {
            return;
        }
        let state = State::Waiting { at_ms: now_ms };
        let lot = self.rng.next_u64();
        self.peers.insert(peer, Peer { neighbourhood, likely, lot, asked: 0, has: false, state });
    }

    /// Forgets a peer that is not likely and owes nothing.
    fn make_room(&mut self) -> bool {
        let waits = |one: &Peer| !one.likely && !one.has && matches!(one.state, State::Waiting { .. });
        let waiting = self.peers.iter().filter(|(_, one)| waits(one));
        let first = waiting.max_by_key(|(_, one)| (one.asked, one.lot)).map(|(peer, _)| *peer);
        first.is_some_and(|peer| self.peers.remove(&peer).is_some())
    }

    fn note_answer(&mut self, peer: PeerId, answer: Answer, now_ms: u64, memory: &mut Memory) {
        let Some(one) = self.peers.get_mut(&peer) else { return };
        if one.state == State::Settled && !one.has {
            // It broke a rule before.
            return;
        }
        let in_time = one.is_fresh();
        one.close(&peer, memory);
        one.has = matches!(answer, Answer::Has | Answer::HasSome);
        match answer {
            Answer::Has => one.state = State::Settled,
            Answer::HasSome => one.state = State::Waiting { at_ms: now_ms + AGAIN_MS },
            Answer::Lacks => {
                // Whoever says so when nobody waits any more has been silent all the same.
                if in_time {
                    memory.delivered(&peer);
                }
                one.wait(now_ms);
            }
            Answer::Nothing => {
                memory.led_nowhere(peer, now_ms);
                one.wait(now_ms);
            }
            Answer::Wrong => {
                memory.broke_a_rule(peer, now_ms);
                one.state = State::Settled;
            }
        }
    }

    fn note_late(&mut self, now_ms: u64, memory: &mut Memory, actions: &mut Vec<Action>) {
        for (peer, one) in &mut self.peers {
            let State::Open { since_ms, late } = &mut one.state else { continue };
            if now_ms < *since_ms + HEDGE_MS {
                continue;
            }
            let over = now_ms >= *since_ms + ANSWER_MS;
            if over || !std::mem::replace(late, true) {
                memory.led_nowhere(*peer, now_ms);
            }
            if over {
                one.close(peer, memory);
                one.wait(now_ms);
                actions.push(Action::GiveUp { peer: *peer });
            }
        }
    }

    /// Whom to ask now, if anybody. // I15
    fn next(&self, now_ms: u64, memory: &Memory) -> Option<PeerId> {
        let (mut fresh, mut has, mut asked_of) = (0, 0, BTreeMap::<u64, u64>::new());
        for one in self.peers.values() {
            fresh += usize::from(one.is_fresh());
            has += usize::from(one.has);
            *asked_of.entry(one.neighbourhood).or_default() += u64::from(one.asked);
        }
        if fresh >= AT_ONCE || has >= self.enough {
            return None;
        }
        let likely_first = self.questions % UNLIKELY_TURN != UNLIKELY_TURN - 1;
        let able = self.peers.iter().filter(|(peer, one)| one.is_due(now_ms) && memory.has_room(peer));
        let order = |(peer, one): &(&PeerId, &Peer)| {
            let rests = memory.is_resting(peer, now_ms);
            (one.asked, rests, one.likely != likely_first, asked_of.get(&one.neighbourhood).copied(), one.lot)
        };
        able.min_by_key(order).map(|(peer, _)| *peer)
    }
}
