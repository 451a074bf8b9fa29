//! From which neighbourhood a connection comes: one attacker has many addresses and few networks.

use std::net::Ipv4Addr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::addresses::AddressGroup;

/// A neighbourhood. Peers of one share an allowance; what that is by addresses says [`AddressGroup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerGroup {
    /// This machine itself, by its usual names: whoever runs programs here needs no flood to do harm.
    Here,
    /// Near each other by their addresses.
    Near(AddressGroup),
    /// No address of its own: through a relay, which has its own limits.
    Relayed,
}

impl PeerGroup {
    /// Of whoever connects from an address.
    pub fn of(address: &Multiaddr) -> Self {
        let through_relay = address.iter().any(|part| matches!(part, Protocol::P2pCircuit));
        match (AddressGroup::from(address), address.iter().next()) {
            _ if through_relay => Self::Relayed,
            (AddressGroup::Other, _) => Self::Relayed,
            (_, Some(first)) if is_here(&first) => Self::Here,
            (group, _) => Self::Near(group),
        }
    }
}

/// Its usual names alone: on some systems every address of 127.0.0.0/8 is this machine's.
fn is_here(part: &Protocol<'_>) -> bool {
    match part {
        Protocol::Ip4(ip) => *ip == Ipv4Addr::LOCALHOST,
        Protocol::Ip6(ip) => ip.is_loopback() || ip.to_ipv4_mapped() == Some(Ipv4Addr::LOCALHOST),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> PeerGroup {
        PeerGroup::of(&text.parse().expect("a good address"))
    }

    #[test]
    fn this_machine_is_known_by_its_usual_names_alone() {
        assert_eq!(group("/ip4/127.0.0.1/tcp/1"), PeerGroup::Here);
        assert_eq!(group("/ip6/::1/tcp/1"), PeerGroup::Here);
        assert_eq!(group("/ip6/::ffff:127.0.0.1/tcp/1"), PeerGroup::Here);
        assert_eq!(group("/ip4/127.1.2.3/tcp/1"), PeerGroup::Near(AddressGroup::V4([127, 1, 2])));
    }

    #[test]
    fn a_relays_address_is_not_that_of_the_peer_behind_it() {
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(group(&format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit")), PeerGroup::Relayed);
    }
}
