//! How long each peer is left alone after rounds that led nowhere: exponential backoff.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;

use super::timing::{BACKOFF_MAX_MS, BACKOFF_MS, PEERS};

/// Peers that disappointed. It outlives their connections, or else coming back would pay. // I12
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff(BTreeMap<PeerId, Delay>);

#[derive(Clone, Copy, Debug)]
struct Delay {
    /// Rounds in a row that taught us nothing.
    fruitless: u32,
    until_ms: u64,
}

impl Backoff {
    /// No round with the peer before this time; 0 if none is due to wait.
    pub fn until_ms(&self, peer: &PeerId) -> u64 {
        self.0.get(peer).map_or(0, |delay| delay.until_ms)
    }

    /// Rounds in a row that taught us nothing.
    pub fn fruitless_rounds(&self, peer: &PeerId) -> u32 {
        self.0.get(peer).map_or(0, |delay| delay.fruitless)
    }

    /// A round succeeded: the peer starts afresh.
    pub fn reset(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    /// A round taught nothing: the delay doubles.
    pub fn back_off(&mut self, peer: PeerId, now_ms: u64) {
        let fruitless = self.fruitless_rounds(&peer) + 1;
        let delay_ms = BACKOFF_MS.saturating_mul(1 << fruitless.min(16)).min(BACKOFF_MAX_MS);
        self.insert(peer, Delay { fruitless, until_ms: now_ms.saturating_add(delay_ms) });
    }

    /// The peer broke the rules: the longest delay at once.
    pub fn penalize(&mut self, peer: PeerId, now_ms: u64) {
        let fruitless = self.fruitless_rounds(&peer).saturating_add(8);
        self.insert(peer, Delay { fruitless, until_ms: now_ms.saturating_add(BACKOFF_MAX_MS) });
    }

    fn insert(&mut self, peer: PeerId, delay: Delay) {
        self.0.insert(peer, delay);
        if self.0.len() > PEERS
            && let Some((_, first)) = self.0.iter().map(|(peer, delay)| (delay.until_ms, *peer)).min()
        {
            self.0.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_end_with_success() {
        let mut backoff = Backoff::default();
        let peer = PeerId::random();
        let mut last = 0;
        for _ in 0..100 {
            backoff.back_off(peer, 0);
            let until = backoff.until_ms(&peer);
            assert!(until >= last && until <= BACKOFF_MAX_MS);
            last = until;
        }
        assert_eq!(last, BACKOFF_MAX_MS);
        backoff.reset(&peer);
        assert_eq!((backoff.until_ms(&peer), backoff.fruitless_rounds(&peer)), (0, 0));
        for _ in 0..PEERS + 9 {
            backoff.penalize(PeerId::random(), 0);
        }
        assert_eq!(backoff.0.len(), PEERS);
    }
}
