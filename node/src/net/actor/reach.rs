//! What the actor does with what it sees of its ways: judges, listens through relays, dials, closes.

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, relay, upnp};
use tokio::time::Instant;

use super::Actor;
use crate::addresses::{is_loopback, is_private, is_relayed, without_peer};
use crate::net::behaviour::BehaviourEvent as AnyEvent;
use crate::net::handle::Event;
use crate::net::nat::limits::DIALLED;
use crate::net::nat::{BehaviourEvent, Reachability};

/// What identify lists of a peer that probes the addresses of others. (libp2p keeps the constant to itself.)
const PROBES: &str = "/libp2p/autonat/2/dial-request";

impl Actor<'_> {
    /// States the addresses that are known beforehand.
    pub(super) fn nat_start(&mut self) {
        for address in self.state.config.nat.external.clone() {
            self.nat_state(&address);
        }
        self.nat_listens();
    }

    /// Looks at everything that concerns ways, before anybody else does.
    pub(super) fn nat_sees(&mut self, event: &SwarmEvent<AnyEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let direct = self.nat.routes.established(*peer_id, *connection_id, endpoint, now);
                direct.then(|| self.state.emit(Event::Direct(*peer_id)));
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.nat.routes.closed(peer_id, *connection_id);
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.nat_confirmed(address),
            SwarmEvent::ExternalAddrExpired { address } => self.nat.evidence.expire(address),
            SwarmEvent::ListenerClosed { listener_id, addresses, .. } => self.nat_closed(listener_id, addresses),
            _ => {}
        }
        self.nat_settle(now);
    }

    pub(super) fn nat_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Relayed(relay::client::Event::ReservationReqAccepted {
                relay_peer_id, renewal, ..
            }) => {
                tracing::debug!(relay = %relay_peer_id, renewal, "a relay holds a place for us");
                self.nat.relays.confirm(&relay_peer_id);
                self.state.emit(Event::Reserved { relay: relay_peer_id, renewal });
            }
            BehaviourEvent::Prober(probe) => {
                tracing::debug!(address = %probe.tested_addr, server = %probe.server, result = ?probe.result, "probed");
                if probe.result.is_err() {
                    self.nat.evidence.refuse();
                }
            }
            BehaviourEvent::Punch(punch) => {
                tracing::debug!(peer = %punch.remote_peer_id, result = ?punch.result, "a hole was tried");
            }
            BehaviourEvent::Upnp(upnp::Event::GatewayNotFound | upnp::Event::NonRoutableGateway) => {
                tracing::debug!("no router here gives ports by UPnP");
            }
            other => tracing::debug!(event = ?other, "ways"),
        }
        self.nat_settle(Instant::now());
    }

    /// A peer of our network has said who it is on this connection.
    pub(super) fn nat_identified(&mut self, peer: PeerId, connection: ConnectionId, info: &identify::Info) {
        let now = Instant::now();
        let relays = info.protocols.contains(&relay::HOP_PROTOCOL_NAME);
        if relays || info.protocols.iter().any(|name| name.as_ref() == PROBES) {
            self.nat.evidence.note_prober(now);
        }
        if let Some((address, reuses)) = self.nat.routes.dialled(&peer, connection) {
            let address = without_peer(address);
            // What the peer sees of a connection from our listening port is what a NAT makes of that port.
            let observed = reuses && !is_relayed(&info.observed_addr);
            match relays {
                true => self.nat.relays.add_offer(peer, address),
                false => self.nat.relays.remove_offer(&peer),
            }
            if observed {
                self.swarm.behaviour_mut().nat.candidates.offer(info.observed_addr.clone());
            }
        }
        if self.nat.routes.may_be_dialled(&peer, connection) {
            self.nat_dial_stated(peer, info);
        }
        self.nat_settle(now);
    }

    /// When [`Actor::nat_due`] is to be called.
    pub(super) fn nat_next(&self) -> Option<Instant> {
        let verdict = self.nat.evidence.verdict_at().filter(|_| self.nat.told == Reachability::Unknown);
        let relay = self.nat.relays.next().filter(|_| self.nat.told == Reachability::Private);
        [self.nat.routes.next(), verdict, relay].into_iter().flatten().min()
    }

    pub(super) fn nat_due(&mut self) {
        let now = Instant::now();
        for connection in self.nat.routes.due(now) {
            tracing::debug!(%connection, "a relayed connection is closed: there is a direct one");
            // It may have closed by itself.
            let _ = self.swarm.close_connection(connection);
        }
        self.nat_settle(now);
    }

    /// Tells what has changed, and takes or gives back relays accordingly.
    fn nat_settle(&mut self, now: Instant) {
        let state = self.nat.evidence.state(now);
        if state != self.nat.told {
            self.nat.told = state;
            tracing::info!(reachability = ?state, "how others reach this node");
            self.state.emit(Event::Reachability(state));
        }
        match state {
            Reachability::Private => self.nat_reserve(now),
            Reachability::Public => {
                for listener in self.nat.relays.release() {
                    self.swarm.remove_listener(listener);
                }
            }
            Reachability::Unknown => {}
        }
    }

    fn nat_reserve(&mut self, now: Instant) {
        for (relay, address) in self.nat.relays.next_to_ask(now) {
            let through = address.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit);
            match self.swarm.listen_on(through) {
                Ok(listener) => self.nat.relays.add_request(listener, relay),
                Err(error) => {
                    tracing::debug!(%relay, %error, "a relay cannot be asked for a place");
                    self.nat.relays.back_off(&relay, now);
                }
            }
        }
    }

    /// A relay is reached where it listens: whoever started it has said so. Where it has a public address, that one is
    /// stated; on the loopback interface only if it was told to listen there.
    pub(super) fn nat_listens(&mut self) {
        let config = &self.state.config;
        if config.nat.relay.is_none() {
            return;
        }
        let near = config.listen.iter().any(is_loopback);
        let all = self.state.listening.iter().filter(|one| !is_relayed(one) && (near || !is_loopback(one)));
        let all: Vec<_> = all.cloned().collect();
        let public = all.iter().any(|address| !is_private(address));
        for address in all {
            if public && is_private(&address) {
                self.swarm.remove_external_address(&address);
                self.nat.evidence.expire(&address);
            } else {
                self.nat_state(&address);
            }
        }
    }

    /// An address of ours that needs no probe.
    fn nat_state(&mut self, address: &Multiaddr) {
        let address = without_peer(address);
        if !self.nat.evidence.confirmed().contains(&address) {
            self.swarm.add_external_address(address.clone());
            self.nat_confirmed(&address);
        }
    }

    fn nat_confirmed(&mut self, address: &Multiaddr) {
        if self.nat.evidence.confirm(address) {
            tracing::info!(%address, "others reach this node here");
            self.state.emit(Event::Confirmed(address.clone()));
        }
    }

    fn nat_closed(&mut self, listener: &ListenerId, addresses: &[Multiaddr]) {
        let gone: Vec<_> = addresses.iter().map(without_peer).collect();
        self.state.listening.retain(|one| !gone.contains(one));
        if let Some(relay) = self.nat.relays.remove(listener, Instant::now()) {
            tracing::debug!(%relay, "a relay holds no place for us any more");
        }
    }

    /// Dials what a peer states that reached us through a relay: if it is public, no hole is needed. From a port of its
    /// own, so that it never crosses the dials of the hole on one and the same pair of ports.
    fn nat_dial_stated(&mut self, peer: PeerId, info: &identify::Info) {
        let local = is_loopback(&info.observed_addr);
        let stated = info.listen_addrs.iter().filter(|one| !is_relayed(one) && (local || !is_loopback(one)));
        let stated: Vec<_> = stated.take(DIALLED).cloned().collect();
        if stated.is_empty() {
            return;
        }
        let opts = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(stated).allocate_new_port();
        if let Err(error) = self.swarm.dial(opts.build()) {
            tracing::debug!(%peer, %error, "a peer behind a relay is not dialled");
        }
    }
}
