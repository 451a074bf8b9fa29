//! Why the network could not do what was asked.

use libp2p::{Multiaddr, PeerId};

use super::bulk::OpenError;

/// Why the network could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each error says what it and its fields are")]
pub enum NetError {
    #[error("the network has been shut down")]
    Stopped,
    #[error("the network was interrupted while it was asked; it is back within a second, ask again")]
    Interrupted,
    #[error("cannot listen on {address}: {reason}; choose another address with --listen")]
    Listen { address: Multiaddr, reason: String },
    #[error("cannot dial {peer}: {reason}")]
    Dial { peer: String, reason: String },
    #[error("no bulk stream to {peer}: {error}")]
    Open { peer: PeerId, error: OpenError },
    #[error("the network cannot be set up: {0}")]
    Setup(String),
    #[error("at most {max} bases can be followed at once")]
    TooManyTopics { max: usize },
    #[error("the announcement cannot be sent: {0}")]
    Announce(String),
}
