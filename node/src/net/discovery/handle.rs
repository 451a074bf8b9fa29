//! Discovery, as the rest of the daemon sees it.

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::id::BaseId;
use tokio::sync::oneshot;

use super::key::Key;
use crate::net::handle::{Command, Handle, NetError};

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
pub enum Ask {
    Provide(Key, oneshot::Sender<Result<(), FindError>>),
    Unprovide(Vec<Key>),
    Providers(Key, oneshot::Sender<Result<Vec<PeerId>, FindError>>),
    /// Whom an asker may be told of.
    Share(PeerId, oneshot::Sender<Vec<Named>>),
    /// Where an asker may be told that a peer is.
    AddressesFor(PeerId, PeerId, oneshot::Sender<Vec<Multiaddr>>),
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

impl Handle {
    /// Peers that are wanted.
    pub fn target(&self) -> usize {
        self.target
    }

    /// Tells the DHT that we provide a key; ends when those nearest to the key have been told.
    pub async fn provide(&self, key: Key) -> Result<(), FindError> {
        self.ask(|back| Command::Discovery(Ask::Provide(key, back))).await?
    }

    /// We do not provide these any more. Others find out when what they know of us ends.
    pub async fn stop_providing(&self, keys: Vec<Key>) -> Result<(), NetError> {
        self.tell(Command::Discovery(Ask::Unprovide(keys))).await
    }

    /// Who is said to provide a key. They are being dialled when this ends.
    pub async fn find_providers(&self, key: Key) -> Result<Vec<PeerId>, FindError> {
        self.ask(|back| Command::Discovery(Ask::Providers(key, back))).await?
    }

    /// Peers met lately, with addresses at which `asker` might reach them.
    pub async fn peers_for(&self, asker: PeerId) -> Result<Vec<Named>, NetError> {
        self.ask(|back| Command::Discovery(Ask::Share(asker, back))).await
    }

    /// Where a peer may be found, as far as `asker` might reach it there.
    pub async fn addresses_for(&self, asker: PeerId, peer: PeerId) -> Result<Vec<Multiaddr>, NetError> {
        self.ask(|back| Command::Discovery(Ask::AddressesFor(asker, peer, back))).await
    }

    /// What `from` has named, without addresses of which it cannot know.
    pub async fn filter_believed(&self, from: PeerId, peers: Vec<Named>) -> Result<Vec<Named>, NetError> {
        self.ask(|back| Command::Discovery(Ask::FilterBelieved(from, peers, back))).await
    }

    /// Whom a peer has named. They are dialled if peers are wanting, and if it is believed.
    pub async fn hint(&self, from: PeerId, peers: Vec<Named>) -> Result<(), NetError> {
        self.tell(Command::Discovery(Ask::Hint(from, peers))).await
    }

    /// The bases that are followed.
    pub async fn followed_bases(&self) -> Result<Vec<BaseId>, NetError> {
        self.ask(|back| Command::Discovery(Ask::FollowedBases(back))).await
    }
}
