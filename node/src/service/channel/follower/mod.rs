//! This node as a follower and an auditor: what of a channel it believes, takes, goes back from, and shows.
//!
//! ```text
//! announcements, store -> gather -> chain (Lineage) -> adapters here -> audit -> current
//!                           |                                            |
//!                       two at one height                     bytes do not follow
//!                           +------> halt, and a proof that is announced <+
//! proofs of others -> looked at again here, within bounds -> halt, or ignored and said so
//! ```
//!
//! Nothing is in force but what one record in `state.log` says, and that is written last.

mod adapters;
mod audit;
mod chain;
mod export;
mod follow;
mod gather;
mod halt;
mod ledger;
pub mod limits;
mod proofs;
mod rollback;
mod show;
mod update;
mod watch;

pub use follow::unheard;
pub use halt::{claimed, told};
pub use watch::watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use potluck_protocol::id::ManifestId;
use tokio::sync::OwnedMutexGuard;

use ledger::Ledger;

/// What is being done about channels, shared by all requests of a node.
#[derive(Debug, Default)]
pub struct Watching {
    /// By channel: whoever changes what is in force holds it. As many as channels are followed. // I12
    turns: Mutex<BTreeMap<ManifestId, Arc<tokio::sync::Mutex<()>>>>,
    ledger: Mutex<Ledger>,
    /// Channels of our own for which peers were asked. As many as there are. // I12
    asked: Mutex<BTreeSet<ManifestId>>,
}

impl Watching {
    /// Waits until nobody else changes what is in force of a channel.
    pub async fn turn(&self, channel: ManifestId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(channel).or_default())
        };
        turn.lock_owned().await
    }

    /// Whether peers were asked what our own key has signed for a channel.
    pub fn was_asked(&self, channel: &ManifestId) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).contains(channel)
    }

    pub fn asked(&self, channel: ManifestId) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(channel);
    }

    /// Held for operations on maps only.
    fn ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
