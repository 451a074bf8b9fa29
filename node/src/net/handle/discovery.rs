//! The handle's questions about peers and providers.

use libp2p::PeerId;
use potluck_protocol::id::BaseId;

use super::{Command, Handle, NetError};
use crate::net::discovery::{Ask, FindError, Key, Named};

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

    /// Where peers may be found, as far as `asker` might reach them there. Those that it could not reach are left out.
    pub async fn addresses_for(&self, asker: PeerId, peers: Vec<PeerId>) -> Result<Vec<Named>, NetError> {
        self.ask(|back| Command::Discovery(Ask::AddressesFor(asker, peers, back))).await
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
