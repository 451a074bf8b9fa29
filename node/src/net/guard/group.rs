//! From which neighbourhood a connection comes: what one attacker has many of is addresses, what he has few of is
//! networks.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// A neighbourhood. Peers of one share an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// This machine itself, by its usual names: whoever runs programs here needs no flood to do harm.
    Here,
    /// The first 24 bits of an IPv4 address.
    V4([u8; 3]),
    /// The first 56 bits of an IPv6 address: what one customer gets.
    V6([u8; 7]),
    /// No address of its own: through a relay, which has its own limits.
    Relayed,
}

impl Group {
    pub fn of(address: &Multiaddr) -> Self {
        match address.iter().next() {
            _ if address.iter().any(|part| matches!(part, Protocol::P2pCircuit)) => Self::Relayed,
            Some(Protocol::Ip4(ip)) if ip == std::net::Ipv4Addr::LOCALHOST => Self::Here,
            Some(Protocol::Ip4(ip)) => Self::V4([ip.octets()[0], ip.octets()[1], ip.octets()[2]]),
            Some(Protocol::Ip6(ip)) if ip.is_loopback() => Self::Here,
            Some(Protocol::Ip6(ip)) => match ip.to_ipv4_mapped() {
                Some(ip) if ip == std::net::Ipv4Addr::LOCALHOST => Self::Here,
                Some(ip) => Self::V4([ip.octets()[0], ip.octets()[1], ip.octets()[2]]),
                None => {
                    let [a, b, c, d, e, f, g, ..] = ip.octets();
                    Self::V6([a, b, c, d, e, f, g])
                }
            },
            _ => Self::Relayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> Group {
        Group::of(&text.parse().expect("a good address"))
    }

    #[test]
    fn neighbours_share_a_group_and_others_do_not() {
        assert_eq!(group("/ip4/192.0.2.1/tcp/1"), group("/ip4/192.0.2.250/tcp/9"));
        assert_ne!(group("/ip4/192.0.2.1/tcp/1"), group("/ip4/192.0.3.1/tcp/1"));
        assert_eq!(group("/ip6/2001:db8:1:2200::1/tcp/1"), group("/ip6/2001:db8:1:22ff::9/tcp/1"));
        assert_ne!(group("/ip6/2001:db8:1:2200::1/tcp/1"), group("/ip6/2001:db8:1:2300::1/tcp/1"));
        assert_eq!(group("/ip6/::ffff:192.0.2.9/tcp/1"), group("/ip4/192.0.2.1/tcp/1"));
    }

    #[test]
    fn this_machine_is_known_by_its_usual_names_alone() {
        assert_eq!(group("/ip4/127.0.0.1/tcp/1"), Group::Here);
        assert_eq!(group("/ip6/::1/tcp/1"), Group::Here);
        assert_eq!(group("/ip6/::ffff:127.0.0.1/tcp/1"), Group::Here);
        assert_eq!(group("/ip4/127.1.2.3/tcp/1"), Group::V4([127, 1, 2]));
    }

    #[test]
    fn a_relays_address_is_not_that_of_the_peer_behind_it() {
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        assert_eq!(group(&format!("/ip4/192.0.2.1/tcp/1/p2p/{relay}/p2p-circuit")), Group::Relayed);
    }
}
