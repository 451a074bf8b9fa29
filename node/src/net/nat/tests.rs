//! Relays, circuits and the way to a direct connection, between nodes on the loopback interface. What NATs do to them is
//! shown by `soak nat`.

use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::id::{Digest, ShardId};
use potluck_protocol::limits::DATA_MAX;
use tokio::sync::mpsc;

use super::super::bulk::Way;
use super::super::handle::Command;
use super::super::testing::{connect, key, wait};
use super::super::{Config, Event, Handle, Inbound, NetError, OpenError, start};
use super::*;
use crate::addresses::is_relayed;

/// Where a node of these tests listens.
#[derive(Clone, Copy, PartialEq)]
enum Listens {
    Loopback,
    /// Nowhere: nothing can be dialled, so what is relayed stays relayed.
    Nowhere,
}

async fn node(seed: u8, listens: Listens, nat: Settings) -> (Handle, mpsc::Receiver<Inbound>) {
    let mut config = Config { nat, ..Config::loopback("test".parse().expect("a good name")) };
    if listens == Listens::Nowhere {
        config.listen.clear();
    }
    start(config, Keypair::from(key(seed))).await.expect("it starts")
}

async fn relay(seed: u8, limits: RelayLimits) -> Handle {
    node(seed, Listens::Loopback, Settings { relay: Some(limits), ..Settings::default() }).await.0
}

/// A node that nobody reaches but through `relay`, and the address for that.
async fn hidden(seed: u8, listens: Listens, relay: &Handle) -> (Handle, mpsc::Receiver<Inbound>, Multiaddr) {
    let (hidden, inbound) = node(seed, listens, Settings { behind_nat: true, ..Settings::default() }).await;
    let mut events = hidden.events();
    connect(&hidden, relay).await;
    let circuit = wait(&mut events, |event| matches!(event, Event::Listening(address) if is_relayed(address))).await;
    let Event::Listening(circuit) = circuit else { unreachable!("it was waited for") };
    (hidden, inbound, circuit)
}

/// `from` reaches a hidden node through its relay.
async fn reach(from: &Handle, to: PeerId, circuit: &Multiaddr) -> Result<(), NetError> {
    let mut events = from.events();
    from.dial(to, vec![circuit.clone()]).await?;
    wait(&mut events, |event| matches!(event, Event::Connected(peer) if *peer == to)).await;
    Ok(())
}

async fn is_direct(from: &Handle, to: &Handle) -> bool {
    let peers = from.peers().await.expect("running");
    peers.iter().any(|info| info.peer == to.peer_id() && info.direct)
}

async fn open(from: &Handle, to: &Handle, way: Way) -> Result<super::super::Outbound, OpenError> {
    from.ask(|back| Command::Open(to.peer_id(), way, back)).await.expect("running")
}

fn request() -> Request {
    Request::Shard(ShardId(Digest::of(b"any")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_connection_becomes_direct_and_bulk_streams_go_over_that_one() {
    let relay = relay(1, RelayLimits::default()).await;
    let (hidden, mut inbound, circuit) = hidden(2, Listens::Loopback, &relay).await;
    let (other, _other) = node(3, Listens::Loopback, Settings::default()).await;
    connect(&other, &relay).await;
    let mut events = other.events();
    other.dial(hidden.peer_id(), vec![circuit]).await.expect("the relay leads there");
    wait(&mut events, |event| matches!(event, Event::Direct(peer) if *peer == hidden.peer_id())).await;
    assert!(is_direct(&other, &hidden).await);
    let mut stream = other.open_direct(hidden.peer_id()).await.expect("a direct connection stands");
    stream.send(&request()).await.expect("it is taken");
    assert!(!inbound.recv().await.expect("a stream").is_relayed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_carries_questions_and_no_shards() {
    let relay = relay(1, RelayLimits::default()).await;
    let (hidden, mut inbound, circuit) = hidden(2, Listens::Nowhere, &relay).await;
    let (other, _other) = node(3, Listens::Nowhere, Settings::default()).await;
    reach(&other, hidden.peer_id(), &circuit).await.expect("the relay leads there");
    assert!(!is_direct(&other, &hidden).await);
    let mut stream = open(&other, &hidden, Way::Any).await.expect("a relayed one will do");
    stream.send(&request()).await.expect("it is taken");
    assert!(inbound.recv().await.expect("a stream").is_relayed());
    assert_eq!(open(&other, &hidden, Way::Direct).await.map(drop), Err(OpenError::OnlyRelayed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_renewed_before_it_ends() {
    let limits = RelayLimits { reservation: Duration::from_secs(3), ..RelayLimits::default() };
    let relay = relay(1, limits).await;
    let (hidden, _inbound) = node(2, Listens::Nowhere, Settings { behind_nat: true, ..Settings::default() }).await;
    let mut events = hidden.events();
    connect(&hidden, &relay).await;
    for again in [false, true] {
        wait(&mut events, |event| matches!(event, Event::Reserved { renewal, .. } if *renewal == again)).await;
    }
    assert_eq!(hidden.reach().await.expect("running").relays, [relay.peer_id()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_are_used_and_one_that_goes_is_replaced() {
    let mut relays = Vec::new();
    for seed in 1..=3 {
        relays.push(relay(seed, RelayLimits::default()).await);
    }
    let (hidden, _inbound) = node(9, Listens::Nowhere, Settings { behind_nat: true, ..Settings::default() }).await;
    let mut events = hidden.events();
    for relay in &relays {
        connect(&hidden, relay).await;
    }
    for _ in 0..limits::RESERVATIONS {
        wait(&mut events, |event| matches!(event, Event::Reserved { .. })).await;
    }
    let info = hidden.reach().await.expect("running");
    assert_eq!((info.reachability, info.relays.len()), (Reachability::Private, limits::RESERVATIONS));
    let (gone, spare) = (&relays[0], relays[2].peer_id());
    assert!(info.relays.contains(&gone.peer_id()) && !info.relays.contains(&spare));
    gone.shutdown().await;
    let leads = |address: &Multiaddr, relay: PeerId| address.to_string().contains(&relay.to_string());
    wait(&mut events, |event| matches!(event, Event::Listening(address) if leads(address, spare))).await;
    let addresses = hidden.listen_addresses().await.expect("running");
    assert!(!addresses.iter().any(|address| leads(address, gone.peer_id())), "{addresses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_too_many_is_refused() {
    let relay = relay(1, RelayLimits { circuits: 1, ..RelayLimits::default() }).await;
    let (hidden, _inbound, circuit) = hidden(2, Listens::Nowhere, &relay).await;
    let (first, _first) = node(3, Listens::Nowhere, Settings::default()).await;
    let (second, _second) = node(4, Listens::Nowhere, Settings::default()).await;
    reach(&first, hidden.peer_id(), &circuit).await.expect("one circuit is allowed");
    let refused = reach(&second, hidden.peer_id(), &circuit).await;
    assert!(matches!(refused, Err(NetError::Dial { .. })), "{refused:?}");
    // When the first one ends its place is free.
    let mut events = hidden.events();
    first.disconnect(hidden.peer_id()).await.expect("running");
    wait(&mut events, |event| matches!(event, Event::Disconnected(peer) if *peer == first.peer_id())).await;
    assert!(is_settled(|| reach(&second, hidden.peer_id(), &circuit)).await);
}

/// The relay hears of the end of a circuit after its ends do: until then it may refuse.
async fn is_settled<F: Future<Output = Result<(), NetError>>>(attempt: impl Fn() -> F) -> bool {
    for _ in 0..20 {
        if attempt().await.is_ok() {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_ends_with_its_bytes_and_another_one_can_be_had() {
    let relay = relay(1, RelayLimits { circuit_bytes: 512 << 10, ..RelayLimits::default() }).await;
    let (hidden, mut inbound, circuit) = hidden(2, Listens::Nowhere, &relay).await;
    tokio::spawn(async move {
        while let Some(mut stream) = inbound.recv().await {
            let piece = Reply::Shard { len: DATA_MAX as u32, offset: 0, bytes: vec![7; DATA_MAX] };
            while stream.send(&piece).await.is_ok() {}
        }
    });
    let (other, _other) = node(3, Listens::Nowhere, Settings::default()).await;
    reach(&other, hidden.peer_id(), &circuit).await.expect("the relay leads there");
    let mut stream = open(&other, &hidden, Way::Any).await.expect("a relayed one will do");
    stream.send(&request()).await.expect("it is taken");
    let mut events = other.events();
    let mut pieces = 0;
    while stream.receive().await.is_ok() {
        pieces += 1;
        assert!(pieces * DATA_MAX <= 512 << 10, "the relay let more through than it says");
    }
    wait(&mut events, |event| matches!(event, Event::Disconnected(peer) if *peer == hidden.peer_id())).await;
    assert!(is_settled(|| reach(&other, hidden.peer_id(), &circuit)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_a_relay_can_dial_back_is_public_and_takes_no_relay() {
    let relay = relay(1, RelayLimits::default()).await;
    let (node, _inbound) = node(2, Listens::Loopback, Settings::default()).await;
    assert_eq!(node.reach().await.expect("running").reachability, Reachability::Unknown);
    let mut events = node.events();
    connect(&node, &relay).await;
    wait(&mut events, |event| matches!(event, Event::Reachability(Reachability::Public))).await;
    let info = node.reach().await.expect("running");
    let listens = node.listen_addresses().await.expect("running");
    assert_eq!(info.external, listens.iter().map(crate::addresses::without_peer).collect::<Vec<_>>());
    assert!(info.relays.is_empty());
}
