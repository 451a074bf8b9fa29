//! The machine itself.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;

use super::peer::{Owed, Peer};
use super::{Action, Event, RequestId};
use crate::shard::ShardRow;

/// A transfer of some shards from any number of providers.
#[derive(Clone, Debug)]
pub struct Fetch {
    wants: Vec<ShardRow>,
    /// Wanted, not here, and asked from nobody.
    open: BTreeSet<usize>,
    /// How many have not arrived, and their bytes.
    missing: usize,
    missing_bytes: u64,
    arrived: Vec<bool>,
    /// Ordered, so that one seed has one trace.
    peers: BTreeMap<PeerId, Peer>,
    /// Peers that sent wrong bytes.
    wrong: BTreeSet<PeerId>,
    next_request: u64,
    done: bool,
}

impl Fetch {
    /// Wants these shards; one that occurs twice is fetched once.
    pub fn new(wants: impl IntoIterator<Item = ShardRow>) -> Self {
        let mut seen = BTreeSet::new();
        let wants: Vec<_> = wants.into_iter().filter(|row| seen.insert(row.id)).collect();
        Self {
            open: (0..wants.len()).collect(),
            missing: wants.len(),
            missing_bytes: wants.iter().map(|row| u64::from(row.len)).sum(),
            arrived: vec![false; wants.len()],
            wants,
            peers: BTreeMap::new(),
            wrong: BTreeSet::new(),
            next_request: 0,
            done: false,
        }
    }

    /// What is fetched, each shard once: the order of [`super::Holdings::These`].
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

    pub fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// Takes an event at a time (milliseconds of any clock that does not go back) and says what to do.
    pub fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.note(event, now_ms, &mut actions);
        self.reset_stalled(now_ms, &mut actions);
        self.give_out(now_ms, &mut actions);
        self.double_up(now_ms, &mut actions);
        if self.missing == 0 && !self.done {
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
        // A shard that falls overdue may be asked from another one.
        let overdue = self.peers.values().flat_map(Peer::owed).map(Owed::overdue_ms);
        stalls.chain(pauses).chain(overdue).filter(|at| *at > now_ms).min()
    }

    fn note(&mut self, event: Event, now_ms: u64, actions: &mut Vec<Action>) {
        match event {
            Event::Found { peer, holdings } if !self.wrong.contains(&peer) => match self.peers.get_mut(&peer) {
                Some(known) => known.set_holdings(holdings),
                None => drop(self.peers.insert(peer, Peer::new(holdings))),
            },
            Event::Progress { peer } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.progress(now_ms);
                }
            }
            Event::Arrived { peer, request } => self.note_arrived(peer, request, now_ms),
            Event::Wrong { peer } => {
                self.forget(&peer);
                if self.wrong.insert(peer) {
                    actions.push(Action::Drop { peer });
                }
            }
            Event::NotFound { peer, request } => {
                if let Some(owed) = self.settle(&peer, request) {
                    let wanted = self.wants.len();
                    self.peers.entry(peer).and_modify(|peer| peer.lacks(owed.index, wanted));
                }
            }
            Event::Busy { peer, request, retry_ms } => {
                self.settle(&peer, request);
                self.peers.entry(peer).and_modify(|peer| peer.refused(now_ms, retry_ms));
            }
            Event::Lost { peer } => self.forget(&peer),
            Event::Found { .. } | Event::Tick => {}
        }
    }

    fn note_arrived(&mut self, peer: PeerId, request: RequestId, now_ms: u64) {
        let Some(provider) = self.peers.get_mut(&peer) else { return };
        // Of a request that was given up meanwhile nothing is known any more.
        let Some(owed) = provider.delivered(request, now_ms) else { return };
        if !self.arrived[owed.index] {
            self.arrived[owed.index] = true;
            self.missing -= 1;
            self.missing_bytes -= u64::from(owed.len);
            self.open.remove(&owed.index);
        }
    }

    fn settle(&mut self, peer: &PeerId, request: RequestId) -> Option<Owed> {
        let owed = self.peers.get_mut(peer)?.settle(request)?;
        self.reopen(&owed);
        Some(owed)
    }

    fn forget(&mut self, peer: &PeerId) {
        if let Some(mut peer) = self.peers.remove(peer) {
            peer.forget_owed().iter().for_each(|owed| self.reopen(owed));
        }
    }

    /// Gives a shard back to be given out again, unless it has arrived or somebody else owes it too.
    fn reopen(&mut self, owed: &Owed) {
        if self.arrived[owed.index] || self.peers.values().any(|peer| peer.owes(owed.index)) {
            return;
        }
        self.open.insert(owed.index);
        for peer in self.peers.values_mut() {
            peer.cursor = peer.cursor.min(owed.index);
        }
    }

    fn reset_stalled(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let stalled =
            |(peer, state): (&PeerId, &Peer)| state.stalls_at_ms().is_some_and(|at| now_ms >= at).then_some(*peer);
        let stalled: Vec<PeerId> = self.peers.iter().filter_map(stalled).collect();
        for peer in stalled {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            let owed = state.forget_owed();
            state.stalled(now_ms);
            owed.iter().for_each(|owed| self.reopen(owed));
            actions.push(Action::Reset { peer });
        }
    }

    /// Gives open shards out: each time to the provider that would be done first.
    fn give_out(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let mut able: Vec<PeerId> = self.peers.keys().copied().collect();
        loop {
            // Providers that have nothing to give or no room are out until the next event.
            able.retain(|peer| self.next_open(peer, now_ms).is_some());
            let due = |peer: &PeerId| {
                let (index, state) = (self.next_open(peer, now_ms)?, self.peers.get(peer)?);
                Some((state.due_ms(self.wants[index].len, now_ms), *peer, index))
            };
            let Some((_, peer, index)) = able.iter().filter_map(due).min() else { return };
            self.open.remove(&index);
            self.ask(peer, index, now_ms, actions);
            self.advance_cursors();
        }
    }

    /// The first open shard that a provider with room has.
    fn next_open(&self, peer: &PeerId, now_ms: u64) -> Option<usize> {
        let state = self.peers.get(peer)?;
        if !state.has_room(now_ms) {
            return None;
        }
        self.open.range(state.cursor..).copied().find(|index| state.has(*index))
    }

    /// Keeps looking for a provider's next shard cheap: what lies before its cursor is not looked at again.
    fn advance_cursors(&mut self) {
        for state in self.peers.values_mut() {
            let next = self.open.range(state.cursor..).copied().find(|index| state.has(*index));
            state.cursor = next.unwrap_or(self.wants.len());
        }
    }

    /// Lets providers that have nothing to do ask for what others owe and would deliver later, or are late with. // I15
    fn double_up(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let idle = |(_, state): &(&PeerId, &Peer)| state.is_idle() && state.has_room(now_ms);
        let idle: Vec<PeerId> = self.peers.iter().filter(idle).map(|(peer, _)| *peer).collect();
        for peer in idle {
            if let Some(index) = self.worth_doubling(&peer, now_ms) {
                self.ask(peer, index, now_ms, actions);
            }
        }
    }

    /// The shard owed by others that would gain most.
    fn worth_doubling(&self, peer: &PeerId, now_ms: u64) -> Option<usize> {
        let state = self.peers.get(peer)?;
        let mut best_due = BTreeMap::new();
        for owed in self.peers.values().flat_map(Peer::owed).filter(|owed| !self.arrived[owed.index]) {
            let due = if now_ms >= owed.overdue_ms() { u64::MAX } else { owed.due_ms };
            let best = best_due.entry(owed.index).or_insert(due);
            *best = due.min(*best);
        }
        // Only what would be here in half the time: speeds are estimates, and every second copy is waste.
        let gains = |(index, due): (&usize, &u64)| {
            let ours_ms = state.due_ms(self.wants[*index].len, now_ms) - now_ms;
            let theirs_ms = due.saturating_sub(now_ms);
            let worth = theirs_ms > 2 * ours_ms && state.has(*index);
            worth.then_some((theirs_ms - ours_ms, std::cmp::Reverse(*index)))
        };
        best_due.iter().filter_map(gains).max().map(|(_, index)| index.0)
    }

    fn ask(&mut self, peer: PeerId, index: usize, now_ms: u64, actions: &mut Vec<Action>) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let shard = self.wants[index];
        if let Some(state) = self.peers.get_mut(&peer) {
            state.ask(request, index, shard.len, now_ms);
            actions.push(Action::Ask { peer, request, shard });
        }
    }
}
