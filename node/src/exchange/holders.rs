//! Who is believed to hold which manifest: hints for those who ask, never facts.

use std::collections::{HashMap, VecDeque};

use libp2p::PeerId;
use potluck_protocol::id::ManifestId;

use super::limits::{HOLDERS_EACH, HOLDERS_MANIFESTS};

/// Peers by manifest. Whoever asks for something takes no place from those that gave it.
#[derive(Debug, Default)]
pub struct Holders {
    gave: Peers,
    asked: Peers,
    named: Peers,
}

impl Holders {
    /// A peer gave us a manifest or its shards.
    pub fn note(&mut self, manifest: ManifestId, peer: PeerId) {
        self.gave.note(manifest, peer);
    }

    /// A peer asked us for a manifest, and was given it: soon it may hold the shards too.
    pub fn note_asker(&mut self, manifest: ManifestId, peer: PeerId) {
        self.asked.note(manifest, peer);
    }

    /// A peer says that it stands behind what announces a manifest.
    pub fn note_named(&mut self, manifest: ManifestId, peer: PeerId) {
        self.named.note(manifest, peer);
    }

    /// Those that may have it, as far as they gave it or say so: asked before others, and not told to others.
    pub fn likely(&self, manifest: &ManifestId) -> Vec<PeerId> {
        [self.gave.of(manifest), self.named.of(manifest)].concat()
    }

    /// Those that gave it, the newest first.
    pub fn of(&self, manifest: &ManifestId) -> Vec<PeerId> {
        self.gave.of(manifest)
    }

    /// Those that asked for it, the newest first. Anybody can ask: they are named to others, and not asked before others.
    pub fn askers(&self, manifest: &ManifestId) -> Vec<PeerId> {
        self.asked.of(manifest)
    }
}

/// The newest peers of the newest manifests. // I12
#[derive(Debug, Default)]
struct Peers {
    /// Newest last.
    by_manifest: HashMap<ManifestId, VecDeque<PeerId>>,
    order: VecDeque<ManifestId>,
}

impl Peers {
    /// The oldest notes go when there are too many.
    fn note(&mut self, manifest: ManifestId, peer: PeerId) {
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

    fn of(&self, manifest: &ManifestId) -> Vec<PeerId> {
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
        assert_eq!(holders.gave.by_manifest.len(), HOLDERS_MANIFESTS);
    }

    #[test]
    fn who_says_that_it_has_it_is_asked_and_takes_no_place_from_those_that_gave_it() {
        let mut holders = Holders::default();
        let (id, holder) = (ManifestId(Digest::of(b"one")), PeerId::random());
        holders.note(id, holder);
        (0..2 * HOLDERS_EACH).for_each(|_| holders.note_named(id, PeerId::random()));
        assert_eq!(holders.of(&id), [holder]);
        assert_eq!((holders.likely(&id).len(), holders.likely(&id)[0]), (1 + HOLDERS_EACH, holder));
    }

    #[test]
    fn who_asks_is_no_holder_and_pushes_none_out() {
        let mut holders = Holders::default();
        let (id, holder) = (ManifestId(Digest::of(b"one")), PeerId::random());
        holders.note(id, holder);
        (0..2 * HOLDERS_EACH).for_each(|_| holders.note_asker(id, PeerId::random()));
        assert_eq!(holders.of(&id), [holder]);
        assert_eq!(holders.askers(&id).len(), HOLDERS_EACH);
    }
}
