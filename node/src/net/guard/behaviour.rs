//! The guard inside the swarm: places for those who connect, strangers who stay silent, and bans.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Guard;
use super::group::PeerGroup;
use super::slots::Slots;
use crate::net::misdeed::Denied;
use crate::net::misdeed::Misdeed;

/// How often strangers are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is banned for a while")]
    Banned,
    #[error("too many of its neighbourhood are connected")]
    Crowded,
}

/// See the module.
pub struct Behaviour {
    guard: Guard,
    slots: Slots,
    /// Connections to close: bounded by the connections that there are.
    closing: VecDeque<(PeerId, CloseConnection)>,
    look: Interval,
}

impl Behaviour {
    /// So many connections that others made may stand.
    pub fn new(guard: Guard, capacity: usize) -> Self {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { guard, slots: Slots::new(capacity), closing: VecDeque::new(), look }
    }

    /// The peer has said that it is of our network.
    pub fn identified(&mut self, peer: &PeerId) {
        self.slots.identified(peer);
    }

    /// Somebody saw what it did. The swarm is polled after this, so what is to be closed is closed.
    pub fn report(&mut self, peer: PeerId, misdeed: Misdeed) {
        if self.guard.report(peer, self.slots.group(&peer), misdeed) {
            self.closing.push_back((peer, CloseConnection::All));
        }
    }

    /// Places that are taken.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.closing.is_empty()
    }

    fn refuse_banned(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if self.guard.is_banned(peer) {
            self.guard.denied(Denied::Banned);
            return Err(ConnectionDenied::new(Refused::Banned));
        }
        Ok(())
    }

    fn established(&mut self, new: &ConnectionEstablished<'_>) {
        if new.endpoint.is_dialer() {
            return;
        }
        let group = PeerGroup::of(new.endpoint.get_remote_address());
        if let Some((id, peer)) = self.slots.take(new.connection_id, new.peer_id, group, self.guard.now_ms()) {
            self.guard.denied(Denied::Evicted);
            self.closing.push_back((peer, CloseConnection::One(id)));
        }
    }

    fn send_strangers_away(&mut self) {
        for (id, peer) in self.slots.strangers(self.guard.now_ms()) {
            tracing::debug!(%peer, "a peer did not say who it is");
            self.guard.denied(Denied::Stranger);
            self.closing.push_back((peer, CloseConnection::One(id)));
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.refuse_banned(&peer)?;
        if !self.slots.has_room(PeerGroup::of(remote)) {
            self.guard.denied(Denied::Crowded);
            return Err(ConnectionDenied::new(Refused::Crowded));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.refuse_banned(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(new) => self.established(&new),
            FromSwarm::ConnectionClosed(closed) => self.slots.leave(&closed.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if self.look.poll_tick(cx).is_ready() {
            self.send_strangers_away();
            // Asks to be woken for the next one.
            cx.waker().wake_by_ref();
        }
        match self.closing.pop_front() {
            Some((peer_id, connection)) => Poll::Ready(ToSwarm::CloseConnection { peer_id, connection }),
            None => Poll::Pending,
        }
    }
}
