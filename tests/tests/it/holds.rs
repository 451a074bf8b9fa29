//! Short versions of the soaks `churn`, `partition` and `flood`: real nodes that are killed, cut off and pushed.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use potluck_node::net::Config;
use potluck_tests::soak::flood::{Wire, gossip};
use potluck_tests::soak::partition::fall_apart;
use potluck_tests::swarm::{Node, Swarm, key};

use crate::program;

/// A guard against a test that would hang, not a measure.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_swarm_that_falls_into_three_agrees_when_it_meets_again() {
    let figures = fall_apart(1, &[4, 4, 4], Duration::from_secs(2)).expect("it agrees");
    assert!(figures["connections_cut"].as_u64() > Some(0), "{figures}");
}

#[test]
fn what_is_said_while_nodes_are_killed_is_known_to_all_in_the_end() {
    let mut swarm = Swarm::start(2, &[12], 3).expect("it starts");
    for round in 0..2 {
        (0..12).for_each(|by| swarm.announce(by).expect("it lives"));
        let killed: Vec<usize> = (0..4).map(|n| (5 * round + 3 * n) % 12).collect();
        killed.iter().for_each(|n| swarm.members[*n].kill());
        let living: Vec<usize> = (0..12).filter(|n| !killed.contains(n)).collect();
        living.iter().for_each(|by| swarm.announce(*by).expect("it lives"));
        killed.iter().for_each(|n| swarm.members[*n].start().expect("its home and its port are free again"));
    }
    swarm.agree(LIMIT).expect("all catalogues are equal");
    assert_eq!(swarm.said.len(), 2 * (12 + 8));
    assert_eq!(swarm.bans().expect("all live"), 0);
}

/// A node of the flooded network, where it listens, and its folder.
async fn target() -> (Node, u16, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config::loopback("flood".parse().expect("a good name"));
    let identity = Keypair::from(key("target").expect("a key"));
    let node = Node::start(&folder.path().join("home"), identity, config).await.expect("it starts");
    let address = node.net.listen_addresses().await.expect("running").remove(0);
    let tcp = |part| if let Protocol::Tcp(port) = part { Some(port) } else { None };
    let port = address.iter().find_map(tcp).expect("it listens on TCP");
    (node, port, folder)
}

async fn wire(port: u16, name: &str) -> Wire {
    let identity = Keypair::from(key(name).expect("a key"));
    Wire::dial(Ipv4Addr::LOCALHOST, port, &identity).await.expect("it lets us in")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_a_connection_may_have_end_it_and_nobody_else_notices() {
    let (node, port, _folder) = target().await;
    let (greedy, other) = (wire(port, "greedy").await, wire(port, "other").await);
    let mut open = Vec::new();
    while let Some(stream) = greedy.open().await {
        open.push(stream);
        // Opened for us is not yet for the other side: something has to be sent.
        let stream = open.last_mut().expect("it was put there");
        if stream.write_all(b"\x13/multistream/1.0.0\n").await.and(stream.flush().await).is_err() {
            break;
        }
        assert!(open.len() < 4000, "there is no bound");
    }
    assert!(other.speak("/potluck/flood/bulk/1").await.is_some());
    drop(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gossip_frame_that_is_too_long_ends_its_stream() {
    let (node, port, _folder) = target().await;
    let wire = wire(port, "long").await;
    let mut stream = wire.speak(&gossip::protocol()).await.expect("it speaks gossip");
    // It may be closed before all of it is sent.
    let _ = stream.write_all(&gossip::oversized()).await;
    let _ = stream.flush().await;
    let ended = tokio::time::timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await;
    ended.expect("it does not wait for the rest").ok();
    drop(node);
}

#[test]
fn metrics_are_served_where_they_are_asked_for_and_nowhere_else() {
    use std::io::{Read, Write};
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let args =
        ["up", "--stop-with-input", "--network", "metrics", "--listen", "/ip4/127.0.0.1/tcp/0", "--metrics", "0"];
    let up = program.up_with(&root.path().join("one"), &args, &[]);
    let address = up.metrics.clone().expect("it says where");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut stream = std::net::TcpStream::connect(&address).expect("it listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it is taken");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("an answer");
    for name in ["potluck_peers 0", "potluck_store_shards", "potluck_swarm_restarts_total 0", "libp2p_swarm"] {
        assert!(page.contains(name), "no `{name}`: {page}");
    }
    assert!(page.trim_end().ends_with("# EOF"), "{page}");
    up.stop();
    let silent = program.up(&root.path().join("two"), "metrics", &[]);
    assert_eq!(silent.metrics, None);
    silent.stop();
    let wrong = program.run(&root.path().join("three"), ["up", "--metrics", "nonsense"]);
    assert_eq!(wrong.code, 2, "{wrong:#?}");
}
