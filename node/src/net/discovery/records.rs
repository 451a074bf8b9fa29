//! Who provides what: the records that this node keeps for the DHT.
//!
//! Our own keys lie apart from the strangers', so that nothing that strangers say takes their place. Strangers' records
//! are bounded for each peer, each address group and in all. When there is no more room the oldest of the largest group
//! goes: somebody with one network's addresses pushes out their own records and nobody else's. Who provides a key that more
//! networks provide than fit is a sample of them all, drawn by a lot that nobody else knows: whoever came first with many
//! identities keeps nobody out, and whoever comes again and again gains nothing. // I12

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore, Result as StoreResult};
use libp2p::kad::{ProviderRecord, Record, RecordKey};

use super::key::Key;
use super::limits;
use crate::addresses::AddressGroup;

/// How many records of others are kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records of all peers.
    pub all: usize,
    /// Records of one peer.
    pub per_peer: usize,
    /// Records of peers in one address group.
    pub per_group: usize,
    /// Providers of one key.
    pub per_key: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            all: limits::RECORDS,
            per_peer: limits::RECORDS_PER_PEER,
            per_group: limits::RECORDS_PER_GROUP,
            per_key: limits::RECORDS_PER_KEY,
        }
    }
}

/// Why a stranger's record is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("its key is not 32 bytes")]
    Key,
    #[error("it is about ourselves")]
    Ourselves,
    #[error("its peer has reached the limit of records")]
    Peer,
    #[error("its address group has reached the limit of records")]
    Group,
    #[error("enough others provide the same")]
    Enough,
}

/// One stranger's record.
#[derive(Debug)]
struct Held {
    record: ProviderRecord,
    group: AddressGroup,
    /// Rises with every record: the oldest has the lowest. All live equally long, so it also ends first.
    number: u64,
}

/// The record store.
#[derive(Debug)]
pub struct Records {
    local: PeerId,
    bounds: Bounds,
    own: HashMap<Key, ProviderRecord>,
    theirs: HashMap<Key, Vec<Held>>,
    /// All of theirs by number.
    order: BTreeMap<u64, (Key, PeerId)>,
    peers: HashMap<PeerId, usize>,
    groups: HashMap<AddressGroup, BTreeMap<u64, (Key, PeerId)>>,
    sizes: BTreeSet<(usize, AddressGroup)>,
    next: u64,
    /// Draws the lots; another one in each process.
    lots: RandomState,
}

impl Records {
    /// No records, within the bounds of [`limits`].
    pub fn new(local: PeerId) -> Self {
        Self::with_bounds(local, Bounds::default())
    }

    /// No records, within other bounds.
    pub fn with_bounds(local: PeerId, bounds: Bounds) -> Self {
        Self {
            local,
            bounds,
            own: HashMap::new(),
            theirs: HashMap::new(),
            order: BTreeMap::new(),
            peers: HashMap::new(),
            groups: HashMap::new(),
            sizes: BTreeSet::new(),
            next: 0,
            lots: RandomState::new(),
        }
    }

    /// Others' records.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Keeps what a peer, connected from an address of `group`, says that it provides.
    pub fn hear(&mut self, record: ProviderRecord, group: AddressGroup, now: Instant) -> Result<(), Refused> {
        let key = Key::of(&record.key).ok_or(Refused::Key)?;
        let peer = record.provider;
        if peer == self.local {
            return Err(Refused::Ourselves);
        }
        self.expire(now);
        self.remove(&key, &peer);
        if self.peers.get(&peer).is_some_and(|count| *count >= self.bounds.per_peer) {
            return Err(Refused::Peer);
        }
        if self.groups.get(&group).is_some_and(|records| records.len() >= self.bounds.per_group) {
            return Err(Refused::Group);
        }
        self.make_room_under(&key, group)?;
        if self.order.len() >= self.bounds.all {
            self.make_room();
        }
        self.insert(key, record, group);
        Ok(())
    }

    /// Forgets what has come to its end.
    fn expire(&mut self, now: Instant) {
        while let Some((key, peer)) = self.order.first_key_value().map(|(_, name)| *name) {
            let held = self.theirs.get(&key).and_then(|all| all.iter().find(|held| held.record.provider == peer));
            if held.is_some_and(|held| !held.record.is_expired(now)) {
                return;
            }
            self.remove(&key, &peer);
        }
    }

    /// A key with enough providers gives up one of a group that has several there; else the one with the highest lot, if
    /// the newcomer's is lower.
    fn make_room_under(&mut self, key: &Key, newcomer: AddressGroup) -> Result<(), Refused> {
        let Some(all) = self.theirs.get(key).filter(|all| all.len() >= self.bounds.per_key) else { return Ok(()) };
        let count = |group: AddressGroup| all.iter().filter(|held| held.group == group).count();
        let crowd = all.iter().max_by_key(|held| (count(held.group), std::cmp::Reverse(held.number)));
        let surplus = crowd.filter(|held| count(held.group) > 1);
        let lot = |group: AddressGroup| self.lots.hash_one((key, group));
        // All are of different groups; of the newcomer's there is to be no second one.
        let highest = all.iter().filter(|_| count(newcomer) == 0).max_by_key(|held| lot(held.group));
        let unlucky = highest.filter(|held| lot(newcomer) < lot(held.group));
        let leaves = surplus.or(unlucky).map(|held| held.record.provider);
        leaves.map(|peer| self.remove(key, &peer)).ok_or(Refused::Enough)
    }

    fn make_room(&mut self) {
        let largest = self.sizes.last().map(|(_, group)| *group);
        let oldest = largest.and_then(|group| self.groups.get(&group)?.first_key_value().map(|(_, name)| *name));
        if let Some((key, peer)) = oldest {
            self.remove(&key, &peer);
        }
    }

    fn insert(&mut self, key: Key, record: ProviderRecord, group: AddressGroup) {
        let (number, peer) = (self.next, record.provider);
        self.next += 1;
        self.theirs.entry(key).or_default().push(Held { record, group, number });
        self.order.insert(number, (key, peer));
        *self.peers.entry(peer).or_default() += 1;
        let members = self.groups.entry(group).or_default();
        self.sizes.remove(&(members.len(), group));
        members.insert(number, (key, peer));
        self.sizes.insert((members.len(), group));
    }

    fn remove(&mut self, key: &Key, peer: &PeerId) {
        let Some(all) = self.theirs.get_mut(key) else { return };
        let Some(index) = all.iter().position(|held| held.record.provider == *peer) else { return };
        let Held { group, number, .. } = all.swap_remove(index);
        if all.is_empty() {
            self.theirs.remove(key);
        }
        self.order.remove(&number);
        if let Some(count) = self.peers.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(peer);
            }
        }
        if let Some(members) = self.groups.get_mut(&group) {
            self.sizes.remove(&(members.len(), group));
            members.remove(&number);
            if members.is_empty() {
                self.groups.remove(&group);
            } else {
                self.sizes.insert((members.len(), group));
            }
        }
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::iter::Empty<Cow<'a, Record>>;
    type ProvidedIter<'a> = std::iter::Map<
        std::collections::hash_map::Values<'a, Key, ProviderRecord>,
        fn(&'a ProviderRecord) -> Cow<'a, ProviderRecord>,
    >;

    /// There are no values in this DHT.
    fn get(&self, _: &RecordKey) -> Option<Cow<'_, Record>> {
        None
    }

    fn put(&mut self, _: Record) -> StoreResult<()> {
        Err(Error::MaxRecords)
    }

    fn remove(&mut self, _: &RecordKey) {}

    fn records(&self) -> Self::RecordsIter<'_> {
        std::iter::empty()
    }

    /// Our own: strangers' records come by [`Records::hear`], for they are filtered first.
    fn add_provider(&mut self, record: ProviderRecord) -> StoreResult<()> {
        let own = Key::of(&record.key).filter(|_| record.provider == self.local);
        let key = own.ok_or(Error::MaxProvidedKeys)?;
        if self.own.len() >= limits::PROVIDED && !self.own.contains_key(&key) {
            return Err(Error::MaxProvidedKeys);
        }
        self.own.insert(key, record);
        Ok(())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let Some(key) = Key::of(key) else { return Vec::new() };
        let theirs = self.theirs.get(&key).into_iter().flatten().map(|held| held.record.clone());
        self.own.get(&key).cloned().into_iter().chain(theirs).collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        self.own.values().map(Cow::Borrowed)
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        let Some(key) = Key::of(key) else { return };
        if *peer == self.local {
            self.own.remove(&key);
        } else {
            Records::remove(self, &key, peer);
        }
    }
}

#[cfg(test)]
mod tests;
