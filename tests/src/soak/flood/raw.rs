//! A connection by hand: TCP from a chosen address, noise, yamux, and streams on which anything may be written.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, poll_fn};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, noise, tcp, yamux};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::crash::Outcome;
use crate::loopback;

/// A plain TCP connection to a port of this machine, from an address of it.
pub async fn connect(from: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    loopback::connect(from, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).await
}

/// A transport that dials one port from one address.
struct From {
    from: Ipv4Addr,
    port: u16,
}

impl Transport for From {
    type Output = tcp::tokio::TcpStream;
    type Error = std::io::Error;
    type ListenerUpgrade = futures::future::Pending<std::io::Result<Self::Output>>;
    type Dial = BoxFuture<'static, std::io::Result<Self::Output>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, _: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        let (from, port) = (self.from, self.port);
        Ok(async move { Ok(tcp::tokio::TcpStream(connect(from, port).await?)) }.boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Poll::Pending
    }
}

type Back = oneshot::Sender<Option<SubstreamBox>>;

/// An encrypted connection; a task keeps it going until this is dropped.
pub struct Wire {
    wanted: mpsc::Sender<Back>,
    task: JoinHandle<()>,
}

impl Wire {
    pub async fn dial(from: Ipv4Addr, port: u16, identity: &Keypair) -> Outcome<Self> {
        let mut muxing = yamux::Config::default();
        muxing.set_max_num_streams(4000);
        let mut transport = From { from, port }
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(identity)?)
            .multiplex(muxing)
            .boxed();
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let address = format!("/ip4/127.0.0.1/tcp/{port}").parse()?;
        let (_, muxer): (PeerId, StreamMuxerBox) = transport.dial(address, opts)?.await?;
        let (wanted, requests) = mpsc::channel(16);
        Ok(Self { wanted, task: tokio::spawn(keep(muxer, requests)) })
    }

    /// A new stream; `None` if the connection is gone.
    pub async fn open(&self) -> Option<SubstreamBox> {
        let (back, answer) = oneshot::channel();
        self.wanted.send(back).await.ok()?;
        answer.await.ok()?
    }

    /// A new stream on which a protocol has been agreed.
    pub async fn speak(&self, protocol: &str) -> Option<SubstreamBox> {
        let mut stream = self.open().await?;
        negotiate(&mut stream, protocol).await.ok()?;
        Some(stream)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Streams of the other side: it opens a few for each protocol that it speaks.
const HELD_MAX: usize = 64;

/// Polls the connection and opens streams, until it ends.
async fn keep(mut muxer: StreamMuxerBox, mut requests: mpsc::Receiver<Back>) {
    let mut waiting: Option<Back> = None;
    let mut held = Vec::new();
    poll_fn(|cx| {
        loop {
            let mut moved = false;
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            // What the other side opens is held and not answered: a stranger has nothing to say. Were it dropped, the other
            // side would take it that gossip is not spoken here, and then speak none itself.
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    moved = true;
                    if held.len() < HELD_MAX {
                        held.push(stream);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if waiting.is_none() {
                match requests.poll_recv(cx) {
                    Poll::Ready(Some(back)) => waiting = Some(back),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if waiting.is_some() {
                match muxer.poll_outbound_unpin(cx) {
                    Poll::Ready(Ok(stream)) => {
                        if let Some(back) = waiting.take() {
                            drop(back.send(Some(stream)));
                        }
                        moved = true;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// multistream-select, both lines at once.
async fn negotiate(stream: &mut SubstreamBox, protocol: &str) -> std::io::Result<()> {
    let mut expected = Vec::new();
    for line in ["/multistream/1.0.0", protocol] {
        expected.extend(varint(line.len() as u64 + 1));
        expected.extend(line.as_bytes());
        expected.push(b'\n');
    }
    stream.write_all(&expected).await?;
    stream.flush().await?;
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).await?;
    if answer == expected { Ok(()) } else { Err(std::io::Error::other("the protocol is not spoken")) }
}

/// A number as protobuf and multistream write it.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
