//! Who may come in, and who has to leave.
//!
//! Goals: whatever strangers do, an honest node gets a connection, and memory stays bounded; nobody is sent away for
//! being slow. Non-goals: to judge what peers say (the parts that read it do, and report), to hide from a flood of packets.
//!
//! ```text
//! TCP -> Gate (rate and number of handshakes by neighbourhood) -> noise, yamux -> Behaviour (places, strangers, bans)
//! whoever reads what a peer sent --Misdeed--> Bans --> Gate, Behaviour
//! ```

mod bans;
mod behaviour;
mod gate;
mod group;
mod handshakes;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};

use libp2p::PeerId;
use tokio::time::Instant;

pub use bans::{Ban, Bans};
pub use behaviour::Behaviour;
pub use gate::Gate;
pub use group::PeerGroup;

use super::counters::NetCounters;
use super::misdeed::{Denied, Misdeed};
use crate::lock;

/// What the door, the swarm and everybody who reports share. It outlives a panic of the swarm. Clones share it.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Held for operations on maps only, never over an await.
    bans: Mutex<Bans>,
    metrics: NetCounters,
}

impl Guard {
    /// Nobody is banned. What is denied and reported is counted in `metrics`.
    pub fn new(metrics: NetCounters) -> Self {
        Self(Arc::new(Inner { started: Instant::now(), bans: Mutex::default(), metrics }))
    }

    /// The bans that go on.
    pub fn banned(&self) -> Vec<Ban> {
        self.bans().all(self.now_ms())
    }

    /// Takes up bans of an earlier process.
    pub fn restore(&self, bans: &[Ban]) {
        self.bans().restore(bans, self.now_ms());
    }

    /// What the network counts.
    pub fn metrics(&self) -> &NetCounters {
        &self.0.metrics
    }

    fn report(&self, peer: PeerId, group: Option<PeerGroup>, misdeed: Misdeed) -> bool {
        self.0.metrics.misdeeds.inc(misdeed);
        let banned = self.bans().report(peer, group, misdeed, self.now_ms());
        if banned {
            tracing::warn!(%peer, ?group, ?misdeed, "a peer misbehaved once too often and is banned for a while");
            self.0.metrics.peers_banned.inc();
        }
        banned
    }

    fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans().is_banned(peer, self.now_ms())
    }

    fn is_shunned(&self, group: PeerGroup, now_ms: u64) -> bool {
        self.bans().is_shunned(group, now_ms)
    }

    pub(super) fn denied(&self, reason: Denied) {
        self.0.metrics.denied.inc(reason);
    }

    fn now_ms(&self) -> u64 {
        self.0.started.elapsed().as_millis() as u64
    }

    fn bans(&self) -> MutexGuard<'_, Bans> {
        lock::lock(&self.0.bans)
    }
}
