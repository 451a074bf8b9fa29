//! Which shard is asked from whom: a pure machine. Events and the time go in, actions come out.
//!
//! Goals: every provider that has a wanted shard is kept busy according to its speed; a slow, lying, silent or vanished
//! provider costs time but never the transfer, as long as one honest provider is there (invariant I15); one seed, one
//! trace. Non-goals: to move or verify bytes, to find providers.
//!
//! **Which shard next.** In the order of the files, from a place that the seed chooses: downloaders that begin
//! together have different things to give to each other. When three providers or more have only a part, the shards
//! that fewest of those have come first, equals in an order that the seed makes (`open_shards`).
//!
//! **From whom.** The provider that would be done first, by `(bytes on their way + length) / rate + round trip`,
//! among those that have the shard and have room (`peer`, `pace`). Every provider with room gets something as long as
//! anything is left that it has, so each one's speed is measured all the time. (That is why there is no exploration
//! by chance: it would ask nobody who is not asked anyway.)
//!
//! **How much at once.** Bytes for two round trips, of which each counts 50 ms for the work on both sides, at least
//! what two seconds bring (2 MiB of it are enough), at most 32 MiB; the last request may lie half beyond that, and
//! one is always allowed. A fixed least of 2 MiB would bind a provider of 20 KiB/s to shards for 100 seconds, and
//! they would have to be taken from it at the end; with two seconds of bytes it is asked for the next shard shortly
//! before the last one is complete, so that it never waits. A fixed most of 8 MiB would hold a path of 100 ms at 80
//! MiB/s. What is on its way is bounded by time, so the bytes may be many where the path is fast.
//!
//! **Helping at the end** (`help`). A provider with nothing to do takes a request that has not begun from one that
//! would deliver ten times later, or three times later when nothing is left to give out. What has begun is asked a
//! second time instead, and the copy that loses is cancelled: so what a slow provider has sent is never thrown away
//! for the promise of another. Second copies are bounded by 5 % of the bytes, or one shard where a provider is three times
//! faster; what the slow one has sent counts there, for that is what is wasted. Only what is overdue may be asked again
//! whatever that cost: one copy at a time, and with each that is overdue too, or whose provider stood still, one more, so
//! that their number doubles until somebody delivers. For a provider that would be fast itself, or three times faster, what
//! will take ten times as long as somebody unknown should is overdue too: whoever is known to be slow has promised little,
//! and would be waited for that long.
//!
//! **Who has a place** (`places`). Sixty-four providers that have something wanted. A further one takes the place of one
//! that has nothing wanted, has failed or was never needed, or of the slowest, if that is slower than what is guessed of
//! somebody unknown. Of those that have delivered, few at a time: newcomers are free to make.

mod open_shards;
mod events;
mod help;
mod machine;
mod abandoned;
mod copies;
mod pace;
mod pause;
mod peer;
mod places;
#[cfg(test)]
mod tests;

use libp2p_identity::PeerId;

pub use machine::Fetch;
pub use peer::{REQUESTS_MAX, WINDOW_MAX};

use crate::shard::ShardRow;

/// Names one request; never used twice by one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a provider has of the wanted shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holdings {
    /// Every one.
    All,
    /// One flag for each wanted shard, in order; what is beyond the end is not there.
    These(Vec<bool>),
}

/// What happened. What is said of unknown peers and requests is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "peer, request and the like mean the same in every variant, whose line says the rest")]
pub enum Event {
    /// A provider is there, or has other holdings than before. Ignored for one that sent wrong bytes.
    Found { peer: PeerId, holdings: Holdings },
    /// So many further bytes of the shard came; the request is alive.
    Progress { peer: PeerId, request: RequestId, bytes: u32 },
    /// The whole shard came, and it is the one that was asked for. Counts even if the request was given up meanwhile.
    Arrived { peer: PeerId, request: RequestId },
    /// Wrong bytes, too many bytes, or no sense: the peer is not asked again.
    Wrong { peer: PeerId },
    /// The peer does not have that shard.
    NotFound { peer: PeerId, request: RequestId },
    /// The peer wants to be asked later, after `retry_ms` milliseconds.
    Busy { peer: PeerId, request: RequestId, retry_ms: u32 },
    /// The stream broke or the peer is gone: what it owes is asked from others.
    Lost { peer: PeerId },
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "peer, request and the like mean the same in every variant, whose line says the rest")]
pub enum Action {
    /// Ask `peer` for a shard. Requests to one peer are answered in order.
    Ask { peer: PeerId, request: RequestId, shard: ShardRow },
    /// The request is no longer wanted: another copy came, or another provider takes it over. If it can be called
    /// back it should be; an answer that comes all the same is harmless.
    Cancel { peer: PeerId, request: RequestId },
    /// The peer has stood still for too long: forget its requests, close its stream. It may be asked again later.
    Reset { peer: PeerId },
    /// The peer has no place, or no more: it has nothing that is wanted, or there are better ones. Forget its requests, close
    /// its stream. It is no failure, and it may be found again later.
    Release { peer: PeerId },
    /// The peer is to blame: forget its requests, close its stream, ask it no more.
    Drop { peer: PeerId },
    /// Every wanted shard has arrived. Comes once, last.
    Done,
}
