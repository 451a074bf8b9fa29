//! Discovery over real connections on the loopback interface.

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::id::{Digest, ManifestId};
use tokio::sync::{broadcast, mpsc};

use super::Ask;
use super::{Dht, FindError, Key, limits};
use crate::net::handle::Command;
use crate::net::testing::{connect, looking, meets, node_with, peer_id, until, wait};
use crate::net::{Config, Event, Handle, Inbound};

fn key(n: usize) -> Key {
    Key::manifest(ManifestId(Digest::of(&n.to_le_bytes())))
}

async fn node(seed: u8) -> (Handle, mpsc::Receiver<Inbound>) {
    node_with(looking(), seed).await
}

fn client() -> Config {
    Config { dht: Dht::Client, ..looking() }
}

/// Until a node can ask another for the DHT.
async fn routed(events: &mut broadcast::Receiver<Event>, to: PeerId) {
    wait(events, |event| matches!(event, Event::Routed(peer) if *peer == to)).await;
}

async fn connect_routed(from: &Handle, to: &Handle) {
    let mut events = from.events();
    connect(from, to).await;
    routed(&mut events, to.peer_id()).await;
}

/// Others' records and our own.
async fn records(node: &Handle) -> (usize, usize) {
    node.ask(|back| Command::Discovery(Ask::Records(back))).await.expect("running")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_know_only_a_third_find_each_other_by_the_dht() {
    let ((hub, _hub), (a, _a), (b, _b)) = (node(1).await, node(2).await, node(3).await);
    connect(&a, &hub).await;
    connect(&b, &hub).await;
    meets(&a, &b).await;
}

/// A client is in nobody's routing table: only what it provides leads to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_is_found_and_dialled() {
    let ((hub, _hub), (a, _a), (b, _b)) = (node(1).await, node_with(client(), 2).await, node_with(client(), 3).await);
    assert!(matches!(a.provide(key(1)).await, Err(FindError::Alone)));
    connect_routed(&a, &hub).await;
    connect_routed(&b, &hub).await;
    assert!(b.find_providers(key(1)).await.expect("it answers").is_empty());
    a.provide(key(1)).await.expect("the hub hears it");
    // Said is not heard: the message has no answer.
    until(async || b.find_providers(key(1)).await.expect("it answers") == [a.peer_id()]).await;
    meets(&b, &a).await;
    assert_eq!(records(&hub).await, (1, 0));
    a.stop_providing(vec![key(1)]).await.expect("running");
    assert_eq!(records(&a).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_provides_outlives_a_panic_of_its_swarm() {
    let ((hub, _hub), (a, _a)) = (node(1).await, node(2).await);
    connect_routed(&a, &hub).await;
    for n in 0..10 {
        a.provide(key(n)).await.expect("the hub hears it");
    }
    let mut events = a.events();
    a.tell(Command::Panic).await.expect("running");
    wait(&mut events, |event| matches!(event, Event::Restarted)).await;
    assert_eq!(records(&a).await, (0, 10));
}

/// The bounds themselves are tested beside the store; here that they stand between the wire and it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_provides_everything_leaves_ours_alone() {
    const LANES: usize = 8;
    let ((victim, _victim), (stranger, _stranger)) = (node(1).await, node_with(client(), 2).await);
    for n in 0..5 {
        // Nobody is there to be told.
        assert!(matches!(victim.provide(key(n)).await, Err(FindError::Alone)));
    }
    connect_routed(&stranger, &victim).await;
    let said = futures::future::join_all((0..LANES).map(|lane| {
        let (stranger, all) = (&stranger, limits::RECORDS_PER_PEER + 500);
        async move {
            for n in (lane..all).step_by(LANES) {
                stranger.provide(key(n)).await.expect("the victim hears it");
            }
        }
    }));
    said.await;
    until(async || records(&victim).await.0 >= limits::RECORDS_PER_PEER).await;
    assert_eq!(records(&victim).await, (limits::RECORDS_PER_PEER, 5));
    let found = stranger.find_providers(key(4)).await.expect("it answers");
    assert!(found.contains(&victim.peer_id()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_questions_run_than_may() {
    let ((hub, _hub), (a, _a)) = (node(1).await, node(2).await);
    connect_routed(&a, &hub).await;
    let asked = futures::future::join_all((0..4 * limits::QUERIES).map(|n| a.find_providers(key(n)))).await;
    assert!(asked.iter().filter(|one| one.is_ok()).count() >= limits::QUERIES);
    assert!(asked.iter().all(|one| matches!(one, Ok(_) | Err(FindError::Busy))));
    let (off, _off) = node_with(Config { dht: Dht::Off, ..looking() }, 3).await;
    assert!(matches!(off.find_providers(key(1)).await, Err(FindError::Off)));
    assert!(matches!(off.provide(key(1)).await, Err(FindError::Off)));
}

/// A port of the loopback interface at which nobody listens yet.
fn vacant() -> Multiaddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("it is bound").port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().expect("a good address")
}

/// Multicast DNS says it once: what it said must be enough even if the first dial fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_whose_first_dial_failed_is_dialled_again() {
    let (small, large) = if peer_id(1) < peer_id(2) { (1, 2) } else { (2, 1) };
    let (first, _first) = node(small).await;
    let address = vacant();
    let found = vec![(peer_id(large), vec![address.clone()])];
    first.tell(Command::Discovery(Ask::Nearby(found))).await.expect("running");
    // Behind the dial that is refused: what the actor does it does in order.
    assert!(first.peers().await.expect("running").is_empty());
    let (late, _late) = node_with(Config { listen: vec![address.clone()], ..looking() }, large).await;
    meets(&first, &late).await;
    // And when it goes and comes back there is no new word from multicast DNS either.
    let mut events = first.events();
    late.shutdown().await;
    wait(&mut events, |event| matches!(event, Event::Disconnected(_))).await;
    let (_again, _inbound) = node_with(Config { listen: vec![address], ..looking() }, large).await;
    wait(&mut events, |event| matches!(event, Event::Connected(peer) if *peer == peer_id(large))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_are_here_are_named_to_others_and_not_to_themselves() {
    let off = || Config { dht: Dht::Off, ..looking() };
    let ((hub, _hub), (a, _a), (b, _b)) =
        (node_with(off(), 1).await, node_with(off(), 2).await, node_with(off(), 3).await);
    connect(&a, &hub).await;
    assert!(hub.peers_for(a.peer_id()).await.expect("running").is_empty());
    assert!(hub.peers_for(b.peer_id()).await.expect("running").is_empty(), "it is not here");
    connect(&b, &hub).await;
    let named = hub.peers_for(b.peer_id()).await.expect("running");
    assert_eq!(named.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [a.peer_id()]);
    b.hint(hub.peer_id(), named).await.expect("running");
    meets(&b, &a).await;
    // Whoever left lately is named too.
    let mut events = hub.events();
    a.shutdown().await;
    wait(&mut events, |event| matches!(event, Event::Disconnected(_))).await;
    assert_eq!(hub.peers_for(b.peer_id()).await.expect("running").len(), 1);
    // Hints of somebody who is not connected are not believed.
    b.hint(a.peer_id(), vec![(PeerId::random(), vec![vacant()])]).await.expect("running");
}
