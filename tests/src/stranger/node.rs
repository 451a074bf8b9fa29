//! The node: one connection, what it answers on it, and what it asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::{self, Keypair};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use super::adapter::{Adapter, Published};
use super::bulk::{self, PIECE_MAX, Reply, Request};
use super::connection::{Connection, Inbound, Stream};
use super::objects::Announcement;
use super::{Digest, Outcome, gossip, identify, negotiate, protobuf, rule};

const PING: &str = "/ipfs/ping/1.0.0";
const PARTS: usize = 64;
const PART: &str = "potluck 2026 catalogue bucket/1";

/// What the other side said, or asked and was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing; it said that it follows the base.
    Follows,
    Manifest,
    Shard,
    /// So many records of the catalogue.
    Records(usize),
}

/// A node that is connected to one peer.
pub struct Node {
    pub(super) connection: Connection,
    shelf: Arc<Shelf>,
    keypair: Keypair,
    /// In order.
    pub said: mpsc::Receiver<Said>,
    /// Kept open: what is said later goes on it.
    gossip: Stream,
}

/// What it has to give, and for whom.
pub(super) struct Shelf {
    pub network: String,
    pub base: Digest,
    published: Published,
    spoken: Vec<String>,
    key: identity::PublicKey,
    said: mpsc::Sender<Said>,
}

impl Node {
    /// Dials `address`, which ends in the peer's id, and offers an adapter of a base.
    pub async fn connect(network: &str, address: &str, base: Digest, adapter: Option<&Adapter>) -> Outcome<Self> {
        let ed25519 = identity::ed25519::Keypair::generate();
        let published = adapter.map(|adapter| adapter.publish("strange", base, 1, &ed25519)).unwrap_or_default();
        let keypair = Keypair::from(ed25519);
        let (peer, address) = parts(address)?;
        let (connection, inbound) = Connection::dial(&keypair, peer, address).await?;
        let spoken =
            vec![identify::PROTOCOL.to_owned(), PING.to_owned(), bulk::protocol(network), gossip::protocol(network)];
        let (given, said) = mpsc::channel(1024);
        let (network, key) = (network.to_owned(), keypair.public());
        let shelf = Arc::new(Shelf { network, base, published, spoken, key, said: given });
        tokio::spawn(accept(shelf.clone(), inbound));
        let mut question = connection.open(identify::PROTOCOL).await?;
        identify::check(&shelf.network, &protobuf::read(&mut question).await?)?;
        let gossip = connection.open(&gossip::protocol(&shelf.network)).await?;
        Ok(Self { connection, shelf, keypair, said, gossip })
    }

    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The manifest that it offers.
    pub fn published(&self) -> Digest {
        self.shelf.published.id
    }

    /// Says that it follows its base: from then on the other side compares catalogues with it.
    pub async fn follow(&mut self) -> Outcome<()> {
        let topic = gossip::topic(&self.shelf.network, &self.shelf.base);
        protobuf::write(&mut self.gossip, &gossip::subscribe(&topic)).await
    }

    /// Says by gossip that its adapter exists.
    pub async fn announce(&mut self) -> Outcome<()> {
        let topic = gossip::topic(&self.shelf.network, &self.shelf.base);
        let message = gossip::publish(&self.keypair, &topic, &self.shelf.published.announcement, 1)?;
        protobuf::write(&mut self.gossip, &message).await
    }

    /// The other side's announcements of the base, each verified.
    pub async fn catalogue(&self) -> Outcome<Vec<Announcement>> {
        let base = self.shelf.base;
        let mut stream = self.connection.open(&bulk::protocol(&self.shelf.network)).await?;
        let nothing = vec![part(&[]); PARTS];
        bulk::ask(&mut stream, &Request::Compare { base, parts: nothing }).await?;
        let Reply::Differing(parts) = bulk::answer(&mut stream).await? else { return Err("no comparison".into()) };
        let ids: Vec<Digest> = parts.into_iter().flat_map(|(_, ids)| ids).collect();
        let mut all = Vec::new();
        for ids in ids.chunks(256) {
            bulk::ask(&mut stream, &Request::Records { base, ids: ids.to_vec() }).await?;
            let Reply::Records(records) = bulk::answer(&mut stream).await? else { return Err("no records".into()) };
            for record in records {
                let (id, announcement) = Announcement::open(&record)?;
                rule(ids.contains(&id) && announcement.base == base, "what was asked for came")?;
                all.push(announcement);
            }
        }
        Ok(all)
    }
}

/// Peer and address of `/ip4/.../tcp/.../p2p/PEER`.
fn parts(address: &str) -> Outcome<(PeerId, Multiaddr)> {
    let mut address: Multiaddr = address.parse()?;
    match address.pop() {
        Some(Protocol::P2p(peer)) => Ok((peer, address)),
        _ => Err("the address does not end in a peer id".into()),
    }
}

/// The digest of a part of a catalogue.
fn part(sorted: &[Digest]) -> Digest {
    blake3::derive_key(PART, &sorted.concat())
}

async fn accept(shelf: Arc<Shelf>, mut inbound: Inbound) {
    while let Some(stream) = inbound.recv().await {
        let shelf = shelf.clone();
        tokio::spawn(async move {
            if let Err(error) = shelf.serve(stream).await {
                eprintln!("stranger: a stream ended: {error}");
            }
        });
    }
}

impl Shelf {
    async fn serve(&self, mut stream: Stream) -> Outcome<()> {
        let protocol = negotiate::agree(&mut stream, &self.spoken).await?;
        if protocol == identify::PROTOCOL {
            protobuf::write(&mut stream, &identify::answer(&self.network, &self.key, &self.spoken)).await?;
        } else if protocol == PING {
            let mut bytes = [0; 32];
            while stream.read_exact(&mut bytes).await.is_ok() {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
        } else if protocol == bulk::protocol(&self.network) {
            while let Some(request) = bulk::asked(&mut stream).await? {
                for reply in self.answers(&request) {
                    bulk::reply(&mut stream, &reply).await?;
                }
                self.note(&request);
            }
        } else {
            let topic = gossip::topic(&self.network, &self.base);
            while let Ok(message) = protobuf::read(&mut stream).await {
                if gossip::follows(&message, &topic)? {
                    let _ = self.said.try_send(Said::Follows);
                }
            }
        }
        Ok(stream.close().await?)
    }

    fn answers(&self, request: &Request) -> Vec<Reply> {
        let one = |reply| vec![reply];
        match request {
            Request::Manifest(id) if *id == self.published.id => one(Reply::Manifest(self.published.manifest.clone())),
            Request::Have(ids) => {
                one(Reply::Have(ids.iter().map(|id| self.published.shards.contains_key(id)).collect()))
            }
            Request::Shard(id) => match self.published.shards.get(id) {
                Some(shard) => pieces(shard),
                None => one(Reply::NotFound),
            },
            Request::Compare { base, parts } => one(Reply::Differing(self.differing(base, parts))),
            Request::Records { base, ids } => {
                let here = *base == self.base && ids.contains(&self.published.announcement_id);
                one(Reply::Records(here.then(|| self.published.announcement.clone()).into_iter().collect()))
            }
            Request::Cancel => Vec::new(),
            Request::Peers => one(Reply::NoPeers),
            Request::Manifest(_) | Request::Other => one(Reply::NotFound),
        }
    }

    /// The parts that differ, with the ids of what is announced here.
    fn differing(&self, base: &Digest, parts: &[Digest]) -> Vec<(u8, Vec<Digest>)> {
        let mut ours: BTreeMap<usize, Vec<Digest>> = BTreeMap::new();
        if *base == self.base && !self.published.announcement.is_empty() {
            let id = self.published.announcement_id;
            ours.entry(usize::from(id[0] >> 2)).or_default().push(id);
        }
        let ours = |index: usize| ours.get(&index).cloned().unwrap_or_default();
        let all = parts.iter().enumerate().map(|(index, theirs)| (index, ours(index), theirs));
        all.filter(|(_, ids, theirs)| part(ids) != **theirs).map(|(index, ids, _)| (index as u8, ids)).collect()
    }

    fn note(&self, request: &Request) {
        let said = match request {
            Request::Manifest(_) => Said::Manifest,
            Request::Shard(_) => Said::Shard,
            Request::Records { ids, .. } => Said::Records(ids.len()),
            _ => return,
        };
        // Nobody may be listening.
        let _ = self.said.try_send(said);
    }
}

fn pieces(shard: &[u8]) -> Vec<Reply> {
    let piece = |(n, bytes): (usize, &[u8])| Reply::Shard {
        len: shard.len() as u32,
        offset: (n * PIECE_MAX) as u32,
        bytes: bytes.to_vec(),
    };
    shard.chunks(PIECE_MAX).enumerate().map(piece).collect()
}
