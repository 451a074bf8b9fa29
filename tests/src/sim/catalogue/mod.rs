//! Nodes that keep catalogues: they gossip what is announced, over lines that lose some of it, and compare.
//!
//! What they say to each other is the real bytes of real requests and replies, and every signature is checked, so that
//! the bytes counted here are those of the wire.

mod ledger;
mod manner;
mod node;
mod offer;

pub use ledger::Ledger;
pub use manner::Manner;
pub use node::{Figures, Node};
pub use offer::Offer;

use std::collections::BTreeMap;

use libp2p::PeerId;
use libp2p::identity::ed25519::Keypair;

use super::swarm::peer_id;
use potluck_protocol::catalogue::{Bounds, RoundId};
use potluck_protocol::id::BaseId;
use potluck_protocol::signed::PublicKey;

/// What nodes say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// The bases whose gossip the sender wants.
    Follows(Vec<BaseId>),
    /// A signed announcement.
    Gossip { base: BaseId, bytes: Vec<u8> },
    /// An encoded request. Beside the wire's bytes it has a number, in place of the stream that it would come on.
    Question { round: RoundId, bytes: Vec<u8> },
    /// The encoded reply.
    Answer { round: RoundId, bytes: Vec<u8> },
}

impl Message {
    /// Bytes on the wire, with the framing of a stream.
    fn len(&self) -> u64 {
        const FRAME: u64 = 64;
        FRAME
            + match self {
                Self::Follows(bases) => 32 * bases.len() as u64,
                Self::Gossip { bytes, .. } | Self::Question { bytes, .. } | Self::Answer { bytes, .. } => {
                    bytes.len() as u64
                }
            }
    }
}

/// What all nodes of one world have in common.
#[derive(Clone, Debug)]
pub struct Setting {
    manners: Vec<Manner>,
    peers: Vec<PeerId>,
    numbers: BTreeMap<PeerId, usize>,
    pub bounds: Bounds,
    /// The keys of the nodes, if they are publishers themselves.
    keys: Vec<PublicKey>,
    /// How many bases there are.
    pub bases: u64,
    /// Of a thousand messages so many are lost.
    pub loss: u64,
    /// Nobody is done before.
    pub until_ms: u64,
}

impl Setting {
    pub fn new(manners: Vec<Manner>) -> Self {
        let peers: Vec<PeerId> = (0..manners.len()).map(peer_id).collect();
        let numbers = peers.iter().enumerate().map(|(n, peer)| (*peer, n)).collect();
        Self { manners, peers, numbers, bounds: Bounds::default(), keys: Vec::new(), bases: 2, loss: 0, until_ms: 0 }
    }

    /// Nodes that publish with the keys by which they are known.
    pub fn of_publishers(manners: Vec<Manner>, keys: &[Keypair]) -> Self {
        let peers: Vec<PeerId> = keys.iter().map(|key| PublicKey::of(key).peer_id().expect("a key")).collect();
        let numbers = peers.iter().enumerate().map(|(n, peer)| (*peer, n)).collect();
        Self { peers, numbers, keys: keys.iter().map(PublicKey::of).collect(), ..Self::new(manners) }
    }

    /// A node's own key.
    fn key(&self, node: usize) -> Option<PublicKey> {
        self.keys.get(node).copied()
    }

    pub fn manner(&self, node: usize) -> Manner {
        self.manners[node]
    }

    pub fn peer(&self, node: usize) -> PeerId {
        self.peers[node]
    }

    fn node(&self, peer: &PeerId) -> usize {
        self.numbers[peer]
    }
}
