//! Which shard is asked from whom: a pure machine. Events and the time go in, actions come out.
//!
//! Goals: every provider that has a wanted shard is kept busy according to its speed; a slow, lying, silent or vanished
//! provider costs time but never the transfer, as long as one honest provider is there (invariant I15); one seed, one
//! trace. Non-goals: to move or verify bytes, to find providers, to ask for rare shards first.
//!
//! How shards are given out. A provider may have so many bytes on their way as it delivers in two seconds. The provider
//! that would be done first gets the next shard that it has. When nothing is left to give out, a provider with nothing
//! to do asks for a shard that somebody else owes: one that it would deliver sooner, or one that is overdue. The first
//! copy counts.

mod machine;
mod peer;
#[cfg(test)]
mod tests;

use libp2p_identity::PeerId;

pub use machine::Fetch;

use crate::shard::ShardRow;

/// Names one request; never used twice by one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a provider has of the wanted shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holdings {
    All,
    /// One flag for each wanted shard, in order; what is beyond the end is not there.
    These(Vec<bool>),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A provider is there, or has other holdings than before. Ignored for one that sent wrong bytes.
    Found { peer: PeerId, holdings: Holdings },
    /// Some bytes of the shard came; the request is alive.
    Progress { peer: PeerId },
    /// The whole shard came, and it is the one that was asked for.
    Arrived { peer: PeerId, request: RequestId },
    /// Wrong bytes, too many bytes, or no sense: the peer is not asked again.
    Wrong { peer: PeerId },
    /// The peer does not have that shard.
    NotFound { peer: PeerId, request: RequestId },
    /// The peer wants to be asked later.
    Busy { peer: PeerId, request: RequestId, retry_ms: u32 },
    /// The stream broke or the peer is gone: what it owes is asked from others.
    Lost { peer: PeerId },
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask `peer` for a shard. Requests to one peer are answered in order.
    Ask { peer: PeerId, request: RequestId, shard: ShardRow },
    /// The peer has stood still for too long: forget its requests, close its stream. It may be asked again later.
    Reset { peer: PeerId },
    /// The peer is to blame: forget its requests, close its stream, ask it no more.
    Drop { peer: PeerId },
    /// Every wanted shard has arrived. Comes once, last.
    Done,
}
