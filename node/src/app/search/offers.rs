//! What the manifests of announced things say, remembered for the next search.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::manifest::{Evaluation, Kind as ManifestKind, Manifest};
use potluck_protocol::signed::PublicKey;

use crate::api::search::{Details, Measured};
use crate::lock;

/// Manifests whose words are remembered, each at most some 40 KiB (a description, names of modules, figures) and mostly
/// under one; the oldest are forgotten first. // I12
const REMEMBERED: usize = 1024;

/// The words of a manifest, with what ties it to its announcement.
#[derive(Clone, Debug)]
pub struct Words {
    kind: KindTag,
    base: Option<BaseId>,
    publisher: PublicKey,
    pub name: String,
    pub bytes: u64,
    pub details: Details,
}

impl Words {
    /// The words of a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        let (rank, target_modules, evaluations) = match &manifest.kind {
            ManifestKind::Adapter(adapter) => {
                let evaluations = adapter.evaluations.iter().map(measured).collect();
                (Some(adapter.r), adapter.target_modules.clone(), evaluations)
            }
            ManifestKind::Base(_)
            | ManifestKind::Dataset(_)
            | ManifestKind::Channel(_)
            | ManifestKind::Proposal(_)
            | ManifestKind::Version(_)
            | ManifestKind::Proof(_) => (None, Vec::new(), Vec::new()),
        };
        Self {
            kind: KindTag::from(&manifest.kind),
            base: manifest.base(),
            publisher: manifest.publisher,
            name: manifest.name.to_string(),
            bytes: manifest.total_bytes(),
            details: Details {
                rank,
                target_modules,
                licence: manifest.licence.clone(),
                description: manifest.description.clone(),
                created: manifest.created,
                evaluations,
            },
        }
    }

    /// Whether the announcement tells the truth of it.
    pub fn bears_out(&self, announcement: &Announcement) -> bool {
        self.kind == announcement.kind
            && self.base == Some(announcement.base)
            && self.publisher == announcement.publisher
            && self.name == announcement.name.as_str()
    }
}

/// A figure of a manifest as people read it.
pub fn measured(evaluation: &Evaluation) -> Measured {
    Measured {
        suite: evaluation.suite.to_string(),
        samples: evaluation.samples,
        exact_match: f64::from(evaluation.exact_match_ppm) / 1e6,
        loss: evaluation.loss_micro as f64 / 1e6,
    }
}

/// Shared by all searches of a node.
#[derive(Debug, Default)]
pub struct Offers(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    words: BTreeMap<ManifestId, Arc<Words>>,
    order: VecDeque<ManifestId>,
}

impl Offers {
    /// The words of a manifest, if they are remembered.
    pub fn get(&self, id: &ManifestId) -> Option<Arc<Words>> {
        self.lock().words.get(id).cloned()
    }

    /// Remembers the words of a manifest, and forgets the oldest if they are too many.
    pub fn put(&self, id: ManifestId, words: Words) {
        let mut all = self.lock();
        if all.words.insert(id, Arc::new(words)).is_none() {
            all.order.push_back(id);
        }
        if all.order.len() > REMEMBERED
            && let Some(oldest) = all.order.pop_front()
        {
            all.words.remove(&oldest);
        }
    }

    /// Held for operations on maps only.
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        lock::lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::id::Digest;
    use potluck_protocol::manifest::DatasetInfo;
    use potluck_protocol::text::Name;

    use super::*;

    #[test]
    fn the_oldest_words_are_forgotten_first() {
        let manifest = Manifest {
            kind: ManifestKind::Dataset(DatasetInfo { rows: 1 }),
            name: Name::new("n").expect("a name"),
            licence: String::new(),
            description: String::new(),
            created: 0,
            publisher: PublicKey::of(&Keypair::generate()),
            files: Vec::new(),
        };
        let id = |n: usize| ManifestId(Digest::of(&n.to_le_bytes()));
        let offers = Offers::default();
        (0..=REMEMBERED).for_each(|n| offers.put(id(n), Words::of(&manifest)));
        offers.put(id(REMEMBERED), Words::of(&manifest));
        assert!(offers.get(&id(0)).is_none());
        assert!(offers.get(&id(1)).is_some() && offers.get(&id(REMEMBERED)).is_some());
        assert_eq!(offers.lock().words.len(), REMEMBERED);
    }
}
