//! A port is ours alone, or it is refused.
//!
//! libp2p listens with SO_REUSEPORT, because dials must go out from the listening port (holes in NATs are made so). With it
//! the system lets a second process of the same person listen beside the first, and gives each connection to either. So
//! before libp2p listens, a socket without SO_REUSEPORT is bound to the same address and closed: the system refuses that
//! while anybody listens there, on the address itself or on all addresses. Between the two steps lies less than a
//! millisecond: two daemons that start within it on one port can both get it. No start of one beside another that
//! listens already can.

use std::io;
use std::net::{IpAddr, SocketAddr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use socket2::{Domain, Protocol as Layer, Socket, Type};

/// An error if somebody else listens there. Port 0 is always free; what is not TCP takes its port alone by itself.
pub fn check_free(address: &Multiaddr) -> io::Result<()> {
    let Some(at) = tcp(address).filter(|at| at.port() != 0) else { return Ok(()) };
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Layer::TCP))?;
    if at.is_ipv6() {
        // As libp2p listens: IPv4 on the same port is another listener's.
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process that are still ending are not in the way of a new listener.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())
}

/// What is said of an address that cannot be had.
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "address already in use: another program, or another potluck, listens there".to_owned()
        }
        _ => error.to_string(),
    }
}

fn tcp(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((ip, port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Listens as libp2p does.
    fn listener(at: &str) -> (Socket, u16) {
        let at: SocketAddr = at.parse().expect("an address");
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Layer::TCP)).expect("a socket");
        if at.is_ipv6() {
            socket.set_only_v6(true).expect("possible");
        }
        socket.set_reuse_address(true).expect("possible");
        #[cfg(unix)]
        socket.set_reuse_port(true).expect("possible");
        socket.bind(&at.into()).expect("a free port");
        socket.listen(8).expect("possible");
        let port = socket.local_addr().expect("bound").as_socket().expect("of the internet").port();
        (socket, port)
    }

    fn is_free(host: &str, port: u16) -> bool {
        check_free(&format!("{host}/tcp/{port}").parse().expect("an address")).is_ok()
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free_on_any_of_its_addresses() {
        for (at, hosts) in [
            ("127.0.0.1:0", ["/ip4/127.0.0.1", "/ip4/0.0.0.0"]),
            ("0.0.0.0:0", ["/ip4/127.0.0.1", "/ip4/0.0.0.0"]),
            ("[::1]:0", ["/ip6/::1", "/ip6/::"]),
            ("[::]:0", ["/ip6/::1", "/ip6/::"]),
        ] {
            let (held, port) = listener(at);
            for host in hosts {
                assert!(!is_free(host, port), "{host} while {at} is held");
            }
            let other = if at.starts_with('[') { "/ip4/0.0.0.0" } else { "/ip6/::" };
            assert!(is_free(other, port), "{other} is another listener's than {at}");
            drop(held);
            for host in hosts {
                assert!(is_free(host, port), "{host} after {at} was given back");
            }
        }
    }

    #[test]
    fn a_port_with_connections_that_end_is_free() {
        let (held, port) = listener("127.0.0.1:0");
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let (server, _) = held.accept().expect("it came");
        drop((held, server));
        assert!(is_free("/ip4/127.0.0.1", port), "the connection's end is awaited by nobody");
        drop(client);
    }

    #[test]
    fn port_0_and_other_transports_are_not_asked_about() {
        for text in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/1/quic-v1", "/dns4/a.example/tcp/1"] {
            assert!(check_free(&text.parse().expect("an address")).is_ok(), "{text}");
        }
    }
}
