//! How long which peer is left alone, because rounds with it led nowhere.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;

use super::timing::{PEERS, REST_MAX_MS, REST_MS};

/// Peers that disappointed. It outlives their connections, or else coming back would pay. // I12
#[derive(Clone, Debug, Default)]
pub(super) struct Patience(BTreeMap<PeerId, Rest>);

#[derive(Clone, Copy, Debug)]
struct Rest {
    /// Rounds in a row that taught us nothing.
    fruitless: u32,
    until_ms: u64,
}

impl Patience {
    pub fn rests_until_ms(&self, peer: &PeerId) -> u64 {
        self.0.get(peer).map_or(0, |rest| rest.until_ms)
    }

    pub fn fruitless(&self, peer: &PeerId) -> u32 {
        self.0.get(peer).map_or(0, |rest| rest.fruitless)
    }

    pub fn satisfied(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    pub fn disappointed(&mut self, peer: PeerId, now_ms: u64) {
        let fruitless = self.fruitless(&peer) + 1;
        let rest_ms = REST_MS.saturating_mul(1 << fruitless.min(16)).min(REST_MAX_MS);
        self.insert(peer, Rest { fruitless, until_ms: now_ms.saturating_add(rest_ms) });
    }

    /// It broke the rules.
    pub fn betrayed(&mut self, peer: PeerId, now_ms: u64) {
        let fruitless = self.fruitless(&peer).saturating_add(8);
        self.insert(peer, Rest { fruitless, until_ms: now_ms.saturating_add(REST_MAX_MS) });
    }

    fn insert(&mut self, peer: PeerId, rest: Rest) {
        self.0.insert(peer, rest);
        if self.0.len() > PEERS
            && let Some((_, first)) = self.0.iter().map(|(peer, rest)| (rest.until_ms, *peer)).min()
        {
            self.0.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_wears_thin_and_comes_back() {
        let mut patience = Patience::default();
        let peer = PeerId::random();
        let mut last = 0;
        for _ in 0..100 {
            patience.disappointed(peer, 0);
            let until = patience.rests_until_ms(&peer);
            assert!(until >= last && until <= REST_MAX_MS);
            last = until;
        }
        assert_eq!(last, REST_MAX_MS);
        patience.satisfied(&peer);
        assert_eq!((patience.rests_until_ms(&peer), patience.fruitless(&peer)), (0, 0));
        for _ in 0..PEERS + 9 {
            patience.betrayed(PeerId::random(), 0);
        }
        assert_eq!(patience.0.len(), PEERS);
    }
}
