//! Who stays outside a private network, in either direction, and what they are told.

use libp2p::PeerId;

use super::*;
use crate::net::testing::{config, connect, node_with, peer_id, wait};
use crate::net::{Config, Event, Handle};

fn keyed(key: u8) -> Config {
    Config { pre_shared_key: Some(PreSharedKey::new([key; 32])), ..config() }
}

fn allowing(peers: &[PeerId]) -> Config {
    Config { allow: Some(peers.to_vec()), ..config() }
}

async fn refused(from: &Handle, to: &Handle) -> String {
    let addresses = to.listen_addresses().await.expect("running");
    from.dial(to.peer_id(), addresses).await.expect_err("it stays outside").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_a_network_and_another_key_or_none_stays_outside() {
    let ((a, _a), (b, _b)) = (node_with(keyed(1), 1).await, node_with(keyed(1), 2).await);
    let ((other, _other), (open, _open)) = (node_with(keyed(2), 3).await, node_with(config(), 4).await);
    connect(&a, &b).await;
    // At once, because one who begins no handshake is waited for.
    let all = futures::join!(refused(&a, &other), refused(&other, &a), refused(&a, &open), refused(&open, &a));
    let (to_other, from_other, to_open, from_open) = all;
    for error in [to_other, from_other, to_open] {
        assert!(error.contains("another swarm.key than this node, or none"), "{error}");
    }
    assert!(from_open.contains("ask its owner for the swarm.key"), "{from_open}");
    let here = a.peers().await.expect("running");
    assert_eq!(here.iter().map(|info| info.peer).collect::<Vec<_>>(), [b.peer_id()]);
    for outside in [other, open] {
        assert!(outside.peers().await.expect("running").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_on_the_list_is_refused_both_ways() {
    let ((friend, _friend), (stranger, _stranger)) = (node_with(config(), 2).await, node_with(config(), 3).await);
    let (a, _a) = node_with(allowing(&[peer_id(2)]), 1).await;
    connect(&friend, &a).await;
    let error = refused(&a, &stranger).await;
    assert!(error.contains("not on this node's allow list") && error.contains("--allow"), "{error}");
    let mut events = a.events();
    let addresses = a.listen_addresses().await.expect("running");
    // For the stranger the connection may stand for a moment.
    let _ = stranger.dial(a.peer_id(), addresses.clone()).await;
    wait(&mut events, |event| matches!(event, Event::Refused(peer) if *peer == peer_id(3))).await;
    // By an address alone neither.
    let bare = addresses.iter().map(crate::addresses::without_peer);
    for address in bare {
        let _ = stranger.dial_address(address).await;
        wait(&mut events, |event| matches!(event, Event::Refused(peer) if *peer == peer_id(3))).await;
    }
    let here = a.peers().await.expect("running");
    assert_eq!(here.iter().map(|info| info.peer).collect::<Vec<_>>(), [friend.peer_id()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_where_nobody_listens_is_no_matter_of_keys() {
    let ((a, _a), (b, _b)) = (node_with(keyed(1), 1).await, node_with(config(), 2).await);
    let addresses = b.listen_addresses().await.expect("running");
    b.shutdown().await;
    let error = a.dial(b.peer_id(), addresses).await.expect_err("nobody listens").to_string();
    assert!(!error.contains("swarm.key"), "{error}");
}

#[test]
fn a_key_is_not_printed() {
    assert!(!format!("{:?}", keyed(7)).contains("07070707"), "a key is not printed");
}
