//! Whom to ask for something that any of several peers may have, and when: a pure machine. Events and the time go in,
//! actions come out.
//!
//! Goals: whoever is connected and has it is asked within a bound that silent, lying and ignorant peers can only
//! lengthen by their number; nobody chooses their own place in the order; one seed, one trace. Non-goals: to find
//! peers, to check what they send.
//!
//! **Who comes first.** Peers that were never asked, before those that were. Among these, peers that are not resting.
//! Then likely ones, that is those that announced it or gave it before; every fourth question goes to one of the
//! others, because anybody can announce anything. Then the neighbourhood that was asked least, for one attacker has
//! many peers and few networks. What is left is drawn at random: peer ids and ids of manifests are made by whoever
//! likes, so an order by them is an order that strangers choose.
//!
//! **How many at once.** [`AT_ONCE`] questions that are younger than [`HEDGE_MS`]. A question that is not answered by
//! then is late: it stays open until [`ANSWER_MS`], and another peer is asked in its place. So of N peers each one is
//! asked within N / [`AT_ONCE`] times [`HEDGE_MS`], whatever the others do.
//!
//! **What is remembered** from one ask to the next ([`Memory`]): peers that were late, gave no answer, or said that they
//! have it and delivered nothing rest, for a time that doubles. To rest is to be asked last, not never: an honest peer
//! on a slow line is still asked when nobody else has it. Questions that are open are counted for each peer over all
//! asks, so that many asks at once do not open more streams to one peer than it accepts.

mod machine;
mod memory;
mod more;
mod spread;
#[cfg(test)]
mod tests;

use libp2p_identity::PeerId;

pub use machine::Ask;
pub use memory::Memory;
pub use more::More;
pub use spread::{spread, take_turns};

/// Questions of one ask that are open and not late.
pub const AT_ONCE: usize = 8;

/// A question that is not answered by then is late, and somebody else is asked meanwhile.
pub const HEDGE_MS: u64 = 1_000;

/// How long an answer is waited for: the largest manifest takes so long at 26 KiB/s.
pub const ANSWER_MS: u64 = 10_000;

/// Questions of one ask that are open, late ones included: as many as can be begun before the first one's time is up.
pub const OPEN_MAX: usize = AT_ONCE * (ANSWER_MS / HEDGE_MS) as usize;

/// Questions to one peer that are open, of all asks together: half of the streams that a node accepts from one peer.
pub const OPEN_PER_PEER: usize = 8;

/// Who did not have it is asked again after this time, doubling up to eight times as long.
pub const AGAIN_MS: u64 = 3_000;

/// Peers of one ask that are known: more than a node has connections. // I12
pub const PEERS_MAX: usize = 1024;

/// A peer that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who it is.
    pub peer: PeerId,
    /// A number for each neighbourhood, as the connection shows it and not as the peer states it.
    pub neighbourhood: u64,
    /// It announced that it has what is asked for, or gave it before.
    pub likely: bool,
}

/// What happened. What is said of unknown peers is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "peer and peers mean the same in every variant, whose line says the rest")]
pub enum Event {
    /// These peers are connected. May be said again: one that has become likely is asked at once. Those of one event are
    /// put in order together.
    Met { peers: Vec<Candidate> },
    /// A peer is gone.
    Gone { peer: PeerId },
    /// A peer has answered, or cannot any more.
    Answered { peer: PeerId, answer: Answer },
    /// More peers are wanted than say that they have it: these deliver nothing, or may be slow.
    Wanting,
    /// Time passed.
    Tick,
}

/// What a peer answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It says that it has it: it is not asked again.
    Has,
    /// It says that it has a part: it is asked again, for it may get the rest.
    HasSome,
    /// It does not have it.
    Lacks,
    /// Nothing, or that it is busy; or it had said that it has it, and has led nowhere.
    Nothing,
    /// What no honest peer answers: it is not asked again.
    Wrong,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "peer means the same in every variant, whose line says the rest")]
pub enum Action {
    /// Ask the peer.
    Ask { peer: PeerId },
    /// The peer's time is up: its answer need not be waited for. One that comes all the same counts.
    GiveUp { peer: PeerId },
}
