//! Which connections lead to whom, directly or through a relay, and which relayed ones have become superfluous.

use std::collections::HashMap;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::limits::SUPERSEDED;
use crate::addresses::is_relayed;

/// The connections of each peer. As many as the connection limits allow.
#[derive(Debug, Default)]
pub struct Routes {
    peers: HashMap<PeerId, Vec<Route>>,
    /// Relayed connections beside direct ones, with the time at which they are closed.
    superseded: Vec<(Instant, PeerId, ConnectionId)>,
}

#[derive(Debug)]
struct Route {
    connection: ConnectionId,
    endpoint: ConnectedPoint,
    /// What the peer states on this connection has been dialled.
    tried: bool,
}

impl Routes {
    /// A connection stands; `true` if it is the first direct one to a peer that was reached through a relay.
    pub fn established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        endpoint: &ConnectedPoint,
        now: Instant,
    ) -> bool {
        let routes = self.peers.entry(peer).or_default();
        let had_direct = routes.iter().any(|route| !route.endpoint.is_relayed());
        routes.push(Route { connection, endpoint: endpoint.clone(), tried: false });
        if !had_direct && endpoint.is_relayed() {
            return false;
        }
        let relayed = routes.iter().filter(|route| route.endpoint.is_relayed()).map(|route| route.connection);
        let before = self.superseded.len();
        let new = relayed.filter(|one| !self.superseded.iter().any(|(_, _, known)| known == one));
        let new: Vec<_> = new.map(|one| (now + SUPERSEDED, peer, one)).collect();
        self.superseded.extend(new);
        !had_direct && self.superseded.len() > before
    }

    /// A connection is gone.
    pub fn closed(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some(routes) = self.peers.get_mut(peer) {
            routes.retain(|route| route.connection != connection);
            if routes.is_empty() {
                self.peers.remove(peer);
            }
        }
        self.superseded.retain(|(_, _, one)| *one != connection);
    }

    /// There is a connection that is not relayed.
    pub fn is_direct(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).into_iter().flatten().any(|route| !route.endpoint.is_relayed())
    }

    /// Where this connection was dialled to, if we dialled it and it is direct; and whether from our listening port.
    pub fn dialled(&self, peer: &PeerId, connection: ConnectionId) -> Option<(&Multiaddr, bool)> {
        match &self.route(peer, connection)?.endpoint {
            ConnectedPoint::Dialer { address, port_use, .. } if !is_relayed(address) => {
                Some((address, matches!(port_use, libp2p::core::transport::PortUse::Reuse)))
            }
            _ => None,
        }
    }

    /// `true` once, for a connection through which the peer dialled us while no direct one stood.
    pub fn may_be_dialled(&mut self, peer: &PeerId, connection: ConnectionId) -> bool {
        if self.is_direct(peer) {
            return false;
        }
        let route = self.peers.get_mut(peer).and_then(|all| all.iter_mut().find(|one| one.connection == connection));
        route.is_some_and(|route| {
            route.endpoint.is_relayed() && route.endpoint.is_listener() && !std::mem::replace(&mut route.tried, true)
        })
    }

    /// Relayed connections to close now: those whose direct one still stands.
    pub fn due(&mut self, now: Instant) -> Vec<ConnectionId> {
        let (due, later) = std::mem::take(&mut self.superseded).into_iter().partition(|(at, _, _)| *at <= now);
        self.superseded = later;
        let due: Vec<(Instant, PeerId, ConnectionId)> = due;
        due.into_iter().filter(|(_, peer, _)| self.is_direct(peer)).map(|(_, _, connection)| connection).collect()
    }

    /// When a relayed connection beside a direct one is to be closed next.
    pub fn next(&self) -> Option<Instant> {
        self.superseded.iter().map(|(at, _, _)| *at).min()
    }

    fn route(&self, peer: &PeerId, connection: ConnectionId) -> Option<&Route> {
        self.peers.get(peer)?.iter().find(|route| route.connection == connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(relayed: bool) -> ConnectedPoint {
        let direct = "/ip4/198.51.100.1/tcp/1";
        let circuit = format!("{direct}/p2p/{}/p2p-circuit", PeerId::random());
        let local = if relayed { circuit } else { direct.to_owned() };
        let local_addr = local.parse().expect("a good address");
        ConnectedPoint::Listener { local_addr, send_back_addr: Multiaddr::empty() }
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn the_relayed_connection_is_closed_a_moment_after_the_direct_one_stands() {
        let (mut routes, peer, now) = (Routes::default(), PeerId::random(), Instant::now());
        assert!(!routes.established(peer, id(1), &endpoint(true), now));
        assert!(!routes.is_direct(&peer));
        assert!(routes.established(peer, id(2), &endpoint(false), now));
        assert!(routes.is_direct(&peer));
        assert!(!routes.established(peer, id(3), &endpoint(false), now), "only the first is news");
        assert!(routes.due(now).is_empty());
        assert_eq!(routes.next(), Some(now + SUPERSEDED));
        assert_eq!(routes.due(now + SUPERSEDED), [id(1)]);
        assert_eq!(routes.next(), None);
    }

    #[test]
    fn a_relayed_connection_stays_if_the_direct_one_goes_first() {
        let (mut routes, peer, now) = (Routes::default(), PeerId::random(), Instant::now());
        routes.established(peer, id(1), &endpoint(true), now);
        routes.established(peer, id(2), &endpoint(false), now);
        routes.closed(&peer, id(2));
        assert!(routes.due(now + SUPERSEDED).is_empty());
    }

    #[test]
    fn a_relayed_connection_beside_a_direct_one_is_closed_too() {
        let (mut routes, peer, now) = (Routes::default(), PeerId::random(), Instant::now());
        assert!(!routes.established(peer, id(1), &endpoint(false), now));
        assert!(!routes.established(peer, id(2), &endpoint(true), now));
        assert_eq!(routes.due(now + SUPERSEDED), [id(2)]);
    }

    #[test]
    fn what_a_peer_states_is_dialled_once_for_a_relayed_connection() {
        let (mut routes, peer, now) = (Routes::default(), PeerId::random(), Instant::now());
        routes.established(peer, id(1), &endpoint(true), now);
        assert!(routes.may_be_dialled(&peer, id(1)));
        assert!(!routes.may_be_dialled(&peer, id(1)));
        routes.established(peer, id(2), &endpoint(true), now);
        routes.established(peer, id(3), &endpoint(false), now);
        assert!(!routes.may_be_dialled(&peer, id(2)));
    }

    #[test]
    fn nothing_is_left_of_a_peer_that_has_gone() {
        let (mut routes, peer, now) = (Routes::default(), PeerId::random(), Instant::now());
        routes.established(peer, id(1), &endpoint(true), now);
        routes.established(peer, id(2), &endpoint(false), now);
        routes.closed(&peer, id(1));
        routes.closed(&peer, id(2));
        assert!(routes.peers.is_empty() && routes.superseded.is_empty());
    }
}
