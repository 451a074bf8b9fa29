//! Nodes that pull manifests from each other and serve what they have, while they pull.

mod by_seed;
mod node;
mod plan;
mod provider;
mod puller;

pub use node::Node;
pub use plan::{LIMIT_MS, Outcome, Plan, Planned, Pulling};
pub use provider::Conduct;

use std::collections::{BTreeMap, HashMap};

use libp2p::PeerId;

use potluck_protocol::fetch::RequestId;
use potluck_protocol::id::{Digest, ShardId};
use potluck_protocol::shard::ShardRow;

/// Bytes of a message that carries no shard.
const SMALL: u64 = 64;

/// What exists in one world. Shards are numbered; their bytes are not made.
#[derive(Debug)]
pub struct Library {
    pub shards: Vec<ShardRow>,
    /// The shards of each manifest.
    pub manifests: Vec<Vec<u32>>,
    peers: Vec<PeerId>,
    /// Where each node is.
    neighbourhoods: Vec<u64>,
    by_id: HashMap<ShardId, u32>,
    by_peer: BTreeMap<PeerId, usize>,
}

impl Library {
    /// Nodes in these neighbourhoods.
    pub fn new(lens: &[u32], manifests: Vec<Vec<u32>>, neighbourhoods: Vec<u64>) -> Self {
        let row = |(n, len): (usize, &u32)| ShardRow { id: ShardId(Digest::of(&(n as u64).to_le_bytes())), len: *len };
        let shards: Vec<ShardRow> = lens.iter().enumerate().map(row).collect();
        let peers: Vec<PeerId> = (0..neighbourhoods.len()).map(peer_id).collect();
        Self {
            by_id: shards.iter().enumerate().map(|(n, row)| (row.id, n as u32)).collect(),
            by_peer: peers.iter().enumerate().map(|(n, peer)| (*peer, n)).collect(),
            shards,
            manifests,
            peers,
            neighbourhoods,
        }
    }

    pub fn peer(&self, node: usize) -> PeerId {
        self.peers[node]
    }

    fn neighbourhood(&self, node: usize) -> u64 {
        self.neighbourhoods[node]
    }

    fn node(&self, peer: &PeerId) -> usize {
        self.by_peer[peer]
    }

    fn number(&self, id: &ShardId) -> u32 {
        self.by_id[id]
    }
}

/// Some peer id for each number.
pub fn peer_id(node: usize) -> PeerId {
    let mut hash = vec![0x12, 0x20];
    hash.extend(Digest::of(&(node as u64).to_le_bytes()).0);
    PeerId::from_bytes(&hash).expect("32 bytes under the code of SHA-256 are a peer id")
}

/// One row of requests from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    pub manifest: u32,
    /// Counts the streams of one pull: what comes on an earlier one is void.
    pub number: u32,
}

/// What nodes say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Which shards of a manifest are there?
    Have {
        manifest: u32,
    },
    Holds {
        manifest: u32,
        flags: Vec<bool>,
    },
    Ask {
        stream: Stream,
        request: RequestId,
        shard: u32,
    },
    Cancel {
        stream: Stream,
        request: RequestId,
    },
    Close {
        stream: Stream,
    },
    Piece {
        stream: Stream,
        request: RequestId,
        bytes: u32,
        last: bool,
        /// The bytes are those of the shard.
        good: bool,
    },
    NotFound {
        stream: Stream,
        request: RequestId,
    },
    Busy {
        stream: Stream,
        request: RequestId,
        retry_ms: u32,
    },
}
