//! Counters of bulk streams.

use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::codec::Heard;
use prometheus_client::registry::Registry;

use crate::metrics::count::{Count, Label};

/// Of bytes, as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this node.
    In,
    /// From this node.
    Out,
}

impl Label for Direction {
    const NAME: &'static str = "direction";

    fn value(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// What a peer asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(&'static str);

impl From<&Heard<Request>> for Asked {
    fn from(request: &Heard<Request>) -> Self {
        let request = match request {
            Heard::Known(request) => request,
            Heard::Later(_) => return Self("later"),
        };
        Self(match request {
            Request::Manifest(_) => "manifest",
            Request::Have(_) => "have",
            Request::Shard(_) => "shard",
            Request::Providers(_) => "providers",
            Request::Announcements(_) => "announcements",
            Request::Compare(_) => "compare",
            Request::Records(_) => "records",
            Request::Cancel(_) => "cancel",
            Request::Peers => "peers",
        })
    }
}

impl Label for Asked {
    const NAME: &'static str = "kind";

    fn value(self) -> &'static str {
        self.0
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(&'static str);

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        Self(match refusal {
            Refusal::NotFound => "not_found",
            Refusal::Busy { .. } => "busy",
            Refusal::Cancelled => "cancelled",
        })
    }
}

impl Label for Refused {
    const NAME: &'static str = "reason";

    fn value(self) -> &'static str {
        self.0
    }
}

/// What bulk streams count. Cheap to clone; clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    bytes: Count<Direction>,
    asked: Count<Asked>,
    refused: Count<Refused>,
}

impl Bulk {
    /// A request of a peer came.
    pub fn asked(&self, request: &Heard<Request>) {
        self.asked.inc(request.into());
    }

    /// An answer goes to a peer, or comes from one.
    pub fn answered(&self, direction: Direction, reply: &Reply) {
        match reply {
            Reply::Shard { bytes, .. } => self.bytes.add(direction, bytes.len() as u64),
            Reply::Refused(refusal) if direction == Direction::Out => self.refused.inc(refusal.into()),
            _ => {}
        }
    }

    /// How many requests of a kind peers have made, by the kind's label.
    #[cfg(test)]
    pub fn requests(&self, kind: &'static str) -> u64 {
        self.asked.get(Asked(kind))
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        self.bytes.register(registry, "bulk_bytes", "Bytes of shards over bulk streams");
        self.asked.register(registry, "requests", "Requests of peers");
        self.refused.register(registry, "refusals", "Requests of peers that were refused");
    }
}
