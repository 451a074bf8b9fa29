//! What peers do wrong, and what the guard does about it, as it is counted.

use crate::metrics::count::Label;

/// Why a connection was not made, or was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Its neighbourhood connects too often.
    TooOften,
    /// It was still shaking hands when others came, and too many were.
    HandshakeEvicted,
    /// Too many of its neighbourhood are connected.
    Crowded,
    /// All places were taken, and its was given to another.
    Evicted,
    /// It did not say who it is.
    Stranger,
    /// It is banned, or too many of its neighbourhood are.
    Banned,
    /// Another bound of the swarm, or the handshake failed.
    Other,
}

impl Label for Denied {
    const NAME: &'static str = "reason";

    fn value(self) -> &'static str {
        match self {
            Self::TooOften => "too_often",
            Self::HandshakeEvicted => "handshake_evicted",
            Self::Crowded => "crowded",
            Self::Evicted => "evicted",
            Self::Stranger => "stranger",
            Self::Banned => "banned",
            Self::Other => "other",
        }
    }
}

/// What a peer did, provably wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misdeed {
    /// Bytes that do not hash to their name, or an object that does not verify.
    WrongBytes,
    /// Frames or answers that make no sense.
    Protocol,
    /// Gossip that does not verify.
    Gossip,
    /// More gossip than an honest node could have passed on.
    Flood,
}

impl Label for Misdeed {
    const NAME: &'static str = "kind";

    fn value(self) -> &'static str {
        match self {
            Self::WrongBytes => "wrong_bytes",
            Self::Protocol => "protocol",
            Self::Gossip => "gossip",
            Self::Flood => "flood",
        }
    }
}

/// What became of an announcement that came by gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    Accepted,
    Rejected,
    Ignored,
}

impl Label for Judged {
    const NAME: &'static str = "verdict";

    fn value(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Ignored => "ignored",
        }
    }
}
