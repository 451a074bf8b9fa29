//! A transport that takes a new port where the listening one is taken.
//!
//! Dials go out from the port that the node listens on, so that NATs keep one hole for both ways. Another program may have
//! that port for a connection of its own (any port that the system gave can be meant): then a dial from a new port is worse
//! than one from the old port and better than none. libp2p's TCP does so if the address is not available, not if it is in use.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::{Multiaddr, Transport};

/// See the module.
pub struct FreshPort<T>(pub T);

impl<T> Transport for FreshPort<T>
where
    T: Transport<Error = io::Error> + Unpin,
    T::Output: Send + 'static,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<T::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    /// Both dials are prepared at once, because later there is nobody to ask; one that is not polled does nothing.
    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let first = self.0.dial(address.clone(), opts)?;
        if opts.port_use == PortUse::New {
            return Ok(first.boxed());
        }
        let second = self.0.dial(address.clone(), DialOpts { port_use: PortUse::New, ..opts })?;
        let either = async move {
            match first.await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    tracing::debug!(%address, "the listening port is in use: dialling from a new one");
                    second.await
                }
                done => done,
            }
        };
        Ok(either.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use futures::executor::block_on;
    use libp2p::core::Endpoint;

    use super::*;

    /// Says from which port it dialled; from the listening one it fails in the way that it holds.
    struct Taken(Option<io::ErrorKind>);

    impl Transport for Taken {
        type Output = PortUse;
        type Error = io::Error;
        type ListenerUpgrade = Ready<io::Result<PortUse>>;
        type Dial = Ready<io::Result<PortUse>>;

        fn listen_on(&mut self, _: ListenerId, _: Multiaddr) -> Result<(), TransportError<io::Error>> {
            Ok(())
        }

        fn remove_listener(&mut self, _: ListenerId) -> bool {
            false
        }

        fn dial(&mut self, _: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
            let failed = self.0.filter(|_| opts.port_use == PortUse::Reuse);
            Ok(ready(failed.map_or(Ok(opts.port_use), |kind| Err(kind.into()))))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
            Poll::Pending
        }
    }

    fn dialled(failure: Option<io::ErrorKind>, port_use: PortUse) -> Result<PortUse, io::ErrorKind> {
        let address = "/ip4/127.0.0.1/tcp/1".parse().expect("an address");
        let opts = DialOpts { role: Endpoint::Dialer, port_use };
        let dial = FreshPort(Taken(failure)).dial(address, opts).expect("it can be begun");
        block_on(dial).map_err(|error| error.kind())
    }

    #[test]
    fn a_new_port_is_taken_if_the_old_one_is_in_use_and_only_then() {
        let in_use = Some(io::ErrorKind::AddrInUse);
        assert_eq!(dialled(None, PortUse::Reuse), Ok(PortUse::Reuse));
        assert_eq!(dialled(in_use, PortUse::Reuse), Ok(PortUse::New));
        assert_eq!(dialled(in_use, PortUse::New), Ok(PortUse::New));
        let refused = io::ErrorKind::ConnectionRefused;
        assert_eq!(dialled(Some(refused), PortUse::Reuse), Err(refused));
    }
}
