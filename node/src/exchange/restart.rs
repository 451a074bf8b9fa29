//! A pull that goes on while the swarms under it panic.

use potluck_protocol::id::ManifestId;
use tokio::sync::watch;

use super::testing::{Node, find_and_pull, honest, noise, publish};
use super::{Options, Progress};
use crate::net::testing::{announcement, base, connect, wait};
use crate::net::{Event, Handle};

const LEN: usize = 24 << 20;

/// Panics as soon as the pull has its first shards; returns when the swarm is back.
async fn panic_in_the_middle(net: &Handle, mut progress: watch::Receiver<Progress>) {
    progress.wait_for(|progress| progress.shards_total > 1 && progress.shards > 0).await.expect("the pull runs");
    let mut events = net.events();
    net.panic().await;
    wait(&mut events, |event| matches!(event, Event::Restarted)).await;
}

async fn pull_through_a_panic(of_provider: bool) {
    let (provider, node) = (honest(1).await, honest(2).await);
    let id: ManifestId = publish(&provider.store, LEN);
    connect(&node.net, &provider.net).await;
    let (tell, progress) = watch::channel(Progress::default());
    let options = Options { progress: Some(tell), hints: vec![provider.net.peer_id()], ..Options::default() };
    let panics = if of_provider { &provider.net } else { &node.net };
    let (pulled, ()) = tokio::join!(find_and_pull(&node.exchange, id, options), panic_in_the_middle(panics, progress));
    let pulled = pulled.expect("it goes on when the swarm is back");
    assert_whole(&node, id);
    assert!(pulled.blamed.is_empty() && node.net.banned().is_empty() && provider.net.banned().is_empty());
    assert_eq!(panics.metrics().restarts.get(), 1);
}

fn assert_whole(node: &Node, id: ManifestId) {
    let mapped = node.store.mapped(&id).expect("it is visible");
    let mut bytes = Vec::new();
    for row in mapped.shards() {
        bytes.extend(node.store.shard(&row.id).expect("the store works").expect("it is there").into_bytes());
    }
    assert!(bytes == noise(7, LEN), "the bytes differ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_goes_on_when_its_own_swarm_panics() {
    pull_through_a_panic(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_goes_on_when_its_providers_swarm_panics() {
    pull_through_a_panic(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_followed_and_kept_for_later_outlives_a_panic() {
    let (node, late) = (honest(1).await, honest(2).await);
    node.net.announce(announcement(1, "kept", 1)).await.expect("it is kept: nobody listens");
    let mut events = node.net.events();
    node.net.panic().await;
    wait(&mut events, |event| matches!(event, Event::Restarted)).await;
    late.net.subscribe(base()).await.expect("one base is not too many");
    let mut heard = late.net.events();
    connect(&late.net, &node.net).await;
    wait(&mut heard, |event| matches!(event, Event::Heard(one) if one.body().name.as_str() == "kept")).await;
    assert_eq!(node.net.announcements(base()).len(), 1);
}
