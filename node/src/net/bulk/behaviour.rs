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
use super::stream::{Inbound, Outbound, Places};
use crate::metrics::net::Net;

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("it is not connected")]
    NotConnected,
    #[error("the connection closed")]
    Closed,
    #[error("it does not speak {0}")]
    Unsupported(StreamProtocol),
    #[error("too many streams to it are being opened at once")]
    TooMany,
    #[error("the stream broke while it was negotiated: {0}")]
    Negotiation(String),
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
    metrics: Net,
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
    pub fn new(protocol: StreamProtocol, accepted: mpsc::Sender<Inbound>, metrics: Net) -> Self {
        let (peers, requests) = (HashMap::new(), VecDeque::new());
        Self { protocol, accepted, peers, requests, waker: None, inbound: Arc::default(), metrics }
    }

    /// Opens a stream and sends it, or the reason why there is none, to `back`.
    pub fn open(&mut self, peer: PeerId, back: oneshot::Sender<Result<Outbound, OpenError>>) {
        let Some(connection) = self.peers.get(&peer).and_then(Peer::best) else {
            // Whoever asked may have gone.
            let _ = back.send(Err(OpenError::NotConnected));
            return;
        };
        self.requests.push_back((peer, connection, Open(back)));
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Peers and requests that are remembered.
    #[cfg(test)]
    pub fn entries(&self) -> usize {
        self.peers.len() + self.requests.len()
    }

    fn handler(&mut self, peer: PeerId) -> Handler {
        let places = Places { peer: self.peers.entry(peer).or_default().inbound.clone(), all: self.inbound.clone() };
        Handler::new(peer, self.protocol.clone(), self.accepted.clone(), places, self.metrics.clone())
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
    }

    fn established(&mut self, new: &ConnectionEstablished<'_>) {
        let relayed = new.endpoint.is_relayed();
        let peer = self.peers.entry(new.peer_id).or_default();
        peer.connections.push(Connection { id: new.connection_id, relayed });
    }
}

impl Peer {
    /// A direct connection before a relayed one, the oldest of those.
    fn best(&self) -> Option<ConnectionId> {
        self.connections.iter().min_by_key(|connection| connection.relayed).map(|connection| connection.id)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer))
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
