//! A node that can be killed: it has a runtime of its own, and when that is dropped everything of it ends at once, without
//! a farewell and with nothing written that was not written before.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libp2p::identity::ed25519::Keypair;
use libp2p::{Multiaddr, PeerId};
use potluck_node::net::Config;
use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::id::{AnnouncementId, ManifestId};
use potluck_protocol::signed::Authentic;
use tokio::runtime::{Builder, Runtime};

use super::{Heard, Node, base, key};
use crate::crash::Outcome;

/// How long a killed member's threads may take to end: they may be in the middle of a write.
const END: Duration = Duration::from_secs(20);

/// A dial that failed is repeated so often, after so long.
const ATTEMPTS: usize = 10;
const AGAIN: Duration = Duration::from_millis(100);

/// What a member is, whether it lives or not.
#[derive(Clone, Debug)]
pub struct Plan {
    pub root: PathBuf,
    pub network: String,
    pub key: Keypair,
    pub port: u16,
    /// Whom it dials when it starts.
    pub dials: Vec<Multiaddr>,
}

impl Plan {
    /// A member with a port of its own.
    pub fn new(root: PathBuf, network: &str, seed: &str) -> Outcome<Self> {
        Ok(Self { root, network: network.to_owned(), key: key(seed)?, port: free_port()?, dials: Vec::new() })
    }

    pub fn peer(&self) -> PeerId {
        libp2p::identity::Keypair::from(self.key.clone()).public().to_peer_id()
    }

    pub fn address(&self) -> Outcome<Multiaddr> {
        Ok(format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", self.port, self.peer()).parse()?)
    }
}

/// A port that stays free while its member is dead: the system gives those from 32768 on to whoever asks for any.
fn free_port() -> Outcome<u16> {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let many = PORTS.end - PORTS.start;
    // Processes that run side by side begin at different ones.
    let begin = std::process::id().wrapping_mul(101);
    for _ in PORTS {
        let number = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % many;
        let port = u16::try_from(PORTS.start + number)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no port is free".into())
}

/// See the module.
pub struct Member {
    pub plan: Plan,
    pub heard: Heard,
    /// What it announced itself: said again at each start, as the daemon does.
    said: Vec<Authentic<Announcement>>,
    life: Option<Life>,
}

struct Life {
    runtime: Runtime,
    node: Node,
    since: Instant,
}

impl Member {
    /// One that does not live yet.
    pub fn new(plan: Plan) -> Self {
        Self { plan, heard: Heard::default(), said: Vec::new(), life: None }
    }

    pub fn start(&mut self) -> Outcome<()> {
        let runtime = Builder::new_multi_thread().worker_threads(1).max_blocking_threads(4).enable_all().build()?;
        let config = Config {
            listen: vec![format!("/ip4/127.0.0.1/tcp/{}", self.plan.port).parse()?],
            bootstrap: self.plan.dials.clone(),
            ..Config::loopback(self.plan.network.parse()?)
        };
        let identity = self.plan.key.clone().into();
        let node = runtime.block_on(async {
            let node = Node::start(&self.plan.root, identity, config).await?;
            tokio::spawn(self.heard.clone().listen(node.net.events()));
            for one in &self.said {
                node.net.announce(one.clone()).await?;
            }
            Ok::<_, Box<dyn std::error::Error>>(node)
        })?;
        self.life = Some(Life { runtime, node, since: Instant::now() });
        Ok(())
    }

    /// Ends it at once. Who is dead stays dead.
    pub fn kill(&mut self) {
        if let Some(Life { runtime, node, .. }) = self.life.take() {
            // The runtime first: what would be told to end in order is gone before it can be told.
            runtime.shutdown_timeout(END);
            drop(node);
        }
    }

    /// Since when it lives, if it does.
    pub fn since(&self) -> Option<Instant> {
        self.life.as_ref().map(|life| life.since)
    }

    /// Says something new.
    pub fn announce(&mut self, one: Authentic<Announcement>) -> Outcome<()> {
        let life = self.life.as_ref().ok_or("it is dead")?;
        life.runtime.block_on(life.node.net.announce(one.clone()))?;
        self.said.push(one);
        Ok(())
    }

    /// Connects to another one. Two that dial each other at once may fail both: then the next attempt finds them connected.
    pub fn dial(&self, peer: PeerId, address: &Multiaddr) -> Outcome<()> {
        let life = self.life.as_ref().ok_or("it is dead")?;
        let mut result = Ok(());
        for _ in 0..ATTEMPTS {
            result = life.runtime.block_on(life.node.net.dial(peer, vec![address.clone()]));
            if result.is_ok() {
                break;
            }
            std::thread::sleep(AGAIN);
        }
        Ok(result?)
    }

    /// Closes the connections to some peers; how many there were.
    pub fn cut(&self, peers: &BTreeSet<PeerId>) -> Outcome<usize> {
        let Some(life) = &self.life else { return Ok(0) };
        life.runtime.block_on(async {
            let connected = life.node.net.peers().await?;
            let wrong: Vec<PeerId> =
                connected.iter().map(|info| info.peer).filter(|peer| peers.contains(peer)).collect();
            for peer in &wrong {
                life.node.net.disconnect(*peer).await?;
            }
            Ok(wrong.len())
        })
    }

    /// What it knows to be announced; nothing while it is dead.
    pub fn catalogue(&self) -> BTreeSet<AnnouncementId> {
        let known = self.life.as_ref().map(|life| life.node.net.announcements(base())).unwrap_or_default();
        known.iter().map(|one| announce::id(one)).collect()
    }

    pub fn manifests(&self) -> BTreeSet<ManifestId> {
        let known = self.life.as_ref().map(|life| life.node.net.announcements(base())).unwrap_or_default();
        known.iter().map(|one| one.body().manifest).collect()
    }

    /// How many peers it has, and how many it has banned.
    pub fn peers(&self) -> Outcome<(usize, usize)> {
        let life = self.life.as_ref().ok_or("it is dead")?;
        let peers = life.runtime.block_on(life.node.net.peers())?;
        Ok((peers.len(), life.node.net.banned().len()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
