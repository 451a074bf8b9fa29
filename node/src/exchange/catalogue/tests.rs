//! Catalogues of real nodes over TCP on the loopback interface.

use std::time::Duration;

use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::bulk::{Reply, Request};
use potluck_protocol::catalogue::{Bucket, Differing, Record};
use potluck_protocol::id::{AnnouncementId, Digest};
use potluck_protocol::limits::CATALOGUE_PER_PUBLISHER;
use potluck_protocol::signed::{Authentic, PublicKey};
use potluck_protocol::text::Name;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::super::testing::{Node, honest, publish, restarted};
use crate::net::testing::{announcement, base, connect, key, node};
use crate::net::{Event, FrameError, Handle, Inbound};
use crate::store::ChannelRecord;

/// A node that follows the base of all these tests.
async fn follower(seed: u8) -> Node {
    let node = honest(seed).await;
    node.net.subscribe(base()).await.expect("one base is not too many");
    node
}

/// So many announcements by a key.
fn said(key: u8, count: usize) -> Vec<Authentic<Announcement>> {
    (0..count).map(|n| announcement(key, &format!("a{key}.{n}"), n as u64)).collect()
}

/// As if they had been heard at some time before.
fn give(node: &Node, all: &[Authentic<Announcement>]) {
    node.net.known().with(|catalogue| all.iter().for_each(|one| drop(catalogue.insert(one.clone()))));
    node.net.known().tell_changed();
}

fn ids(all: &[Record]) -> Vec<AnnouncementId> {
    all.iter().map(|one| announce::id(one)).collect()
}

/// Until a node knows so many announcements.
async fn knows(node: &Node, events: &mut broadcast::Receiver<Event>, count: usize) {
    let known = async {
        while node.net.announcements(base()).len() != count {
            // One that fell behind has something to look at as well.
            if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                panic!("the network ended");
            }
        }
    };
    // Far above what it takes: a guard against a test that would hang, not a measure.
    let came = tokio::time::timeout(Duration::from_secs(60), known).await;
    let here = node.net.announcements(base()).len();
    came.unwrap_or_else(|_| panic!("{here} announcements are known, not {count}"));
}

/// All of them know so many, and the same.
async fn agree(nodes: &[&Node], mut events: Vec<broadcast::Receiver<Event>>, count: usize) {
    for (node, events) in nodes.iter().zip(&mut events) {
        knows(node, events, count).await;
    }
    let first = ids(&nodes[0].net.announcements(base()));
    assert!(nodes.iter().all(|node| ids(&node.net.announcements(base())) == first));
}

fn events(nodes: &[&Node]) -> Vec<broadcast::Receiver<Event>> {
    nodes.iter().map(|node| node.net.events()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_comer_gets_everything_from_whoever_knows_it() {
    let (hub, late) = (follower(1).await, follower(2).await);
    // More than one question brings, by publishers that are not there.
    (10..16).for_each(|key| give(&hub, &said(key, 100)));
    give(&late, &said(20, 30));
    let listening = events(&[&hub, &late]);
    connect(&late.net, &hub.net).await;
    agree(&[&hub, &late], listening, 630).await;
    assert!(hub.tasks.finish().await && late.tasks.finish().await, "every task ends when it is told to");
}

/// Parts of a network that said things among themselves, each a pair of nodes.
async fn parts(count: u8) -> Vec<(Node, Node)> {
    let mut parts = Vec::new();
    for n in 0..count {
        let (one, other) = (follower(2 * n + 1).await, follower(2 * n + 2).await);
        let listening = events(&[&one, &other]);
        connect(&one.net, &other.net).await;
        for (node, key) in [(&one, 100 + n), (&other, 150 + n)] {
            for announcement in said(key, 3) {
                node.net.announce(announcement).await.expect("it is sent");
            }
        }
        agree(&[&one, &other], listening, 6).await;
        parts.push((one, other));
    }
    parts
}

async fn heal(count: u8) {
    let parts = parts(count).await;
    let nodes: Vec<&Node> = parts.iter().flat_map(|(one, other)| [one, other]).collect();
    let listening = events(&nodes);
    for pair in parts.windows(2) {
        connect(&pair[0].1.net, &pair[1].0.net).await;
    }
    agree(&nodes, listening, 6 * usize::from(count)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_halves_that_meet_end_with_the_same_catalogue() {
    heal(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_parts_that_meet_end_with_the_same_catalogue() {
    heal(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_the_catalogue() {
    let node = follower(1).await;
    give(&node, &said(10, 40));
    node.net.announce(announcement(1, "own", 1)).await.expect("it is kept");
    let before = ids(&node.net.announcements(base()));
    let node = restarted(node, 1).await;
    assert_eq!(ids(&node.net.announcements(base())), before);
    // What was replaced and what is new is told apart.
    give(&node, &[announcement(10, "a10.0", 99), announcement(10, "more", 100)]);
    let before = ids(&node.net.announcements(base()));
    let node = restarted(node, 1).await;
    assert_eq!(ids(&node.net.announcements(base())), before);
    assert_eq!((before.len(), node.store.heard().len()), (42, 42));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_all_that_a_followed_key_says() {
    let node = follower(1).await;
    // Whoever published what is noted as a channel is its steward.
    let id = publish(&node.store, 100);
    let name = Name::new("fjord").expect("a name");
    let channel = ChannelRecord { id, name, current: None, held: false, audit: false, halted: None };
    node.store.set_channel(channel).expect("it is noted");
    node.net.follow(PublicKey::of(&key(99)));
    give(&node, &said(99, CATALOGUE_PER_PUBLISHER));
    // More than there is room for: of each key the last ones are given up, but for what is followed.
    (10..19).for_each(|other| give(&node, &said(other, CATALOGUE_PER_PUBLISHER)));
    let of = |node: &Node, publisher: u8| {
        let publisher = PublicKey::of(&key(publisher));
        node.net.announcements(base()).iter().filter(|one| one.body().publisher == publisher).count()
    };
    assert!(of(&node, 99) == CATALOGUE_PER_PUBLISHER && of(&node, 10) < CATALOGUE_PER_PUBLISHER);
    let node = restarted(node, 1).await;
    assert_eq!(of(&node, 99), CATALOGUE_PER_PUBLISHER);
}

/// How a peer answers questions about its catalogue.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Bytes that are no reply.
    Garbage,
    /// Declares a gigabyte.
    Oversized,
    /// Names four thousand records, and sends none of them.
    Endless,
    /// Never answers.
    Silent,
    /// Sends what was not asked for.
    Unasked,
}

async fn liar(seed: u8, manner: Manner) -> Handle {
    let (net, mut inbound) = node(seed).await;
    net.subscribe(base()).await.expect("one base is not too many");
    let accept = async move {
        while let Some(stream) = inbound.recv().await {
            tokio::spawn(lie(stream, manner));
        }
    };
    tokio::spawn(accept);
    net
}

/// Until the peer has enough of it.
async fn lie(mut stream: Inbound, manner: Manner) -> Result<(), FrameError> {
    use futures::AsyncWriteExt;
    while let Some(request) = stream.receive().await? {
        let raw: &[u8] = match manner {
            Manner::Garbage => &[4, 0, 0, 0, 255, 255, 255, 255],
            Manner::Oversized => &[0, 0, 0, 64],
            Manner::Silent => std::future::pending().await,
            Manner::Endless | Manner::Unasked => &[],
        };
        if !raw.is_empty() {
            stream.raw().write_all(raw).await?;
            stream.raw().flush().await?;
            continue;
        }
        let reply = match request {
            Request::Compare(_) => Reply::Differing(boast()),
            Request::Announcements(_) => Reply::Announcements(Vec::new()),
            Request::Records(_) if matches!(manner, Manner::Unasked) => {
                Reply::Records(vec![announcement(66, "unasked", 1).signed().encode().expect("it encodes")])
            }
            _ => Reply::Records(Vec::new()),
        };
        stream.send(&reply).await?;
    }
    Ok(())
}

/// Four thousand ids that nobody has.
fn boast() -> Differing {
    let of = |index: u8| {
        let mut ids: Vec<_> = (0..62u8).map(|n| Digest::of(&[index, n])).collect();
        ids.iter_mut().for_each(|id| id.0[0] = index * 4);
        ids.sort_unstable();
        Bucket { index, ids: ids.into_iter().map(AnnouncementId).collect() }
    };
    Differing((0..64).map(of).collect())
}

/// A peer that lies, met first, keeps nobody from learning what an honest one knows.
/// All three stay: a node whose handle is gone ends.
async fn survives(manner: Manner) -> (Node, Node, Handle) {
    let (node, good, bad) = (follower(1).await, follower(2).await, liar(3, manner).await);
    give(&good, &said(10, 20));
    let listening = events(&[&node]);
    connect(&node.net, &bad).await;
    connect(&node.net, &good.net).await;
    agree(&[&node], listening, 20).await;
    (node, good, bad)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_answer_nonsense_are_blamed() {
    for manner in [Manner::Garbage, Manner::Oversized, Manner::Unasked] {
        let (node, _good, bad) = survives(manner).await;
        // The honest answer may have come before the wrong one.
        let blamed = async {
            while !node.exchange.reputation().is_blamed(&bad.peer_id(), Instant::now()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), blamed).await.unwrap_or_else(|_| panic!("{manner:?}"));
        assert_eq!(node.net.announcements(base()).len(), 20, "{manner:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_answer_endlessly_or_never_are_left_alone() {
    for manner in [Manner::Endless, Manner::Silent] {
        let (node, _good, bad) = survives(manner).await;
        assert!(!node.exchange.reputation().is_blamed(&bad.peer_id(), Instant::now()), "{manner:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_say_again_and_again_is_not_written_and_what_is_own_is() {
    let node = follower(1).await;
    let written = |node: &Node| node.exchange.metrics().records_written.get();
    give(&node, &said(1, 3));
    while written(&node) == 0 {
        tokio::task::yield_now().await;
    }
    for round in 1..=40 {
        let newer = (0..50).map(|n| announcement(10, &format!("a10.{n}"), 1_000 * round + n));
        give(&node, &newer.collect::<Vec<_>>());
    }
    assert_eq!(written(&node), 3);
    assert!(node.tasks.finish().await, "the rest is written at the end");
    assert_eq!((written(&node), node.store.heard().len()), (53, 53));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_stands_behind_is_its_own_and_not_what_it_has_heard() {
    let (old, node) = (follower(1).await, follower(2).await);
    give(&node, &said(10, 30));
    give(&node, &said(2, 3));
    connect(&old.net, &node.net).await;
    let mut stream = old.net.open(node.net.peer_id()).await.expect("connected");
    let Reply::Announcements(all) = stream.ask(&Request::Announcements(base())).await.expect("an answer") else {
        panic!("another answer");
    };
    assert_eq!(all.len(), 3);
}
