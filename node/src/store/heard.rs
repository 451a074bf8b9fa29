//! Announcements that were heard: the catalogue of what the network offers.
//!
//! In the index only, because every entry can be heard again; each is kept with its signature, so that it can be passed
//! on, and is verified whenever it is read. Both bounds below evict the oldest announcements of whoever has most. // I12

use std::collections::BTreeMap;
use std::sync::Mutex;

use potluck_protocol::announce::Announcement;
use potluck_protocol::limits::ANNOUNCEMENT_MAX;
use potluck_protocol::signed::{Authentic, PublicKey, Signed};

use crate::store::index::{Doubt, guard};
use crate::store::lock;

/// Announcements kept of one publisher.
pub const PER_PUBLISHER: usize = 256;
/// Announcements kept in all: at most 32 MiB.
pub const IN_ALL: usize = 16_384;

/// Publisher, then manifest.
type Key = [u8; 64];

#[derive(Debug)]
pub(crate) struct Heard {
    /// [`Key`] to sequence number (`u64` le) and signed announcement.
    tree: sled::Tree,
    /// Entries of each publisher.
    counts: Mutex<BTreeMap<PublicKey, usize>>,
    per_publisher: usize,
    in_all: usize,
}

impl Heard {
    pub fn open(tree: sled::Tree) -> Result<Self, Doubt> {
        let mut counts = BTreeMap::new();
        for (key, _) in guard(|| tree.iter().collect::<sled::Result<Vec<_>>>())? {
            *counts.entry(publisher(&key)?).or_default() += 1;
        }
        Ok(Self { tree, counts: Mutex::new(counts), per_publisher: PER_PUBLISHER, in_all: IN_ALL })
    }

    /// Keeps an announcement unless a newer one for the same manifest is known, or all that are kept of its publisher
    /// are newer.
    pub fn put(&self, announcement: &Authentic<Announcement>) -> Result<bool, Doubt> {
        let body = announcement.body();
        let key = key(body);
        let mut counts = lock(&self.counts);
        let known = guard(|| self.tree.get(key))?;
        if let Some(value) = &known {
            if sequence(value)? >= body.sequence {
                return Ok(false);
            }
        } else if !self.make_room(&mut counts, body)? {
            return Ok(false);
        }
        let signed = announcement.signed().encode().map_err(|error| Doubt(error.to_string()))?;
        guard(|| self.tree.insert(key, [&body.sequence.to_le_bytes(), signed.as_slice()].concat()))?;
        if known.is_none() {
            *counts.entry(body.publisher).or_default() += 1;
        }
        Ok(true)
    }

    fn make_room(&self, counts: &mut BTreeMap<PublicKey, usize>, new: &Announcement) -> Result<bool, Doubt> {
        if counts.get(&new.publisher).is_some_and(|count| *count >= self.per_publisher) {
            return self.evict(counts, new.publisher, new.sequence);
        }
        if counts.values().sum::<usize>() < self.in_all {
            return Ok(true);
        }
        match counts.iter().max_by_key(|(_, count)| **count).map(|(publisher, _)| *publisher) {
            Some(most) if most == new.publisher => self.evict(counts, most, new.sequence),
            Some(most) => self.evict(counts, most, u64::MAX),
            None => Ok(false),
        }
    }

    /// Removes the publisher's oldest announcement, if it is older than `than`.
    fn evict(&self, counts: &mut BTreeMap<PublicKey, usize>, of: PublicKey, than: u64) -> Result<bool, Doubt> {
        let mut oldest: Option<(u64, sled::IVec)> = None;
        for (key, value) in guard(|| self.tree.scan_prefix(of.0.0).collect::<sled::Result<Vec<_>>>())? {
            let number = sequence(&value)?;
            if oldest.as_ref().is_none_or(|(lowest, _)| number < *lowest) {
                oldest = Some((number, key));
            }
        }
        let Some((_, key)) = oldest.filter(|(number, _)| *number < than) else { return Ok(false) };
        guard(|| self.tree.remove(key))?;
        if let Some(count) = counts.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&of);
            }
        }
        Ok(true)
    }

    /// All of them, by publisher, each verified again.
    pub fn all(&self) -> Result<Vec<Authentic<Announcement>>, Doubt> {
        let entries = guard(|| self.tree.iter().collect::<sled::Result<Vec<_>>>())?;
        entries.iter().map(|(key, value)| read(key, value)).collect()
    }

    /// As many as can be read: what a new index takes over from one in doubt.
    pub fn readable(&self) -> Vec<Authentic<Announcement>> {
        let entries = guard(|| Ok(self.tree.iter().take(IN_ALL).map_while(Result::ok).collect::<Vec<_>>()));
        entries.unwrap_or_default().iter().filter_map(|(key, value)| read(key, value).ok()).collect()
    }

    pub fn len(&self) -> usize {
        lock(&self.counts).values().sum()
    }
}

fn key(body: &Announcement) -> Key {
    let mut key = [0; 64];
    key[..32].copy_from_slice(&body.publisher.0.0);
    key[32..].copy_from_slice(&body.manifest.0.0);
    key
}

fn publisher(key: &[u8]) -> Result<PublicKey, Doubt> {
    let key: &Key = key.try_into().map_err(|_| Doubt("an announcement's key is cut".to_owned()))?;
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&key[..32]);
    Ok(PublicKey(potluck_protocol::id::Digest(bytes)))
}

fn sequence(value: &[u8]) -> Result<u64, Doubt> {
    let (number, _) = value.split_first_chunk().ok_or_else(|| Doubt("an announcement's entry is cut".to_owned()))?;
    Ok(u64::from_le_bytes(*number))
}

fn read(key_bytes: &[u8], value: &[u8]) -> Result<Authentic<Announcement>, Doubt> {
    let signed = value.get(8..).filter(|signed| signed.len() <= ANNOUNCEMENT_MAX);
    let signed = signed.ok_or_else(|| Doubt("an announcement's entry has a wrong length".to_owned()))?;
    let authentic = Signed::<Announcement>::decode(signed)
        .map_err(|error| Doubt(error.to_string()))?
        .verify()
        .map_err(|error| Doubt(error.to_string()))?;
    let body = authentic.body();
    if key(body) == key_bytes && sequence(value)? == body.sequence {
        return Ok(authentic);
    }
    Err(Doubt("an announcement lies under another's key".to_owned()))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::announce::KindTag;
    use potluck_protocol::id::{BaseId, Digest, ManifestId};
    use potluck_protocol::text::Name;

    use super::*;

    fn heard(per_publisher: usize, in_all: usize) -> Heard {
        let db = sled::Config::new().temporary(true).cache_capacity(1 << 20).open().expect("opens");
        let heard = Heard::open(db.open_tree("heard").expect("opens")).expect("empty");
        Heard { per_publisher, in_all, ..heard }
    }

    fn announcement(keypair: &Keypair, manifest: u8, sequence: u64) -> Authentic<Announcement> {
        let body = Announcement {
            manifest: ManifestId(Digest::of(&[manifest])),
            manifest_len: 1,
            kind: KindTag::Adapter,
            name: Name::new("n").expect("a name"),
            base: BaseId(Digest::of(b"base")),
            total_bytes: 1,
            publisher: PublicKey::of(keypair),
            sequence,
        };
        let signed = Signed::sign(&body, keypair).expect("encodes").expect("its own key");
        signed.verify().expect("just signed")
    }

    #[test]
    fn the_newest_announcement_of_a_manifest_is_kept() {
        let heard = heard(4, 8);
        let key = Keypair::generate();
        assert_eq!(heard.put(&announcement(&key, 0, 5)), Ok(true));
        assert_eq!(heard.put(&announcement(&key, 0, 5)), Ok(false));
        assert_eq!(heard.put(&announcement(&key, 0, 4)), Ok(false));
        assert_eq!(heard.put(&announcement(&key, 0, 6)), Ok(true));
        let all = heard.all().expect("readable");
        assert_eq!((all.len(), heard.len(), all[0].body().sequence), (1, 1, 6));
    }

    #[test]
    fn a_flood_evicts_its_own_and_never_the_quiet() {
        let heard = heard(4, 6);
        let (quiet, loud, louder) = (Keypair::generate(), Keypair::generate(), Keypair::generate());
        assert_eq!(heard.put(&announcement(&quiet, 0, 1)), Ok(true));
        for n in 1..20 {
            for key in [&loud, &louder] {
                assert_eq!(heard.put(&announcement(key, n, n.into())), Ok(true));
            }
        }
        let all = heard.all().expect("readable");
        assert!(all.len() <= 6);
        assert!(all.iter().any(|one| one.body().publisher == PublicKey::of(&quiet)));
        assert_eq!(heard.len(), all.len());
        assert!(
            all.iter().filter(|one| one.body().publisher != PublicKey::of(&quiet)).all(|one| one.body().sequence > 14)
        );
    }

    #[test]
    fn one_that_is_older_than_all_that_are_kept_is_not_kept() {
        let heard = heard(2, 8);
        let key = Keypair::generate();
        assert_eq!(heard.put(&announcement(&key, 1, 5)), Ok(true));
        assert_eq!(heard.put(&announcement(&key, 2, 6)), Ok(true));
        assert_eq!(heard.put(&announcement(&key, 3, 4)), Ok(false));
        assert_eq!(heard.put(&announcement(&key, 3, 7)), Ok(true));
        let mut kept: Vec<_> = heard.all().expect("readable").iter().map(|one| one.body().sequence).collect();
        kept.sort_unstable();
        assert_eq!(kept, [6, 7]);
    }
}
