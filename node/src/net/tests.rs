//! Nodes over real TCP on the loopback interface.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::PeerId;
use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::id::{Digest, ShardId};
use potluck_protocol::limits::DATA_MAX;

use super::handle::Command;
use super::limits::STREAMS_PER_PEER;
use super::testing::{announcement, base, connect, node, node_of, peer_id, wait};
use super::*;

fn request() -> Request {
    Request::Shard(ShardId(Digest::of(b"any")))
}

/// A following node, and a follower of it.
async fn following(seed: u8) -> Handle {
    let (handle, _) = node(seed).await;
    handle.subscribe(base()).await.expect("one base is not too many");
    handle
}

async fn hears(handle: &Handle, events: &mut broadcast::Receiver<Event>, name: &str) {
    let manifest = announcement(1, name, 1).body().manifest;
    wait(events, |event| matches!(event, Event::Heard(one) if one.body().manifest == manifest)).await;
    let known = handle.announcements(base());
    assert!(known.iter().any(|one| one.body().manifest == manifest));
}

/// `from` knows that `to` follows what it follows.
async fn meet(from: &Handle, to: &Handle) {
    let mut events = from.events();
    connect(from, to).await;
    wait(&mut events, |event| matches!(event, Event::Subscribed { peer, .. } if *peer == to.peer_id())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_announce_and_hear() {
    let (a, b) = (following(1).await, following(2).await);
    meet(&a, &b).await;
    let mut heard = b.events();
    a.announce(announcement(1, "first", 1)).await.expect("it is sent");
    hears(&b, &mut heard, "first").await;
    let announced = announcement(1, "first", 1).body().manifest;
    assert_eq!(b.announcers_among(announced, [b.peer_id(), a.peer_id()].into_iter()), [a.peer_id()]);
    assert_eq!(b.vouched_announcers(announced), [a.peer_id()], "it brought what is its own");
    let peers = b.peers().await.expect("running");
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].agent.as_deref(), Some(concat!("potluck/", env!("CARGO_PKG_VERSION"))));
    let stated = a.listen_addresses().await.expect("running");
    assert_eq!(peers[0].addresses, stated.iter().map(crate::addresses::without_peer).collect::<Vec<_>>());
}

/// What a review found: each of thousands of keys was checked for each question, and asked about in one of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_announced_a_manifest_a_few_are_looked_at_and_everybody_who_is_here_is_known() {
    let (a, b) = (following(1).await, following(2).await);
    let manifest = announcement(1, "first", 1).body().manifest;
    let seeds = 1..=200;
    b.known.with(|catalogue| seeds.clone().for_each(|seed| drop(catalogue.insert(announcement(seed, "first", 1)))));
    let everybody: Vec<_> = seeds.map(peer_id).collect();
    let drawn = b.announcers(manifest);
    assert_eq!(drawn.len(), limits::ANNOUNCERS);
    assert!(drawn.iter().all(|peer| everybody.contains(peer)));
    assert!((0..10).any(|_| b.announcers(manifest) != drawn), "others the next time");
    let others = [a.peer_id(), PeerId::random(), peer_id(201)];
    let here = everybody.iter().chain(&others).copied();
    assert_eq!(b.announcers_among(manifest, here), [&everybody[..], &others[..1]].concat());
    connect(&b, &a).await;
    let asked = b.addresses_for(a.peer_id(), everybody.clone()).await.expect("running");
    assert_eq!(Vec::from_iter(asked.iter().map(|(peer, _)| *peer)), [a.peer_id()], "of the others nothing is known");
    let own = b.addresses(everybody).await.expect("running");
    assert_eq!(Vec::from_iter(own.iter().map(|(peer, _)| *peer)), [a.peer_id()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_announced_to_nobody_is_heard_by_whoever_comes_next() {
    let (a, b) = (following(1).await, following(2).await);
    a.announce(announcement(1, "early", 1)).await.expect("it is kept");
    let mut heard = b.events();
    connect(&b, &a).await;
    hears(&b, &mut heard, "early").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_gossip_is_rejected_and_not_passed_on() {
    let (a, b, c) = (following(1).await, following(2).await, following(3).await);
    meet(&a, &b).await;
    meet(&b, &c).await;
    let mut at_c = c.events();
    let mut wrong = announcement(1, "wrong", 1).signed().encode().expect("it encodes");
    *wrong.last_mut().expect("it is not empty") ^= 1;
    a.ask(|back| Command::PublishRaw(base(), wrong, back)).await.expect("running").expect("it is sent");
    a.announce(announcement(1, "right", 1)).await.expect("it is sent");
    hears(&c, &mut at_c, "right").await;
    // What came behind it has arrived, so the wrong one was judged; and it got no further than the first judge.
    assert_eq!(b.ask(Command::Rejected).await.expect("running"), 1);
    assert_eq!(c.ask(Command::Rejected).await.expect("running"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_of_another_network_are_disconnected() {
    let (a, _a) = node_of("one", 1).await;
    let (b, _b) = node_of("two", 2).await;
    let (mut at_a, mut at_b) = (a.events(), b.events());
    a.dial(b.peer_id(), b.listen_addresses().await.expect("running")).await.expect("it listens");
    // Whoever notices first disconnects, and then the other one may never notice.
    tokio::select! {
        _ = wait(&mut at_a, |event| matches!(event, Event::Foreign(peer) if *peer == b.peer_id())) => {}
        _ = wait(&mut at_b, |event| matches!(event, Event::Foreign(peer) if *peer == a.peer_id())) => {}
    }
    assert!(a.open(b.peer_id()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_restarts_the_swarm_with_its_identity_port_and_memory() {
    let (a, b) = (following(1).await, following(2).await);
    connect(&b, &a).await;
    a.announce(announcement(1, "before", 1)).await.expect("it is sent");
    let addresses = a.listen_addresses().await.expect("running");
    let (mut events, mut at_b) = (a.events(), b.events());
    let panicked = Instant::now();
    a.tell(Command::Panic).await.expect("running");
    wait(&mut events, |event| matches!(event, Event::Disconnected(peer) if *peer == b.peer_id())).await;
    wait(&mut events, |event| matches!(event, Event::Restarted)).await;
    println!("the swarm is back {:?} after it panicked", panicked.elapsed());
    wait(&mut at_b, |event| matches!(event, Event::Disconnected(peer) if *peer == a.peer_id())).await;
    assert_eq!(a.listen_addresses().await.expect("running"), addresses);
    assert_eq!(a.announcements(base()).len(), 1);
    // It dials whom it knew, and still follows what it followed.
    wait(&mut at_b, |event| matches!(event, Event::Subscribed { peer, .. } if *peer == a.peer_id())).await;
    let mut heard = a.events();
    b.announce(announcement(2, "after", 1)).await.expect("it is sent");
    wait(&mut heard, |event| matches!(event, Event::Heard(one) if one.body().name.as_str() == "after")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bootstrap_peer_is_dialled_again_when_it_is_back() {
    let (first, _) = node(1).await;
    let address = first.listen_addresses().await.expect("running").remove(0);
    let config = Config { bootstrap: vec![address.clone()], ..Config::loopback("test".parse().expect("a good name")) };
    let (late, _inbound) = start(config, Keypair::from(testing::key(2))).await.expect("it listens");
    let mut events = late.events();
    let is_first = |peer: &libp2p::PeerId| *peer == first.peer_id();
    if late.peers().await.expect("running").iter().all(|info| info.agent.is_none()) {
        wait(&mut events, |event| matches!(event, Event::Connected(peer) if is_first(peer))).await;
    }
    let mut events = late.events();
    first.shutdown().await;
    wait(&mut events, |event| matches!(event, Event::Disconnected(peer) if is_first(peer))).await;
    let config = Config { listen: vec![address], ..Config::loopback("test".parse().expect("a good name")) };
    let (_again, _inbound) = start(config, Keypair::from(testing::key(1))).await.expect("its port is free again");
    wait(&mut events, |event| matches!(event, Event::Connected(peer) if is_first(peer))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_company_dials_its_bootstrap_peer_again_as_well() {
    let ((first, _f), (other, _o)) = (node(1).await, node(2).await);
    let address = first.listen_addresses().await.expect("running").remove(0);
    let late = Config { bootstrap: vec![address.clone()], ..testing::config() };
    let (late, _inbound) = testing::node_with(late, 3).await;
    let mut events = late.events();
    connect(&late, &other).await;
    let is_first = |peer: &libp2p::PeerId| *peer == first.peer_id();
    if !late.peers().await.expect("running").iter().any(|info| is_first(&info.peer) && info.agent.is_some()) {
        wait(&mut events, |event| matches!(event, Event::Connected(peer) if is_first(peer))).await;
    }
    let mut events = late.events();
    first.shutdown().await;
    wait(&mut events, |event| matches!(event, Event::Disconnected(peer) if is_first(peer))).await;
    let again = Config { listen: vec![address], ..testing::config() };
    let (_again, _inbound) = testing::node_with(again, 1).await;
    wait(&mut events, |event| matches!(event, Event::Connected(peer) if is_first(peer))).await;
    assert_eq!(late.peers().await.expect("running").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_is_an_error_at_the_start() {
    let (first, _) = node(1).await;
    // An address that is not this machine's.
    let listen = vec!["/ip4/192.0.2.1/tcp/0".parse().expect("a good address")];
    let config = Config { listen, ..Config::loopback("test".parse().expect("a good name")) };
    let error = start(config, Keypair::from(testing::key(2))).await.expect_err("nobody has that address");
    assert!(matches!(error, NetError::Listen { .. }), "{error}");
    first.shutdown().await;
    assert!(matches!(first.peers().await, Err(NetError::Stopped)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_beyond_the_bound_is_told_busy() {
    let ((a, _a), (b, _not_accepting)) = (node(1).await, node(2).await);
    connect(&a, &b).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_PER_PEER {
        let mut stream = a.open(b.peer_id()).await.expect("connected");
        stream.send(&request()).await.expect("there is room");
        open.push(stream);
    }
    let mut surplus = a.open(b.peer_id()).await.expect("connected");
    let reply = surplus.ask(&request()).await.expect("an answer");
    assert!(matches!(reply, Reply::Refused(Refusal::Busy { .. })), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_declares_a_gigabyte_ends_the_stream() {
    let ((a, _a), (b, mut inbound)) = (node(1).await, node(2).await);
    connect(&a, &b).await;
    let mut stream = a.open(b.peer_id()).await.expect("connected");
    stream.raw().write_all(&(1u32 << 30).to_le_bytes()).await.expect("it is taken");
    stream.raw().flush().await.expect("it is taken");
    let mut accepted = inbound.recv().await.expect("a stream");
    let error = accepted.receive().await.expect_err("too long");
    assert!(matches!(error, FrameError::TooLong { len, .. } if len == 1 << 30), "{error}");
    drop(accepted);
    // Reset or ended, but not waiting for the gigabyte.
    assert!(matches!(stream.raw().read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

/// rust-libp2p issue 5410: both ends writing at once on many streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_move_sixteen_mebibytes_on_eight_streams_at_once() {
    const STREAMS: usize = 8;
    const PIECES: usize = (16 << 20) / DATA_MAX / STREAMS;
    let ((a, a_in), (b, b_in)) = (node(1).await, node(2).await);
    connect(&a, &b).await;
    let serve = |mut inbound: mpsc::Receiver<Inbound>| async move {
        while let Some(mut stream) = inbound.recv().await {
            tokio::spawn(async move {
                stream.receive().await.expect("a frame").expect("a request");
                let piece = Reply::Shard { len: DATA_MAX as u32, offset: 0, bytes: vec![7; DATA_MAX] };
                for _ in 0..PIECES {
                    stream.send(&piece).await.expect("it is taken");
                }
                stream.split().1.close().await.expect("it ends in order");
            });
        }
    };
    tokio::spawn(serve(a_in));
    tokio::spawn(serve(b_in));
    let fetch = |from: Handle, to: libp2p::PeerId| async move {
        let mut stream = from.open(to).await.expect("connected");
        stream.send(&request()).await.expect("it is taken");
        for _ in 0..PIECES {
            assert!(matches!(stream.receive().await.expect("a piece"), Reply::Shard { .. }));
        }
    };
    let both = [(a.clone(), b.peer_id()), (b.clone(), a.peer_id())];
    let all = both.into_iter().flat_map(|one| std::iter::repeat_n(one, STREAMS));
    let tasks: Vec<_> = all.map(|(from, to)| tokio::spawn(fetch(from, to))).collect();
    for task in tasks {
        task.await.expect("it finishes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_connections_leave_nothing_behind() {
    let ((a, _a), (b, _b)) = (node(1).await, node(2).await);
    for _ in 0..200 {
        connect(&a, &b).await;
        let stream = a.open(b.peer_id()).await.expect("connected");
        let (mut here, mut there) = (a.events(), b.events());
        a.disconnect(b.peer_id()).await.expect("running");
        wait(&mut here, |event| matches!(event, Event::Disconnected(_))).await;
        wait(&mut there, |event| matches!(event, Event::Disconnected(_))).await;
        drop(stream);
    }
    for node in [&a, &b] {
        assert_eq!(node.ask(Command::BulkEntries).await.expect("running"), 0);
    }
}
