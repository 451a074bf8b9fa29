//! TLS before noise on one transport: the dialler proposes both in this order, and the listener takes the first that it
//! has. So nodes with and without TLS meet.
//!
//! libp2p has the same behind its builder, in a private type; the transport here is not the builder's, because of the door
//! in front of it, the key of private networks and the fresh ports.

use std::io;

use futures::future::{BoxFuture, Either};
use futures::{FutureExt, TryFutureExt};
use libp2p::PeerId;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

/// `first` if both sides have it, else `second`.
#[derive(Clone)]
pub struct Preferring<A, B> {
    /// What is preferred.
    pub first: A,
    /// What is spoken with those who do not know the first.
    pub second: B,
}

type Secured<A, B> = BoxFuture<'static, Result<(PeerId, Either<A, B>), io::Error>>;

impl<A, B> UpgradeInfo for Preferring<A, B>
where
    A: UpgradeInfo<Info = &'static str>,
    B: UpgradeInfo<Info = &'static str>,
{
    type Info = &'static str;
    type InfoIter = Vec<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.first.protocol_info().into_iter().chain(self.second.protocol_info()).collect()
    }
}

impl<A: UpgradeInfo<Info = &'static str>, B> Preferring<A, B> {
    fn is_first(&self, name: &str) -> bool {
        self.first.protocol_info().into_iter().any(|own| own == name)
    }
}

impl<C, A, B, X, Y> InboundConnectionUpgrade<C> for Preferring<A, B>
where
    A: InboundConnectionUpgrade<C, Output = (PeerId, X)> + UpgradeInfo<Info = &'static str>,
    B: InboundConnectionUpgrade<C, Output = (PeerId, Y)> + UpgradeInfo<Info = &'static str>,
    A::Future: Send + 'static,
    B::Future: Send + 'static,
    A::Error: std::error::Error + Send + Sync + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
    X: 'static,
    Y: 'static,
{
    type Output = (PeerId, Either<X, Y>);
    type Error = io::Error;
    type Future = Secured<X, Y>;

    fn upgrade_inbound(self, socket: C, name: &'static str) -> Self::Future {
        match self.is_first(name) {
            true => left(self.first.upgrade_inbound(socket, name)),
            false => right(self.second.upgrade_inbound(socket, name)),
        }
    }
}

impl<C, A, B, X, Y> OutboundConnectionUpgrade<C> for Preferring<A, B>
where
    A: OutboundConnectionUpgrade<C, Output = (PeerId, X)> + UpgradeInfo<Info = &'static str>,
    B: OutboundConnectionUpgrade<C, Output = (PeerId, Y)> + UpgradeInfo<Info = &'static str>,
    A::Future: Send + 'static,
    B::Future: Send + 'static,
    A::Error: std::error::Error + Send + Sync + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
    X: 'static,
    Y: 'static,
{
    type Output = (PeerId, Either<X, Y>);
    type Error = io::Error;
    type Future = Secured<X, Y>;

    fn upgrade_outbound(self, socket: C, name: &'static str) -> Self::Future {
        match self.is_first(name) {
            true => left(self.first.upgrade_outbound(socket, name)),
            false => right(self.second.upgrade_outbound(socket, name)),
        }
    }
}

fn left<X, Y, E>(upgrade: impl Future<Output = Result<(PeerId, X), E>> + Send + 'static) -> Secured<X, Y>
where
    E: std::error::Error + Send + Sync + 'static,
{
    upgrade.map_ok(|(peer, stream)| (peer, Either::Left(stream))).map_err(io::Error::other).boxed()
}

fn right<X, Y, E>(upgrade: impl Future<Output = Result<(PeerId, Y), E>> + Send + 'static) -> Secured<X, Y>
where
    E: std::error::Error + Send + Sync + 'static,
{
    upgrade.map_ok(|(peer, stream)| (peer, Either::Right(stream))).map_err(io::Error::other).boxed()
}
