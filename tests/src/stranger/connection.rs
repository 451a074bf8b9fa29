//! One connection: TCP, noise, yamux, each agreed on by multistream-select.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::oneshot;
use libp2p::core::muxing::StreamMuxer;
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::OutboundConnectionUpgrade;
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, noise, tcp, yamux};
use tokio::sync::mpsc;

use super::{Outcome, negotiate, rule};

pub use libp2p::yamux::Stream;

/// Streams that wait, either way.
const WAITING: usize = 64;

/// What both sides open streams on.
#[derive(Clone, Debug)]
pub struct Connection(mpsc::Sender<oneshot::Sender<Stream>>);

/// Streams that the other side opens.
pub type Inbound = mpsc::Receiver<Stream>;

impl Connection {
    /// Dials a peer at an address without the peer's id.
    pub async fn dial(keypair: &Keypair, peer: PeerId, address: Multiaddr) -> Outcome<(Self, Inbound)> {
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let socket = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true)).dial(address, opts)?.await?;
        Self::over(keypair, peer, socket).await
    }

    /// The same on a socket that is connected already.
    pub async fn over(keypair: &Keypair, peer: PeerId, mut socket: tcp::tokio::TcpStream) -> Outcome<(Self, Inbound)> {
        negotiate::propose(&mut socket, "/noise").await?;
        let (found, mut secured) = noise::Config::new(keypair)?.upgrade_outbound(socket, "/noise").await?;
        rule(found == peer, "the peer has the key that it is known by")?;
        negotiate::propose(&mut secured, "/yamux/1.0.0").await?;
        let muxer = yamux::Config::default().upgrade_outbound(secured, "/yamux/1.0.0").await?;
        let (open, wanted) = mpsc::channel(WAITING);
        let (accepted, inbound) = mpsc::channel(WAITING);
        let mut driver = Driver { muxer, wanted, waiting: None, accepted };
        tokio::spawn(std::future::poll_fn(move |cx| driver.poll(cx)));
        Ok((Self(open), inbound))
    }

    /// Whether it has ended.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    /// A stream that speaks a protocol.
    pub async fn open(&self, protocol: &str) -> Outcome<Stream> {
        let (back, stream) = oneshot::channel();
        self.0.send(back).await.map_err(|_| "the connection is gone")?;
        let mut stream = stream.await?;
        negotiate::propose(&mut stream, protocol).await?;
        Ok(stream)
    }
}

/// Keeps the connection going: until it breaks, or nobody can open streams on it any more.
struct Driver<M> {
    muxer: M,
    wanted: mpsc::Receiver<oneshot::Sender<Stream>>,
    waiting: Option<oneshot::Sender<Stream>>,
    accepted: mpsc::Sender<Stream>,
}

impl<M: StreamMuxer<Substream = Stream> + Unpin> Driver<M> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waiting.is_none() {
                match self.wanted.poll_recv(cx) {
                    Poll::Ready(Some(back)) => self.waiting = Some(back),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            let mut moved = false;
            if self.waiting.is_some()
                && let Poll::Ready(opened) = Pin::new(&mut self.muxer).poll_outbound(cx)
            {
                let (Ok(stream), Some(back)) = (opened, self.waiting.take()) else { return Poll::Ready(()) };
                // Whoever asked may have gone.
                let _ = back.send(stream);
                moved = true;
            }
            if let Poll::Ready(stream) = Pin::new(&mut self.muxer).poll_inbound(cx) {
                let Ok(stream) = stream else { return Poll::Ready(()) };
                // More than anybody takes are reset.
                let _ = self.accepted.try_send(stream);
                moved = true;
            }
            if let Poll::Ready(event) = Pin::new(&mut self.muxer).poll(cx) {
                if event.is_err() {
                    return Poll::Ready(());
                }
                moved = true;
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }
}
