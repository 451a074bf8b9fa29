//! The machine itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p_identity::PeerId;

use super::abandoned::AbandonedRequests;
use super::copies::Copies;
use super::open_shards::{OpenShards, Position};
use super::peer::{InFlight, Peer};
use super::{Action, Event, RequestId};
use crate::shard::ShardRow;
use crate::splitmix::SplitMix64;

/// While pieces come, helping is looked at so often.
const HELP_EVERY_MS: u64 = 100;

/// A transfer of some shards from any number of providers.
#[derive(Clone, Debug)]
pub struct Fetch {
    pub(super) wants: Vec<ShardRow>,
    pub(super) arrived: Vec<bool>,
    /// Requests on their way for each shard.
    pub(super) live: Vec<u8>,
    /// How many have not arrived, and their bytes.
    pub(super) missing: usize,
    pub(super) missing_bytes: u64,
    pub(super) open_shards: OpenShards,
    /// Ordered, so that one seed has one trace.
    pub(super) peers: BTreeMap<PeerId, Peer>,
    /// Peers that sent wrong bytes, the oldest first.
    pub(super) wrong: VecDeque<PeerId>,
    pub(super) abandoned: AbandonedRequests,
    pub(super) copies: Copies,
    /// Providers that have stood still since the last shard arrived.
    pub(super) stalled: usize,
    pub(super) rng: SplitMix64,
    next_request: u64,
    helped_ms: u64,
    done: bool,
}

impl Fetch {
    /// Wants these shards; one that occurs twice is fetched once. The seed makes the choices between equals.
    pub fn new(wants: impl IntoIterator<Item = ShardRow>, seed: u64) -> Self {
        let mut seen = BTreeSet::new();
        let wants: Vec<_> = wants.into_iter().filter(|row| seen.insert(row.id)).collect();
        let mut rng = SplitMix64::new(seed);
        let missing_bytes = wants.iter().map(|row| u64::from(row.len)).sum();
        Self {
            arrived: vec![false; wants.len()],
            live: vec![0; wants.len()],
            missing: wants.len(),
            missing_bytes,
            open_shards: OpenShards::new(wants.len(), rng.next_u64()),
            peers: BTreeMap::new(),
            wrong: VecDeque::new(),
            abandoned: AbandonedRequests::default(),
            copies: Copies::new(wants.iter().map(|row| row.len)),
            stalled: 0,
            rng,
            next_request: 0,
            helped_ms: 0,
            done: false,
            wants,
        }
    }

    /// What is fetched, each shard once: the order of [`Holdings::These`](super::Holdings::These).
    pub fn wants(&self) -> &[ShardRow] {
        &self.wants
    }

    /// The shards that have not arrived.
    pub fn missing(&self) -> impl Iterator<Item = &ShardRow> {
        self.wants.iter().zip(&self.arrived).filter(|(_, arrived)| !**arrived).map(|(row, _)| row)
    }

    /// Shards and bytes that have not arrived.
    pub fn missing_count(&self) -> (usize, u64) {
        (self.missing, self.missing_bytes)
    }

    /// Whether every wanted shard has arrived.
    pub fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// Bytes that came, as far as is known, of shards that had come or then came from elsewhere.
    pub fn wasted_bytes(&self) -> u64 {
        self.copies.wasted
    }

    /// Takes an event at a time (milliseconds of any clock that does not go back) and says what to do.
    pub fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let is_piece = matches!(event, Event::Progress { .. });
        self.note(event, now_ms, &mut actions);
        if self.done {
            return Vec::new();
        }
        if self.missing > 0 {
            self.reset_stalled(now_ms, &mut actions);
            self.give_out(now_ms, &mut actions);
            // Pieces are many and change little; somebody who sends nothing else must not stop all help.
            if !is_piece || now_ms >= self.helped_ms + HELP_EVERY_MS {
                self.helped_ms = now_ms;
                self.help(now_ms, &mut actions);
            }
        } else {
            self.done = true;
            actions.push(Action::Done);
        }
        actions
    }

    /// When [`Event::Tick`] is wanted next if nothing else happens; `None` if time alone changes nothing.
    pub fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        if self.is_done() {
            return None;
        }
        let stalls = self.peers.values().filter_map(Peer::stalls_at_ms);
        let pauses = self.peers.values().filter_map(|peer| peer.resumes_at_ms(now_ms));
        let sooner = stalls.chain(pauses).filter(|at| *at > now_ms).min();
        // What falls overdue may be asked from somebody who has nothing to do.
        let helper = self.peers.values().any(|peer| peer.is_idle() && peer.has_room(now_ms));
        let in_flight = self.peers.values().filter(|_| helper).flat_map(Peer::in_flight);
        let overdue = in_flight.map(InFlight::overdue_ms).filter(|at| *at > now_ms).min();
        sooner.into_iter().chain(overdue).min()
    }

    fn reset_stalled(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let stalled =
            |(peer, state): (&PeerId, &Peer)| state.stalls_at_ms().is_some_and(|at| now_ms >= at).then_some(*peer);
        let stalled: Vec<PeerId> = self.peers.iter().filter_map(stalled).collect();
        for peer in stalled {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            let in_flight = state.take_in_flight();
            state.note_stall(now_ms, &mut self.rng);
            self.stalled += 1;
            self.abandon(peer, in_flight);
            actions.push(Action::Reset { peer });
        }
    }

    /// Gives open shards out: each time to the provider that would be done first. // I15
    fn give_out(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let mut able: Vec<PeerId> = self.peers.keys().copied().collect();
        loop {
            // Providers that have nothing to give or no room are out until the next event.
            able.retain(|peer| self.next_open(peer, now_ms).is_some());
            let due = |peer: &PeerId| {
                let (position, state) = (self.next_open(peer, now_ms)?, self.peers.get(peer)?);
                Some((state.due_ms(self.wants[position.index].len, now_ms), state.luck, *peer, position.index))
            };
            let Some((_, _, peer, index)) = able.iter().filter_map(due).min() else { return };
            self.open_shards.close(index);
            self.ask(peer, index, now_ms, actions);
            self.advance_cursors();
        }
    }

    /// The first open shard that a provider with room has.
    fn next_open(&self, peer: &PeerId, now_ms: u64) -> Option<Position> {
        let state = self.peers.get(peer)?;
        if !state.has_room(now_ms) {
            return None;
        }
        self.open_shards.next(state.cursor, |index| state.has(index))
    }

    /// Keeps looking for a provider's next shard cheap: what lies before its cursor is not looked at again.
    fn advance_cursors(&mut self) {
        for state in self.peers.values_mut() {
            state.cursor = self.open_shards.next(state.cursor, |index| state.has(index)).unwrap_or(Position::END);
        }
    }

    pub(super) fn ask(&mut self, peer: PeerId, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let shard = self.wants[index];
        if let Some(state) = self.peers.get_mut(&peer) {
            state.ask(request, index, shard.len, self.live[index] > 0, now_ms);
            self.live[index] += 1;
            actions.push(Action::Ask { peer, request, shard });
        }
    }
}
