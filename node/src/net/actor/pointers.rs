//! The swarm's part of the DHT: what is asked of it, what others say that they provide, and who answers for it.

use std::collections::{BTreeSet, HashSet};

use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, GetProvidersOk, InboundRequest, ProviderRecord, QueryId, QueryResult};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{PeerId, identify};
use tokio::sync::oneshot;

use super::{Actor, answer};
use crate::addresses::{AddressGroup, AddressScope};
use crate::net::discovery::{FindError, Key, Query, limits, protocol};
use crate::net::handle::Event;

impl Actor<'_> {
    pub(super) fn kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                self.heard_provider(record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) = &result {
                    self.found_providers(id, providers);
                }
                if step.last {
                    self.query_ended(id, &result);
                }
            }
            kad::Event::RoutingUpdated { peer, is_new_peer: true, .. } => self.state.emit(Event::Routed(peer)),
            kad::Event::ModeChanged { new_mode } => tracing::info!(%new_mode, "the part taken in the DHT changed"),
            _ => {}
        }
    }

    pub(super) fn provide(&mut self, key: Key, back: oneshot::Sender<Result<(), FindError>>) {
        let full = self.state.discovery.queries.len() >= limits::QUERIES;
        let local = *self.swarm.local_peer_id();
        let Some(dht) = self.swarm.behaviour_mut().dht.as_mut() else { return answer(back, Err(FindError::Off)) };
        let own = ProviderRecord::new(key.record(), local, Vec::new());
        if dht.kad().store_mut().add_provider(own).is_err() {
            return answer(back, Err(FindError::Full { max: limits::PROVIDED }));
        }
        // Whoever asks us finds it from now on, whether or not others can be told yet.
        self.state.discovery.own.insert(key);
        if full {
            return answer(back, Err(FindError::Busy));
        }
        if dht.known_peers() == 0 {
            return answer(back, Err(FindError::Alone));
        }
        match dht.kad().start_providing(key.record()) {
            Ok(id) => drop(self.state.discovery.queries.insert(id, Query::Provide(back))),
            Err(_) => answer(back, Err(FindError::Full { max: limits::PROVIDED })),
        }
    }

    pub(super) fn stop_providing(&mut self, keys: &[Key]) {
        for key in keys {
            self.state.discovery.own.remove(key);
            if let Some(dht) = self.swarm.behaviour_mut().dht.as_mut() {
                dht.kad().stop_providing(&key.record());
            }
        }
    }

    pub(super) fn find_providers(&mut self, key: Key, back: oneshot::Sender<Result<Vec<PeerId>, FindError>>) {
        let full = self.state.discovery.queries.len() >= limits::QUERIES;
        let Some(dht) = self.swarm.behaviour_mut().dht.as_mut() else { return answer(back, Err(FindError::Off)) };
        if full {
            return answer(back, Err(FindError::Busy));
        }
        let id = dht.kad().get_providers(key.record());
        self.state.discovery.queries.insert(id, Query::Providers { found: BTreeSet::new(), back });
    }

    /// They are dialled at once, for only while the question runs does the behaviour know where they are.
    fn found_providers(&mut self, id: QueryId, providers: &HashSet<PeerId>) {
        let local = *self.swarm.local_peer_id();
        let Some(Query::Providers { found, .. }) = self.state.discovery.queries.get_mut(&id) else { return };
        let mut new = Vec::new();
        for peer in providers.iter().filter(|peer| **peer != local) {
            if found.len() < limits::PROVIDERS && found.insert(*peer) {
                new.push(*peer);
            }
        }
        let enough = found.len() >= limits::PROVIDERS;
        for peer in new {
            let opts = DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing);
            if let Err(error) = self.swarm.dial(opts.build()) {
                tracing::debug!(%peer, %error, "a provider is not dialled");
            }
        }
        let dht = self.swarm.behaviour_mut().dht.as_mut();
        if let Some(mut query) = dht.filter(|_| enough).and_then(|dht| dht.kad().query_mut(&id)) {
            query.finish();
        }
    }

    fn query_ended(&mut self, id: QueryId, result: &QueryResult) {
        match (self.state.discovery.queries.remove(&id), result) {
            (Some(Query::Provide(back)), QueryResult::StartProviding(Err(_))) => answer(back, Err(FindError::Timeout)),
            (Some(Query::Provide(back)), _) => answer(back, Ok(())),
            (Some(Query::Providers { found, back }), _) => answer(back, Ok(found.into_iter().collect())),
            // The routing table's own.
            (None, _) => {}
        }
    }

    /// A peer says that it provides something. Kept with addresses at which others may find it.
    fn heard_provider(&mut self, mut record: ProviderRecord) {
        let peer = record.provider;
        let Some(remote) = self.state.peers.remote(&peer).cloned() else { return };
        let Some(dht) = self.swarm.behaviour_mut().dht.as_mut() else { return };
        let nearest = dht.nearest(AddressScope::of(&remote).unwrap_or(AddressScope::World));
        record.addresses.extend(self.state.peers.addresses(&peer));
        record.addresses.retain(|address| nearest.includes(address));
        record.addresses.truncate(limits::HINT_ADDRESSES);
        if record.addresses.is_empty() {
            tracing::debug!(%peer, "a provider whom nobody could reach is not kept");
            return;
        }
        let records = dht.kad().store_mut();
        if let Err(refused) = records.hear(record, AddressGroup::from(&remote), std::time::Instant::now()) {
            tracing::debug!(%peer, %refused, "a record is not kept");
        }
    }

    /// A peer of our network has said who it is: if it answers for the DHT it is asked from now on.
    pub(super) fn route(&mut self, peer: PeerId, info: &identify::Info) {
        self.state.discovery.dials.connected(&peer);
        self.set_wake();
        let Ok(name) = protocol(&self.state.config.network) else { return };
        let Some(reach) = self.state.peers.reach(&peer) else { return };
        let Some(dht) = self.swarm.behaviour_mut().dht.as_mut() else { return };
        if !info.protocols.contains(&name) {
            dht.kad().remove_peer(&peer);
            return;
        }
        let nearest = dht.nearest(reach);
        let believed = self.state.peers.addresses(&peer).into_iter().filter(|address| nearest.includes(address));
        for address in believed.take(limits::HINT_ADDRESSES) {
            dht.kad().add_address(&peer, address);
        }
    }
}
