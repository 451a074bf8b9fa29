//! What is remembered of peers from one ask to the next, and of the asks that run now.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;

use super::OPEN_PER_PEER;
use crate::backoff::{Backoff, Delays};

/// How long a peer rests that led nowhere: first, doubling to the last.
const RESTS: Delays = Delays { first_ms: 2_000, longest_ms: 600_000 };

/// Peers whose rest is remembered. // I12
const RESTING: usize = 1024;

/// One for all asks of a node.
#[derive(Clone, Debug)]
pub struct Memory {
    rests: Backoff<PeerId>,
    /// Questions that are open, by peer. Bounded by the asks that run, each of which has one question to a peer.
    open: BTreeMap<PeerId, usize>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { rests: Backoff::new(RESTS, RESTING), open: BTreeMap::new() }
    }
}

impl Memory {
    /// The peer led nowhere lately: it is asked after the others.
    pub fn is_resting(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.rests.is_resting(peer, now_ms)
    }

    /// It rests, and not for the first time in a row.
    pub(super) fn is_silent(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.is_resting(peer, now_ms) && self.rests.failures(peer) > 1
    }

    /// The peer delivered what it said it has, or a part of that: it rests no more.
    pub fn delivered(&mut self, peer: &PeerId) {
        self.rests.reset(peer);
    }

    /// It owes so few answers that it can be asked one more.
    pub(super) fn has_room(&self, peer: &PeerId) -> bool {
        self.open.get(peer).is_none_or(|open| *open < OPEN_PER_PEER)
    }

    pub(super) fn opened(&mut self, peer: PeerId) {
        *self.open.entry(peer).or_default() += 1;
    }

    pub(super) fn closed(&mut self, peer: &PeerId) {
        if let Some(open) = self.open.get_mut(peer) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(peer);
            }
        }
    }

    /// The peer was asked and gave no answer in time: it rests, for a time that doubles.
    pub fn led_nowhere(&mut self, peer: PeerId, now_ms: u64) {
        self.rests.back_off_once(peer, now_ms);
    }

    pub(super) fn broke_a_rule(&mut self, peer: PeerId, now_ms: u64) {
        self.rests.penalize(peer, now_ms);
    }

    /// Questions that are open, all together.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.open.values().sum()
    }
}
