//! Nodes that keep catalogues: they gossip what is announced, over lines that lose some of it, and compare.
//!
//! What they say to each other is the real bytes of real requests and replies, and every signature is checked, so that
//! the bytes counted here are those of the wire.

mod gate;
mod ledger;
mod manner;
mod node;
mod offer;
mod setting;

pub use gate::Costs;
pub use ledger::Ledger;
pub use manner::Manner;
pub use node::{Figures, Node};
pub use offer::Offer;
pub use setting::{Defence, Setting};

use potluck_protocol::catalogue::RoundId;
use potluck_protocol::id::BaseId;

/// What nodes say.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// The bases whose gossip the sender wants.
    Follows(Vec<BaseId>),
    /// A signed announcement, which the sender made, or says that somebody else made.
    Gossip { base: BaseId, bytes: Vec<u8>, own: bool },
    /// An encoded request. Beside the wire's bytes it has a number, in place of the stream that it would come on.
    Question { round: RoundId, bytes: Vec<u8> },
    /// The encoded reply.
    Answer { round: RoundId, bytes: Vec<u8> },
}

impl Message {
    /// Bytes on the wire, with the framing of a stream.
    pub(in crate::sim) fn len(&self) -> u64 {
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
