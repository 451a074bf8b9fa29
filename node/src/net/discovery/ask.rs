//! What the actor is asked about peers and providers.

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::id::BaseId;
use tokio::sync::oneshot;

use super::key::Key;
use crate::net::error::NetError;

/// A peer and where it is said to be.
pub type Named = (PeerId, Vec<Multiaddr>);

/// Why the DHT does not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum FindError {
    #[error("this node takes no part in the DHT (--dht off)")]
    Off,
    #[error("nobody who answers for the DHT is known yet")]
    Alone,
    #[error("too many questions to the DHT are on their way: ask again in a moment")]
    Busy,
    #[error("this node provides as many keys as it may: {max}")]
    Full { max: usize },
    #[error("the DHT has not answered in time")]
    Timeout,
    #[error(transparent)]
    Net(#[from] NetError),
}

/// What the actor is asked about peers and providers.
#[derive(Debug)]
pub(in crate::net) enum Ask {
    Provide(Key, oneshot::Sender<Result<(), FindError>>),
    Unprovide(Vec<Key>),
    Providers(Key, oneshot::Sender<Result<Vec<PeerId>, FindError>>),
    /// Whom an asker may be told of.
    Share(PeerId, oneshot::Sender<Vec<Named>>),
    /// Where an asker may be told that peers are: one question for all of them, for there may be many.
    AddressesFor(PeerId, Vec<PeerId>, oneshot::Sender<Vec<Named>>),
    /// What is believed of what a peer has told us.
    FilterBelieved(PeerId, Vec<Named>, oneshot::Sender<Vec<Named>>),
    /// What a peer has told us.
    Hint(PeerId, Vec<Named>),
    FollowedBases(oneshot::Sender<Vec<BaseId>>),
    #[cfg(test)]
    Nearby(Vec<Named>),
    /// How many records of others and of our own there are.
    #[cfg(test)]
    Records(oneshot::Sender<(usize, usize)>),
}
