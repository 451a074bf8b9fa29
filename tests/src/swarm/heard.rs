//! When which member heard what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use potluck_node::net::Event;
use potluck_protocol::id::ManifestId;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Of one member, over all its lives. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<HashMap<ManifestId, Instant>>>);

impl Heard {
    /// When it first heard of a manifest.
    pub fn at(&self, manifest: &ManifestId) -> Option<Instant> {
        self.lock().get(manifest).copied()
    }

    /// Writes down what is heard, until the network ends.
    pub async fn listen(self, mut events: broadcast::Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(Event::Heard(record)) => {
                    self.lock().entry(record.body().manifest).or_insert_with(Instant::now);
                }
                // Lost ones are counted as unheard: to our own disadvantage.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ManifestId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
