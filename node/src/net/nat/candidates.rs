//! Offers observed addresses of ours for probing and punching.
//!
//! identify offers an observed address only if its port is one that we listen on, and otherwise puts our port in its
//! place. A NAT that keeps one outside port for one inside port, but another number, is then never punched. So what was
//! observed on a connection from our listening port is offered as it is.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::limits::OBSERVED;

/// Emits nothing to the actor: the other behaviours hear of each candidate. // I12
#[derive(Default)]
pub struct Behaviour {
    /// All that were ever offered, at most [`OBSERVED`].
    offered: Vec<Multiaddr>,
    waiting: VecDeque<Multiaddr>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// Offers an address once.
    pub fn offer(&mut self, address: Multiaddr) {
        if self.offered.len() >= OBSERVED || self.offered.contains(&address) {
            return;
        }
        self.offered.push(address.clone());
        self.waiting.push_back(address);
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.waiting.pop_front() {
            Some(address) => Poll::Ready(ToSwarm::NewExternalAddrCandidate(address)),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
