//! Names in addresses, resolved and held to what they claim.
//!
//! What a peer says of an address is judged by how far the address reaches, and a name counts as public
//! ([`crate::addresses::AddressScope`]): where it leads shows only when it is resolved. A peer's name that leads to this
//! machine or to the local network would make us knock on doors there, so it is not dialled. A person may name what they
//! like.
//!
//! In the transport and not where addresses are heard, so that it holds for every dial: those of hints, of the DHT, of
//! relays and of hole punching.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Transport, dns};

use crate::addresses::{AddressScope, without_peer};
use crate::lock::lock;

type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// Whose names may lead where.
#[derive(Clone, Debug)]
pub struct Believed {
    /// What names that nobody here typed may lead to: this and what reaches farther.
    pub nearest: AddressScope,
    /// What a person typed.
    pub typed: Vec<Multiaddr>,
}

/// See the module.
pub struct Names {
    believed: Believed,
    /// Listens too.
    anywhere: Connections,
    /// Never polled: it dials alone.
    far: Connections,
}

impl Names {
    /// Resolves names for `direct`, by the system's settings.
    pub fn new(direct: Connections, believed: Believed) -> io::Result<Self> {
        let shared = Shared(Arc::new(Mutex::new(direct)));
        let far = Far { inner: shared.clone(), nearest: believed.nearest };
        Ok(Self {
            believed,
            anywhere: dns::tokio::Transport::system(shared)?.boxed(),
            far: dns::tokio::Transport::system(far)?.boxed(),
        })
    }

    fn may_lead_anywhere(&self, address: &Multiaddr) -> bool {
        let is_name = |part: Protocol<'_>| {
            matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
        };
        let address = without_peer(address);
        !address.iter().any(is_name) || self.believed.typed.iter().any(|typed| without_peer(typed) == address)
    }
}

impl Transport for Names {
    type Output = <Connections as Transport>::Output;
    type Error = io::Error;
    type ListenerUpgrade = <Connections as Transport>::ListenerUpgrade;
    type Dial = <Connections as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.anywhere.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.anywhere.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let way = if self.may_lead_anywhere(&address) { &mut self.anywhere } else { &mut self.far };
        way.dial(address, opts)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.anywhere).poll(cx)
    }
}

/// One transport for both ways.
#[derive(Clone)]
struct Shared(Arc<Mutex<Connections>>);

impl Transport for Shared {
    type Output = <Connections as Transport>::Output;
    type Error = io::Error;
    type ListenerUpgrade = <Connections as Transport>::ListenerUpgrade;
    type Dial = <Connections as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        lock(&self.0).listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        lock(&self.0).remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        lock(&self.0).dial(address, opts)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut *lock(&self.0)).poll(cx)
    }
}

/// Dials what a name led to if that reaches far enough.
struct Far {
    inner: Shared,
    nearest: AddressScope,
}

impl Transport for Far {
    type Output = <Connections as Transport>::Output;
    type Error = io::Error;
    type ListenerUpgrade = <Connections as Transport>::ListenerUpgrade;
    type Dial = <Connections as Transport>::Dial;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        if self.nearest.includes(&address) {
            return self.inner.dial(address, opts);
        }
        let reason = format!("a peer named it, and the name leads to {address}, which is not public: not dialled");
        Err(TransportError::Other(io::Error::new(io::ErrorKind::PermissionDenied, reason)))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::core::transport::dummy::DummyTransport;

    use super::*;

    const OPTS: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };

    /// Why nobody is reached: the transport below reaches nothing, so what gets to it is told by its own refusal.
    async fn reason(names: &mut Names, address: &str) -> String {
        let error = match names.dial(address.parse().expect("an address"), OPTS) {
            Ok(dial) => format!("{:?}", dial.await.expect_err("nobody is there")),
            Err(error) => format!("{error:?}"),
        };
        assert!(error.contains("not public") || error.contains("NotSupported"), "{error}");
        error
    }

    fn names(nearest: AddressScope, typed: &[&str]) -> Names {
        let typed = typed.iter().map(|text| text.parse().expect("an address")).collect();
        Names::new(DummyTransport::new().boxed(), Believed { nearest, typed }).expect("the system resolves names")
    }

    #[tokio::test]
    async fn a_name_that_a_peer_said_leads_to_no_door_of_this_machine() {
        let mut open = names(AddressScope::World, &["/dns4/localhost/tcp/7740"]);
        for said in ["/dns4/localhost/tcp/22", "/dns/localhost/tcp/22"] {
            assert!(reason(&mut open, said).await.contains("not public"), "{said}");
        }
        // A person typed it; or it is no name, and judged where it was heard.
        for dialled in ["/dns4/localhost/tcp/7740", "/ip4/127.0.0.1/tcp/22"] {
            assert!(!reason(&mut open, dialled).await.contains("not public"), "{dialled}");
        }
        let peer = PeerId::random();
        assert!(!reason(&mut open, &format!("/dns4/localhost/tcp/7740/p2p/{peer}")).await.contains("not public"));
    }

    #[tokio::test]
    async fn in_a_network_of_people_who_know_each_other_names_lead_anywhere() {
        let mut known = names(AddressScope::Machine, &[]);
        assert!(!reason(&mut known, "/dns4/localhost/tcp/22").await.contains("not public"));
    }
}
