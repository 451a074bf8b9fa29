//! What nobody had lately: it is looked for after all others until it has rested, twice as long after each time.

use std::sync::{Arc, Mutex};

use potluck_protocol::backoff::{Backoff, Delays};
use potluck_protocol::id::ManifestId;
use tokio::time::Instant;

use crate::lock::lock;

/// From five minutes to half a day: who proposes or proves something is online soon after, or not at all.
const DELAYS: Delays = Delays { first_ms: 300_000, longest_ms: 43_200_000 };

/// Manifests that are remembered. // I12
const MAX: usize = 8192;

/// Proposals, adapters or proofs that could not be had or judged, in this process. Clones share it.
#[derive(Clone)]
pub struct Rests {
    began: Instant,
    resting: Arc<Mutex<Backoff<ManifestId>>>,
}

impl Default for Rests {
    fn default() -> Self {
        Self { began: Instant::now(), resting: Arc::new(Mutex::new(Backoff::new(DELAYS, MAX))) }
    }
}

impl Rests {
    /// It was looked for a short while ago and nobody had it.
    pub fn is_resting(&self, id: &ManifestId) -> bool {
        lock(&self.resting).is_resting(id, self.now_ms())
    }

    /// Nobody had it.
    pub fn missed(&self, id: ManifestId) {
        lock(&self.resting).back_off_once(id, self.now_ms());
    }

    /// It is here.
    pub fn found(&self, id: &ManifestId) {
        lock(&self.resting).reset(id);
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
