//! An attacker's connection to one node: raw streams, on which it answers as it likes and says what it likes.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::{Keypair, PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::tcp::tokio::TcpStream;
use libp2p::{Multiaddr, PeerId};
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::catalogue::Compare;
use potluck_protocol::codec;
use potluck_protocol::id::{AnnouncementId, BaseId, Digest};
use potluck_protocol::limits::CATALOGUE_BUCKETS;
use tokio::time::timeout;

use super::Outcome;
use super::shelf::Shelf;
use crate::loopback;
use crate::stranger::connection::{Connection, Inbound, Stream};
use crate::stranger::{bulk, gossip, identify, negotiate, protobuf};

const PING: &str = "/ipfs/ping/1.0.0";

/// Longer than any honest answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How it treats those who ask it something.
#[derive(Clone, Debug)]
pub enum Manner {
    /// It says who it is, and speaks nothing that anybody could ask in.
    Idle,
    /// It takes every question and answers none.
    Silent,
    /// It answers from a shelf.
    Serving(Shelf),
}

/// Where a node is, and where its peer is.
#[derive(Clone, Debug)]
pub struct Place {
    pub network: String,
    /// The node's, with its peer id.
    pub address: String,
    /// This machine's, from which the peer comes: nodes judge by it whose neighbour it is.
    pub from: Ipv4Addr,
}

/// A connection. It ends when this is dropped.
pub struct Peer {
    connection: Connection,
    network: String,
    keypair: Keypair,
    gossip: Option<Stream>,
    said: u64,
}

impl Peer {
    pub async fn connect(place: &Place, key: &ed25519::Keypair, manner: Manner) -> Outcome<Self> {
        let keypair = Keypair::from(key.clone());
        let (peer, door) = ends(&place.address)?;
        let dialled = timeout(PATIENCE, async {
            let socket = loopback::connect(place.from, door).await?;
            socket.set_nodelay(true)?;
            Connection::over(&keypair, peer, TcpStream(socket)).await
        });
        let (connection, inbound) = dialled.await.map_err(|_| "the node did not take the connection in time")??;
        let network = place.network.clone();
        tokio::spawn(accept(Answers { network: network.clone(), key: keypair.public(), manner }, inbound));
        Ok(Self { connection, network, keypair, gossip: None, said: 0 })
    }

    /// The same, and follows a base if it has something to say or to be asked.
    pub async fn at(place: &Place, base: &BaseId, key: &ed25519::Keypair, manner: Manner) -> Outcome<Self> {
        let follows = !matches!(manner, Manner::Idle);
        let mut peer = Self::connect(place, key, manner).await?;
        if follows {
            peer.follow(base).await?;
        }
        Ok(peer)
    }

    /// Whether the node has ended it.
    pub fn is_gone(&self) -> bool {
        self.connection.is_gone()
    }

    /// Says that it follows a base: the node compares catalogues with it from then on.
    pub async fn follow(&mut self, base: &BaseId) -> Outcome<()> {
        let message = gossip::subscribe(&gossip::topic(&self.network, &base.0.0));
        protobuf::write(self.gossip().await?, &message).await
    }

    /// Says something by gossip.
    pub async fn publish(&mut self, base: &BaseId, data: &[u8]) -> Outcome<()> {
        self.said += 1;
        let topic = gossip::topic(&self.network, &base.0.0);
        let message = gossip::publish(&self.keypair, &topic, data, self.said)?;
        protobuf::write(self.gossip().await?, &message).await
    }

    async fn gossip(&mut self) -> Outcome<&mut Stream> {
        if self.gossip.is_none() {
            self.gossip = Some(self.connection.open(&gossip::protocol(&self.network)).await?);
        }
        Ok(self.gossip.as_mut().ok_or("it was opened")?)
    }

    /// A stream on which questions go one way and answers the other.
    pub async fn bulk(&self) -> Outcome<Stream> {
        let opened = timeout(PATIENCE, self.connection.open(&bulk::protocol(&self.network))).await;
        opened.map_err(|_| "no stream was opened in time")?
    }

    /// Asks one question on a stream of its own.
    pub async fn ask(&self, request: &Request) -> Outcome<Reply> {
        let bytes = self.ask_raw(&codec::encode(request)?).await?;
        Ok(codec::decode(&bytes)?)
    }

    /// Asks anything; the bytes of the answer.
    pub async fn ask_raw(&self, request: &[u8]) -> Outcome<Vec<u8>> {
        let mut stream = self.bulk().await?;
        bulk::write_frame(&mut stream, request).await?;
        let answer = timeout(PATIENCE, bulk::read_frame(&mut stream, bulk::REPLY_MAX)).await;
        answer.map_err(|_| "no answer came in time")??.ok_or_else(|| "the stream ended without an answer".into())
    }

    /// The records of a base that the node knows. Asking makes it compare with this peer as well.
    pub async fn known(&self, base: &BaseId) -> Outcome<BTreeSet<AnnouncementId>> {
        let unlike = vec![Digest::of(b"unlike any"); CATALOGUE_BUCKETS];
        match self.ask(&Request::Compare(Compare { base: *base, buckets: unlike })).await? {
            Reply::Differing(differing) => Ok(differing.ids().collect()),
            _ => Err("the node did not compare".into()),
        }
    }
}

/// Peer and address of `/ip4/.../tcp/.../p2p/PEER`.
fn ends(address: &str) -> Outcome<(PeerId, SocketAddrV4)> {
    let address: Multiaddr = address.parse()?;
    let parts: Vec<_> = address.iter().collect();
    match parts[..] {
        [Protocol::Ip4(ip), Protocol::Tcp(port), Protocol::P2p(peer)] => Ok((peer, SocketAddrV4::new(ip, port))),
        _ => Err(format!("{address} is not /ip4/ADDRESS/tcp/PORT/p2p/PEER").into()),
    }
}

#[derive(Clone)]
struct Answers {
    network: String,
    key: PublicKey,
    manner: Manner,
}

async fn accept(answers: Answers, mut inbound: Inbound) {
    while let Some(stream) = inbound.recv().await {
        let answers = answers.clone();
        // How a stream ends is the node's affair.
        tokio::spawn(async move { drop(answers.serve(stream).await) });
    }
}

impl Answers {
    fn spoken(&self) -> Vec<String> {
        let fixed = vec![identify::PROTOCOL.to_owned(), PING.to_owned()];
        match self.manner {
            Manner::Idle => fixed,
            Manner::Silent | Manner::Serving(_) => {
                [fixed, vec![bulk::protocol(&self.network), gossip::protocol(&self.network)]].concat()
            }
        }
    }

    async fn serve(&self, mut stream: Stream) -> Outcome<()> {
        let spoken = self.spoken();
        let protocol = negotiate::agree(&mut stream, &spoken).await?;
        if protocol == identify::PROTOCOL {
            protobuf::write(&mut stream, &identify::answer(&self.network, &self.key, &spoken)).await?;
            stream.close().await?;
        } else if protocol == PING {
            let mut bytes = [0; 32];
            while stream.read_exact(&mut bytes).await.is_ok() {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
        } else if protocol == gossip::protocol(&self.network) {
            while protobuf::read(&mut stream).await.is_ok() {}
        } else {
            while let Some(request) = bulk::read_frame(&mut stream, bulk::REQUEST_MAX).await? {
                let Manner::Serving(shelf) = &self.manner else { continue };
                for reply in shelf.answer(&codec::decode(&request)?) {
                    bulk::write_frame(&mut stream, &codec::encode(&reply)?).await?;
                }
            }
        }
        Ok(())
    }
}
