//! Nodes that find each other, and what they want, through others.

use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::splitmix::SplitMix64;

use crate::exchange::Options;
use crate::exchange::testing::{base, find_and_pull, honest_with, publish};
use crate::net::discovery::{Dht, Key};
use crate::net::testing::{connect, looking, meets, node_with, until, wait};
use crate::net::{Config, Event};

fn with(dht: Dht) -> Config {
    Config { dht, ..looking() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_know_only_a_third_find_each_other_by_asking_it() {
    let (hub, a, b) = (
        honest_with(with(Dht::Off), 1).await,
        honest_with(with(Dht::Off), 2).await,
        honest_with(with(Dht::Off), 3).await,
    );
    connect(&a.net, &hub.net).await;
    connect(&b.net, &hub.net).await;
    meets(&b.net, &a.net).await;
}

/// The provider is a client, so that no routing table leads to it, and the node in the middle serves no streams, so that it
/// names nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_is_pulled_from_a_provider_that_only_the_dht_names() {
    let (hub, _not_accepting) = node_with(looking(), 1).await;
    let (a, b) = (honest_with(with(Dht::Client), 2).await, honest_with(with(Dht::Client), 3).await);
    let id = publish(&a.store, 3 << 20);
    a.store.pin(id).expect("writable");
    a.exchange.holds_more();
    connect(&a.net, &hub).await;
    connect(&b.net, &hub).await;
    assert!(b.net.some_announcers(id, 9, &mut SplitMix64::new(1)).is_empty());
    let pulled = find_and_pull(&b.exchange, id, Options::default()).await.expect("it is found");
    assert_eq!(pulled.fetched_from.keys().copied().collect::<Vec<_>>(), [a.net.peer_id()]);
    assert!(b.store.manifest(&id).expect("readable").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_a_base_is_found_by_it() {
    let (hub, _not_accepting) = node_with(looking(), 1).await;
    let (a, b) = (honest_with(with(Dht::Client), 2).await, honest_with(with(Dht::Client), 3).await);
    a.net.subscribe(base()).await.expect("one base is not too many");
    a.exchange.holds_more();
    connect(&a.net, &hub).await;
    connect(&b.net, &hub).await;
    until(async || b.net.find_providers(Key::base(base())).await.expect("it answers") == [a.net.peer_id()]).await;
    meets(&b.net, &a.net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_is_known_after_a_restart() {
    let (hub, _not_accepting) = node_with(looking(), 1).await;
    let a = honest_with(looking(), 2).await;
    let (pinned, loose) = (publish(&a.store, 1000), publish(&a.store, 2000));
    a.store.pin(pinned).expect("writable");
    let mut events = a.net.events();
    connect(&a.net, &hub).await;
    wait(&mut events, |event| matches!(event, Event::Routed(_))).await;
    a.exchange.holds_more();
    until(async || hub.find_providers(Key::manifest(pinned)).await.expect("it answers") == [a.net.peer_id()]).await;
    let path = a.store.layout().provided();
    assert!(a.tasks.finish().await, "every task ends when it is told to");
    let kept = crate::home::provided::read(&path);
    assert!(
        matches!(kept[..], [(key, due)] if key == Key::manifest(pinned).0 && due > crate::config::milliseconds_since_1970()),
        "{kept:?}"
    );
    assert!(hub.find_providers(Key::manifest(loose)).await.expect("it answers").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_peers_without_end_is_told_busy() {
    let (a, b) = (honest_with(with(Dht::Off), 1).await, honest_with(with(Dht::Off), 2).await);
    connect(&a.net, &b.net).await;
    let mut stream = a.net.open(b.net.peer_id()).await.expect("connected");
    let mut busy = 0;
    for _ in 0..20 {
        match stream.ask(&Request::Peers).await.expect("an answer") {
            Reply::Peers(peers) => assert!(peers.is_empty(), "the asker itself is not named"),
            Reply::Refused(Refusal::Busy { .. }) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(busy >= 20 - crate::net::discovery::limits::ASKED.burst as usize, "{busy}");
}
