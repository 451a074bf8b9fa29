//! Records that have a place whatever else is heard, so that nobody who makes keys can push them out.
//!
//! ```text
//! our own                                    always
//! of keys that are followed                  the newest of each
//! of manifests that are here and checked     by their publisher's announcement
//! brought by a neighbour as its own          a few for each neighbourhood and base
//! that a neighbour stands behind             the same places, where these are not taken
//! ```
//!
//! What is told to others as what we stand behind ([`Shelf::stood_behind`]) is the first four: a neighbour's word is
//! taken, and not passed on as ours. So an honest node's announcement reaches the neighbours of its neighbours however
//! many keys strangers have made, and strangers fill the places of their own neighbourhoods alone.

use std::collections::{BTreeMap, BTreeSet};

use super::base_records::{Key, Record};
use super::lines::Lines;
use super::voucher::{Trust, Voucher};
use crate::announce::{self, Announcement};
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::limits::{ANNOUNCEMENTS_MAX, CATALOGUE_FOLLOWED, CATALOGUE_PER_PUBLISHER, CATALOGUE_TRUSTED};
use crate::signed::PublicKey;
use crate::splitmix::mix;

/// What is trusted beside our own key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// All that these keys say.
    pub followed: BTreeSet<PublicKey>,
    /// What announces these manifests, which are here and were checked; with each, who published it.
    pub checked: BTreeSet<(ManifestId, PublicKey)>,
}

/// A record, and why it has its place.
#[derive(Clone, Debug)]
struct Place {
    record: Record,
    voucher: Voucher,
    /// The higher, the later it came.
    number: u64,
}

/// Those records. // I12
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    own: Option<PublicKey>,
    trusted: Trusted,
    /// Keys that have been followed since what is trusted was said last.
    followed_since: BTreeSet<PublicKey>,
    places: BTreeMap<Key, Place>,
    ids: BTreeMap<AnnouncementId, Key>,
    /// Of the next place.
    number: u64,
    /// Of each key that is followed, by sequence number.
    followed: BTreeMap<PublicKey, BTreeSet<(u64, Key)>>,
    /// What announces what was checked here, by age.
    checked: BTreeMap<u64, Key>,
    lines: Lines,
    /// What is said of a base when somebody asks, until something changes: peers ask as often as they like.
    said: BTreeMap<BaseId, Vec<Record>>,
}

impl Shelf {
    /// What this key says always has a place.
    pub fn set_own(&mut self, own: PublicKey) {
        self.own = Some(own);
    }

    /// What this key says has a place from now on.
    pub fn follow(&mut self, key: PublicKey) {
        if self.trusted.followed.len() < CATALOGUE_FOLLOWED {
            self.trusted.followed.insert(key);
            self.followed_since.insert(key);
        }
    }

    /// This is trusted from now on, and keys that have been followed since it was put together, and nothing else; the
    /// records that lose their places by that. `None`: it was before.
    pub fn trust(&mut self, mut trusted: Trusted) -> Option<Vec<Record>> {
        trusted.followed.append(&mut self.followed_since);
        if self.trusted == trusted {
            return None;
        }
        self.trusted = trusted;
        let mut lost = Vec::new();
        let other = |place: &&Place| matches!(place.voucher, Voucher::Trust(trust) if self.trust_in(place.record.body()) != Some(trust));
        for record in self.places.values().filter(other).map(|place| place.record.clone()).collect::<Vec<_>>() {
            self.remove(&Key::of(record.body()));
            let (shelved, gone) = self.put(&record, None);
            lost.extend(gone);
            if !shelved {
                lost.push(record);
            }
        }
        Some(lost)
    }

    /// Why what it announces is trusted here, if it is.
    pub fn trust_in(&self, body: &Announcement) -> Option<Trust> {
        if self.own == Some(body.publisher) {
            Some(Trust::Own)
        } else if self.trusted.followed.contains(&body.publisher) {
            Some(Trust::Followed)
        } else if self.trusted.checked.contains(&(body.manifest, body.publisher)) {
            Some(Trust::Checked)
        } else {
            None
        }
    }

    /// Whether all that a key says is trusted here.
    pub fn trusts_key(&self, key: &PublicKey) -> bool {
        self.own.as_ref() == Some(key) || self.trusted.followed.contains(key)
    }

    /// The record of a key.
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.places.get(key).map(|place| &place.record)
    }

    /// Whether its publisher brought it, or it is trusted.
    pub fn is_vouched(&self, key: &Key) -> bool {
        self.places.get(key).is_some_and(|place| matches!(place.voucher, Voucher::Publisher(_) | Voucher::Trust(_)))
    }

    /// The record of that id.
    pub fn by_id(&self, id: &AnnouncementId) -> Option<&Record> {
        self.get(self.ids.get(id)?)
    }

    /// Whether something speaks for that record already that weighs as much.
    pub fn has_place(&self, id: &AnnouncementId, voucher: Voucher) -> bool {
        let place = self.ids.get(id).and_then(|key| self.places.get(key));
        place.is_some_and(|here| here.voucher.weight() >= voucher.weight())
    }

    /// All of them.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.places.values().map(|place| &place.record)
    }

    /// Those of a base.
    pub fn of_base(&self, base: BaseId) -> impl Iterator<Item = &Record> {
        self.places_of(base).map(|place| &place.record)
    }

    fn places_of(&self, base: BaseId) -> impl Iterator<Item = &Place> {
        let least = Digest::smallest(0);
        let first = Key { base, publisher: PublicKey(least), manifest: ManifestId(least) };
        self.places.range(first..).take_while(move |(key, _)| key.base == base).map(|(_, place)| place)
    }

    /// Gives a record a place: by trust if there is any, or by what speaks for it, or because an older one has one.
    /// Whether it has a place now, and the records that lost theirs.
    pub fn put(&mut self, record: &Record, voucher: Option<Voucher>) -> (bool, Vec<Record>) {
        let key = Key::of(record.body());
        // A liar's, of another kind: the newer one counts.
        if self.get(&key).is_some_and(|known| known.body().sequence > record.body().sequence) {
            return (false, Vec::new());
        }
        let here = self.places.get(&key).map(|place| place.voucher);
        let trust = self.trust_in(record.body()).map(Voucher::Trust);
        // Trust is found out here, not said.
        let voucher = trust.or(voucher.filter(|voucher| !matches!(voucher, Voucher::Trust(_))));
        let better = |voucher: &Voucher| here.is_none_or(|here| voucher.weight() > here.weight());
        let Some(voucher) = voucher.filter(better).or(here) else { return (false, Vec::new()) };
        // To be said again makes nothing younger.
        if here == Some(voucher) && self.ids.contains_key(&announce::id(record)) {
            return (true, Vec::new());
        }
        let old = self.remove(&key);
        let mut gone = self.place(record, voucher);
        // What was replaced by itself has lost nothing.
        gone.extend(old.filter(|old| announce::id(old) != announce::id(record)));
        let shelved = self.places.contains_key(&key);
        if !shelved {
            gone.retain(|one| announce::id(one) != announce::id(record));
        }
        (shelved, gone)
    }

    /// A new place; the records that lose theirs for it, maybe this one.
    fn place(&mut self, record: &Record, voucher: Voucher) -> Vec<Record> {
        let (key, number) = (Key::of(record.body()), self.number);
        self.number += 1;
        self.places.insert(key, Place { record: record.clone(), voucher, number });
        self.ids.insert(announce::id(record), key);
        self.said.remove(&key.base);
        let last = match voucher {
            Voucher::Trust(Trust::Own) => None,
            Voucher::Trust(Trust::Followed) => self.add_followed(record.body().sequence, key),
            Voucher::Trust(Trust::Checked) => {
                self.checked.insert(number, key);
                let full = self.checked.len() > CATALOGUE_TRUSTED;
                full.then(|| self.checked.first_key_value().map(|(_, key)| *key)).flatten()
            }
            _ => self.lines.add(number, key, voucher).map(|(_, key)| key),
        };
        last.and_then(|key| self.remove(&key)).into_iter().collect()
    }

    /// Whoever says most gives up first: its oldest.
    fn add_followed(&mut self, sequence: u64, key: Key) -> Option<Key> {
        let own = self.followed.entry(key.publisher).or_default();
        own.insert((sequence, key));
        let crowded = if own.len() > CATALOGUE_PER_PUBLISHER {
            Some(&*own)
        } else if self.followed.values().map(BTreeSet::len).sum::<usize>() > CATALOGUE_TRUSTED {
            self.followed.values().max_by_key(|own| own.len())
        } else {
            None
        };
        crowded.and_then(BTreeSet::first).map(|(_, key)| *key)
    }

    fn remove(&mut self, key: &Key) -> Option<Record> {
        let Place { record, voucher, number } = self.places.remove(key)?;
        self.said.remove(&key.base);
        self.ids.remove(&announce::id(&record));
        match voucher {
            Voucher::Trust(Trust::Own) => {}
            Voucher::Trust(Trust::Followed) => {
                if let Some(own) = self.followed.get_mut(&key.publisher) {
                    own.remove(&(record.body().sequence, *key));
                    if own.is_empty() {
                        self.followed.remove(&key.publisher);
                    }
                }
            }
            Voucher::Trust(Trust::Checked) => drop(self.checked.remove(&number)),
            _ => self.lines.remove(number, key, voucher),
        }
        Some(record)
    }

    /// What we stand behind of a base, as many as one answer holds: a third each our own, what is trusted, and what
    /// publishers of our neighbourhoods brought.
    pub fn stood_behind(&mut self, base: BaseId) -> Vec<Record> {
        if let Some(said) = self.said.get(&base) {
            return said.clone();
        }
        let said = self.say(base);
        // Whoever asks about bases of which nothing is here leaves nothing behind.
        if !said.is_empty() {
            self.said.insert(base, said.clone());
        }
        said
    }

    fn say(&self, base: BaseId) -> Vec<Record> {
        let [mut own, mut trusted, mut near] = [const { Turns::new() }; 3];
        for place in self.places_of(base) {
            let publisher = place.record.body().publisher.0.0.first_chunk().copied().map_or(0, u64::from_le_bytes);
            match place.voucher {
                Voucher::Restored | Voucher::Neighbour(_) => {}
                Voucher::Publisher(one) => near.add(one.near.0, place),
                Voucher::Trust(Trust::Own) => own.add(0, place),
                Voucher::Trust(_) => trusted.add(publisher, place),
            }
        }
        let mut all: [Vec<Record>; 3] = [own, trusted, near].map(|turns| turns.ranked(self.number));
        let mut said = Vec::new();
        for part in &mut all {
            said.extend(part.drain(..part.len().min(ANNOUNCEMENTS_MAX / 3)));
        }
        // What one has not used is the others'.
        said.extend(all.into_iter().flatten());
        said.truncate(ANNOUNCEMENTS_MAX);
        said
    }
}

/// Records of several, who take turns.
struct Turns<'a>(BTreeMap<u64, Vec<&'a Place>>);

impl<'a> Turns<'a> {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, whose: u64, place: &'a Place) {
        self.0.entry(whose).or_default().push(place);
    }

    /// Of each what channels live by first, then the newest; and among them in an order that none of them chose.
    fn ranked(self, salt: u64) -> Vec<Record> {
        let mut ranked = Vec::new();
        for (whose, mut places) in self.0 {
            places.sort_by_key(|place| {
                let body = place.record.body();
                (!body.kind.is_of_channels(), std::cmp::Reverse((body.sequence, place.number)))
            });
            let turn = |rank| (rank, mix(whose ^ mix(salt)));
            ranked.extend(places.iter().enumerate().map(|(rank, place)| (turn(rank), place.record.clone())));
        }
        ranked.sort_by_key(|(turn, _)| *turn);
        ranked.into_iter().map(|(_, record)| record).collect()
    }
}
