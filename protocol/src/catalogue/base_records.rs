//! The records of one base, and which of them go first when room is wanted.
//!
//! **What is kept is a function of what was heard**, not of the order in which it came; else catalogues that forget
//! would never be equal. Each kind has places of its own, so that no kind pushes out another. Every record has a place
//! among its kind: (its rank among its publisher's, newest first; its publisher's lot). The last place is given up
//! first. So each publisher keeps its newest before any keeps a second, and whoever floods pushes out its own records.
//! It is a function of the set because a publisher's places are always the first ones: a record behind `n` filled
//! places stays behind them, whatever comes.
//!
//! The lot (BLAKE3 of epoch, base and publisher) decides among equals, and in each epoch otherwise: whoever makes keys
//! until their lots are good has keys for one epoch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::messages::{Bucket, Compare, Differing, bucket_of};
use crate::announce::{self, Announcement, KindTag};
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::limits::CATALOGUE_BUCKETS;
use crate::signed::{Authentic, PublicKey};

const BUCKET_CONTEXT: &str = "potluck 2026 catalogue bucket/1";
const LOT_CONTEXT: &str = "potluck 2026 catalogue lot/2";

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

/// A publisher's records of one kind have their places together.
type Owner = (KindTag, PublicKey);

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

/// Whether a record that is known is that of `id`, or better: for one key, and of the same kind.
pub(super) fn is_better(known: &Authentic<Announcement>, body: &Announcement, id: AnnouncementId) -> bool {
    known.body().kind == body.kind && Rank::of(known) <= Rank::at(body, id)
}

/// One publisher's records of one kind.
#[derive(Clone, Debug)]
struct PublisherRecords {
    lot: Digest,
    by_manifest: BTreeMap<ManifestId, Rank>,
    /// Best first.
    ranked: BTreeSet<(Rank, ManifestId)>,
}

/// A publisher's lot: among records of one rank, those of the lowest lots are kept.
pub fn lot(epoch: u64, base: &BaseId, publisher: &PublicKey) -> Digest {
    Digest::of_context(LOT_CONTEXT, &[&epoch.to_le_bytes()[..], &base.0.0, &publisher.0.0].concat())
}

/// The records of one base.
#[derive(Clone, Debug)]
pub(super) struct BaseRecords {
    base: BaseId,
    epoch: u64,
    records: BTreeMap<AnnouncementId, Record>,
    publishers: BTreeMap<Owner, PublisherRecords>,
    /// Publishers by kind, then by the number of their records, then by lot: the last one of a kind holds the record in
    /// its last place.
    by_count: BTreeSet<(KindTag, usize, Digest, PublicKey)>,
    by_kind: BTreeMap<KindTag, usize>,
    /// Digests of the parts; `None`: changed since.
    digests: Vec<Option<Digest>>,
}

impl BaseRecords {
    /// No records yet.
    pub fn new(base: BaseId, epoch: u64) -> Self {
        Self {
            base,
            epoch,
            records: BTreeMap::new(),
            publishers: BTreeMap::new(),
            by_count: BTreeSet::new(),
            by_kind: BTreeMap::new(),
            digests: vec![None; CATALOGUE_BUCKETS],
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many records of a kind there are.
    pub fn kind_len(&self, kind: KindTag) -> usize {
        self.by_kind.get(&kind).copied().unwrap_or(0)
    }

    /// How many records of each kind there are.
    pub fn kinds(&self) -> impl Iterator<Item = (KindTag, usize)> + '_ {
        self.by_kind.iter().map(|(kind, count)| (*kind, *count))
    }

    /// Whether there is a record for a publisher's manifest.
    pub fn has(&self, owner: &Owner, manifest: &ManifestId) -> bool {
        self.publishers.get(owner).is_some_and(|own| own.by_manifest.contains_key(manifest))
    }

    /// How many records of a kind a publisher has.
    pub fn owner_len(&self, owner: &Owner) -> usize {
        self.publishers.get(owner).map_or(0, |own| own.ranked.len())
    }

    /// Draws new lots. What is kept stays; what comes from now on has its place by the new ones.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.by_count.clear();
        for ((kind, publisher), own) in &mut self.publishers {
            own.lot = lot(epoch, &self.base, publisher);
            self.by_count.insert((*kind, own.ranked.len(), own.lot, *publisher));
        }
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
        let own = self.publishers.get(&(body.kind, body.publisher));
        own.and_then(|own| own.by_manifest.get(&body.manifest)).is_some_and(|known| *known <= Rank::at(body, id))
    }

    /// Whether this record would be kept, if a publisher may have `per_publisher` of its kind and all may have `of_kind`.
    pub fn has_room(&self, body: &Announcement, id: AnnouncementId, per_publisher: usize, of_kind: usize) -> bool {
        let own = self.publishers.get(&(body.kind, body.publisher));
        let count = own.map_or(0, |own| own.ranked.len());
        let place = (Rank::at(body, id), body.manifest);
        let is_last = own.and_then(|own| own.ranked.last()).is_none_or(|last| *last < place);
        if own.is_some_and(|own| own.by_manifest.contains_key(&body.manifest)) {
            return true;
        }
        if count >= per_publisher {
            return !is_last;
        }
        if self.kind_len(body.kind) < of_kind {
            return true;
        }
        let lot = own.map_or_else(|| lot(self.epoch, &self.base, &body.publisher), |own| own.lot);
        let ours = (body.kind, count + 1, lot, body.publisher);
        !is_last || self.last_of(body.kind).is_some_and(|last| last > ours)
    }

    /// The publisher whose record is in a kind's last place.
    fn last_of(&self, kind: KindTag) -> Option<(KindTag, usize, Digest, PublicKey)> {
        let most = (kind, usize::MAX, Digest([u8::MAX; 32]), PublicKey(Digest([u8::MAX; 32])));
        self.by_count.range(..=most).next_back().copied().filter(|(other, ..)| *other == kind)
    }

    /// Puts a record in the place of an older one for its key; `false` if a better one is there.
    pub fn insert(&mut self, record: Record) -> bool {
        if self.has_better(record.body(), announce::id(&record)) {
            return false;
        }
        let Announcement { publisher, manifest, kind, .. } = *record.body();
        let rank = Rank::of(&record);
        let own = self.publishers.entry((kind, publisher)).or_insert_with(|| PublisherRecords {
            lot: lot(self.epoch, &self.base, &publisher),
            by_manifest: BTreeMap::new(),
            ranked: BTreeSet::new(),
        });
        self.by_count.remove(&(kind, own.ranked.len(), own.lot, publisher));
        let replaced = own.by_manifest.insert(manifest, rank);
        if let Some(old) = replaced {
            own.ranked.remove(&(old, manifest));
        }
        own.ranked.insert((rank, manifest));
        self.by_count.insert((kind, own.ranked.len(), own.lot, publisher));
        match replaced {
            Some(old) => drop(self.remove_record(&old.id)),
            None => *self.by_kind.entry(kind).or_default() += 1,
        }
        self.digests[bucket_of(&rank.id)] = None;
        self.records.insert(rank.id, record);
        true
    }

    /// Removes the record in a kind's last place.
    pub fn evict(&mut self, kind: KindTag) -> Option<Record> {
        let (_, _, _, publisher) = self.last_of(kind)?;
        self.evict_of(&(kind, publisher))
    }

    /// Removes the record in the last place of the kind that has most beyond its share.
    pub fn evict_any(&mut self) -> Option<Record> {
        let fullest = self.by_kind.iter().max_by_key(|(kind, count)| (*count * 32 / kind.share(), **kind));
        let kind = *fullest?.0;
        self.evict(kind)
    }

    /// Removes a publisher's last record of a kind.
    pub fn evict_of(&mut self, owner: &Owner) -> Option<Record> {
        let (kind, publisher) = *owner;
        let own = self.publishers.get_mut(owner)?;
        let lot = own.lot;
        self.by_count.remove(&(kind, own.ranked.len(), lot, publisher));
        let (rank, manifest) = own.ranked.pop_last()?;
        own.by_manifest.remove(&manifest);
        if let Some(count) = self.by_kind.get_mut(&kind) {
            *count -= 1;
        }
        match own.ranked.len() {
            0 => drop(self.publishers.remove(owner)),
            len => drop(self.by_count.insert((kind, len, lot, publisher))),
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
