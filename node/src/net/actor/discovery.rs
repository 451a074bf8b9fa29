//! The swarm's part of discovery: commands, and whom to dial. What concerns the DHT stands in `pointers`.

use std::hash::{BuildHasher, RandomState};

use libp2p::kad::ProviderRecord;
use libp2p::kad::store::RecordStore;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};
use potluck_protocol::limits::PROVIDERS_MAX;
use tokio::time::{Duration, Instant};

use super::{Actor, answer};
use crate::net::discovery::{Ask, Named, Why, limits};

impl Actor<'_> {
    /// A new swarm: who was here before is dialled, and what we said that we provide we provide still.
    pub(super) fn begin_discovery(&mut self) {
        let discovery = &mut self.state.discovery;
        discovery.queries.clear();
        discovery.dials.all_lost();
        let local = *self.swarm.local_peer_id();
        if let Some(dht) = self.swarm.behaviour_mut().dht.as_mut() {
            for key in &discovery.own {
                // It had room for them before.
                let _ = dht.kad().store_mut().add_provider(ProviderRecord::new(key.record(), local, Vec::new()));
            }
        }
        self.hint_remembered();
    }

    /// Whoever was here when this node last ran.
    pub(super) fn hint_remembered(&mut self) {
        let now_ms = self.state.now_ms();
        for (peer, addresses) in &self.state.config.remembered {
            self.state.discovery.dials.hint(*peer, addresses, Why::Named, now_ms);
        }
        self.dial_hints();
    }

    pub(super) fn handle_discovery(&mut self, ask: Ask) {
        match ask {
            Ask::Provide(key, back) => self.provide(key, back),
            Ask::Unprovide(keys) => self.stop_providing(&keys),
            Ask::Providers(key, back) => self.find_providers(key, back),
            Ask::Share(asker, back) => answer(back, self.peers_for(asker)),
            Ask::AddressesFor(asker, peers, back) => {
                answer(back, placed(peers, |peer| self.addresses_for(&asker, peer)).collect());
            }
            Ask::FilterBelieved(from, peers, back) => answer(back, self.filter_believed(&from, peers)),
            Ask::Hint(from, peers) => self.hint(from, peers),
            Ask::FollowedBases(back) => answer(back, self.state.bases.clone()),
            #[cfg(test)]
            Ask::Nearby(found) => self.found_nearby(found),
            #[cfg(test)]
            Ask::Records(back) => {
                let dht = self.swarm.behaviour_mut().dht.as_mut();
                answer(back, dht.map_or((0, 0), |dht| (dht.records().len(), dht.records().provided().count())));
            }
        }
    }

    fn peers_for(&self, asker: PeerId) -> Vec<Named> {
        let fresh = |at: &Instant| at.elapsed() <= limits::LATELY_AGE;
        let lately = self.state.discovery.lately.iter().filter(|(_, at)| fresh(at)).map(|(peer, _)| *peer);
        // Others each time, so that whoever asks again learns more.
        let lot = RandomState::new();
        let mut here = self.state.peers.identified_peers();
        here.sort_by_key(|peer| lot.hash_one(peer));
        let named =
            here.into_iter().chain(lately).filter(|peer| *peer != asker || self.state.peers.is_in_two_places(peer));
        placed(named, |peer| self.addresses_for(&asker, peer)).take(PROVIDERS_MAX).collect()
    }

    /// Nobody who is not connected is told anything.
    fn addresses_for(&self, asker: &PeerId, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(reach) = self.state.peers.reach(asker) else { return Vec::new() };
        let addresses = self.state.peers.addresses(peer).into_iter().filter(|address| reach.includes(address));
        addresses.take(limits::HINT_ADDRESSES).collect()
    }

    /// Nobody who is not connected is believed anything.
    fn filter_believed(&self, from: &PeerId, mut peers: Vec<Named>) -> Vec<Named> {
        let Some(reach) = self.state.peers.reach(from) else { return Vec::new() };
        peers.iter_mut().for_each(|(_, addresses)| addresses.retain(|address| reach.includes(address)));
        peers.retain(|(_, addresses)| !addresses.is_empty());
        peers
    }

    fn hint(&mut self, from: PeerId, peers: Vec<Named>) {
        let (local, now_ms) = (*self.swarm.local_peer_id(), self.state.now_ms());
        for (peer, addresses) in self.filter_believed(&from, peers).into_iter().take(PROVIDERS_MAX) {
            if peer == local {
                self.look_for_twin(addresses);
            } else if !self.swarm.is_connected(&peer) {
                self.state.discovery.dials.hint(peer, &addresses, Why::Named, now_ms);
            }
        }
        self.dial_hints();
    }

    /// Multicast DNS is not authenticated: a hint of where to dial, and nothing more. Both sides find each other at
    /// once, and two dials that cross (the ports are reused) are one TCP connection without a listener, which fails on
    /// both sides: so the smaller id dials, and the larger one only if that has led to nothing.
    pub(super) fn found_nearby(&mut self, found: Vec<Named>) {
        let (local, now_ms) = (*self.swarm.local_peer_id(), self.state.now_ms());
        for (peer, addresses) in found.into_iter().filter(|(peer, _)| *peer != local) {
            let wait = if local < peer { Duration::ZERO } else { limits::SECOND_DIALLER };
            let dials = &mut self.state.discovery.dials;
            dials.hint(peer, &addresses, Why::Nearby, now_ms + wait.as_millis() as u64);
            if self.swarm.is_connected(&peer) {
                dials.met(&peer);
            }
        }
        self.dial_hints();
    }

    pub(super) fn gone_from_nearby(&mut self, gone: Vec<Named>) {
        for (peer, _) in gone {
            self.state.discovery.dials.forget(&peer);
        }
    }

    /// Dials whoever is to be dialled now.
    pub(super) fn dial_hints(&mut self) {
        let (room, now_ms) = (self.room(), self.state.now_ms());
        for (peer, addresses) in self.state.discovery.dials.due(room, now_ms) {
            let opts = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing);
            if let Err(error) = self.swarm.dial(opts.addresses(addresses).build()) {
                self.dial_failed(peer, &error);
            }
        }
        self.set_wake();
    }

    /// When to look at the hints again.
    pub(super) fn hints_wake(&self) -> Option<Instant> {
        self.state.discovery.wake
    }

    /// After every change of the hints or of who is here: asked in each turn of the loop, so not computed there.
    pub(super) fn set_wake(&mut self) {
        let at_ms = self.state.discovery.dials.wake_at_ms(self.room(), self.state.now_ms());
        self.state.discovery.wake = at_ms.map(|at_ms| self.state.started + Duration::from_millis(at_ms));
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId, error: &DialError) {
        let (now_ms, dials) = (self.state.now_ms(), &mut self.state.discovery.dials);
        match error {
            DialError::DialPeerConditionFalse(_) if self.swarm.is_connected(&peer) => dials.met(&peer),
            DialError::DialPeerConditionFalse(_) => dials.busy(&peer, now_ms),
            DialError::Transport(errors) => {
                let addresses: Vec<Multiaddr> = errors.iter().map(|(address, _)| address.clone()).collect();
                dials.failed(&peer, &addresses, now_ms);
            }
            DialError::WrongPeerId { address, .. } => dials.failed(&peer, std::slice::from_ref(address), now_ms),
            _ => dials.failed(&peer, &[], now_ms),
        }
        self.set_wake();
    }

    /// The last connection to a peer is gone.
    pub(super) fn lost(&mut self, peer: PeerId, identified: bool) {
        let now_ms = self.state.now_ms();
        let discovery = &mut self.state.discovery;
        discovery.dials.lost(&peer, now_ms);
        if identified {
            discovery.lately.retain(|(one, _)| *one != peer);
            discovery.lately.push_back((peer, Instant::now()));
            if discovery.lately.len() > limits::LATELY {
                discovery.lately.pop_front();
            }
        }
        self.set_wake();
    }

    /// Peers that are wanting.
    fn room(&self) -> usize {
        self.state.config.target.saturating_sub(self.state.peers.identified_count())
    }
}

/// These peers with their addresses, as far as they have any.
pub(super) fn placed(
    peers: impl IntoIterator<Item = PeerId>,
    addresses: impl Fn(&PeerId) -> Vec<Multiaddr>,
) -> impl Iterator<Item = Named> {
    let placed = peers.into_iter().map(move |peer| (peer, addresses(&peer)));
    placed.filter(|(_, addresses)| !addresses.is_empty())
}
