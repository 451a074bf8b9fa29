//! The catalogue: the records of each base, and the bounds of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::base_records::{BaseRecords, Key, Record, is_better};
use super::messages::{Compare, Differing, Wanted};
use super::shelf::{Shelf, Trusted};
use super::voucher::{Trust, Voucher};
use crate::announce::{self, Announcement, AnnouncementError, KindTag};
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::limits::{CATALOGUE_MAX, CATALOGUE_PER_BASE, CATALOGUE_PER_PUBLISHER, CATALOGUE_RECORD_MAX};
use crate::signed::{Authentic, Claimed, PublicKey};
use crate::splitmix::SplitMix64;

/// How many records are kept. Two nodes keep the same of a base if they have the same bounds and, when the bound on
/// all is reached, follow the same bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one publisher and kind for one base.
    pub per_publisher: usize,
    /// Of one base, all publishers together. Each kind has its share.
    pub per_base: usize,
    /// When it is reached, the base with the most records gives one up: no base pushes out a smaller one.
    pub in_all: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { per_publisher: CATALOGUE_PER_PUBLISHER, per_base: CATALOGUE_PER_BASE, in_all: CATALOGUE_MAX }
    }
}

impl Bounds {
    /// Of one kind for one base.
    fn of_kind(&self, kind: KindTag) -> usize {
        (self.per_base * kind.share() / 32).max(1)
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
        /// Whether it is among what was heard, which is compared with others'; else it only has a place beside that.
        heard: bool,
    },
    /// It, or a better one for its key, was there.
    Stale,
    /// There is no room: all that are kept come before it.
    NoRoom,
    /// Longer than [`CATALOGUE_RECORD_MAX`].
    TooLong,
}

/// What the index lists of a record.
type Entry = (ManifestId, PublicKey, BaseId, KindTag);

fn entry(body: &Announcement) -> Entry {
    (body.manifest, body.publisher, body.base, body.kind)
}

/// What is announced, as far as it is known here: what was heard, which is compared with others' and bounded; and on
/// the shelf what has a place whatever else is heard. // I12
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    bounds: Bounds,
    epoch: u64,
    bases: BTreeMap<BaseId, BaseRecords>,
    shelf: Shelf,
    /// All records by what they announce: peers ask who has a manifest as often as they like.
    by_manifest: BTreeSet<Entry>,
    /// How many records of each publisher there are.
    publishers: BTreeMap<PublicKey, usize>,
    /// How many were heard, without the shelf.
    heard: usize,
}

impl Catalogue {
    /// An empty catalogue with these bounds.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// The key of this node: what it says is never given up.
    pub fn set_own(&mut self, own: PublicKey) {
        self.shelf.set_own(own);
        self.shelve_trusted();
    }

    /// From now on nothing that this key says is given up for what others say.
    pub fn follow(&mut self, key: PublicKey) {
        self.shelf.follow(key);
        self.shelve_trusted();
    }

    /// From now on this is trusted beside our own key, and nothing else: what it says is not given up.
    pub fn set_trusted(&mut self, trusted: Trusted) {
        if let Some(gone) = self.shelf.trust(trusted) {
            gone.iter().for_each(|record| self.index(record.body()));
            self.shelve_trusted();
        }
    }

    /// Draws lots anew for a new epoch. What had no place by the old ones may have one now, if it is on the shelf.
    pub fn set_epoch(&mut self, epoch: u64) {
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        self.bases.values_mut().for_each(|records| records.set_epoch(epoch));
        for record in self.shelf.records().cloned().collect::<Vec<_>>() {
            self.hear(&record);
        }
    }

    fn shelve_trusted(&mut self) {
        let trusted: Vec<_> = self.records().filter(|one| self.trust_in(one.body()).is_some()).cloned().collect();
        for record in &trusted {
            self.shelve(record, None);
        }
    }

    /// Keeps an announcement if it is new and there is room.
    pub fn insert(&mut self, announcement: Authentic<Announcement>) -> Inserted {
        self.insert_vouched(announcement, None)
    }

    /// The same of one that a peer brought as its own or stands behind: there is a place for a few of these, even where
    /// there is no room.
    pub fn insert_vouched(&mut self, announcement: Authentic<Announcement>, voucher: Option<Voucher>) -> Inserted {
        // Encoded once already, or it would not be authentic.
        if !announcement.signed().encode().is_ok_and(|bytes| bytes.len() <= CATALOGUE_RECORD_MAX) {
            return Inserted::TooLong;
        }
        let record = Arc::new(announcement);
        let stale = self.is_stale(&record);
        if stale && !self.contains(&record.body().base, &announce::id(&record)) {
            return Inserted::Stale;
        }
        let shelved = self.shelve(&record, voucher);
        if stale {
            return Inserted::Stale;
        }
        let evicted = self.hear(&record);
        let own = evicted.as_ref().is_some_and(|gone| announce::id(gone) == announce::id(&record));
        match (own, shelved) {
            (true, false) => Inserted::NoRoom,
            (true, true) => Inserted::New { record, evicted: None, heard: false },
            (false, _) => Inserted::New { record, evicted: evicted.map(|gone| Key::of(gone.body())), heard: true },
        }
    }

    /// Takes in what was kept before the node was restarted. Who spoke for it then is not known: a few of those for which
    /// there is no room have a place for that.
    pub fn restore(&mut self, all: Vec<Authentic<Announcement>>) {
        for one in &all {
            drop(self.insert(one.clone()));
        }
        for one in all {
            if !self.contains(&one.body().base, &announce::id(&one)) {
                drop(self.insert_vouched(one, Some(Voucher::Restored)));
            }
        }
    }

    /// Puts a record on the shelf if it may have a place there; whether it has.
    fn shelve(&mut self, record: &Record, voucher: Option<Voucher>) -> bool {
        let (shelved, gone) = self.shelf.put(record, voucher);
        gone.iter().for_each(|record| self.index(record.body()));
        self.index(record.body());
        shelved
    }

    /// Puts a record among those heard; what has no place there then, maybe this one.
    fn hear(&mut self, record: &Record) -> Option<Record> {
        let base = record.body().base;
        let records = self.bases.entry(base).or_insert_with(|| BaseRecords::new(base, self.epoch));
        let before = records.len();
        if records.insert(record.clone()) {
            self.heard += records.len() - before;
        }
        let evicted = self.make_room(record.body());
        self.index(record.body());
        if let Some(gone) = &evicted {
            self.index(gone.body());
        }
        evicted
    }

    /// Gives up one record if the newcomer was one too many. (One that replaced an older one never is.)
    fn make_room(&mut self, new: &Announcement) -> Option<Record> {
        let crowded = self.heard > self.bounds.in_all;
        let records = self.bases.get_mut(&new.base)?;
        let owner = (new.kind, new.publisher);
        let evicted = if records.owner_len(&owner) > self.bounds.per_publisher {
            records.evict_of(&owner)
        } else if records.kind_len(new.kind) > self.bounds.of_kind(new.kind) {
            records.evict(new.kind)
        } else if crowded {
            let most = self.bases.iter().map(|(base, records)| (records.len(), *base)).max();
            most.and_then(|(_, base)| self.bases.get_mut(&base)).and_then(BaseRecords::evict_any)
        } else {
            None
        };
        self.heard -= usize::from(evicted.is_some());
        evicted
    }

    /// Lists a record in the index if it is kept, and takes it off if it is not.
    fn index(&mut self, body: &Announcement) {
        let heard = self.bases.get(&body.base);
        let heard = heard.is_some_and(|records| records.has(&(body.kind, body.publisher), &body.manifest));
        let shelved = self.shelf.get(&Key::of(body)).is_some_and(|record| record.body().kind == body.kind);
        let count = self.publishers.entry(body.publisher).or_default();
        if heard || shelved {
            *count += usize::from(self.by_manifest.insert(entry(body)));
        } else {
            *count -= usize::from(self.by_manifest.remove(&entry(body)));
        }
        if *count == 0 {
            self.publishers.remove(&body.publisher);
        }
    }

    /// Whether the announcement, or a better one for its key, is there.
    pub fn is_stale(&self, announcement: &Authentic<Announcement>) -> bool {
        self.has_better(announcement.body(), announce::id(announcement))
    }

    /// The same of one whose signatures have not been checked: whoever made it, it would be nothing new.
    pub fn would_be_stale(&self, claimed: &Claimed<Announcement>) -> bool {
        self.has_better(claimed.claim(), AnnouncementId(claimed.digest()))
    }

    fn has_better(&self, body: &Announcement, id: AnnouncementId) -> bool {
        let heard = self.bases.get(&body.base).is_some_and(|records| records.has_better(body, id));
        heard || self.shelf.get(&Key::of(body)).is_some_and(|known| is_better(known, body, id))
    }

    /// Whether something of the same publisher, base and manifest is kept, which a newer one would replace.
    pub(super) fn has_key(&self, body: &Announcement) -> bool {
        self.by_manifest.contains(&entry(body))
    }

    /// Whether the record of that id is kept.
    pub fn contains(&self, base: &BaseId, id: &AnnouncementId) -> bool {
        self.get(base, id).is_some()
    }

    /// The record of that id.
    pub fn get(&self, base: &BaseId, id: &AnnouncementId) -> Option<&Record> {
        let heard = self.bases.get(base).and_then(|records| records.get(id));
        heard.or_else(|| self.shelf.by_id(id).filter(|record| record.body().base == *base))
    }

    /// Whether anything of a publisher is kept.
    pub fn knows(&self, publisher: &PublicKey) -> bool {
        self.publishers.contains_key(publisher)
    }

    /// Whether a publisher is no newcomer here: something of it is known, or it is trusted.
    pub fn expects(&self, publisher: &PublicKey) -> bool {
        self.knows(publisher) || self.shelf.trusts_key(publisher)
    }

    /// Why what it announces is trusted here, if it is.
    pub fn trust_in(&self, body: &Announcement) -> Option<Trust> {
        self.shelf.trust_in(body)
    }

    /// Whether it would be kept among what is heard: what would not is not worth the check of a signature.
    pub fn has_room(&self, body: &Announcement, id: AnnouncementId) -> bool {
        let Bounds { per_publisher, .. } = self.bounds;
        let of_kind = self.bounds.of_kind(body.kind);
        self.bases.get(&body.base).is_none_or(|records| records.has_room(body, id, per_publisher, of_kind))
    }

    /// The same of one whose signatures have not been checked.
    pub fn has_room_for(&self, claimed: &Claimed<Announcement>) -> bool {
        self.has_room(claimed.claim(), AnnouncementId(claimed.digest()))
    }

    /// Whether there is no room for another record of some kind.
    pub fn is_crowded(&self, base: &BaseId) -> bool {
        let crowded = |(kind, count): (KindTag, usize)| count >= self.bounds.of_kind(kind);
        self.heard >= self.bounds.in_all || self.bases.get(base).is_some_and(|records| records.kinds().any(crowded))
    }

    /// Whether a record has a place of its own already, for a reason that is as good.
    pub(super) fn has_place(&self, record: &Authentic<Announcement>, voucher: Voucher) -> bool {
        self.shelf.has_place(&announce::id(record), voucher)
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.by_manifest.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.by_manifest.is_empty()
    }

    /// Every record.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let shelved = self.shelf.records().filter(|record| !self.is_heard(record));
        self.bases.values().flat_map(BaseRecords::records).chain(shelved)
    }

    /// The records of a base: those heard, sorted by id, then those for which there was no room among them.
    pub fn of_base(&self, base: &BaseId) -> impl Iterator<Item = &Record> {
        let shelved = self.shelf.of_base(*base).filter(|record| !self.is_heard(record));
        self.bases.get(base).into_iter().flat_map(BaseRecords::records).chain(shelved)
    }

    fn is_heard(&self, record: &Record) -> bool {
        let records = self.bases.get(&record.body().base);
        records.is_some_and(|records| records.get(&announce::id(record)).is_some())
    }

    /// What this node stands behind of a base: what is its own, followed or checked, and what peers brought as their
    /// own. At most [`crate::limits::ANNOUNCEMENTS_MAX`].
    pub fn stood_behind(&mut self, base: BaseId) -> Vec<Record> {
        self.shelf.stood_behind(base)
    }

    /// Whether a key announced a manifest.
    pub fn announces(&self, manifest: &ManifestId, publisher: &PublicKey) -> bool {
        let first = (*manifest, *publisher, BaseId(Digest::smallest(0)), KindTag::Adapter);
        let found = self.by_manifest.range(first..).next();
        found.is_some_and(|(of, by, ..)| (of, by) == (manifest, publisher))
    }

    /// Some of those who announced a manifest: all of them have the same chance. Anybody may have made thousands of keys
    /// that did, and asks for it as often as they like, so what this costs beside a walk is bounded by `count`.
    pub fn publishers(&self, manifest: &ManifestId, count: usize, rng: &mut SplitMix64) -> Vec<PublicKey> {
        let (mut drawn, mut seen, mut last) = (Vec::new(), 0, None);
        for (_, publisher, ..) in self.announcing(manifest) {
            // One that announced it for several bases, or as several kinds, stands here several times in a row.
            if last.replace(publisher) == Some(publisher) {
                continue;
            }
            seen += 1;
            if drawn.len() < count {
                drawn.push(*publisher);
            } else if let Some(place) = drawn.get_mut(rng.below(seen) as usize) {
                *place = *publisher;
            }
        }
        drawn
    }

    /// Those of [`Self::publishers`] for whose announcement more speaks than their signature: they brought it themselves,
    /// or they or the manifest are trusted here.
    pub fn vouched_publishers(&self, manifest: &ManifestId) -> Vec<PublicKey> {
        let key = |entry: &Entry| Key { base: entry.2, publisher: entry.1, manifest: entry.0 };
        let vouched = self.announcing(manifest).filter(|entry| self.shelf.is_vouched(&key(entry)));
        let mut publishers: Vec<_> = vouched.map(|(_, publisher, ..)| *publisher).collect();
        publishers.dedup();
        publishers
    }

    /// Those for whose announcements of a kind for a base more speaks, likewise.
    pub fn vouched_for(&self, base: &BaseId, kind: KindTag) -> BTreeSet<PublicKey> {
        let of_kind = self.shelf.of_base(*base).map(|record| record.body()).filter(|body| body.kind == kind);
        of_kind.filter(|body| self.shelf.is_vouched(&Key::of(body))).map(|body| body.publisher).collect()
    }

    fn announcing(&self, manifest: &ManifestId) -> impl Iterator<Item = &Entry> {
        let (manifest, least) = (*manifest, Digest::smallest(0));
        let first = (manifest, PublicKey(least), BaseId(least), KindTag::Adapter);
        self.by_manifest.range(first..).take_while(move |entry| entry.0 == manifest)
    }

    /// The question that finds out where another catalogue of the base differs.
    pub fn question(&mut self, base: BaseId) -> Compare {
        let buckets = match self.bases.get_mut(&base) {
            Some(records) => records.digests(),
            None => BaseRecords::new(base, self.epoch).digests(),
        };
        Compare { base, buckets }
    }

    /// The answer to another's [`Catalogue::question`].
    pub fn compare(&mut self, compare: &Compare) -> Differing {
        match self.bases.get_mut(&compare.base) {
            Some(records) => records.compare(compare),
            // No entry is made: whoever asks for bases that nobody follows leaves nothing behind.
            None => BaseRecords::new(compare.base, self.epoch).compare(compare),
        }
    }

    /// The signed announcements that are wanted and here.
    pub fn answer(&self, wanted: &Wanted) -> Vec<Vec<u8>> {
        wanted.ids.iter().filter_map(|id| self.get(&wanted.base, id)?.signed().encode().ok()).collect()
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
    /// Those that were left out because only a later version knows their kind.
    pub later: Vec<AnnouncementId>,
}

impl Page {
    /// How many came.
    pub fn count(&self) -> usize {
        self.records.len() + self.later.len()
    }
}

/// Checks every record that came in answer to a question about `base`. What is known already, by its id, is taken from
/// there: its signature has been checked, and peers say the same again and again. // I8
pub fn verify_records(
    base: BaseId,
    records: &[Vec<u8>],
    known: impl Fn(&AnnouncementId) -> Option<Record>,
) -> Result<Page, AnnouncementError> {
    let mut page = Page::default();
    for bytes in records {
        match announce::read(base, bytes) {
            Ok(claimed) => page.records.push(match known(&AnnouncementId(claimed.digest())) {
                Some(record) => Authentic::clone(&record),
                None => claimed.verify()?,
            }),
            Err(AnnouncementError::LaterKind { id, .. }) => match announce::verify(base, bytes) {
                Err(error) if error.is_fault() => return Err(error),
                Ok(_) | Err(_) => page.later.push(id),
            },
            Err(fault) => return Err(fault),
        }
    }
    Ok(page)
}
