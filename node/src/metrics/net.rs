//! Counters of the swarm.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::bulk::Bulk;
use super::count::{Count, Label};

/// Why a connection was not made, or was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its neighbourhood connects too often.
    TooOften,
    /// It was still shaking hands when others came, and too many were.
    HandshakeEvicted,
    /// Too many of its neighbourhood are connected.
    Crowded,
    /// All places were taken, and its was given to another.
    Evicted,
    /// It did not say who it is.
    Stranger,
    /// It is banned, or too many of its neighbourhood are.
    Banned,
    /// Another bound of the swarm, or the handshake failed.
    Other,
}

impl Label for Denied {
    const NAME: &'static str = "reason";

    fn value(self) -> &'static str {
        match self {
            Self::TooOften => "too_often",
            Self::HandshakeEvicted => "handshake_evicted",
            Self::Crowded => "crowded",
            Self::Evicted => "evicted",
            Self::Stranger => "stranger",
            Self::Banned => "banned",
            Self::Other => "other",
        }
    }
}

/// What a peer did, provably wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misdeed {
    /// Bytes that do not hash to their name, or an object that does not verify.
    WrongBytes,
    /// Frames or answers that make no sense.
    Protocol,
    /// Gossip that does not verify.
    Gossip,
    /// More gossip than an honest node could have passed on.
    Flood,
}

impl Label for Misdeed {
    const NAME: &'static str = "kind";

    fn value(self) -> &'static str {
        match self {
            Self::WrongBytes => "wrong_bytes",
            Self::Protocol => "protocol",
            Self::Gossip => "gossip",
            Self::Flood => "flood",
        }
    }
}

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

/// What became of an announcement that came by gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    Accepted,
    Rejected,
    Ignored,
}

impl Label for Judged {
    const NAME: &'static str = "verdict";

    fn value(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Ignored => "ignored",
        }
    }
}

/// Cheap to clone; clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Net {
    pub denied: Count<Denied>,
    pub misdeeds: Count<Misdeed>,
    pub peers_banned: Counter,
    pub restarts: Counter,
    pub dropped: Count<Queue>,
    pub judged: Count<Judged>,
    pub bulk: Bulk,
}

impl Net {
    pub(super) fn register(&self, registry: &mut Registry) {
        self.denied.register(registry, "connections_denied", "Connections not made, or ended, by reason");
        self.misdeeds.register(registry, "misdeeds", "What peers did that they could have known to be wrong");
        registry.register("peers_banned", "Times that a peer was banned", self.peers_banned.clone());
        registry.register("swarm_restarts", "Times that the swarm panicked and was built anew", self.restarts.clone());
        self.dropped.register(registry, "queue_dropped", "What fell from full queues");
        self.judged.register(registry, "gossip_announcements", "Announcements that came by gossip");
        self.bulk.register(registry);
    }
}
