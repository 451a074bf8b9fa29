//! Verified shards on their way to the disk, made durable in batches; and the count of what came from whom.

use std::collections::{BTreeMap, HashSet};

use libp2p::PeerId;
use potluck_protocol::id::ShardId;
use potluck_protocol::shard::VerifiedShard;
use tokio::time::Instant;

use super::super::limits::{BATCH_AGE, BATCH_BYTES};
use super::super::{Exchange, PullError};

/// What has come so far.
#[derive(Default)]
pub struct Gather {
    batch: Vec<VerifiedShard>,
    batch_bytes: usize,
    /// When the first of the batch came.
    since: Option<Instant>,
    seen: HashSet<ShardId>,
    pub from: BTreeMap<PeerId, u64>,
    pub bytes: u64,
    pub wasted: u64,
}

impl Gather {
    /// Takes a shard; one that came before counts as waste.
    pub fn take(&mut self, peer: PeerId, shard: VerifiedShard) {
        let len = shard.bytes().len();
        if !self.seen.insert(shard.id()) {
            self.wasted += len as u64;
            return;
        }
        *self.from.entry(peer).or_default() += len as u64;
        self.bytes += len as u64;
        self.batch_bytes += len;
        self.since.get_or_insert_with(Instant::now);
        self.batch.push(shard);
    }

    /// The batch is long or old enough to be made durable.
    pub fn is_due(&self) -> bool {
        self.batch_bytes >= BATCH_BYTES || self.due_at().is_some_and(|at| at <= Instant::now())
    }

    pub fn due_at(&self) -> Option<Instant> {
        self.since.map(|since| since + BATCH_AGE)
    }

    /// Makes what has come durable; returns when it is.
    pub async fn flush(&mut self, exchange: &Exchange) -> Result<(), PullError> {
        let batch = std::mem::take(&mut self.batch);
        (self.batch_bytes, self.since) = (0, None);
        if !batch.is_empty() {
            exchange.blocking(move |store| store.put_shards(batch)).await?;
        }
        Ok(())
    }
}
