//! What has come, and from whom. Verified shards go on to the disk, see [`super::landing`].

use std::collections::{BTreeMap, HashSet};

use libp2p::PeerId;
use potluck_protocol::id::ShardId;
use potluck_protocol::shard::VerifiedShard;

/// The count of what has come so far.
#[derive(Default)]
pub struct Gather {
    seen: HashSet<ShardId>,
    pub from: BTreeMap<PeerId, u64>,
    pub bytes: u64,
    pub wasted: u64,
}

impl Gather {
    /// `true` if the shard is new; one that came before counts as waste.
    pub fn count(&mut self, peer: PeerId, shard: &VerifiedShard) -> bool {
        let len = shard.bytes().len() as u64;
        if !self.seen.insert(shard.id()) {
            self.wasted += len;
            return false;
        }
        *self.from.entry(peer).or_default() += len;
        self.bytes += len;
        true
    }
}
