//! A node written by `docs/protocol.md` alone publishes to a daemon and pulls from one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use potluck_tests::kit::{Program, Up, text, train_adapter};
use potluck_tests::stranger::{Adapter, Node, Said, hex, unhex};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::program;

/// For slow machines.
const PATIENCE: Duration = Duration::from_secs(30);

/// Rank 2, for the five layers of `tiny`, 128 wide.
fn adapter() -> Adapter {
    Adapter::of_q_proj(2, 5, 128).expect("it is written")
}

fn base(program: &Program, home: &Path) -> [u8; 32] {
    let shown = program.ok(home, ["base", "show", "tiny"]);
    unhex(shown["base"].as_str().expect("an id")).expect("an id")
}

/// A daemon, and a stranger that is connected to it. The runtime's threads answer while a test waits for a command.
fn meet(program: &Program, home: &Path, network: &str, adapter: Option<&Adapter>) -> (Up, Runtime, Node) {
    let base = base(program, home);
    let up = program.up(home, network, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let connected = async { timeout(PATIENCE, Node::connect(network, &up.address, base, adapter)).await };
    let node = runtime.block_on(connected).expect("in time").unwrap_or_else(|error| panic!("{error}"));
    (up, runtime, node)
}

async fn until(node: &mut Node, wanted: Said) {
    let heard = async { while node.said.recv().await.expect("connected") != wanted {} };
    timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("no {wanted:?}"));
}

/// Until the daemon's catalogue holds what the stranger announced: by asking, for that is what a peer can do.
async fn until_announced(node: &Node) {
    let asked = async {
        loop {
            let known = node.catalogue().await.unwrap_or_else(|error| panic!("{error}"));
            if known.iter().any(|one| one.manifest == node.published()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asked).await.expect("the daemon takes the announcement");
}

/// The daemon pulls what the stranger published, and finds it to be what it says.
fn pull(program: &Program, home: &Path, node: &Node, adapter: &Adapter) {
    let id = hex(&node.published());
    let pulled = program.ok(home, ["pull", &id]);
    let folder = Path::new(pulled["folder"].as_str().expect("a path"));
    assert_eq!(fs::read(folder.join("adapter_model.safetensors")).expect("there"), adapter.model);
    assert_eq!(pulled["name"], "strange");
    assert_eq!(program.ok(home, ["verify", &id])["manifest"], id.as_str());
}

#[test]
fn a_stranger_publishes_by_answering_the_catalogue() {
    let (program, home, adapter) = (program(), tempfile::tempdir().expect("a folder"), adapter());
    let (_up, runtime, mut node) = meet(&program, home.path(), "stranger-catalogue", Some(&adapter));
    runtime.block_on(async {
        node.follow().await.unwrap_or_else(|error| panic!("{error}"));
        until(&mut node, Said::Records(1)).await;
        until_announced(&node).await;
    });
    pull(&program, home.path(), &node, &adapter);
}

#[test]
fn a_stranger_publishes_by_gossip() {
    let (program, home, adapter) = (program(), tempfile::tempdir().expect("a folder"), adapter());
    let (_up, runtime, mut node) = meet(&program, home.path(), "stranger-gossip", Some(&adapter));
    runtime.block_on(async {
        until(&mut node, Said::Follows).await;
        node.announce().await.unwrap_or_else(|error| panic!("{error}"));
        until_announced(&node).await;
    });
    pull(&program, home.path(), &node, &adapter);
}

#[test]
fn a_stranger_pulls_from_a_daemon() {
    let (program, root) = (program(), tempfile::tempdir().expect("a folder"));
    let (home, folder) = (root.path().join("home"), root.path().join("adapter"));
    train_adapter(&program, &home, &folder, 7);
    let (_up, runtime, node) = meet(&program, &home, "stranger-pull", None);
    let published = program.ok(&home, ["publish", &text(&folder), "--name", "seven", "--licence", "Apache-2.0"]);
    let id = unhex(published["manifest"].as_str().expect("an id")).expect("an id");
    let (known, pulled) = runtime.block_on(async {
        let known = node.catalogue().await.unwrap_or_else(|error| panic!("{error}"));
        let pulled = timeout(PATIENCE, node.pull(id)).await.expect("in time");
        (known, pulled.unwrap_or_else(|error| panic!("{error}")))
    });
    assert_eq!(known.iter().map(|one| (one.manifest, one.name.as_str())).collect::<Vec<_>>(), [(id, "seven")]);
    assert_eq!((pulled.name.as_str(), pulled.licence.as_str()), ("seven", "Apache-2.0"));
    assert_eq!(pulled.publisher, known[0].publisher);
    // The daemon's own PEFT folder has the same bytes.
    let own = program.ok(&home, ["pull", &hex(&id)]);
    let own = Path::new(own["folder"].as_str().expect("a path"));
    assert!(pulled.shards > 2 && pulled.files.len() == 2, "{pulled:?}");
    for (path, bytes) in &pulled.files {
        assert_eq!(*bytes, fs::read(own.join(path)).expect("there"), "{path}");
    }
}
