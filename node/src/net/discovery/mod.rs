//! Finds peers, and who provides what.
//!
//! Goals: a node that knows one peer comes to know more; what a node holds can be found by its id alone; nothing that a
//! stranger says makes us dial, remember or tell without bound, or pushes out what is ours. Non-goals: to be the only
//! way to anything (catalogues are compared, holders are named, peers are remembered: each works without the others).
//!
//! ```text
//! DHT          dht (libp2p's Kademlia, filtered) - records (who provides what) - schedule (when ours are told again)
//! hints        mDNS, peers' answers, the disk -> dials (bounded, with back-off) -> the swarm
//! both obey    addresses::AddressScope (who may be told of an address, and who is believed)
//! ```
//!
//! Driven by `exchange::{reprovider, peer_exchange}`: they ask peers for peers, and know what the store holds.

mod ask;
mod dht;
mod dials;
mod key;
pub mod limits;
mod records;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};

use libp2p::PeerId;
use libp2p::kad::QueryId;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use ask::{FindError, Named};
pub use dht::{Behaviour, Dht, protocol};
pub use dials::Dials;
pub use key::Key;
pub use schedule::Schedule;

pub(super) use ask::Ask;
pub(super) use dials::Why;

/// What of discovery outlives a panic of the swarm.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Whom to dial, and when.
    pub dials: Dials,
    /// What we have said that we provide.
    pub(super) own: BTreeSet<Key>,
    pub(super) queries: HashMap<QueryId, Query>,
    /// Who left lately, oldest first.
    pub(super) lately: VecDeque<(PeerId, Instant)>,
    /// When to look at the hints again.
    pub(super) wake: Option<Instant>,
}

/// A question to the DHT and who waits for its answer.
#[derive(Debug)]
pub(super) enum Query {
    Provide(oneshot::Sender<Result<(), FindError>>),
    Providers { found: BTreeSet<PeerId>, back: oneshot::Sender<Result<Vec<PeerId>, FindError>> },
}
