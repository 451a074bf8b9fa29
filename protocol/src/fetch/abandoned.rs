//! Requests that were given up and may be answered all the same.

use std::collections::VecDeque;

use libp2p_identity::PeerId;

use super::RequestId;

/// So many are remembered; the oldest are forgotten first, and their answers count as unknown.
const REMEMBERED_MAX: usize = 1024;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Abandoned {
    /// Who was asked.
    pub peer: PeerId,
    /// The request that no longer counts.
    pub request: RequestId,
    /// Among the wanted shards.
    pub index: usize,
    /// How much of it has been counted as waste.
    pub wasted: u64,
}

/// All of them. A provider that is reset just as its shard arrives would otherwise cost that shard twice.
#[derive(Clone, Debug, Default)]
pub struct AbandonedRequests(VecDeque<Abandoned>);

impl AbandonedRequests {
    /// Adds one, and forgets the oldest if there are too many.
    pub fn remember(&mut self, given_up: Abandoned) {
        if self.0.len() == REMEMBERED_MAX {
            self.0.pop_front();
        }
        self.0.push_back(given_up);
    }

    /// It was answered.
    pub fn take(&mut self, peer: &PeerId, request: RequestId) -> Option<Abandoned> {
        let position = self.0.iter().position(|one| one.request == request && one.peer == *peer)?;
        self.0.remove(position)
    }
}
