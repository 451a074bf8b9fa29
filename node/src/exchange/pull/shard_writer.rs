//! Verified shards on their way to the disk, beside the transfer.
//!
//! ```text
//! put -> [UNWRITTEN] -> stage: written, at the speed of memory -> [UNSETTLED] -> settle: fsync and rename, together
//! ```
//!
//! Two threads that may wait for the disk; each queue is bounded, so a slow disk slows the transfer down instead of
//! filling the memory. Nothing is acknowledged before [`ShardWriter::finish`] returns.

use potluck_protocol::shard::VerifiedShard;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::super::limits::{UNSETTLED, UNWRITTEN};
use super::super::{Exchange, PullError};
use crate::store::{StagedShards, Store, StoreError};
use crate::task;

/// One stage's way to the disk.
pub struct ShardWriter {
    shards: mpsc::Sender<VerifiedShard>,
    staging: JoinHandle<Result<Instant, StoreError>>,
    settling: JoinHandle<Result<(), StoreError>>,
}

impl ShardWriter {
    /// Starts the two threads.
    pub fn new(exchange: &Exchange) -> Self {
        let (shards, arrived) = mpsc::channel(UNWRITTEN);
        let (staged, waiting) = mpsc::channel(UNSETTLED);
        let (writer, syncer) = (exchange.0.store.clone(), exchange.0.store.clone());
        Self {
            shards,
            staging: spawn_blocking(move || stage(&writer, arrived, &staged)),
            settling: spawn_blocking(move || settle(&syncer, waiting)),
        }
    }

    /// Hands a shard over; waits while the disk is too far behind. `false` if the disk failed: [`Self::finish`] says
    /// how.
    pub async fn put(&self, shard: VerifiedShard) -> bool {
        self.shards.send(shard).await.is_ok()
    }

    /// Waits until everything that was put is durable. When the last shard had been written.
    pub async fn finish(self) -> Result<Instant, PullError> {
        drop(self.shards);
        let written = task::resume(self.staging.await).await;
        // The first cause first: a settler that fails ends the writer too.
        task::resume(self.settling.await).await?;
        Ok(written?)
    }
}

/// Until nothing more comes.
fn stage(
    store: &Store,
    mut arrived: mpsc::Receiver<VerifiedShard>,
    staged: &mpsc::Sender<StagedShards>,
) -> Result<Instant, StoreError> {
    while let Some(shard) = arrived.blocking_recv() {
        if staged.blocking_send(store.stage(&[shard])?).is_err() {
            // The settler has failed, and `finish` tells its error.
            break;
        }
    }
    Ok(Instant::now())
}

/// Makes whatever waits durable, together, again and again.
fn settle(store: &Store, mut waiting: mpsc::Receiver<StagedShards>) -> Result<(), StoreError> {
    while let Some(mut staged) = waiting.blocking_recv() {
        while staged.count() < Store::BATCH
            && let Ok(more) = waiting.try_recv()
        {
            staged.append(more);
        }
        store.settle(staged)?;
    }
    Ok(())
}
