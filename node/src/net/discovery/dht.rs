//! The Kademlia DHT `/potluck/NETWORK/kad/1.0.0`, set up for pointers only: who provides which key, and no values.
//!
//! libp2p's behaviour believes any address that an answer holds. Around it lies a filter, so that a node on the open
//! network is not made to dial into local ones.

use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol, kad};
use potluck_protocol::text::Name;

use super::limits;
use super::records::Records;
use crate::addresses::AddressScope;

/// Whether this node takes part in the DHT, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dht {
    /// Answers others as soon as an address is known at which everybody reaches us, and from the start in local and
    /// private networks; asks others in any case.
    #[default]
    Auto,
    /// Answers others from the start: for nodes that everybody reaches.
    Server,
    /// Asks others and does not answer them.
    Client,
    /// Neither.
    Off,
}

impl std::str::FromStr for Dht {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is none of auto, server, client, off")),
        }
    }
}

/// The protocol's name, which identify lists for those who answer.
pub fn protocol(network: &Name) -> Result<StreamProtocol, String> {
    StreamProtocol::try_from_owned(format!("/potluck/{network}/kad/1.0.0")).map_err(|error| error.to_string())
}

/// Kademlia with a filter on whom it dials.
pub struct Behaviour {
    inner: kad::Behaviour<Records>,
    /// The nearest addresses that are dialled.
    nearest: AddressScope,
}

impl Behaviour {
    /// `nearest`: [`AddressScope::Machine`] in local and private networks, [`AddressScope::World`] in open ones.
    pub fn new(local: PeerId, protocol: StreamProtocol, mode: Dht, nearest: AddressScope) -> Self {
        let mut config = kad::Config::new(protocol);
        config
            .set_record_filtering(kad::StoreInserts::FilterBoth)
            .disjoint_query_paths(true)
            .set_query_timeout(limits::QUERY)
            .set_kbucket_inserts(kad::BucketInserts::Manual)
            .set_max_packet_size(limits::PACKET)
            .set_provider_record_ttl(Some(limits::RECORD_TTL))
            // We spread our own over time ourselves: see `schedule`.
            .set_provider_publication_interval(None)
            .set_publication_interval(None)
            .set_replication_interval(None);
        let mut inner = kad::Behaviour::with_config(local, Records::new(local), config);
        inner.set_mode(match mode {
            Dht::Server => Some(kad::Mode::Server),
            Dht::Auto if nearest < AddressScope::World => Some(kad::Mode::Server),
            Dht::Client => Some(kad::Mode::Client),
            Dht::Auto | Dht::Off => None,
        });
        Self { inner, nearest }
    }

    /// libp2p's Kademlia inside.
    pub fn kad(&mut self) -> &mut kad::Behaviour<Records> {
        &mut self.inner
    }

    /// The records inside.
    #[cfg(test)]
    pub fn records(&mut self) -> &Records {
        self.inner.store_mut()
    }

    /// The nearest addresses that are believed of a peer at this distance.
    pub fn nearest(&self, peer: AddressScope) -> AddressScope {
        self.nearest.max(peer)
    }

    /// Peers that can be asked.
    pub fn known_peers(&mut self) -> usize {
        self.inner.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <kad::Behaviour<Records> as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut all = self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        all.retain(|address| self.nearest.includes(address));
        all.truncate(limits::HINT_ADDRESSES);
        Ok(all)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(context)
    }
}
