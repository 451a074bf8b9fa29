//! Records that have a place whatever else is heard, so that nobody who makes keys can push them out.
//!
//! ```text
//! our own, and of keys that are followed     always
//! of manifests that are here and checked     always, by their publisher's announcement
//! brought by a neighbour as its own          a few for each neighbourhood, the oldest go first
//! that a neighbour stands behind             the same places
//! ```
//!
//! What is told to others as what we stand behind ([`Shelf::stood_behind`]) is the first three: a neighbour's word is
//! taken, and not passed on as ours. So an honest node's announcement reaches the neighbours of its neighbours however
//! many keys strangers have made, and strangers fill the places of their own neighbourhoods alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p_identity::PeerId;

use super::base_records::{Key, Record};
use crate::announce::{self, Announcement};
use crate::id::{AnnouncementId, BaseId, Digest, ManifestId};
use crate::limits::{ANNOUNCEMENTS_MAX, CATALOGUE_NEAR, CATALOGUE_NEIGHBOURHOODS, CATALOGUE_TRUSTED};
use crate::signed::PublicKey;

/// Where a peer is, as far as it costs something to be elsewhere. Peers that are near each other have the same number;
/// what near means is the caller's to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Neighbourhood(pub u64);

/// What speaks for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    /// A peer stands behind it.
    Neighbour(Neighbourhood),
    /// The peer that brought it is its publisher.
    Publisher(Neighbourhood),
    /// It is of a key or a manifest that is trusted here.
    Trust,
}

impl Voucher {
    /// What speaks for a record that a peer brings, if it is its own: its name holds the key.
    pub fn of_publisher(peer: &PeerId, near: Neighbourhood, publisher: &PublicKey) -> Option<Self> {
        // The bytes first, for a key's own name costs arithmetic.
        let own = peer.to_bytes().ends_with(&publisher.0.0) && publisher.peer_id() == Some(*peer);
        own.then_some(Self::Publisher(near))
    }

    /// The greater, the better. Among equals the first one stays: nobody takes over a place to give it up.
    fn weight(self) -> u8 {
        match self {
            Self::Neighbour(_) => 0,
            Self::Publisher(_) => 1,
            Self::Trust => 2,
        }
    }
}

/// What is trusted beside our own key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// All that these keys say.
    pub followed: BTreeSet<PublicKey>,
    /// What announces these manifests, which are here and were checked; with each, who published it.
    pub checked: BTreeSet<(ManifestId, PublicKey)>,
}

/// Those records. // I12
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    own: Option<PublicKey>,
    trusted: Trusted,
    places: BTreeMap<Key, (Record, Voucher)>,
    ids: BTreeMap<AnnouncementId, Key>,
    /// Places that are taken by trust.
    taken: usize,
    /// What each neighbourhood has brought, the oldest first.
    near: BTreeMap<Neighbourhood, VecDeque<Key>>,
    /// Those, the oldest first.
    order: VecDeque<Neighbourhood>,
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
        if self.trusted.followed.len() < CATALOGUE_TRUSTED {
            self.trusted.followed.insert(key);
        }
    }

    /// This is trusted from now on, and nothing else; the records that lose their places by that. `None`: it was before.
    pub fn trust(&mut self, trusted: Trusted) -> Option<Vec<Record>> {
        if self.trusted == trusted {
            return None;
        }
        self.trusted = trusted;
        let of_trust = self.places.iter().filter(|(_, (_, voucher))| *voucher == Voucher::Trust);
        let lost: Vec<Key> = of_trust.filter(|(_, (one, _))| !self.trusts(one.body())).map(|(key, _)| *key).collect();
        Some(lost.iter().filter_map(|key| self.remove(key)).collect())
    }

    /// Whether all that a key says is trusted here.
    pub fn trusts_key(&self, key: &PublicKey) -> bool {
        self.own.as_ref() == Some(key) || self.trusted.followed.contains(key)
    }

    /// Whether what it announces is trusted here.
    pub fn trusts(&self, body: &Announcement) -> bool {
        self.trusts_key(&body.publisher) || self.trusted.checked.contains(&(body.manifest, body.publisher))
    }

    /// The record of a key.
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.places.get(key).map(|(record, _)| record)
    }

    /// Whether its publisher brought it, or it is trusted.
    pub fn is_vouched(&self, key: &Key) -> bool {
        self.places.get(key).is_some_and(|(_, voucher)| !matches!(voucher, Voucher::Neighbour(_)))
    }

    /// The record of that id.
    pub fn by_id(&self, id: &AnnouncementId) -> Option<&Record> {
        self.get(self.ids.get(id)?)
    }

    /// Whether something speaks for that record already that weighs as much.
    pub fn has_place(&self, id: &AnnouncementId, voucher: Voucher) -> bool {
        let place = self.ids.get(id).and_then(|key| self.places.get(key));
        place.is_some_and(|(_, here)| here.weight() >= voucher.weight())
    }

    /// All of them.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.places.values().map(|(record, _)| record)
    }

    /// Those of a base.
    pub fn of_base(&self, base: BaseId) -> impl Iterator<Item = &(Record, Voucher)> {
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
        let here = self.places.get(&key).map(|(_, voucher)| *voucher);
        let room = self.own == Some(key.publisher) || self.taken < CATALOGUE_TRUSTED;
        let trust = (self.trusts(record.body()) && room).then_some(Voucher::Trust);
        // Trust is found out here, not said.
        let voucher = trust.or(voucher.filter(|voucher| *voucher != Voucher::Trust));
        let better = |voucher: &Voucher| here.is_none_or(|here| voucher.weight() > here.weight());
        let Some(voucher) = voucher.filter(better).or(here) else { return (false, Vec::new()) };
        let mut gone = Vec::new();
        if Some(voucher) != here {
            gone.extend(self.remove(&key));
            gone.extend(self.line_up(key, voucher));
        }
        if let Some((old, _)) = self.places.insert(key, (record.clone(), voucher)) {
            self.ids.remove(&announce::id(&old));
            gone.push(old);
        }
        self.ids.insert(announce::id(record), key);
        self.said.remove(&key.base);
        (true, gone)
    }

    /// A new place; the records that lose theirs for it.
    fn line_up(&mut self, key: Key, voucher: Voucher) -> Vec<Record> {
        let (Voucher::Neighbour(near) | Voucher::Publisher(near)) = voucher else {
            self.taken += 1;
            return Vec::new();
        };
        let mut gone = Vec::new();
        if !self.near.contains_key(&near) {
            self.order.push_back(near);
            if self.order.len() > CATALOGUE_NEIGHBOURHOODS
                && let Some(oldest) = self.order.pop_front()
            {
                gone.extend(self.near.remove(&oldest).unwrap_or_default());
            }
        }
        let line = self.near.entry(near).or_default();
        line.push_back(key);
        if line.len() > CATALOGUE_NEAR {
            gone.extend(line.pop_front());
        }
        gone.iter().filter_map(|key| self.remove(key)).collect()
    }

    fn remove(&mut self, key: &Key) -> Option<Record> {
        let (record, voucher) = self.places.remove(key)?;
        self.said.remove(&key.base);
        self.ids.remove(&announce::id(&record));
        match voucher {
            Voucher::Trust => self.taken -= 1,
            Voucher::Neighbour(near) | Voucher::Publisher(near) => {
                if let Some(line) = self.near.get_mut(&near) {
                    line.retain(|other| other != key);
                }
            }
        }
        Some(record)
    }

    /// What we stand behind of a base, as many as one answer holds: in turn the newest of our own, of what each
    /// neighbourhood's publishers brought, and of each publisher that is trusted.
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
        let mut groups: BTreeMap<Group, Vec<&Record>> = BTreeMap::new();
        for (record, voucher) in self.of_base(base) {
            let publisher = record.body().publisher;
            let group = match voucher {
                Voucher::Neighbour(_) => continue,
                Voucher::Publisher(near) => Group::Near(*near),
                Voucher::Trust if self.own == Some(publisher) => Group::Own,
                Voucher::Trust => Group::Trusted(publisher),
            };
            groups.entry(group).or_default().push(record);
        }
        let mut ranked = Vec::new();
        for (group, mut records) in groups {
            records.sort_by_key(|record| std::cmp::Reverse(record.body().sequence));
            ranked.extend(records.into_iter().enumerate().map(|(rank, record)| ((rank, group), record)));
        }
        ranked.sort_by_key(|(turn, _)| *turn);
        ranked.into_iter().take(ANNOUNCEMENTS_MAX).map(|(_, record)| record.clone()).collect()
    }
}

/// Those who take turns in what is stood behind, our own first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Own,
    Near(Neighbourhood),
    Trusted(PublicKey),
}
