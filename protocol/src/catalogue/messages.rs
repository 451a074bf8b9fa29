//! What two catalogues say to each other. They travel in [`crate::bulk`]'s frames.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{AnnouncementId, BaseId, Digest};
use crate::limits::{CATALOGUE_BUCKETS, CATALOGUE_PER_BASE, CATALOGUE_WANTED_MAX};

/// "These are the digests of my records of a base, part by part."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// Whose records are compared.
    pub base: BaseId,
    /// [`CATALOGUE_BUCKETS`] of them. A part's digest is the BLAKE3 of the sorted ids in it, under a context.
    pub buckets: Vec<Digest>,
}

/// A part of a base's records: those whose ids start with the six bits of its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Below [`CATALOGUE_BUCKETS`].
    pub index: u8,
    /// Sorted, each once.
    pub ids: Vec<AnnouncementId>,
}

/// The parts that differ, in the order of their indices, with the answerer's ids. None: both have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing(pub Vec<Bucket>);

/// "Give me these records."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Whose records are asked for.
    pub base: BaseId,
    /// 1 to [`CATALOGUE_WANTED_MAX`] of them, sorted, each once.
    pub ids: Vec<AnnouncementId>,
}

/// The part in which a record lies.
pub(super) fn bucket_of(id: &AnnouncementId) -> usize {
    usize::from(id.0.0[0]) * CATALOGUE_BUCKETS / 256
}

fn is_rising<T: Ord>(items: &[T]) -> bool {
    items.windows(2).all(|pair| pair[0] < pair[1])
}

impl Compare {
    /// Whether there is one digest for each part.
    pub fn is_bounded(&self) -> bool {
        self.buckets.len() == CATALOGUE_BUCKETS
    }
}

impl Wanted {
    /// Whether the ids are neither too many nor none, sorted, each once.
    pub fn is_bounded(&self) -> bool {
        (1..=CATALOGUE_WANTED_MAX).contains(&self.ids.len()) && is_rising(&self.ids)
    }
}

impl Differing {
    /// Parts that hold these ids, sorted.
    pub fn of(ids: impl IntoIterator<Item = AnnouncementId>) -> Self {
        let mut parts: BTreeMap<usize, BTreeSet<AnnouncementId>> = BTreeMap::new();
        for id in ids {
            parts.entry(bucket_of(&id)).or_default().insert(id);
        }
        let bucket = |(index, ids): (usize, BTreeSet<_>)| Bucket { index: index as u8, ids: ids.into_iter().collect() };
        Self(parts.into_iter().map(bucket).collect())
    }

    /// Whether parts and ids are sorted, each once, each id in its part, and no more than a base may have.
    pub fn is_bounded(&self) -> bool {
        let indices: Vec<u8> = self.0.iter().map(|bucket| bucket.index).collect();
        let own = |bucket: &Bucket| bucket.ids.iter().all(|id| bucket_of(id) == usize::from(bucket.index));
        is_rising(&indices)
            && indices.iter().all(|index| usize::from(*index) < CATALOGUE_BUCKETS)
            && self.ids().count() <= CATALOGUE_PER_BASE
            && self.0.iter().all(|bucket| is_rising(&bucket.ids) && own(bucket))
    }

    /// All ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = AnnouncementId> + '_ {
        self.0.iter().flat_map(|bucket| bucket.ids.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    #[test]
    fn an_answer_names_no_more_than_a_base_may_have() {
        let id = |n: u16| {
            let mut bytes = [0; 32];
            bytes[1..3].copy_from_slice(&n.to_be_bytes());
            AnnouncementId(Digest(bytes))
        };
        let of = |count: usize| Differing(vec![Bucket { index: 0, ids: (0..count as u16).map(id).collect() }]);
        assert!(of(CATALOGUE_PER_BASE).is_bounded());
        assert!(!of(CATALOGUE_PER_BASE + 1).is_bounded());
    }
}
