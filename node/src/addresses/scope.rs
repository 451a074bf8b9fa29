//! How far an address reaches, and so who may be told of it and from whom it is believed.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// From where an address can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressScope {
    /// From this machine only.
    Machine,
    /// From a local network: the same address is another machine elsewhere.
    Local,
    /// From anywhere.
    World,
}

impl AddressScope {
    /// `None`: not the address of one host. A name counts as public; the swarm holds it to that when it resolves it.
    pub fn of(address: &Multiaddr) -> Option<Self> {
        match address.iter().next()? {
            Protocol::Ip4(ip) => of_v4(ip),
            Protocol::Ip6(ip) => of_v6(ip),
            Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_) => Some(Self::World),
            _ => None,
        }
    }

    /// Whether somebody at this distance can make anything of an address. Told to others, and believed from others, by
    /// this one rule: so nobody far away learns how a local network looks, or makes us knock on doors in ours.
    pub fn includes(self, address: &Multiaddr) -> bool {
        has_port(address) && Self::of(address).is_some_and(|scope| scope >= self)
    }
}

/// The address, or the relay that it leads through, is on this machine.
pub fn is_loopback(address: &Multiaddr) -> bool {
    AddressScope::of(address) == Some(AddressScope::Machine)
}

/// The address, or that of the relay that it leads through, does not lead to one host from anywhere.
pub fn is_private(address: &Multiaddr) -> bool {
    AddressScope::of(address) != Some(AddressScope::World)
}

/// The address leads through a relay.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// An address without the `/p2p/...` at its end. One before it is a relay's, and stays.
pub fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

fn of_v4(ip: Ipv4Addr) -> Option<AddressScope> {
    // 100.64.0.0/10 lies between a provider's customers and its own NAT.
    let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
        None
    } else if ip.is_loopback() {
        Some(AddressScope::Machine)
    } else if ip.is_private() || ip.is_link_local() || shared {
        Some(AddressScope::Local)
    } else {
        Some(AddressScope::World)
    }
}

fn of_v6(ip: Ipv6Addr) -> Option<AddressScope> {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return of_v4(ip);
    }
    if ip.is_unspecified() || ip.is_multicast() {
        None
    } else if ip.is_loopback() {
        Some(AddressScope::Machine)
    } else if ip.is_unique_local() || ip.is_unicast_link_local() {
        Some(AddressScope::Local)
    } else {
        Some(AddressScope::World)
    }
}

fn has_port(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => port != 0,
        Protocol::Dnsaddr(_) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a good address")
    }

    #[test]
    fn a_relays_name_stays_in_an_address() {
        let (relay, peer) = (PeerId::random(), PeerId::random());
        let through = address(&format!("/ip4/198.51.100.1/tcp/1/p2p/{relay}/p2p-circuit"));
        assert_eq!(without_peer(&through.clone().with(Protocol::P2p(peer))), through);
        assert_eq!(without_peer(&through), through);
    }

    #[test]
    fn every_kind_of_address_has_its_reach() {
        for (text, reach) in [
            ("/ip4/127.0.0.1/tcp/1", Some(AddressScope::Machine)),
            ("/ip6/::1/tcp/1", Some(AddressScope::Machine)),
            ("/ip4/10.1.2.3/tcp/1", Some(AddressScope::Local)),
            ("/ip4/172.16.0.1/tcp/1", Some(AddressScope::Local)),
            ("/ip4/192.168.1.2/tcp/1", Some(AddressScope::Local)),
            ("/ip4/169.254.1.2/tcp/1", Some(AddressScope::Local)),
            ("/ip4/100.64.0.1/tcp/1", Some(AddressScope::Local)),
            ("/ip6/fd00::1/tcp/1", Some(AddressScope::Local)),
            ("/ip6/fe80::1/tcp/1", Some(AddressScope::Local)),
            ("/ip6/::ffff:10.0.0.1/tcp/1", Some(AddressScope::Local)),
            ("/ip4/100.128.0.1/tcp/1", Some(AddressScope::World)),
            ("/ip4/198.51.100.7/tcp/1", Some(AddressScope::World)),
            ("/ip6/2001:db8::1/tcp/1", Some(AddressScope::World)),
            ("/dns4/example.org/tcp/1", Some(AddressScope::World)),
            ("/dnsaddr/example.org", Some(AddressScope::World)),
            ("/ip4/0.0.0.0/tcp/1", None),
            ("/ip4/224.0.0.1/tcp/1", None),
            ("/memory/7", None),
        ] {
            assert_eq!(AddressScope::of(&address(text)), reach, "{text}");
        }
    }

    #[test]
    fn nothing_local_is_told_to_the_world_or_believed_from_it() {
        let all = ["/ip4/127.0.0.1/tcp/1", "/ip4/10.1.2.3/tcp/1", "/ip4/198.51.100.7/tcp/1", "/ip4/198.51.100.7/tcp/0"];
        let of = |reach: AddressScope| all.map(|text| reach.includes(&address(text)));
        assert_eq!(of(AddressScope::Machine), [true, true, true, false]);
        assert_eq!(of(AddressScope::Local), [false, true, true, false]);
        assert_eq!(of(AddressScope::World), [false, false, true, false]);
    }
}
