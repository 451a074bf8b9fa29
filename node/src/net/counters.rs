//! Counters of the swarm.

pub mod bulk;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::misdeed::{Denied, Judged, Misdeed};
use crate::metrics::count::{Count, Label};
use crate::metrics::page::Counters;
use bulk::Bulk;

/// A queue that lets things fall when it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Bulk streams that were told `Busy` or reset.
    BulkStreams,
    /// Own announcements that waited for a listener.
    Outbox,
    /// Reports of misdeeds while the actor had no time.
    Reports,
}

impl Label for Queue {
    const NAME: &'static str = "queue";

    fn value(self) -> &'static str {
        match self {
            Self::BulkStreams => "bulk_streams",
            Self::Outbox => "outbox",
            Self::Reports => "reports",
        }
    }
}

/// What the swarm counts. Cheap to clone; clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct NetCounters {
    /// Connections that were not made, or were ended.
    pub denied: Count<Denied>,
    /// What peers did wrong.
    pub misdeeds: Count<Misdeed>,
    /// Bans that began.
    pub peers_banned: Counter,
    /// Panics of the swarm after which it was built anew.
    pub restarts: Counter,
    /// What full queues let fall.
    pub dropped: Count<Queue>,
    /// Announcements that came by gossip.
    pub judged: Count<Judged>,
    /// Bulk streams.
    pub bulk: Bulk,
}

impl Counters for NetCounters {
    fn register(&self, registry: &mut Registry) {
        self.denied.register(registry, "connections_denied", "Connections not made, or ended, by reason");
        self.misdeeds.register(registry, "misdeeds", "What peers did that they could have known to be wrong");
        registry.register("peers_banned", "Times that a peer was banned", self.peers_banned.clone());
        registry.register("swarm_restarts", "Times that the swarm panicked and was built anew", self.restarts.clone());
        self.dropped.register(registry, "queue_dropped", "What fell from full queues");
        self.judged.register(registry, "gossip_announcements", "Announcements that came by gossip");
        self.bulk.register(registry);
    }
}
