//! Honest nodes, as anybody runs them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libp2p::PeerId;
use potluck_node::exchange::Options;
use potluck_node::net::{Config, Event};
use potluck_protocol::id::ManifestId;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::target::{NETWORK, Target};
use crate::crash::Outcome;
use crate::swarm::{Node, announcement, base, key};

/// A test that would hang ends instead.
const GUARD: Duration = Duration::from_secs(60);

/// One node.
pub struct Honest {
    node: Node,
    key: libp2p::identity::ed25519::Keypair,
    disconnected: Arc<AtomicUsize>,
}

impl Honest {
    pub async fn start(home: &Path, seed: &str) -> Outcome<Self> {
        let key = key(seed)?;
        let node = Node::start(home, key.clone().into(), Config::loopback(NETWORK.parse()?)).await?;
        let disconnected = Arc::<AtomicUsize>::default();
        let (mut events, count) = (node.net.events(), disconnected.clone());
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(Event::Disconnected(_)) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Ok(Self { node, key, disconnected })
    }

    /// How often it lost its only connection.
    pub fn disconnected(&self) -> usize {
        self.disconnected.load(Ordering::Relaxed)
    }

    /// Dials until it is connected, and knows that the target follows what it follows.
    pub async fn join(&self, target: &Target) -> Outcome<()> {
        let mut events = self.node.net.events();
        let mut last = None;
        let joined = async {
            loop {
                match self.node.net.dial(target.peer, vec![target.address.clone()]).await {
                    // The next dial follows at once if it was closed meanwhile.
                    Ok(()) => {
                        if let Ok(true) = timeout(Duration::from_secs(1), met(&mut events, target.peer)).await {
                            return;
                        }
                    }
                    Err(error) => {
                        last = Some(error.to_string());
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        let joined = timeout(GUARD, joined).await;
        Ok(joined.map_err(|_| format!("no connection within {GUARD:?}: {last:?}"))?)
    }

    /// Says something, and waits until another one has heard it.
    pub async fn tell(&self, other: &Self, name: &str) -> Outcome<()> {
        let one = announcement(&self.key, name, 1)?;
        let manifest = one.body().manifest;
        let mut events = other.node.net.events();
        self.node.net.announce(one).await?;
        let heard = async {
            while !other.node.net.announcements(base()).iter().any(|one| one.body().manifest == manifest) {
                if matches!(events.recv().await, Err(RecvError::Closed)) {
                    std::future::pending::<()>().await;
                }
            }
        };
        Ok(timeout(GUARD, heard).await?)
    }

    pub async fn pull(&self, manifest: ManifestId) -> Outcome<()> {
        let exchange = &self.node.exchange;
        let manifest = timeout(GUARD, exchange.find(manifest, Options::default())).await??;
        timeout(GUARD, exchange.pull(manifest, Options::default())).await??;
        Ok(())
    }

    pub async fn stop(self) {
        self.node.tasks.finish().await;
        self.node.net.shutdown().await;
    }
}

/// Until the target says that it follows what we follow; `false` if it is gone before.
async fn met(events: &mut tokio::sync::broadcast::Receiver<Event>, target: PeerId) -> bool {
    loop {
        match events.recv().await {
            Ok(Event::Subscribed { peer, .. }) if peer == target => return true,
            Ok(Event::Disconnected(peer)) if peer == target => return false,
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return false,
        }
    }
}
