//! What the tests of this folder share.

use libp2p::identity::{Keypair, ed25519};
use potluck_protocol::announce::{Announcement, KindTag, LaterAnnouncement};
use potluck_protocol::id::{BaseId, Digest, ManifestId};
use potluck_protocol::signed::{Authentic, PublicKey, Signed};
use potluck_protocol::text::Name;
use tokio::sync::{broadcast, mpsc};

use super::discovery::Dht;
use super::discovery::limits::TARGET;
use super::{Config, Event, Handle, Inbound, start};

/// Far above what anything here takes: a guard against a test that would hang, not a measure.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

/// The base of every announcement made here.
pub fn base() -> BaseId {
    BaseId(Digest::of(b"base"))
}

/// A key that depends on `seed` alone.
pub fn key(seed: u8) -> ed25519::Keypair {
    let mut secret = [seed; 32];
    ed25519::SecretKey::try_from_bytes(&mut secret).map(Into::into).expect("32 bytes are a key")
}

/// An announcement by the key of `seed`, of a manifest named by `name`.
pub fn announcement(seed: u8, name: &str, sequence: u64) -> Authentic<Announcement> {
    let key = key(seed);
    let body = Announcement {
        manifest: ManifestId(Digest::of(name.as_bytes())),
        manifest_len: 100,
        kind: KindTag::Adapter,
        name: Name::new(name).expect("a good name"),
        base: base(),
        total_bytes: 1000,
        publisher: PublicKey::of(&key),
        sequence,
    };
    let signed = Signed::sign(&body, &key).expect("it encodes").expect("it is its own signer");
    signed.verify().expect("our own signature")
}

/// The bytes of an announcement that only a later version understands.
pub fn later_announcement(seed: u8, name: &str) -> Vec<u8> {
    let like = announcement(seed, name, 1);
    let Announcement { manifest, manifest_len, kind: _, name, base, total_bytes, publisher, sequence } =
        like.body().clone();
    let kind = KindTag::KNOWN;
    let body = LaterAnnouncement { manifest, manifest_len, kind, name, base, total_bytes, publisher, sequence };
    let signed = Signed::sign(&body, &key(seed)).expect("it encodes").expect("it is its own signer");
    signed.encode().expect("it encodes")
}

/// A node of the test network on the loopback interface, on a port of its own.
pub async fn node(seed: u8) -> (Handle, mpsc::Receiver<Inbound>) {
    node_of("test", seed).await
}

pub async fn node_of(network: &str, seed: u8) -> (Handle, mpsc::Receiver<Inbound>) {
    node_with(Config::loopback(Name::new(network).expect("a good name")), seed).await
}

/// A node that is set up otherwise.
pub async fn node_with(config: Config, seed: u8) -> (Handle, mpsc::Receiver<Inbound>) {
    start(config, Keypair::from(key(seed))).await.expect("the loopback interface can be listened on")
}

/// The test network's settings.
pub fn config() -> Config {
    Config::loopback(Name::new("test").expect("a good name"))
}

/// The same, of a node that looks for peers and takes part in the DHT.
pub fn looking() -> Config {
    Config { dht: Dht::Auto, target: TARGET, ..config() }
}

/// A node's name before it runs.
pub fn peer_id(seed: u8) -> libp2p::PeerId {
    Keypair::from(key(seed)).public().to_peer_id()
}

/// Until two nodes know each other, whoever dials.
pub async fn meets(node: &Handle, other: &Handle) {
    let mut events = node.events();
    let wanted = other.peer_id();
    let known = |infos: Vec<super::PeerInfo>| infos.iter().any(|info| info.peer == wanted && info.agent.is_some());
    if !known(node.peers().await.expect("running")) {
        wait(&mut events, |event| matches!(event, Event::Connected(peer) if *peer == wanted)).await;
    }
}

/// Connects `from` to `to`; both know each other afterwards.
pub async fn connect(from: &Handle, to: &Handle) {
    let (mut here, mut there) = (from.events(), to.events());
    from.dial(to.peer_id(), to.listen_addresses().await.expect("running")).await.expect("it listens");
    wait(&mut here, |event| matches!(event, Event::Connected(peer) if *peer == to.peer_id())).await;
    wait(&mut there, |event| matches!(event, Event::Connected(peer) if *peer == from.peer_id())).await;
}

/// Asks again and again until the answer is yes.
pub async fn until(holds: impl AsyncFn() -> bool) {
    let asking = async { while !holds().await {} };
    tokio::time::timeout(LIMIT, asking).await.expect("it comes to hold");
}

/// The next event that is wanted.
pub async fn wait(events: &mut broadcast::Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = events.recv().await.expect("the network runs and the test keeps up");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LIMIT, found).await.expect("the event comes")
}
