//! Nodes whose doors are pushed at, over TCP on the loopback interface.

use std::net::Ipv4Addr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::broadcast;

use crate::net::counters::Queue;
use crate::net::handle::Command;
use crate::net::limits::{HANDSHAKE_RATE, HANDSHAKES, HANDSHAKES_PER_GROUP};
use crate::net::misdeed::{Denied, Misdeed};
use crate::net::testing::{announcement, base, connect, node, until, wait};
use crate::net::{Event, Handle};

/// Where a node listens, for plain TCP.
async fn port(node: &Handle) -> u16 {
    let address = node.listen_addresses().await.expect("running").remove(0);
    let tcp = |part| if let Protocol::Tcp(port) = part { Some(port) } else { None };
    address.iter().find_map(tcp).expect("it listens on TCP")
}

/// A connection that says nothing; `None` if this system does not have that address.
async fn silent(from: Ipv4Addr, port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).ok()?;
    Some(socket.connect((Ipv4Addr::LOCALHOST, port).into()).await.expect("somebody listens"))
}

/// The other side has closed it; what it may have said before is read over.
async fn ends(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // Reset or closed in order: both are an end.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_keep_nobody_out() {
    let ((target, _t), (honest, _h)) = (node(1).await, node(2).await);
    let port = port(&target).await;
    let mut open = Vec::new();
    for _ in 0..2 * HANDSHAKES {
        open.push(silent(Ipv4Addr::LOCALHOST, port).await.expect("this machine's own address"));
    }
    connect(&honest, &target).await;
    // The oldest had to go.
    ends(open.remove(0)).await;
    assert!(target.metrics().denied.get(Denied::HandshakeEvicted) >= HANDSHAKES as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbourhood_that_connects_too_often_is_turned_away_and_others_are_not() {
    let ((target, _t), (honest, _h)) = (node(1).await, node(2).await);
    let port = port(&target).await;
    let mut open = Vec::new();
    for n in 0..4 * HANDSHAKE_RATE.burst {
        let Some(stream) = silent(Ipv4Addr::new(127, 66, 0, n as u8), port).await else {
            println!("skipped: this system's loopback interface has one address");
            return;
        };
        open.push(stream);
    }
    connect(&honest, &target).await;
    ends(open.pop().expect("there are many")).await;
    let metrics = target.metrics();
    // Not all of the rest: some tokens come back meanwhile.
    assert!(metrics.denied.get(Denied::TooOften) >= HANDSHAKE_RATE.burst);
    assert!(metrics.denied.get(Denied::HandshakeEvicted) >= HANDSHAKE_RATE.burst - HANDSHAKES_PER_GROUP as u64);
}

/// Until a peer is gone.
async fn gone(events: &mut broadcast::Receiver<Event>, peer: PeerId) {
    wait(events, |event| matches!(event, Event::Disconnected(one) if *one == peer)).await;
}

fn is_banned(by: &Handle, peer: &Handle) -> bool {
    by.banned().iter().any(|ban| ban.peer == peer.peer_id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_misbehaves_is_banned_and_comes_back_in_vain() {
    let ((target, _t), (liar, _l), (honest, _h)) = (node(1).await, node(2).await, node(3).await);
    connect(&liar, &target).await;
    connect(&honest, &target).await;
    let (mut events, mut at_liar) = (target.events(), liar.events());
    target.report(liar.peer_id(), Misdeed::WrongBytes);
    target.report(liar.peer_id(), Misdeed::WrongBytes);
    gone(&mut events, liar.peer_id()).await;
    gone(&mut at_liar, target.peer_id()).await;
    assert!(is_banned(&target, &liar) && !is_banned(&target, &honest));
    // Neither side gets a connection now.
    let addresses: Vec<Multiaddr> = target.listen_addresses().await.expect("running");
    if liar.dial(target.peer_id(), addresses).await.is_ok() {
        // The handshake was through before it was turned away.
        let closed = |peers: Vec<crate::net::PeerInfo>| peers.iter().all(|info| info.peer != target.peer_id());
        until(async || closed(liar.peers().await.expect("running"))).await;
        assert!(!matches!(at_liar.try_recv(), Ok(Event::Connected(_))), "it never said who it is");
    }
    assert!(target.dial(liar.peer_id(), liar.listen_addresses().await.expect("running")).await.is_err());
    assert!(target.metrics().denied.get(Denied::Banned) >= 2);
    assert!(target.open(honest.peer_id()).await.is_ok(), "the honest one is still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lies_in_gossip_is_banned_and_honest_gossip_goes_on() {
    let ((target, _t), (liar, _l), (honest, _h)) = (node(1).await, node(2).await, node(3).await);
    for one in [&target, &liar, &honest] {
        one.subscribe(base()).await.expect("one base is not too many");
    }
    let (mut events, mut at_liar, mut at_honest) = (target.events(), liar.events(), honest.events());
    connect(&liar, &target).await;
    connect(&honest, &target).await;
    wait(&mut at_liar, |event| matches!(event, Event::Subscribed { .. })).await;
    wait(&mut at_honest, |event| matches!(event, Event::Subscribed { .. })).await;
    for n in 0..8 {
        let mut wrong = announcement(1, &format!("wrong{n}"), 1).signed().encode().expect("it encodes");
        *wrong.last_mut().expect("it is not empty") ^= 1;
        // It may have been banned meanwhile, and then nobody listens.
        let _ = liar.ask(|back| Command::PublishRaw(base(), wrong, back)).await.expect("running");
    }
    gone(&mut events, liar.peer_id()).await;
    assert!(is_banned(&target, &liar) && !is_banned(&target, &honest));
    honest.announce(announcement(3, "right", 1)).await.expect("it is sent");
    wait(&mut events, |event| matches!(event, Event::Heard(one) if one.body().name.as_str() == "right")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bans_outlive_a_panic_of_the_swarm() {
    let ((target, _t), (liar, _l)) = (node(1).await, node(2).await);
    connect(&liar, &target).await;
    let mut events = target.events();
    target.report(liar.peer_id(), Misdeed::Protocol);
    target.report(liar.peer_id(), Misdeed::Protocol);
    gone(&mut events, liar.peer_id()).await;
    target.panic().await;
    wait(&mut events, |event| matches!(event, Event::Restarted)).await;
    assert!(is_banned(&target, &liar));
    assert_eq!(target.metrics().restarts.get(), 1);
    assert!(target.dial(liar.peer_id(), liar.listen_addresses().await.expect("running")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_too_many_is_counted_and_nothing_is_left_when_all_are_gone() {
    let ((target, _not_accepting), (one, _o)) = (node(1).await, node(2).await);
    connect(&one, &target).await;
    let mut streams = Vec::new();
    while target.metrics().dropped.get(Queue::BulkStreams) == 0 {
        streams.push(one.open(target.peer_id()).await.expect("connected"));
    }
    let mut events = target.events();
    one.disconnect(target.peer_id()).await.expect("running");
    gone(&mut events, one.peer_id()).await;
    assert!(target.ask(Command::GuardEmpty).await.expect("running"));
}
