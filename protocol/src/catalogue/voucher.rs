//! What speaks for a record, so that it has a place whatever else is heard.

use libp2p_identity::PeerId;

use crate::signed::PublicKey;

/// Where a peer is, as far as it costs something to be elsewhere. Peers that are near each other have the same number;
/// what near means is the caller's to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbourhood(pub u64);

/// A peer, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The peer.
    pub peer: PeerId,
    /// Where it is.
    pub near: Neighbourhood,
}

/// Why a record is trusted, from the weakest reason to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// What it announces is here and was checked, and its publisher announces it.
    Checked,
    /// It is of a key that is followed.
    Followed,
    /// It is of this node's own key.
    Own,
}

/// What speaks for a record, from the weakest to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Voucher {
    /// It had a place before the node was restarted.
    Restored,
    /// A peer stands behind it.
    Neighbour(Neighbour),
    /// The peer that brought it is its publisher.
    Publisher(Neighbour),
    /// It is trusted here: found out, not said.
    Trust(Trust),
}

impl Voucher {
    /// What speaks for a record that a peer brings, if it is its own: its name holds the key.
    pub fn of_publisher(from: Neighbour, publisher: &PublicKey) -> Option<Self> {
        (PublicKey::of_peer(&from.peer) == Some(*publisher)).then_some(Self::Publisher(from))
    }

    /// The greater, the better. Among equals the first one stays: nobody takes over a place to give it up.
    pub(super) fn weight(self) -> u8 {
        match self {
            Self::Restored => 0,
            Self::Neighbour(_) => 1,
            Self::Publisher(_) => 2,
            Self::Trust(trust) => 3 + trust as u8,
        }
    }

    /// The peer that speaks for it.
    pub(super) fn peer(self) -> Option<PeerId> {
        match self {
            Self::Neighbour(one) | Self::Publisher(one) => Some(one.peer),
            Self::Restored | Self::Trust(_) => None,
        }
    }
}
