//! Which addresses this build can dial or listen on: what never can be is refused where a person wrote it.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Why an address can never be dialled, whoever is there; `None` if it may be.
pub fn undialable(address: &Multiaddr) -> Option<String> {
    let mut parts: Vec<Protocol<'_>> = address.iter().collect();
    if matches!(parts.last(), Some(Protocol::P2p(_))) {
        parts.pop();
    }
    if matches!(parts.last(), Some(Protocol::P2pCircuit)) {
        parts.pop();
        let Some(Protocol::P2p(_)) = parts.last() else {
            return Some("it does not name the relay (/p2p/ID before /p2p-circuit)".to_owned());
        };
        parts.pop();
    }
    match parts.as_slice() {
        [] => Some("it has a peer's name and no place: say where, e.g. /ip4/192.0.2.7/tcp/7740 before it".to_owned()),
        [Protocol::Dnsaddr(_)] => None,
        [host, rest @ ..] => no_host(host).or_else(|| transport(rest)),
    }
}

/// Why nobody can listen there; `None` if it may be.
pub fn unlistenable(address: &Multiaddr) -> Option<String> {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    match parts.as_slice() {
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(0)] => None,
        #[cfg(feature = "quic")]
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Udp(0), Protocol::QuicV1] => None,
        [Protocol::Ip4(_) | Protocol::Ip6(_), rest @ ..] => transport(rest),
        [part, ..] => Some(format!("`/{}` is no address of this machine: say /ip4/... or /ip6/...", part.tag())),
        [] => Some("it is empty".to_owned()),
    }
}

fn no_host(part: &Protocol<'_>) -> Option<String> {
    let ip = match part {
        Protocol::Ip4(ip) => IpAddr::V4(*ip),
        Protocol::Ip6(ip) => IpAddr::V6(*ip),
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => return None,
        other => {
            return Some(format!("it begins with `/{}`, not with an address (/ip4, /ip6, /dns4, ...)", other.tag()));
        }
    };
    if ip.is_unspecified() {
        return Some(format!("{ip} means all addresses of a machine: one can listen there and not dial"));
    }
    ip.is_multicast().then(|| format!("{ip} is the address of a group, not of one machine"))
}

/// What comes after the host.
fn transport(parts: &[Protocol<'_>]) -> Option<String> {
    match parts {
        [] => Some("it has no port: add e.g. /tcp/7740".to_owned()),
        [Protocol::Tcp(0)] => Some("port 0 is nobody's".to_owned()),
        [Protocol::Tcp(_)] => None,
        #[cfg(feature = "quic")]
        [Protocol::Udp(port), Protocol::QuicV1] if *port != 0 => None,
        #[cfg(not(feature = "quic"))]
        [Protocol::Udp(_), Protocol::QuicV1] => {
            Some("this build speaks no QUIC: use the peer's TCP address, or build with `--features quic`".to_owned())
        }
        [Protocol::Tcp(_), more, ..] => Some(format!("potluck does not speak `/{}`, plain TCP alone", more.tag())),
        [other, ..] => Some(format!("potluck does not speak `/{}`", other.tag())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "12D3KooWEVV6fC4F2VGrGQBHmS7iUWrBBriHdXdE4GDDZ7Sgey4S";

    fn judged(text: &str) -> Option<String> {
        undialable(&text.replace("ID", ID).parse().unwrap_or_else(|error| panic!("{text}: {error}")))
    }

    #[test]
    fn what_may_be_reached_passes() {
        for text in [
            "/ip4/192.0.2.7/tcp/7740",
            "/ip6/2001:db8::7/tcp/7740/p2p/ID",
            "/dns/a.example/tcp/1",
            "/dns4/a.example/tcp/1/p2p/ID",
            "/dns6/a.example/tcp/1",
            "/dnsaddr/potluck.example",
            "/dnsaddr/potluck.example/p2p/ID",
            "/ip4/192.0.2.7/tcp/7740/p2p/ID/p2p-circuit/p2p/ID",
            "/ip4/192.0.2.7/tcp/7740/ipfs/ID",
        ] {
            assert_eq!(judged(text), None, "{text}");
        }
    }

    #[test]
    fn what_never_can_be_says_why() {
        for (text, why) in [
            ("/p2p/ID", "no place"),
            ("/ip4/127.0.0.1", "no port"),
            ("/ip4/127.0.0.1/p2p/ID", "no port"),
            ("/ip4/127.0.0.1/tcp/0", "port 0"),
            ("/ip4/127.0.0.1/tcp/7740/ws", "`/ws`"),
            ("/dns4/a.example/tcp/443/wss", "`/wss`"),
            ("/ip4/127.0.0.1/tcp/7740/http", "`/http`"),
            ("/ip4/127.0.0.1/udp/7740", "`/udp`"),
            ("/ip4/0.0.0.0/tcp/7740", "not dial"),
            ("/ip6/::/tcp/7740", "not dial"),
            ("/ip4/224.0.0.1/tcp/7740", "group"),
            ("/unix/socket", "begins with"),
            ("/tcp/7740", "begins with"),
            ("/memory/7", "begins with"),
            ("/p2p-circuit/p2p/ID", "relay"),
            ("/ip4/192.0.2.7/tcp/1/p2p-circuit/p2p/ID", "relay"),
            ("/ip4/192.0.2.7/p2p/ID/p2p-circuit", "no port"),
        ] {
            let judged = judged(text);
            assert!(judged.as_ref().is_some_and(|reason| reason.contains(why)), "{text}: {judged:?}");
        }
    }

    #[cfg(not(feature = "quic"))]
    #[test]
    fn quic_is_named_where_it_is_not_built_in() {
        assert!(judged("/ip4/127.0.0.1/udp/7740/quic-v1").is_some_and(|reason| reason.contains("no QUIC")));
    }

    #[test]
    fn one_listens_on_addresses_of_this_machine() {
        for (text, good) in [
            ("/ip4/0.0.0.0/tcp/0", true),
            ("/ip4/127.0.0.1/tcp/7740", true),
            ("/ip6/::/tcp/7740", true),
            ("/dns4/a.example/tcp/7740", false),
            ("/ip4/127.0.0.1/tcp/7740/ws", false),
            ("/ip4/127.0.0.1", false),
        ] {
            assert_eq!(unlistenable(&text.parse().expect("an address")).is_none(), good, "{text}");
        }
    }
}
