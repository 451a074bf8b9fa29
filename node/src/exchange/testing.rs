//! Nodes for the tests of this folder: honest ones, and ones with a fault.

use std::sync::Arc;

use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::catalogue::Differing;
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::limits::DATA_MAX;
use potluck_protocol::manifest::{DatasetInfo, Kind, Manifest};
use potluck_protocol::shard::ShardRow;
use potluck_protocol::signed::{PublicKey, Signed};
use potluck_protocol::text::{Name, RelPath};
use tokio::sync::{mpsc, watch};

use super::{Exchange, Options, PullError, Pulled, Speeds};
use crate::home::Home;
use crate::net::testing::{config, connect, key, node, node_with};
use crate::net::{Config, FrameError, Handle, Inbound};
use crate::store::{Source, Store};
use crate::task::Tasks;

/// A node with a store and an exchange.
pub struct Node {
    pub net: Handle,
    pub store: Store,
    pub exchange: Exchange,
    pub tasks: Tasks,
    _home: tempfile::TempDir,
}

/// A store in a folder of its own.
pub fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let home = Home::open(folder.path().join("home")).expect("a home");
    (Store::open(&home).expect("a store"), folder)
}

pub async fn honest(seed: u8) -> Node {
    honest_with(config(), seed).await
}

/// One that is set up otherwise.
pub async fn honest_with(config: Config, seed: u8) -> Node {
    let (net, inbound) = node_with(config, seed).await;
    let (store, home) = store();
    let tasks = Tasks::default();
    let exchange = Exchange::start(net.clone(), inbound, store.clone(), &tasks, Speeds::default()).await;
    Node { net, store, exchange, tasks, _home: home }
}

/// The same node after its process has ended and begun again: the same key and store.
pub async fn restarted(node: Node, seed: u8) -> Node {
    let Node { net, store, exchange, tasks, _home: home } = node;
    assert!(tasks.finish().await, "every task ends when it is told to");
    net.shutdown().await;
    drop((net, store, exchange));
    let (net, inbound) = crate::net::testing::node(seed).await;
    let store = Store::open(&Home::open(home.path().join("home")).expect("a home")).expect("the store opens again");
    let tasks = Tasks::default();
    let exchange = Exchange::start(net.clone(), inbound, store.clone(), &tasks, Speeds::default()).await;
    Node { net, store, exchange, tasks, _home: home }
}

/// So many bytes that no compressor or deduplication shortens.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Publishes a file of so many bytes into a store, the same in every store.
pub fn publish(store: &Store, len: usize) -> ManifestId {
    let path = RelPath::new("rows.jsonl").expect("a good path");
    let files = store.import_files(vec![(path, Source::Bytes(noise(7, len)))]).expect("it is stored");
    let keypair = key(99);
    let body = Manifest {
        kind: Kind::Dataset(DatasetInfo { rows: 1 }),
        name: Name::new("noise").expect("a good name"),
        licence: "CC0-1.0".to_owned(),
        description: String::new(),
        created: 0,
        publisher: PublicKey::of(&keypair),
        files,
    };
    let signed = Signed::sign(&body, &keypair).expect("it encodes").expect("its own signer");
    let mapped = store.map(signed.verify().expect("our own")).expect("the store works").expect("it fits");
    let complete = mapped.complete(|id| store.has_shard(id)).expect("the store works").expect("all is there");
    store.commit(&complete).expect("it is stored");
    complete.manifest().id()
}

/// The content shards of a manifest in a store.
pub fn rows(store: &Store, id: ManifestId) -> Vec<ShardRow> {
    store.mapped(&id).expect("it is there").shards().collect()
}

/// The manifest and then all that it names, as every caller does it.
pub async fn find_and_pull(exchange: &Exchange, id: ManifestId, options: Options) -> Result<Pulled, PullError> {
    let manifest = exchange.find(id, options.clone()).await?;
    exchange.pull(manifest, options).await
}

/// How a provider fails when it is asked for a content shard.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    WrongBytes,
    /// Goes on after the end of the shard.
    TooManyBytes,
    /// Says nothing, and keeps the stream open.
    Silence,
    /// Sends half of a shard and ends the stream.
    HalfWay,
    /// Says `Busy` to the first so many requests.
    Busy(usize),
    /// Does not have shards after the first so many.
    Partial(usize),
    /// Sends a length of a gigabyte.
    Gigabyte,
    /// Refuses for a reason that only a later version knows.
    Later,
}

/// A node that has everything, answers small questions truthfully and fails at content.
pub async fn faulty(seed: u8, len: usize, fault: Fault) -> (Handle, ManifestId, watch::Receiver<usize>) {
    let (net, inbound) = node(seed).await;
    let (store, home) = store();
    let id = publish(&store, len);
    let (count, asked) = watch::channel(0);
    tokio::spawn(accept(inbound, Arc::new((store, home)), id, fault, Arc::new(count)));
    (net, id, asked)
}

async fn accept(
    mut inbound: mpsc::Receiver<Inbound>,
    store: Arc<(Store, tempfile::TempDir)>,
    id: ManifestId,
    fault: Fault,
    asked: Arc<watch::Sender<usize>>,
) {
    while let Some(stream) = inbound.recv().await {
        let (store, asked) = (store.clone(), asked.clone());
        tokio::spawn(async move { answer(stream, &store.0, id, fault, &asked).await });
    }
}

/// Until the peer has enough of it.
async fn answer(
    mut stream: Inbound,
    store: &Store,
    id: ManifestId,
    fault: Fault,
    asked: &watch::Sender<usize>,
) -> Result<(), FrameError> {
    let content = rows(store, id);
    while let Some(request) = stream.receive().await? {
        let reply = match request {
            Request::Manifest(_) => {
                let manifest = store.manifest(&id).expect("the store works").expect("it is there");
                Reply::Manifest(manifest.signed().encode().expect("it encodes"))
            }
            Request::Have(ids) => Reply::Have(ids.iter().map(|id| has(fault, &content, id)).collect()),
            Request::Providers(_) => Reply::Providers(Vec::new()),
            Request::Announcements(_) => Reply::Announcements(Vec::new()),
            Request::Compare(_) => Reply::Differing(Differing(Vec::new())),
            Request::Records(_) => Reply::Records(Vec::new()),
            Request::Peers => Reply::Peers(Vec::new()),
            Request::Cancel(_) => continue,
            Request::Shard(shard) => {
                let bytes = store.shard(&shard).expect("the store works").expect("it is there").into_bytes();
                let is_content = content.iter().any(|row| row.id == shard);
                if is_content {
                    let n = *asked.borrow();
                    asked.send_modify(|count| *count += 1);
                    if fail(&mut stream, fault, n, &bytes).await? {
                        continue;
                    }
                }
                send(&mut stream, &bytes, bytes.len() as u32).await?;
                continue;
            }
        };
        stream.send(&reply).await?;
    }
    Ok(())
}

fn has(fault: Fault, content: &[ShardRow], id: &potluck_protocol::id::ShardId) -> bool {
    match (fault, content.iter().position(|row| row.id == *id)) {
        (Fault::Partial(some), Some(position)) => position < some,
        _ => true,
    }
}

async fn send(stream: &mut Inbound, bytes: &[u8], len: u32) -> Result<(), FrameError> {
    for (n, piece) in bytes.chunks(DATA_MAX).enumerate() {
        stream.send(&Reply::Shard { len, offset: (n * DATA_MAX) as u32, bytes: piece.to_vec() }).await?;
    }
    Ok(())
}

/// `false` if this request is to be answered in earnest.
async fn fail(stream: &mut Inbound, fault: Fault, n: usize, bytes: &[u8]) -> Result<bool, FrameError> {
    match fault {
        Fault::WrongBytes => {
            let mut wrong = bytes.to_vec();
            wrong[bytes.len() / 2] ^= 1;
            send(stream, &wrong, wrong.len() as u32).await?;
        }
        Fault::TooManyBytes => {
            send(stream, bytes, bytes.len() as u32).await?;
            let offset = bytes.len() as u32;
            let more = Reply::Shard { len: offset + 1, offset, bytes: vec![0] };
            match stream.send(&more).await {
                // A whole shard cannot be made longer by an honest codec: then by hand.
                Err(FrameError::Codec(_)) => raw(stream, &[1, 0, 0, 0, 255]).await?,
                sent => sent?,
            }
        }
        Fault::Silence => std::future::pending().await,
        Fault::HalfWay => {
            send(stream, &bytes[..bytes.len() / 2], bytes.len() as u32).await?;
            return Err(FrameError::Ended);
        }
        Fault::Busy(some) if n < some => stream.send(&Reply::Refused(Refusal::Busy { retry_ms: 50 })).await?,
        Fault::Gigabyte => raw(stream, &(1u32 << 30).to_le_bytes()).await?,
        Fault::Later => raw(stream, &[12, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 1, 1, 1, 1]).await?,
        Fault::Busy(_) | Fault::Partial(_) => return Ok(false),
    }
    Ok(true)
}

async fn raw(stream: &mut Inbound, bytes: &[u8]) -> Result<(), FrameError> {
    use futures::AsyncWriteExt;
    stream.raw().write_all(bytes).await?;
    Ok(stream.raw().flush().await?)
}

/// Connects one node to others.
pub async fn connect_to(from: &Handle, others: &[&Handle]) {
    for other in others {
        connect(from, other).await;
    }
}

/// A base that nobody has: only its topic matters.
pub fn base() -> BaseId {
    BaseId(Digest::of(b"base"))
}
