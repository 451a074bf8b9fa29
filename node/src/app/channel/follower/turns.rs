//! Who changes what is in force of a channel: one at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use potluck_protocol::id::ManifestId;
use tokio::sync::OwnedMutexGuard;

use crate::lock::lock;

/// Held by whoever changes what is in force of one channel.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// A lock for each channel. Clones share them.
#[derive(Clone, Default)]
pub struct Turns {
    /// By channel. As many as channels are followed. // I12
    turns: Arc<Mutex<BTreeMap<ManifestId, Turn>>>,
}

impl Turns {
    /// Waits until nobody else changes what is in force of a channel.
    pub async fn take(&self, channel: ManifestId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = lock(&self.turns);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(channel).or_default())
        };
        turn.lock_owned().await
    }
}
