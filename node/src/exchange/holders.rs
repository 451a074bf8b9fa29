//! Who is believed to hold which manifest: hints for those who ask, never facts.

use std::collections::{HashMap, VecDeque};

use libp2p::PeerId;
use potluck_protocol::id::ManifestId;

use super::limits::{HOLDERS_EACH, HOLDERS_MANIFESTS};

/// Peers that served a manifest's shards or fetched it from us. // I12
#[derive(Debug, Default)]
pub struct Holders {
    /// Newest last.
    by_manifest: HashMap<ManifestId, VecDeque<PeerId>>,
    order: VecDeque<ManifestId>,
}

impl Holders {
    /// A peer holds a manifest's shards. The oldest notes go when there are too many.
    pub fn note(&mut self, manifest: ManifestId, peer: PeerId) {
        if !self.by_manifest.contains_key(&manifest) {
            self.order.push_back(manifest);
            if self.order.len() > HOLDERS_MANIFESTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.by_manifest.remove(&oldest);
            }
        }
        let peers = self.by_manifest.entry(manifest).or_default();
        peers.retain(|known| *known != peer);
        peers.push_back(peer);
        if peers.len() > HOLDERS_EACH {
            peers.pop_front();
        }
    }

    /// Newest first.
    pub fn of(&self, manifest: &ManifestId) -> Vec<PeerId> {
        self.by_manifest.get(manifest).into_iter().flatten().rev().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;

    #[test]
    fn the_newest_are_kept_within_the_bounds() {
        let mut holders = Holders::default();
        let id = |n: usize| ManifestId(Digest::of(&n.to_le_bytes()));
        let peers: Vec<_> = (0..HOLDERS_EACH + 1).map(|_| PeerId::random()).collect();
        peers.iter().for_each(|peer| holders.note(id(0), *peer));
        holders.note(id(0), peers[1]);
        let known = holders.of(&id(0));
        assert_eq!((known.len(), known[0]), (HOLDERS_EACH, peers[1]));
        assert!(!known.contains(&peers[0]));
        (1..=HOLDERS_MANIFESTS).for_each(|n| holders.note(id(n), peers[0]));
        assert!(holders.of(&id(0)).is_empty());
        assert_eq!(holders.by_manifest.len(), HOLDERS_MANIFESTS);
    }
}
