//! Nodes with stores, over real TCP on the loopback interface.

use std::time::Duration;

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::id::{Digest, ManifestId, ShardId};
use potluck_protocol::manifest::Manifest;
use potluck_protocol::shard::VerifiedShard;
use potluck_protocol::signed::{PublicKey, Signable, Signed, body_id};
use potluck_protocol::verify::VerifyError;
use tokio_util::sync::CancellationToken;

use super::error::Why;
use super::testing::{Fault, Node, base, connect_to, faulty, find_and_pull, honest, noise, publish, rows};
use super::{Options, PullError, Pulled};
use crate::net::testing::{connect, key, wait};
use crate::net::{Event, Handle};

const MIB: usize = 1 << 20;

/// Everything is there, byte for byte, and nothing beside it.
fn assert_whole(node: &Node, id: ManifestId, len: usize) {
    let mapped = node.store.mapped(&id).expect("it is visible");
    let mut bytes = Vec::new();
    for row in mapped.shards() {
        bytes.extend(node.store.shard(&row.id).expect("the store works").expect("it is there").into_bytes());
    }
    assert!(bytes == noise(7, len), "the bytes differ");
}

async fn pull(node: &Node, id: ManifestId) -> Pulled {
    find_and_pull(&node.exchange, id, Options::default()).await.expect("an honest provider is there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_takes_bytes_from_three_providers_at_once() {
    const LEN: usize = 24 * MIB + 5;
    let (a, b, c, node) = (honest(1).await, honest(2).await, honest(3).await, honest(4).await);
    let id = publish(&a.store, LEN);
    assert_eq!((publish(&b.store, LEN), publish(&c.store, LEN)), (id, id));
    connect_to(&node.net, &[&a.net, &b.net, &c.net]).await;
    let pulled = pull(&node, id).await;
    assert_whole(&node, id, LEN);
    assert!(pulled.fetched_from.len() > 1, "{:?}", pulled.fetched_from);
    assert_eq!(pulled.fetched_from.values().sum::<u64>(), pulled.fetched_bytes);
    assert!(pulled.fetched_bytes >= LEN as u64 && pulled.had_bytes == 0);
    // A second pull has nothing to do.
    let again = pull(&node, id).await;
    assert_eq!((again.fetched_bytes, again.had_bytes), (0, LEN as u64));
}

/// How often a node was asked for a manifest.
fn manifest_requests(node: &Node) -> u64 {
    node.net.metrics().bulk.requests("manifest")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifest_comes_once_in_a_pull() {
    let (good, node) = (honest(1).await, honest(2).await);
    let id = publish(&good.store, MIB);
    connect(&node.net, &good.net).await;
    pull(&node, id).await;
    assert_whole(&node, id, MIB);
    assert_eq!(manifest_requests(&good), 1);
}

/// A pull beside a faulty provider ends from the honest one, and nothing wrong is stored.
async fn survives(fault: Fault) -> (Pulled, Handle) {
    const LEN: usize = 10 * MIB;
    let (good, node) = (honest(1).await, honest(2).await);
    let (bad, id, mut asked) = faulty(3, LEN, fault).await;
    assert_eq!(publish(&good.store, LEN), id);
    connect(&node.net, &bad).await;
    // The honest one comes when the faulty one has been asked.
    let later = async {
        asked.wait_for(|count| *count > 0).await.expect("it is asked");
        connect(&node.net, &good.net).await;
    };
    let (pulled, ()) = tokio::join!(pull(&node, id), later);
    assert_whole(&node, id, LEN);
    (pulled, bad)
}

/// One of four providers sends wrong bytes: it costs one shard, nothing of it is stored, and it is not asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_provider_costs_one_shard_and_is_dropped() {
    const LEN: usize = 24 * MIB;
    let (bad, id, mut asked) = faulty(9, LEN, Fault::WrongBytes).await;
    let good = [honest(1).await, honest(2).await, honest(3).await];
    for one in &good {
        assert_eq!(publish(&one.store, LEN), id);
    }
    let node = honest(4).await;
    connect(&node.net, &bad).await;
    let later = async {
        asked.wait_for(|count| *count > 0).await.expect("it is asked");
        connect_to(&node.net, &good.each_ref().map(|one| &one.net)).await;
    };
    let (pulled, ()) = tokio::join!(pull(&node, id), later);
    assert_whole(&node, id, LEN);
    assert!(pulled.blamed.contains_key(&bad.peer_id()), "{:?}", pulled.blamed);
    // The shard table, which it gives in earnest, may have come from it: no content did.
    let table = distinct(&node, id) - LEN as u64;
    assert!(pulled.fetched_from.get(&bad.peer_id()).is_none_or(|bytes| *bytes == table), "{:?}", pulled.fetched_from);
    // Of the others a last shard may have come twice.
    assert_eq!(pulled.fetched_bytes, distinct(&node, id));
    // What it had been asked for ahead; nothing after its first shard was judged.
    let before = *asked.borrow();
    assert!(node.store.verify(|_, _| ()).expect("readable").is_clean());
    let other = publish(&good[0].store, LEN + 1);
    pull(&node, other).await;
    assert_eq!(*asked.borrow(), before, "it is asked no more");
    println!(
        "poisoned: asked for {before} shards before its first was judged, {} providers blamed",
        pulled.blamed.len()
    );
}

/// Bytes of all its shards, tables included.
fn distinct(node: &Node, id: ManifestId) -> u64 {
    let mapped = node.store.mapped(&id).expect("it is visible");
    let tables: u64 = mapped.manifest().body().files.iter().map(|file| u64::from(file.table_len)).sum();
    tables + mapped.shards().map(|row| u64::from(row.len)).sum::<u64>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_too_many_bytes_is_blamed_and_the_pull_ends_from_an_honest_one() {
    let (pulled, bad) = survives(Fault::TooManyBytes).await;
    assert!(pulled.blamed.contains_key(&bad.peer_id()), "{:?}", pulled.blamed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_declares_a_gigabyte_is_blamed_and_the_pull_ends_from_an_honest_one() {
    let (pulled, bad) = survives(Fault::Gigabyte).await;
    assert!(pulled.blamed.contains_key(&bad.peer_id()), "{:?}", pulled.blamed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_nothing_does_not_stop_a_pull() {
    let (pulled, bad) = survives(Fault::Silence).await;
    assert!(pulled.blamed.is_empty() && pulled.fetched_from.get(&bad.peer_id()).is_none_or(|n| *n < MIB as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_half_way_does_not_stop_a_pull() {
    let (pulled, bad) = survives(Fault::HalfWay).await;
    assert!(pulled.blamed.is_empty() && pulled.fetched_from.get(&bad.peer_id()).is_none_or(|n| *n < MIB as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_provider_is_asked_again_later() {
    let node = honest(1).await;
    let (busy, id, asked) = faulty(2, 2 * MIB, Fault::Busy(3)).await;
    connect(&node.net, &busy).await;
    pull(&node, id).await;
    assert_whole(&node, id, 2 * MIB);
    assert!(*asked.borrow() >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_goes_on_from_what_is_here() {
    const LEN: usize = 8 * MIB;
    let (good, node) = (honest(1).await, honest(2).await);
    let id = publish(&good.store, LEN);
    for row in rows(&good.store, id).iter().take(5) {
        let shard = good.store.shard(&row.id).expect("the store works").expect("it is there");
        node.store
            .put_shards([VerifiedShard::check(row.id, shard.into_bytes()).expect("it is right")])
            .expect("stored");
    }
    connect(&node.net, &good.net).await;
    let pulled = pull(&node, id).await;
    assert_whole(&node, id, LEN);
    assert_eq!(pulled.had_bytes, 5 * MIB as u64);
    // The three that were missing, and the shard table.
    let table = pulled.fetched_bytes - 3 * MIB as u64;
    assert!(table > 0 && table < 1024, "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_nobody_has_is_not_found() {
    let (other, node) = (honest(1).await, honest(2).await);
    connect(&node.net, &other.net).await;
    let options = Options { find: Duration::from_millis(500), ..Options::default() };
    let error = node.exchange.find(ManifestId(Digest::of(b"nothing")), options).await.expect_err("nobody has it");
    assert!(matches!(&error, PullError::NotFound { asked, .. } if *asked == [other.net.peer_id()]), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_gets_stuck_says_who_was_asked_and_keeps_what_came() {
    const LEN: usize = 6 * MIB;
    let node = honest(1).await;
    let (partial, id, _) = faulty(2, LEN, Fault::Partial(4)).await;
    connect(&node.net, &partial).await;
    let options = Options { patience: Duration::from_secs(1), ..Options::default() };
    let error = find_and_pull(&node.exchange, id, options).await.expect_err("two shards are nowhere");
    let PullError::Incomplete { missing: 2, why: Why::Stuck, asked, .. } = &error else { panic!("{error}") };
    assert_eq!(*asked, [partial.peer_id()]);
    assert!(error.to_string().contains(&partial.peer_id().to_string()), "{error}");
    assert!(node.store.manifest(&id).expect("the store works").is_none(), "a part is not visible");
    // With somebody who has the rest, only the rest is fetched.
    let good = honest(3).await;
    publish(&good.store, LEN);
    connect(&node.net, &good.net).await;
    let pulled = pull(&node, id).await;
    assert_eq!((pulled.fetched_bytes, pulled.had_bytes), (2 * MIB as u64, 4 * MIB as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_pull_ends_at_once_and_shows_nothing() {
    let node = honest(1).await;
    let (silent, id, asked) = faulty(2, 3 * MIB, Fault::Silence).await;
    connect(&node.net, &silent).await;
    let cancel = CancellationToken::new();
    let (progress, mut seen) = tokio::sync::watch::channel(super::Progress::default());
    let options = Options { cancel: cancel.clone(), progress: Some(progress), ..Options::default() };
    let running = tokio::spawn({
        let exchange = node.exchange.clone();
        async move { find_and_pull(&exchange, id, options).await }
    });
    seen.wait_for(|progress| progress.shards_total == 3).await.expect("the pull runs");
    cancel.cancel();
    let error = running.await.expect("it ends").expect_err("it was cancelled");
    assert!(matches!(error, PullError::Cancelled(_)), "{error}");
    assert!(node.store.manifest(&id).expect("the store works").is_none());
    assert!(*asked.borrow() <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_waits_for_its_first_provider() {
    let (good, node) = (honest(1).await, honest(2).await);
    let id = publish(&good.store, MIB);
    let running = tokio::spawn({
        let exchange = node.exchange.clone();
        async move { find_and_pull(&exchange, id, Options::default()).await }
    });
    connect(&node.net, &good.net).await;
    running.await.expect("it ends").expect("the provider came");
    assert_whole(&node, id, MIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_node_finds_further_holders_through_the_one_that_it_knows() {
    const LEN: usize = 4 * MIB;
    let (first, second, fresh) = (honest(1).await, honest(2).await, honest(3).await);
    let id = publish(&first.store, LEN);
    connect(&second.net, &first.net).await;
    pull(&second, id).await;
    let mut events = fresh.net.events();
    connect(&fresh.net, &second.net).await;
    pull(&fresh, id).await;
    assert_whole(&fresh, id, LEN);
    wait(&mut events, |event| matches!(event, Event::Connected(peer) if *peer == first.net.peer_id())).await;
    // The publisher goes, and a node that comes later is served by those who pulled.
    first.net.shutdown().await;
    let late = honest(4).await;
    connect(&late.net, &second.net).await;
    pull(&late, id).await;
    assert_whole(&late, id, LEN);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_hears_what_was_said_before_it_came() {
    let (publisher, hub, late) = (honest(1).await, honest(2).await, honest(3).await);
    for node in [&publisher, &hub, &late] {
        node.net.subscribe(base()).await.expect("one base is not too many");
    }
    let keypair = key(1);
    let body = Announcement {
        manifest: ManifestId(Digest::of(b"said")),
        manifest_len: 1,
        kind: KindTag::Dataset,
        name: "said".parse().expect("a good name"),
        base: base(),
        total_bytes: 1,
        publisher: PublicKey::of(&keypair),
        sequence: 1,
    };
    let signed = Signed::sign(&body, &keypair).expect("it encodes").expect("its own signer");
    let mut at_hub = hub.net.events();
    connect(&hub.net, &publisher.net).await;
    publisher.net.announce(signed.verify().expect("our own")).await.expect("it is sent");
    wait(&mut at_hub, |event| matches!(event, Event::Heard(_))).await;
    publisher.net.shutdown().await;
    // The publisher is gone; only the hub remembers.
    let mut at_late = late.net.events();
    connect(&late.net, &hub.net).await;
    wait(&mut at_late, |event| matches!(event, Event::Heard(one) if one.body().name.as_str() == "said")).await;
    assert!(hub.tasks.finish().await && late.tasks.finish().await, "every task ends when it is told to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_make_no_sense_end_the_stream() {
    use futures::{AsyncReadExt, AsyncWriteExt};
    let good = honest(1).await;
    let all = [&(1u32 << 30).to_le_bytes()[..], &[4, 0, 0, 0, 255, 255, 255, 255], &[0, 0, 0, 0]];
    for (seed, wrong) in (2..).zip(all) {
        // Another one each time: who does it twice is banned.
        let node = honest(seed).await;
        connect(&node.net, &good.net).await;
        let mut stream = node.net.open(good.net.peer_id()).await.expect("connected");
        stream.raw().write_all(wrong).await.expect("it is taken");
        stream.raw().flush().await.expect("it is taken");
        assert!(matches!(stream.raw().read(&mut [0; 1]).await, Ok(0) | Err(_)), "{wrong:?} was answered");
    }
}

/// One frame: its length, then a number and what follows it.
fn frame(tag: u32, rest: &[u8]) -> Vec<u8> {
    let body = [&tag.to_le_bytes()[..], rest].concat();
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_later_version_are_refused_in_their_turn_and_are_no_misdeed() {
    use futures::AsyncWriteExt;
    let (good, node) = (honest(1).await, honest(2).await);
    let id = publish(&good.store, 1000);
    connect(&node.net, &good.net).await;
    let mut stream = node.net.open(good.net.peer_id()).await.expect("connected");
    // More than would ban whoever breaks the protocol.
    for tag in [9, 10, 255, 9] {
        stream.raw().write_all(&frame(tag, &[7; 40])).await.expect("it is taken");
        stream.send(&Request::Manifest(id)).await.expect("it is taken");
        assert_eq!(stream.receive().await.expect("an answer"), Reply::Refused(Refusal::NotFound));
        assert!(matches!(stream.receive().await.expect("an answer"), Reply::Manifest(_)));
    }
    assert_eq!(good.net.metrics().bulk.requests("later"), 4);
    assert!(!good.exchange.reputation().is_blamed(&node.net.peer_id(), tokio::time::Instant::now()));
    pull(&node, id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_refuses_as_a_later_version_does_is_not_blamed() {
    let (pulled, _bad) = survives(Fault::Later).await;
    assert!(pulled.blamed.is_empty(), "{:?}", pulled.blamed);
}

/// A manifest that no version before the next can read, as it travels.
fn later_manifest() -> (ManifestId, Vec<u8>) {
    let (key, context) = (key(9), <Manifest as Signable>::CONTEXT);
    let body = [&7u32.to_le_bytes()[..], b"fields of a kind that comes later"].concat();
    let signature = key.sign(&[&[context.len() as u8], context.as_bytes(), &body].concat());
    let (len, one) = ((body.len() as u64).to_le_bytes(), 1u64.to_le_bytes());
    let envelope = [&len[..], &body, &one, &key.public().to_bytes(), &signature].concat();
    (ManifestId(body_id::<Manifest>(&body)), envelope)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_only_a_later_version_can_read_ends_the_pull_and_is_nobodys_fault() {
    let node = honest(1).await;
    let (newer, mut inbound) = crate::net::testing::node(2).await;
    let (id, bytes) = later_manifest();
    tokio::spawn(async move {
        while let Some(mut stream) = inbound.recv().await {
            while let Ok(Some(request)) = stream.receive().await {
                let reply = match request {
                    Request::Manifest(_) => Reply::Manifest(bytes.clone()),
                    _ => Reply::Refused(Refusal::NotFound),
                };
                stream.send(&reply).await.expect("it is taken");
            }
        }
    });
    connect(&node.net, &newer).await;
    let error = find_and_pull(&node.exchange, id, Options::default()).await.expect_err("it cannot be read here");
    assert!(matches!(error, PullError::Verify(VerifyError::Unreadable { .. })), "{error}");
    assert!(error.to_string().contains("a later version"), "{error}");
    assert!(!node.exchange.reputation().is_blamed(&newer.peer_id(), tokio::time::Instant::now()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_called_back_is_not_sent_to_its_end() {
    let (good, node) = (honest(1).await, honest(2).await);
    let id = publish(&good.store, 3 * MIB);
    connect(&node.net, &good.net).await;
    let wanted: Vec<_> = rows(&good.store, id).iter().map(|row| row.id).collect();
    let mut stream = node.net.open(good.net.peer_id()).await.expect("connected");
    for shard in &wanted {
        stream.send(&Request::Shard(*shard)).await.expect("it is taken");
    }
    // Before anything is read: the second cannot have been sent, the window is smaller.
    stream.send(&Request::Cancel(wanted[1])).await.expect("it is taken");
    stream.send(&Request::Cancel(ShardId(Digest::of(b"never asked for")))).await.expect("it is taken");
    let mut came = [0; 3];
    for (n, came) in came.iter_mut().enumerate() {
        while *came < MIB {
            match stream.receive().await.expect("an answer") {
                Reply::Shard { bytes, .. } => *came += bytes.len(),
                Reply::Refused(Refusal::Cancelled) if n == 1 => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(came[0] == MIB && came[1] < MIB && came[2] == MIB, "{came:?}");
}
