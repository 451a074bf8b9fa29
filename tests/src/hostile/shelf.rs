//! What an attacker hands out: true manifests, shards and records, or ones that lead nowhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libp2p::identity::ed25519::Keypair;
use potluck_protocol::announce::Announcement;
use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::catalogue::{Compare, Differing};
use potluck_protocol::id::{AnnouncementId, BaseId, Digest, ManifestId, ShardId};
use potluck_protocol::limits::{ANNOUNCEMENTS_MAX, CATALOGUE_BUCKETS, DATA_MAX};

use super::Outcome;
use super::signed::{self, SignedManifest, SignedRecord};

const BUCKET_CONTEXT: &str = "potluck 2026 catalogue bucket/1";

/// What is on it may change while peers are served. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<Things>>);

#[derive(Debug, Default)]
struct Things {
    manifests: BTreeMap<ManifestId, Vec<u8>>,
    shards: BTreeMap<ShardId, Vec<u8>>,
    records: BTreeMap<BaseId, BTreeMap<AnnouncementId, Vec<u8>>>,
    /// Bytes of records that were handed out.
    said: u64,
    /// Manifests that were handed out.
    asked: u64,
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Things> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out a manifest that nobody is told of.
    pub fn keep(&self, manifest: &SignedManifest) {
        self.lock().manifests.insert(manifest.id, manifest.bytes.clone());
    }

    /// Hands out a manifest, and says that it exists; its record.
    pub fn offer(&self, key: &Keypair, manifest: &SignedManifest, sequence: u64) -> Outcome<SignedRecord> {
        self.keep(manifest);
        let record = signed::record(key, &signed::announcement_of(manifest, sequence)?)?;
        self.say([record.clone()]);
        Ok(record)
    }

    /// Puts shards beside what is there.
    pub fn stock(&self, shards: impl IntoIterator<Item = (ShardId, Vec<u8>)>) {
        self.lock().shards.extend(shards);
    }

    /// Says that things exist.
    pub fn say(&self, records: impl IntoIterator<Item = SignedRecord>) {
        let mut things = self.lock();
        for record in records {
            things.records.entry(record.base).or_default().insert(record.id, record.bytes);
        }
    }

    /// Signs an announcement and says it, whatever is behind it.
    pub fn announce(&self, key: &Keypair, body: &Announcement) -> Outcome<AnnouncementId> {
        let record = signed::record(key, body)?;
        let id = record.id;
        self.say([record]);
        Ok(id)
    }

    /// Takes back all records of a base: others are said instead.
    pub fn forget(&self, base: &BaseId) {
        self.lock().records.remove(base);
    }

    /// All records of a base.
    pub fn said_of(&self, base: &BaseId) -> Vec<Vec<u8>> {
        self.lock().records.get(base).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Bytes of records that were handed out so far.
    pub fn said_bytes(&self) -> u64 {
        self.lock().said
    }

    /// Manifests that were handed out so far.
    pub fn manifests_asked(&self) -> u64 {
        self.lock().asked
    }

    /// What is answered to a request; nothing to those that need no answer.
    pub fn answer(&self, request: &Request) -> Vec<Reply> {
        let mut things = self.lock();
        let nothing = || vec![Reply::Refused(Refusal::NotFound)];
        match request {
            Request::Manifest(id) => {
                let found = things.manifests.get(id).cloned();
                things.asked += u64::from(found.is_some());
                found.map_or_else(nothing, |bytes| vec![Reply::Manifest(bytes)])
            }
            Request::Have(ids) => vec![Reply::Have(ids.iter().map(|id| things.shards.contains_key(id)).collect())],
            Request::Shard(id) => things.shards.get(id).map_or_else(nothing, |shard| pieces(shard)),
            Request::Providers(_) => vec![Reply::Providers(Vec::new())],
            Request::Peers => vec![Reply::Peers(Vec::new())],
            Request::Announcements(base) => {
                let here = things.records.get(base);
                let some = here.into_iter().flat_map(BTreeMap::values).take(ANNOUNCEMENTS_MAX).cloned();
                let some: Vec<Vec<u8>> = some.collect();
                things.said += some.iter().map(|record| record.len() as u64).sum::<u64>();
                vec![Reply::Announcements(some)]
            }
            Request::Compare(compare) => vec![Reply::Differing(things.differing(compare))],
            Request::Records(wanted) => {
                let here = things.records.get(&wanted.base);
                let found = wanted.ids.iter().filter_map(|id| here?.get(id).cloned());
                let found: Vec<Vec<u8>> = found.collect();
                things.said += found.iter().map(|record| record.len() as u64).sum::<u64>();
                vec![Reply::Records(found)]
            }
            Request::Cancel(_) => Vec::new(),
        }
    }
}

impl Things {
    /// The parts that differ, with the ids of what is said here.
    fn differing(&self, compare: &Compare) -> Differing {
        let mut parts: Vec<Vec<AnnouncementId>> = vec![Vec::new(); CATALOGUE_BUCKETS];
        for id in self.records.get(&compare.base).into_iter().flat_map(BTreeMap::keys) {
            parts[usize::from(id.0.0[0]) * CATALOGUE_BUCKETS / 256].push(*id);
        }
        let differs = |(ids, theirs): (&Vec<AnnouncementId>, &Digest)| {
            let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0.0).collect();
            Digest::of_context(BUCKET_CONTEXT, &bytes) != *theirs
        };
        let different = parts.iter().zip(&compare.buckets).filter(|part| differs(*part));
        Differing::of(different.flat_map(|(ids, _)| ids.iter().copied()))
    }
}

fn pieces(shard: &[u8]) -> Vec<Reply> {
    let piece = |(n, bytes): (usize, &[u8])| Reply::Shard {
        len: shard.len() as u32,
        offset: (n * DATA_MAX) as u32,
        bytes: bytes.to_vec(),
    };
    shard.chunks(DATA_MAX).enumerate().map(piece).collect()
}
