//! What led nowhere lately rests, twice as long after each time, in this process. To rest is to come last, not never.

use std::sync::{Arc, Mutex};

use potluck_protocol::backoff::{Backoff, Delays};
use tokio::time::Instant;

use crate::lock::lock;

/// Things, or those who offer them, that led nowhere. Clones share them.
#[derive(Clone)]
pub struct Rests<K> {
    began: Instant,
    resting: Arc<Mutex<Backoff<K>>>,
}

impl<K: Ord + Copy> Rests<K> {
    /// Nothing rests. At most `max` are remembered. // I12
    pub fn new(delays: Delays, max: usize) -> Self {
        Self { began: Instant::now(), resting: Arc::new(Mutex::new(Backoff::new(delays, max))) }
    }

    /// It led nowhere a short while ago.
    pub fn is_resting(&self, key: &K) -> bool {
        lock(&self.resting).is_resting(key, self.now_ms())
    }

    /// It led nowhere.
    pub fn missed(&self, key: K) {
        lock(&self.resting).back_off_once(key, self.now_ms());
    }

    /// It was what it should be.
    pub fn found(&self, key: &K) {
        lock(&self.resting).reset(key);
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}
