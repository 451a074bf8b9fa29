//! Counters of the exchange.

use potluck_protocol::catalogue::RoundOutcome;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::metrics::count::{Count, Label};
use crate::metrics::page::Counters;

/// How far a pull came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// It began.
    Started,
    /// All of it is here and visible.
    Completed,
    /// It ended with an error.
    Failed,
}

impl Label for Pull {
    const NAME: &'static str = "state";

    fn value(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// What a comparison of catalogues came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared(&'static str);

impl From<&RoundOutcome> for Compared {
    fn from(outcome: &RoundOutcome) -> Self {
        Self(match outcome {
            RoundOutcome::Equal => "equal",
            RoundOutcome::Learned(_) => "learned",
            RoundOutcome::Nothing => "nothing",
            RoundOutcome::Unanswered => "unanswered",
            RoundOutcome::Wrong => "wrong",
        })
    }
}

impl Label for Compared {
    const NAME: &'static str = "outcome";

    fn value(self) -> &'static str {
        self.0
    }
}

/// What the exchange counts. Cheap to clone; clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct ExchangeCounters {
    /// Pulls by how far they came.
    pub pulls: Count<Pull>,
    /// Shards that came and hash to their id.
    pub shards_verified: Counter,
    /// Times that a provider was caught sending wrong bytes or frames.
    pub providers_blamed: Counter,
    /// Requests of peers who ask more than they may, and wait for their turn.
    pub requests_delayed: Counter,
    /// Comparisons of catalogues.
    pub compared: Count<Compared>,
    /// Records of the catalogue that were written to disk.
    pub records_written: Counter,
}

impl Counters for ExchangeCounters {
    fn register(&self, registry: &mut Registry) {
        self.pulls.register(registry, "pulls", "Pulls");
        registry.register("shards_verified", "Shards that came and were right", self.shards_verified.clone());
        registry.register("providers_blamed", "Providers caught sending what is wrong", self.providers_blamed.clone());
        registry.register("requests_delayed", "Requests that waited for their turn", self.requests_delayed.clone());
        self.compared.register(registry, "catalogue_comparisons", "Comparisons of catalogues with peers");
        let written = self.records_written.clone();
        registry.register("catalogue_records_written", "Announcements written to the index", written);
    }
}
