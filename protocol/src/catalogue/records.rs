//! The catalogue: the records of each base, and the bounds of all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::base_records::{BaseRecords, Key, Record};
use super::messages::{Compare, Differing, Wanted};
use crate::announce::{self, Announcement, AnnouncementError};
use crate::id::{AnnouncementId, BaseId, ManifestId};
use crate::limits::{CATALOGUE_MAX, CATALOGUE_PER_BASE, CATALOGUE_PER_PUBLISHER, CATALOGUE_RECORD_MAX};
use crate::signed::{Authentic, PublicKey};

/// How many records are kept. Two nodes keep the same of a base if they have the same bounds and, when the bound on
/// all is reached, follow the same bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one publisher for one base.
    pub per_publisher: usize,
    /// Of one base, all publishers together.
    pub per_base: usize,
    /// When it is reached, the base with the most records gives one up: no base pushes out a smaller one.
    pub in_all: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { per_publisher: CATALOGUE_PER_PUBLISHER, per_base: CATALOGUE_PER_BASE, in_all: CATALOGUE_MAX }
    }
}

/// What became of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is kept now.
    New {
        /// The announcement, shared with the catalogue.
        record: Record,
        /// What was given up for it.
        evicted: Option<Key>,
    },
    /// It, or a better one for its key, was there.
    Stale,
    /// There is no room: all that are kept come before it.
    NoRoom,
    /// Longer than [`CATALOGUE_RECORD_MAX`].
    TooLong,
}

/// What is announced, as far as it is known here. // I12
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    bounds: Bounds,
    bases: BTreeMap<BaseId, BaseRecords>,
    len: usize,
}

impl Catalogue {
    /// An empty catalogue with these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Keeps an announcement if it is new and there is room.
    pub fn insert(&mut self, announcement: Authentic<Announcement>) -> Inserted {
        // Encoded once already, or it would not be authentic.
        if !announcement.signed().encode().is_ok_and(|bytes| bytes.len() <= CATALOGUE_RECORD_MAX) {
            return Inserted::TooLong;
        }
        let record = Arc::new(announcement);
        let key = Key::of(record.body());
        let records = self.bases.entry(key.base).or_insert_with(|| BaseRecords::new(key.base));
        let before = records.len();
        if !records.insert(record.clone()) {
            return Inserted::Stale;
        }
        self.len += records.len() - before;
        let evicted = self.make_room(&key);
        if evicted == Some(key) { Inserted::NoRoom } else { Inserted::New { record, evicted } }
    }

    /// Gives up one record if the newcomer under `key` was one too many. (One that replaced an older one never is.)
    fn make_room(&mut self, key: &Key) -> Option<Key> {
        let crowded = self.len > self.bounds.in_all;
        let records = self.bases.get_mut(&key.base)?;
        let evicted = if records.publisher_len(&key.publisher) > self.bounds.per_publisher {
            records.evict_of(&key.publisher)
        } else if records.len() > self.bounds.per_base {
            records.evict()
        } else if crowded {
            let most = self.bases.iter().map(|(base, records)| (records.len(), *base)).max();
            most.and_then(|(_, base)| self.bases.get_mut(&base)).and_then(BaseRecords::evict)
        } else {
            None
        };
        self.len -= usize::from(evicted.is_some());
        evicted.map(|record| Key::of(record.body()))
    }

    /// Whether the announcement, or a better one for its key, is there.
    pub fn is_stale(&self, announcement: &Authentic<Announcement>) -> bool {
        self.bases.get(&announcement.body().base).is_some_and(|records| records.has_better(announcement))
    }

    /// Whether the record of that id is kept.
    pub fn contains(&self, base: &BaseId, id: &AnnouncementId) -> bool {
        self.bases.get(base).is_some_and(|records| records.get(id).is_some())
    }

    /// Whether anything of a publisher is kept.
    pub fn knows(&self, publisher: &PublicKey) -> bool {
        self.bases.values().any(|records| records.publisher_len(publisher) > 0)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every record.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.bases.values().flat_map(BaseRecords::records)
    }

    /// The records of a base, sorted by id.
    pub fn of_base(&self, base: &BaseId) -> impl Iterator<Item = &Record> {
        self.bases.get(base).into_iter().flat_map(BaseRecords::records)
    }

    /// Who announced a manifest, sorted.
    pub fn publishers(&self, manifest: &ManifestId) -> Vec<PublicKey> {
        let of = self.records().filter(|record| record.body().manifest == *manifest);
        let mut publishers: Vec<_> = of.map(|record| record.body().publisher).collect();
        publishers.sort_unstable();
        publishers.dedup();
        publishers
    }

    /// The question that finds out where another catalogue of the base differs.
    pub fn question(&mut self, base: BaseId) -> Compare {
        let buckets = match self.bases.get_mut(&base) {
            Some(records) => records.digests(),
            None => BaseRecords::new(base).digests(),
        };
        Compare { base, buckets }
    }

    /// The answer to another's [`Catalogue::question`].
    pub fn compare(&mut self, compare: &Compare) -> Differing {
        match self.bases.get_mut(&compare.base) {
            Some(records) => records.compare(compare),
            // No entry is made: whoever asks for bases that nobody follows leaves nothing behind.
            None => BaseRecords::new(compare.base).compare(compare),
        }
    }

    /// The signed announcements that are wanted and here.
    pub fn answer(&self, wanted: &Wanted) -> Vec<Vec<u8>> {
        let Some(records) = self.bases.get(&wanted.base) else { return Vec::new() };
        wanted.ids.iter().filter_map(|id| records.get(id)?.signed().encode().ok()).collect()
    }

    /// Those of the other's records that are not here.
    pub(super) fn lacking(&self, base: &BaseId, theirs: &Differing) -> Vec<AnnouncementId> {
        theirs.ids().filter(|id| !self.contains(base, id)).collect()
    }
}

/// Records that came in answer to one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Each verified.
    pub records: Vec<Authentic<Announcement>>,
    /// How many were left out because only a later version knows their kind.
    pub later: usize,
}

impl Page {
    /// How many came.
    pub fn count(&self) -> usize {
        self.records.len() + self.later
    }
}

/// Checks every record that came in answer to a question about `base`. // I8
pub fn verify_records(base: BaseId, records: &[Vec<u8>]) -> Result<Page, AnnouncementError> {
    let mut page = Page::default();
    for bytes in records {
        match announce::verify(base, bytes) {
            Ok(record) => page.records.push(record),
            Err(error) if error.is_fault() => return Err(error),
            Err(_) => page.later += 1,
        }
    }
    Ok(page)
}
