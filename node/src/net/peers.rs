//! Who is connected, and where peers have been reached. Addresses that peers state are hints, never facts.

use std::collections::{HashMap, VecDeque};

use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

use super::handle::PeerInfo;
use super::limits::{BOOK_ADDRESSES, BOOK_PEERS};
use crate::addresses::{AddressGroup, AddressScope, is_private, is_relayed, without_peer};

/// Connected peers and the address book.
#[derive(Debug, Default)]
pub struct Peers {
    connected: HashMap<PeerId, Connected>,
    book: HashMap<PeerId, Vec<Multiaddr>>,
    /// In the order in which they were first written down.
    order: VecDeque<PeerId>,
}

#[derive(Debug)]
struct Connected {
    since: Instant,
    /// The other end of its newest connection, or the relay that leads there.
    remote: Multiaddr,
    /// Known once the peer has said that it is of our network.
    agent: Option<String>,
    /// Where it said last that it listens.
    stated: Vec<Multiaddr>,
    /// It has said two things of that which have nothing in common: perhaps they are two processes with one key.
    in_two_places: bool,
}

impl Peers {
    /// A connection stands.
    pub fn established(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        let remote = distance_of(endpoint).clone();
        let new = Connected {
            since: Instant::now(),
            remote: remote.clone(),
            agent: None,
            stated: Vec::new(),
            in_two_places: false,
        };
        self.connected.entry(peer).or_insert(new).remote = remote;
        // The address of a peer that dialled us is the one of its outgoing socket: nobody listens there.
        if let ConnectedPoint::Dialer { address, .. } = endpoint {
            self.remember(peer, vec![without_peer(address)]);
        }
    }

    /// The peer has said who it is; `true` if this is news. Of the addresses that it states those are believed that
    /// somebody at its distance can know.
    pub fn identified(&mut self, peer: PeerId, agent: String, stated: &[Multiaddr]) -> bool {
        let Some(reach) = self.reach(&peer) else { return false };
        let usable = stated.iter().filter(|address| reach.includes(address)).map(without_peer).collect();
        self.remember(peer, usable);
        let Some(connected) = self.connected.get_mut(&peer) else { return false };
        // The agent's name is the peer's to choose: bounded, and printable.
        let agent: String = agent.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        connected.agent.replace(agent).is_none()
    }

    /// Takes down where a peer says that it listens.
    pub fn stated(&mut self, peer: PeerId, stated: &[Multiaddr]) {
        let Some(connected) = self.connected.get_mut(&peer).filter(|_| !stated.is_empty()) else { return };
        let before = std::mem::replace(&mut connected.stated, stated.iter().take(BOOK_ADDRESSES).cloned().collect());
        connected.in_two_places |= !before.is_empty() && !before.iter().any(|one| connected.stated.contains(one));
    }

    /// Whether a peer may be two processes: it is told where it is said to be, and finds out.
    pub fn is_in_two_places(&self, peer: &PeerId) -> bool {
        self.connected.get(peer).is_some_and(|connected| connected.in_two_places)
    }

    /// The last connection to a peer is gone; `true` if it had been identified.
    pub fn closed(&mut self, peer: &PeerId) -> bool {
        self.connected.remove(peer).is_some_and(|connected| connected.agent.is_some())
    }

    /// Everybody is gone; those who had been identified.
    pub fn all_closed(&mut self) -> Vec<PeerId> {
        self.connected.drain().filter(|(_, connected)| connected.agent.is_some()).map(|(peer, _)| peer).collect()
    }

    /// The other end of a connection to a peer.
    pub fn remote(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.connected.get(peer).map(|connected| &connected.remote)
    }

    /// How far away a connected peer is.
    pub fn reach(&self, peer: &PeerId) -> Option<AddressScope> {
        self.remote(peer).map(|remote| AddressScope::of(remote).unwrap_or(AddressScope::World))
    }

    /// Connected peers of our network.
    pub fn identified_peers(&self) -> Vec<PeerId> {
        let identified = self.connected.iter().filter(|(_, connected)| connected.agent.is_some());
        identified.map(|(peer, _)| *peer).collect()
    }

    /// How many peers have said that they are of our network.
    pub fn identified_count(&self) -> usize {
        self.connected.values().filter(|connected| connected.agent.is_some()).count()
    }

    /// Nobody has said that it is of our network.
    pub fn is_alone(&self) -> bool {
        self.connected.is_empty()
    }

    /// Whether the peer that an address names, or one that has been reached there, is connected.
    pub fn is_here(&self, address: &Multiaddr) -> bool {
        if let Some(Protocol::P2p(peer)) = address.iter().last() {
            return self.connected.contains_key(&peer);
        }
        self.connected.keys().any(|peer| self.book.get(peer).is_some_and(|known| known.contains(address)))
    }

    /// Those that lead there from anywhere first, then those through relays, then those of some local network: whoever
    /// passes on a few of them passes on the most useful ones.
    pub fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut addresses = self.book.get(peer).cloned().unwrap_or_default();
        addresses.sort_by_key(|address| match (is_private(address), is_relayed(address)) {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        });
        addresses
    }

    /// Everybody who is connected; `direct` knows whether not through relays only.
    pub fn infos(&self, direct: impl Fn(&PeerId) -> bool, bootstrap: &[Multiaddr]) -> Vec<PeerInfo> {
        let info = |(peer, connected): (&PeerId, &Connected)| PeerInfo {
            peer: *peer,
            addresses: self.addresses(peer),
            agent: connected.agent.clone(),
            connected_for: connected.since.elapsed(),
            direct: direct(peer),
            group: AddressGroup::from(&connected.remote),
            bootstrap: bootstrap.iter().any(|address| leads_to(address, peer, &connected.remote)),
        };
        let mut infos: Vec<_> = self.connected.iter().map(info).collect();
        infos.sort_by_key(|info| info.peer);
        infos
    }

    /// Puts addresses first in a peer's list. // I12
    fn remember(&mut self, peer: PeerId, mut addresses: Vec<Multiaddr>) {
        if !self.book.contains_key(&peer) {
            self.order.push_back(peer);
            if self.order.len() > BOOK_PEERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.book.remove(&oldest);
            }
        }
        let known = self.book.entry(peer).or_default();
        addresses.truncate(BOOK_ADDRESSES);
        let mut seen = Vec::with_capacity(BOOK_ADDRESSES);
        for address in known.drain(..).chain(addresses) {
            if !seen.contains(&address) {
                seen.push(address);
            }
        }
        let surplus = seen.len().saturating_sub(BOOK_ADDRESSES);
        *known = seen.split_off(surplus);
    }
}

/// Whether an address names a peer, or else is where it was dialled: where a peer says that it listens does not count.
fn leads_to(address: &Multiaddr, peer: &PeerId, remote: &Multiaddr) -> bool {
    match address.iter().last() {
        Some(Protocol::P2p(named)) => named == *peer,
        _ => without_peer(remote) == *address,
    }
}

/// The address that says how far away somebody is: who comes through a relay is known to be as far as that at least.
fn distance_of(endpoint: &ConnectedPoint) -> &Multiaddr {
    match endpoint {
        ConnectedPoint::Listener { local_addr, send_back_addr } if AddressScope::of(send_back_addr).is_none() => {
            local_addr
        }
        endpoint => endpoint.get_remote_address(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a good address")
    }

    #[test]
    fn nobody_is_believed_about_addresses_nearer_than_himself() {
        let all = ["/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.9/tcp/1", "/ip4/198.51.100.7/tcp/1"].map(address);
        for (nearest, from) in
            ["/ip4/127.0.0.1/tcp/9", "/ip4/10.0.0.5/tcp/9", "/ip4/198.51.100.5/tcp/9"].iter().enumerate()
        {
            let mut peers = Peers::default();
            let peer = PeerId::random();
            let (local_addr, send_back_addr) = (address("/ip4/10.0.0.1/tcp/1"), address(from));
            assert!(!peers.identified(peer, String::new(), &all), "it is not connected");
            peers.established(peer, &ConnectedPoint::Listener { local_addr, send_back_addr });
            assert!(peers.identified(peer, String::new(), &all));
            let believed: BTreeSet<_> = peers.addresses(&peer).into_iter().collect();
            assert_eq!(believed, all[nearest..].iter().cloned().collect());
            assert_eq!((peers.identified_peers(), peers.identified_count()), (vec![peer], 1));
        }
    }

    #[test]
    fn addresses_that_lead_there_from_anywhere_come_first() {
        let relay = PeerId::random();
        let (public, home) = (address("/ip4/198.51.100.7/tcp/1"), address("/ip4/192.168.1.7/tcp/1"));
        let carrier = address("/ip4/100.64.9.9/tcp/1");
        let relayed = address(&format!("/ip4/198.51.100.1/tcp/1/p2p/{relay}/p2p-circuit"));
        let mut peers = Peers::default();
        let peer = PeerId::random();
        peers.remember(peer, vec![home.clone(), carrier.clone(), relayed.clone(), public.clone()]);
        assert_eq!(peers.addresses(&peer), [public, relayed, home, carrier]);
    }

    #[test]
    fn who_is_here_is_known_by_name_or_by_where_it_was_reached() {
        let (peer, dialled) = (PeerId::random(), address("/ip4/198.51.100.7/tcp/1"));
        let named = dialled.clone().with(Protocol::P2p(peer));
        let endpoint = ConnectedPoint::Dialer {
            address: dialled.clone(),
            role_override: libp2p::core::Endpoint::Dialer,
            port_use: libp2p::core::transport::PortUse::Reuse,
        };
        let mut peers = Peers::default();
        peers.established(peer, &endpoint);
        assert!(peers.is_here(&named) && peers.is_here(&dialled));
        assert!(!peers.is_here(&address("/ip4/198.51.100.7/tcp/2")));
        // By its name alone: another may be where it was.
        assert!(!peers.is_here(&dialled.clone().with(Protocol::P2p(PeerId::random()))));
        peers.closed(&peer);
        assert!(!peers.is_here(&named) && !peers.is_here(&dialled));
    }

    #[test]
    fn the_book_is_bounded_in_peers_and_addresses() {
        let mut peers = Peers::default();
        let first = PeerId::random();
        let many = (0..100).map(|port| address(&format!("/ip4/10.0.0.9/tcp/{port}"))).collect();
        peers.remember(first, many);
        assert_eq!(peers.addresses(&first).len(), BOOK_ADDRESSES);
        for _ in 0..BOOK_PEERS {
            peers.remember(PeerId::random(), vec![address("/ip4/10.0.0.9/tcp/1")]);
        }
        assert!(peers.addresses(&first).is_empty());
        assert_eq!(peers.book.len(), BOOK_PEERS);
        assert_eq!(peers.order.len(), BOOK_PEERS);
    }
}
