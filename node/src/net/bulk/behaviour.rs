//! The swarm's side: which connections there are, and on which one a stream is opened.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, FromSwarm};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};

use super::handler::{Handler, Open};
use super::stream::{Inbound, Outbound, Route, Slots};
use crate::addresses::{AddressGroup, is_relayed};
use crate::net::counters::NetCounters;

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum OpenError {
    #[error("it is not connected")]
    NotConnected,
    #[error(
        "it is reached through a relay only, and relays carry no shards: neither network let a direct connection \
         through; a peer that both sides reach (one with an open port, or a mirror) can pass it on"
    )]
    OnlyRelayed,
    #[error("the connection closed")]
    Closed,
    #[error("it does not speak {0}")]
    Unsupported(StreamProtocol),
    #[error("too many streams to it are being opened at once")]
    TooMany,
    #[error("the stream broke while it was negotiated: {0}")]
    Negotiation(String),
}

/// Which connections will do for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Any; a direct one if there is one. For control messages and manifests.
    Any,
    /// None that leads through a relay.
    Direct,
}

/// The bulk behaviour. Emits nothing: streams go straight to whoever asked, or into the accept queue.
pub struct Behaviour {
    protocol: StreamProtocol,
    accepted: mpsc::Sender<Inbound>,
    /// Entries go with the last connection of their peer.
    peers: HashMap<PeerId, Peer>,
    /// What `poll` passes to the handlers. Bounded by the actor, which hands over one command at a time and polls
    /// in between.
    requests: VecDeque<(PeerId, ConnectionId, Open)>,
    waker: Option<Waker>,
    /// Inbound streams open now, of all peers.
    inbound: Arc<AtomicUsize>,
    /// The same of each neighbourhood. Entries go with the last connection from there.
    near: HashMap<AddressGroup, Arc<AtomicUsize>>,
    metrics: NetCounters,
}

#[derive(Default)]
struct Peer {
    connections: Vec<Connection>,
    /// Inbound streams open now, over all its connections.
    inbound: Arc<AtomicUsize>,
}

struct Connection {
    id: ConnectionId,
    relayed: bool,
}

impl Behaviour {
    /// Inbound streams go to `accepted`; when that is full they are answered with `Busy`.
    pub fn new(protocol: StreamProtocol, accepted: mpsc::Sender<Inbound>, metrics: NetCounters) -> Self {
        let (peers, requests) = (HashMap::new(), VecDeque::new());
        let (inbound, near) = (Arc::default(), HashMap::new());
        Self { protocol, accepted, peers, requests, waker: None, inbound, near, metrics }
    }

    /// Opens a stream and sends it, or the reason why there is none, to `back`.
    pub fn open(&mut self, peer: PeerId, way: Way, back: oneshot::Sender<Result<Outbound, OpenError>>) {
        let best = self.peers.get(&peer).and_then(Peer::best).ok_or(OpenError::NotConnected);
        let connection = match best.and_then(|best| best.will_do(way)) {
            Ok(connection) => connection,
            Err(error) => {
                // Whoever asked may have gone.
                let _ = back.send(Err(error));
                return;
            }
        };
        self.requests.push_back((peer, connection, Open(back)));
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Peers and requests that are remembered.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.peers.len() + self.requests.len() + self.near.len()
    }

    fn handler(&mut self, peer: PeerId, route: Route) -> Handler {
        let of_peer = self.peers.entry(peer).or_default().inbound.clone();
        let near = (!route.group.is_here()).then(|| self.near.entry(route.group).or_default().clone());
        let slots = Slots { peer: of_peer, near, all: self.inbound.clone() };
        Handler::new(peer, route, self.protocol.clone(), self.accepted.clone(), slots, self.metrics.clone())
    }

    fn closed(&mut self, closed: &ConnectionClosed<'_>) {
        if let Some(peer) = self.peers.get_mut(&closed.peer_id) {
            peer.connections.retain(|connection| connection.id != closed.connection_id);
        }
        // Dropping the way back tells whoever asked.
        self.requests.retain(|(_, connection, _)| *connection != closed.connection_id);
        self.forget_unconnected();
    }

    /// A connection that got its handler and was then denied by another behaviour is never reported as closed.
    fn forget_unconnected(&mut self) {
        self.peers.retain(|_, peer| !peer.connections.is_empty());
        // Whoever else has one is a handler, or a stream that is still open.
        self.near.retain(|_, streams| Arc::strong_count(streams) > 1);
    }

    fn established(&mut self, new: &ConnectionEstablished<'_>) {
        let relayed = new.endpoint.is_relayed();
        let peer = self.peers.entry(new.peer_id).or_default();
        peer.connections.push(Connection { id: new.connection_id, relayed });
    }
}

impl Peer {
    /// A direct connection before a relayed one, the oldest of those.
    fn best(&self) -> Option<&Connection> {
        self.connections.iter().min_by_key(|connection| connection.relayed)
    }
}

impl Connection {
    fn will_do(&self, way: Way) -> Result<ConnectionId, OpenError> {
        if self.relayed && way == Way::Direct { Err(OpenError::OnlyRelayed) } else { Ok(self.id) }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, Route { relayed: is_relayed(local), group: remote.into() }))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, Route { relayed: is_relayed(remote), group: remote.into() }))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(new) => self.established(&new),
            FromSwarm::ConnectionClosed(closed) => self.closed(&closed),
            FromSwarm::DialFailure(_) | FromSwarm::ListenFailure(_) => self.forget_unconnected(),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.requests.pop_front() {
            Some((peer_id, connection, event)) => {
                Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(connection), event })
            }
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_connections_come_first_and_relayed_ones_are_not_direct() {
        let (relayed, direct) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        let mut peer = Peer::default();
        peer.connections.push(Connection { id: relayed, relayed: true });
        let best = |peer: &Peer, way| peer.best().map(|best| best.will_do(way));
        assert_eq!(best(&peer, Way::Any), Some(Ok(relayed)));
        assert_eq!(best(&peer, Way::Direct), Some(Err(OpenError::OnlyRelayed)));
        peer.connections.push(Connection { id: direct, relayed: false });
        assert_eq!(best(&peer, Way::Any), Some(Ok(direct)));
        assert_eq!(best(&peer, Way::Direct), Some(Ok(direct)));
    }
}
