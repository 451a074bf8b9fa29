//! The node under attack, in a process of its own, so that its memory is its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libp2p::{Multiaddr, PeerId};
use potluck_node::metrics::server::Server;
use potluck_node::net::Config;
use potluck_node::store::Source;
use potluck_protocol::id::ManifestId;
use potluck_protocol::shard::ShardRow;
use potluck_protocol::text::RelPath;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::crash::{Outcome, bytes, sign};
use crate::swarm::{Node, key};

/// The network of this soak.
pub const NETWORK: &str = "flood";

/// What honest nodes pull, and slow readers ask for.
const CONTENT: usize = 2 << 20;

/// A running target.
pub struct Target {
    child: Child,
    pub peer: PeerId,
    pub address: Multiaddr,
    pub port: u16,
    pub manifest: ManifestId,
    /// Its content.
    pub shards: Vec<ShardRow>,
    metrics: String,
}

impl Target {
    pub fn start(home: &Path) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("flood-target").arg(home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("piped")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let text = |name: &str| ready[name].as_str().ok_or(format!("no {name}: {line}"));
        Ok(Self {
            peer: text("peer")?.parse()?,
            address: text("address")?.parse()?,
            port: u16::try_from(ready["port"].as_u64().ok_or("no port")?)?,
            manifest: text("manifest")?.parse()?,
            shards: rows()?,
            metrics: text("metrics")?.to_owned(),
            child,
        })
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> Outcome<u64> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count() as u64)
    }

    /// What Prometheus would read.
    pub async fn metrics(&self) -> Outcome<Metrics> {
        let mut stream = TcpStream::connect(&self.metrics).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics);
        stream.write_all(request.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(Metrics(text))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Both fail only if it is dead already.
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }
}

/// A page of metrics.
pub struct Metrics(String);

impl Metrics {
    /// All values of a family, by their labels.
    pub fn family(&self, name: &str) -> Value {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix(name)?.split_once(' '));
        let label = |labels: &str| labels.split('"').nth(1).unwrap_or("all").to_owned();
        let values = lines.filter_map(|(labels, value)| Some((label(labels), value.parse::<u64>().ok()?)));
        values.map(|(label, value)| (label, json!(value))).collect::<serde_json::Map<_, _>>().into()
    }

    /// A value without labels.
    pub fn value(&self, name: &str) -> Option<f64> {
        let mut lines = self.0.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        lines.next()?.parse().ok()
    }
}

fn content() -> Vec<u8> {
    bytes("what a flooded node serves", CONTENT)
}

fn rows() -> Outcome<Vec<ShardRow>> {
    let pieces = content();
    let shard = |piece: &[u8]| {
        let shard = potluck_protocol::shard::VerifiedShard::of(piece.to_vec())?;
        Ok(ShardRow { id: shard.id(), len: piece.len() as u32 })
    };
    pieces.chunks(1 << 20).map(shard).collect()
}

/// The process itself: publishes, says where it is, and serves until standard input ends.
pub fn child(home: &Path) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let key = key("flooded")?;
        let config = Config::loopback(NETWORK.parse()?);
        let node = Node::start(home, key.clone().into(), config).await?;
        let files = node.store.import_files(vec![(RelPath::new("rows.jsonl")?, Source::Bytes(content()))])?;
        let manifest = sign(&key, "flooded", files)?;
        let mapped = node.store.map(manifest)??;
        let complete = mapped.complete(|id| node.store.has_shard(id))??;
        node.store.commit(&complete)?;
        let server = Server::bind("127.0.0.1:0".parse()?).await?;
        let metrics = server.address().to_string();
        tokio::spawn(server.run(node.scrape(), node.tasks.stop().clone()));
        let address = node.net.listen_addresses().await?.remove(0);
        let port = address.iter().find_map(|part| match part {
            libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        });
        let ready = json!({
            "peer": node.net.peer_id().to_string(), "address": address, "port": port, "metrics": metrics,
            "manifest": complete.manifest().id().to_string(),
        });
        println!("{ready}");
        tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
        Ok(())
    })
}
