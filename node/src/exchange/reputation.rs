//! Peers that provably sent wrong bytes, for a while.

use std::collections::VecDeque;

use libp2p::PeerId;
use tokio::time::Instant;

use super::limits::{BLAME, BLAMED};

/// Blame that decays: a wrong disk is replaced, an address is reused. // I12
#[derive(Debug, Default)]
pub struct Reputation {
    /// With the time until which each is not asked, in that order.
    blamed: VecDeque<(PeerId, Instant)>,
}

impl Reputation {
    /// A peer sent what no honest peer sends.
    pub fn blame(&mut self, peer: PeerId, now: Instant) {
        self.blamed.retain(|(known, until)| *known != peer && *until > now);
        self.blamed.push_back((peer, now + BLAME));
        if self.blamed.len() > BLAMED {
            self.blamed.pop_front();
        }
    }

    /// The peer is not asked at that moment.
    pub fn is_blamed(&self, peer: &PeerId, now: Instant) -> bool {
        self.blamed.iter().any(|(known, until)| known == peer && *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blame_decays_and_is_bounded() {
        let mut reputation = Reputation::default();
        let (peer, now) = (PeerId::random(), Instant::now());
        reputation.blame(peer, now);
        assert!(reputation.is_blamed(&peer, now));
        assert!(!reputation.is_blamed(&PeerId::random(), now));
        assert!(!reputation.is_blamed(&peer, now + BLAME));
        (0..BLAMED + 5).for_each(|_| reputation.blame(PeerId::random(), now));
        assert_eq!(reputation.blamed.len(), BLAMED);
    }
}
