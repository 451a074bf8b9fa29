//! The records of one base, and which of them go first when room is wanted.
//!
//! **What is kept is a function of what was heard**, not of the order in which it came; else catalogues that forget
//! would never be equal. Every record has a place: (its rank among its publisher's, newest first; its publisher's
//! lot). The last place is given up first. So each publisher keeps its newest before any keeps a second, and whoever
//! floods pushes out its own records. It is a function of the set because a publisher's places are always the first
//! ones: a record behind `n` filled places stays behind them, whatever comes. The lot (BLAKE3 of base and publisher)
//! decides among equals, and not everywhere in favour of the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::messages::{Bucket, Compare, Differing, bucket_of};
use crate::announce::{self, Announcement};
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::limits::CATALOGUE_BUCKETS;
use crate::signed::{Authentic, PublicKey};

const BUCKET_CONTEXT: &str = "potluck 2026 catalogue bucket/1";
const LOT_CONTEXT: &str = "potluck 2026 catalogue lot/1";

/// A record: an announcement that was verified. Shared, because it is handed out often.
pub type Record = Arc<Authentic<Announcement>>;

/// What a catalogue has one record for. The base is part of it: a publisher that announces one manifest for two bases
/// lies in one of them, and nodes that follow one base cannot know of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The base under which it is announced.
    pub base: BaseId,
    /// Who announces it.
    pub publisher: PublicKey,
    /// What is announced.
    pub manifest: ManifestId,
}

impl Key {
    /// The key of an announcement.
    pub fn of(body: &Announcement) -> Self {
        Self { base: body.base, publisher: body.publisher, manifest: body.manifest }
    }
}

/// The smaller, the better: the higher sequence number; among equal ones, which only an equivocating publisher makes,
/// the lower id, so that all catalogues choose the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    sequence: Reverse<u64>,
    id: AnnouncementId,
}

impl Rank {
    fn of(record: &Authentic<Announcement>) -> Self {
        Self::at(record.body(), announce::id(record))
    }

    fn at(body: &Announcement, id: AnnouncementId) -> Self {
        Self { sequence: Reverse(body.sequence), id }
    }
}

/// One publisher's records.
#[derive(Clone, Debug)]
struct PublisherRecords {
    lot: Digest,
    by_manifest: BTreeMap<ManifestId, Rank>,
    /// Best first.
    ranked: BTreeSet<(Rank, ManifestId)>,
}

/// The records of one base.
#[derive(Clone, Debug)]
pub(super) struct BaseRecords {
    base: BaseId,
    records: BTreeMap<AnnouncementId, Record>,
    publishers: BTreeMap<PublicKey, PublisherRecords>,
    /// Publishers by the number of their records, then by lot: the last one holds the record in the last place.
    by_count: BTreeSet<(usize, Digest, PublicKey)>,
    /// Digests of the parts; `None`: changed since.
    digests: Vec<Option<Digest>>,
}

impl BaseRecords {
    /// No records yet.
    pub fn new(base: BaseId) -> Self {
        Self {
            base,
            records: BTreeMap::new(),
            publishers: BTreeMap::new(),
            by_count: BTreeSet::new(),
            digests: vec![None; CATALOGUE_BUCKETS],
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many records of a publisher there are.
    pub fn publisher_len(&self, publisher: &PublicKey) -> usize {
        self.publishers.get(publisher).map_or(0, |own| own.ranked.len())
    }

    /// The record of that id.
    pub fn get(&self, id: &AnnouncementId) -> Option<&Record> {
        self.records.get(id)
    }

    /// All of them, sorted by id.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// Whether this record, or a better one for its key, is there.
    pub fn has_better(&self, body: &Announcement, id: AnnouncementId) -> bool {
        let known = self.publishers.get(&body.publisher).and_then(|own| own.by_manifest.get(&body.manifest));
        known.is_some_and(|known| *known <= Rank::at(body, id))
    }

    /// Puts a record in the place of an older one for its key; `false` if a better one is there.
    pub fn insert(&mut self, record: Record) -> bool {
        if self.has_better(record.body(), announce::id(&record)) {
            return false;
        }
        let (publisher, manifest) = (record.body().publisher, record.body().manifest);
        let rank = Rank::of(&record);
        let lot = || Digest::of_context(LOT_CONTEXT, &[self.base.0.0, publisher.0.0].concat());
        let own = self.publishers.entry(publisher).or_insert_with(|| PublisherRecords {
            lot: lot(),
            by_manifest: BTreeMap::new(),
            ranked: BTreeSet::new(),
        });
        self.by_count.remove(&(own.ranked.len(), own.lot, publisher));
        let replaced = own.by_manifest.insert(manifest, rank);
        if let Some(old) = replaced {
            own.ranked.remove(&(old, manifest));
        }
        own.ranked.insert((rank, manifest));
        self.by_count.insert((own.ranked.len(), own.lot, publisher));
        if let Some(old) = replaced {
            self.remove_record(&old.id);
        }
        self.digests[bucket_of(&rank.id)] = None;
        self.records.insert(rank.id, record);
        true
    }

    /// Removes the record in the last place.
    pub fn evict(&mut self) -> Option<Record> {
        let (_, _, publisher) = *self.by_count.last()?;
        self.evict_of(&publisher)
    }

    /// Removes a publisher's last record.
    pub fn evict_of(&mut self, publisher: &PublicKey) -> Option<Record> {
        let own = self.publishers.get_mut(publisher)?;
        let lot = own.lot;
        self.by_count.remove(&(own.ranked.len(), lot, *publisher));
        let (rank, manifest) = own.ranked.pop_last()?;
        own.by_manifest.remove(&manifest);
        match own.ranked.len() {
            0 => drop(self.publishers.remove(publisher)),
            len => drop(self.by_count.insert((len, lot, *publisher))),
        }
        self.remove_record(&rank.id)
    }

    fn remove_record(&mut self, id: &AnnouncementId) -> Option<Record> {
        self.digests[bucket_of(id)] = None;
        self.records.remove(id)
    }

    /// The digests of all parts.
    pub fn digests(&mut self) -> Vec<Digest> {
        (0..CATALOGUE_BUCKETS).map(|index| self.digest(index)).collect()
    }

    fn digest(&mut self, index: usize) -> Digest {
        if let Some(known) = self.digests[index] {
            return known;
        }
        // Of the sorted ids, not their sum or difference: those can be steered by whoever publishes a few hundred
        // records, so that two catalogues look equal that are not.
        let ids: Vec<u8> = self.ids(index).flat_map(|id| id.0.0).collect();
        let digest = Digest::of_context(BUCKET_CONTEXT, &ids);
        self.digests[index] = Some(digest);
        digest
    }

    fn ids(&self, index: usize) -> impl Iterator<Item = &AnnouncementId> {
        let from = AnnouncementId(Digest::smallest((index * 256 / CATALOGUE_BUCKETS) as u8));
        self.records.range(from..).map(|(id, _)| id).take_while(move |id| bucket_of(id) == index)
    }

    /// Where these records differ from the asker's.
    pub fn compare(&mut self, compare: &Compare) -> Differing {
        let differs = |(index, theirs): (usize, &Digest)| {
            (self.digest(index) != *theirs)
                .then(|| Bucket { index: index as u8, ids: self.ids(index).copied().collect() })
        };
        Differing(compare.buckets.iter().take(CATALOGUE_BUCKETS).enumerate().filter_map(differs).collect())
    }
}
