//! Addresses that one party can easily have many of count as one.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// An IPv4 /24, an IPv6 /56, or everything that has no IP address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AddressGroup {
    #[default]
    /// No IP address.
    Other,
    /// The first three bytes of an IPv4 address.
    V4([u8; 3]),
    /// The first seven bytes of an IPv6 address.
    V6([u8; 7]),
}

impl AddressGroup {
    /// A number of its own for each.
    pub fn number(self) -> u64 {
        match self {
            Self::Other => 0,
            Self::V4([a, b, c]) => u64::from_be_bytes([1, 0, 0, 0, 0, a, b, c]),
            Self::V6([a, b, c, d, e, f, g]) => u64::from_be_bytes([2, a, b, c, d, e, f, g]),
        }
    }

    /// That of this machine's own usual names: whoever runs programs here needs no flood to do harm.
    pub fn is_here(self) -> bool {
        self == v4(Ipv4Addr::LOCALHOST) || self == v6(Ipv6Addr::LOCALHOST)
    }
}

impl From<&Multiaddr> for AddressGroup {
    /// By the first part of the address: a relayed peer counts as its relay.
    fn from(address: &Multiaddr) -> Self {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => v4(ip),
            Some(Protocol::Ip6(ip)) => ip.to_ipv4_mapped().map_or_else(|| v6(ip), v4),
            _ => Self::Other,
        }
    }
}

fn v4(ip: Ipv4Addr) -> AddressGroup {
    let [a, b, c, _] = ip.octets();
    AddressGroup::V4([a, b, c])
}

fn v6(ip: Ipv6Addr) -> AddressGroup {
    let [a, b, c, d, e, f, g, ..] = ip.octets();
    AddressGroup::V6([a, b, c, d, e, f, g])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(text: &str) -> AddressGroup {
        (&text.parse::<Multiaddr>().expect("an address")).into()
    }

    #[test]
    fn neighbours_are_one_group() {
        assert_eq!(group("/ip4/192.0.2.7/tcp/1"), group("/ip4/192.0.2.200/udp/9/quic-v1"));
        assert_ne!(group("/ip4/192.0.2.7/tcp/1"), group("/ip4/192.0.3.7/tcp/1"));
        assert_eq!(group("/ip6/2001:db8:0:1::1/tcp/1"), group("/ip6/2001:db8:0:ff::9/tcp/1"));
        assert_ne!(group("/ip6/2001:db8:0:1::1/tcp/1"), group("/ip6/2001:db8:0:101::1/tcp/1"));
        assert_eq!(group("/ip6/::ffff:192.0.2.7/tcp/1"), group("/ip4/192.0.2.7/tcp/1"));
        assert_eq!(group("/dns4/example.org/tcp/1"), AddressGroup::Other);
        let all = ["/ip4/192.0.2.7/tcp/1", "/ip4/192.0.3.7/tcp/1", "/ip6/::c0:2/tcp/1", "/ip6/2001:db8::1/tcp/1"];
        let mut numbers = all.map(|text| group(text).number());
        numbers.sort_unstable();
        assert!(numbers.is_sorted_by(|one, next| one < next) && !numbers.contains(&AddressGroup::Other.number()));
    }
}
