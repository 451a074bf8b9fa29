//! What the machine makes of what happened.

use libp2p_identity::PeerId;

use super::abandoned::Abandoned;
use super::machine::Fetch;
use super::open_shards::Position;
use super::peer::{InFlight, Peer};
use super::{Action, Event, Holdings, RequestId};

/// Peers that sent wrong bytes and are remembered: each can cost one shard again when it is forgotten. // I12
const WRONG_MAX: usize = 1024;

impl Fetch {
    pub(super) fn note(&mut self, event: Event, now_ms: u64, actions: &mut Vec<Action>) {
        match event {
            Event::Found { peer, holdings } => self.note_found(peer, holdings, now_ms, actions),
            Event::Progress { peer, request, bytes } => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.note_progress(request, bytes, now_ms);
                }
            }
            Event::Arrived { peer, request } => self.note_arrived(peer, request, now_ms, actions),
            Event::Wrong { peer } => self.note_wrong(peer, actions),
            Event::NotFound { peer, request } => self.note_not_found(&peer, request, now_ms),
            Event::Busy { peer, request, retry_ms } => {
                if self.settle(&peer, request).is_some()
                    && let Some(state) = self.peers.get_mut(&peer)
                {
                    state.note_refusal(retry_ms, now_ms, &mut self.rng);
                }
            }
            Event::Lost { peer } => self.forget(&peer),
            Event::Tick => {}
        }
    }

    fn note_found(&mut self, peer: PeerId, holdings: Holdings, now_ms: u64, actions: &mut Vec<Action>) {
        if self.wrong.contains(&peer) {
            return;
        }
        let holdings = self.bounded(holdings);
        if let Some(known) = self.peers.get_mut(&peer) {
            let before = known.set_holdings(holdings);
            let first = self.open_shards.recount(Some(&before), Some(known.holdings()));
            self.lower_cursors(first);
        } else if self.is_of_use(&holdings) && self.make_place(now_ms, actions) {
            let first = self.open_shards.recount(None, Some(&holdings));
            self.lower_cursors(first);
            self.peers.insert(peer, Peer::new(holdings, self.rng.next_u64(), now_ms));
        } else {
            actions.push(Action::Release { peer });
        }
    }

    /// One flag for each shard, and who has all of them is no partial provider.
    fn bounded(&self, holdings: Holdings) -> Holdings {
        match holdings {
            Holdings::These(mut flags) => {
                flags.resize(self.wants.len(), false);
                if flags.iter().all(|flag| *flag) { Holdings::All } else { Holdings::These(flags) }
            }
            Holdings::All => Holdings::All,
        }
    }

    fn note_arrived(&mut self, peer: PeerId, request: RequestId, now_ms: u64, actions: &mut Vec<Action>) {
        let in_flight = self.peers.get_mut(&peer).and_then(|provider| provider.complete(request, now_ms));
        let index = if let Some(in_flight) = in_flight {
            self.live[in_flight.index] -= 1;
            in_flight.index
        } else if let Some(late) = self.abandoned.take(&peer, request) {
            if let Some(provider) = self.peers.get_mut(&peer) {
                provider.excuse(now_ms);
            }
            if self.arrived[late.index] {
                self.copies.wasted += u64::from(self.wants[late.index].len) - late.wasted;
                return;
            }
            late.index
        } else {
            return;
        };
        self.arrived[index] = true;
        self.stalled = 0;
        self.missing -= 1;
        self.missing_bytes -= u64::from(self.wants[index].len);
        self.open_shards.close(index);
        self.cancel_others(index, actions);
    }

    /// The shard is here: nobody else needs to send it.
    fn cancel_others(&mut self, index: usize, actions: &mut Vec<Action>) {
        if self.live[index] == 0 {
            return;
        }
        for (peer, state) in &mut self.peers {
            let Some(request) =
                state.in_flight().find(|in_flight| in_flight.index == index).map(|in_flight| in_flight.request)
            else {
                continue;
            };
            let Some((_, came)) = state.settle(request) else { continue };
            self.live[index] -= 1;
            self.copies.wasted += came;
            self.abandoned.remember(Abandoned { peer: *peer, request, index, wasted: came });
            actions.push(Action::Cancel { peer: *peer, request });
        }
    }

    fn note_wrong(&mut self, peer: PeerId, actions: &mut Vec<Action>) {
        self.forget(&peer);
        if self.wrong.contains(&peer) {
            return;
        }
        if self.wrong.len() == WRONG_MAX {
            self.wrong.pop_front();
        }
        self.wrong.push_back(peer);
        actions.push(Action::Drop { peer });
    }

    fn note_not_found(&mut self, peer: &PeerId, request: RequestId, now_ms: u64) {
        let Some(in_flight) = self.settle(peer, request) else { return };
        let Some(state) = self.peers.get_mut(peer) else { return };
        let had = state.has(in_flight.index);
        let first = match state.note_missing(in_flight.index, self.wants.len(), now_ms, &mut self.rng) {
            Some(before) => self.open_shards.recount(Some(&before), Some(state.holdings())),
            None if had => self.open_shards.drop_holder(in_flight.index),
            None => Position::END,
        };
        self.lower_cursors(first);
    }

    /// The request was answered with less than the shard.
    fn settle(&mut self, peer: &PeerId, request: RequestId) -> Option<InFlight> {
        let (in_flight, _) = self.peers.get_mut(peer)?.settle(request)?;
        self.reopen(&in_flight);
        Some(in_flight)
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        if let Some(mut state) = self.peers.remove(peer) {
            let first = self.open_shards.recount(Some(state.holdings()), None);
            self.lower_cursors(first);
            self.abandon(*peer, state.take_in_flight());
        }
    }

    /// Asks others, and remembers: what has arrived and not been told yet counts.
    pub(super) fn abandon(&mut self, peer: PeerId, requests: Vec<InFlight>) {
        for in_flight in requests {
            self.reopen(&in_flight);
            self.remember(peer, &in_flight);
        }
    }

    /// A request ended without its shard, which is given out again unless it has arrived or somebody else owes it too.
    fn reopen(&mut self, in_flight: &InFlight) {
        let index = in_flight.index;
        self.live[index] -= 1;
        if self.arrived[index] || self.live[index] > 0 {
            return;
        }
        let position = self.open_shards.reopen(index);
        for state in self.peers.values_mut().filter(|state| state.has(index)) {
            state.cursor = state.cursor.min(position);
        }
    }

    fn lower_cursors(&mut self, first: Position) {
        self.peers.values_mut().for_each(|state| state.cursor = state.cursor.min(first));
    }

    pub(super) fn remember(&mut self, peer: PeerId, in_flight: &InFlight) {
        self.abandoned.remember(Abandoned { peer, request: in_flight.request, index: in_flight.index, wasted: 0 });
    }
}
