//! Announcements that were heard: the catalogue of what the network offers, on disk.
//!
//! In the index only, because every entry can be heard again; each is kept with its signature, so that it can be passed
//! on, and is verified whenever it is read. Which are kept is the catalogue's decision
//! ([`potluck_protocol::catalogue`]); here only their number is bounded. // I12

use std::sync::Mutex;

use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::catalogue::Key;
use potluck_protocol::limits::{ANNOUNCEMENT_MAX, CATALOGUE_ALL};
use potluck_protocol::signed::{Authentic, Signed};

use crate::store::index::{Doubt, guard};
use crate::store::lock;

/// Base, publisher, manifest.
type Name = [u8; 96];

/// Before catalogues were compared: publisher, manifest.
const OLD_NAME: usize = 64;

#[derive(Debug)]
pub(crate) struct Heard {
    /// [`Name`] to sequence number (`u64` le) and signed announcement.
    tree: sled::Tree,
    len: Mutex<usize>,
    max: usize,
}

impl Heard {
    /// The announcements in a tree of the index.
    pub fn open(tree: sled::Tree) -> Result<Self, Doubt> {
        rename_old(&tree)?;
        let entries = guard(|| tree.iter().keys().collect::<sled::Result<Vec<_>>>())?;
        if let Some(key) = entries.iter().find(|key| key.len() != size_of::<Name>()) {
            return Err(Doubt(format!("an announcement's key has {} bytes", key.len())));
        }
        Ok(Self { tree, len: Mutex::new(entries.len()), max: CATALOGUE_ALL })
    }

    /// Keeps an announcement, in place of an older one of its key. `false` if a newer one is there, or no room.
    pub fn put(&self, announcement: &Authentic<Announcement>) -> Result<bool, Doubt> {
        let body = announcement.body();
        let name = name(&Key::of(body));
        let mut len = lock(&self.len);
        let known = guard(|| self.tree.get(name))?;
        if let Some(value) = &known {
            let standing = |one: &Authentic<Announcement>| (std::cmp::Reverse(one.body().sequence), announce::id(one));
            if standing(&read(&name, value)?) <= standing(announcement) {
                return Ok(false);
            }
        } else if *len >= self.max {
            return Ok(false);
        }
        let signed = announcement.signed().encode().map_err(|error| Doubt(error.to_string()))?;
        guard(|| self.tree.insert(name, [&body.sequence.to_le_bytes(), signed.as_slice()].concat()))?;
        *len += usize::from(known.is_none());
        Ok(true)
    }

    /// Forgets what is kept of a key.
    pub fn forget(&self, key: &Key) -> Result<(), Doubt> {
        let mut len = lock(&self.len);
        *len -= usize::from(guard(|| self.tree.remove(name(key)))?.is_some());
        Ok(())
    }

    /// All of them, by base and publisher, each verified again.
    pub fn all(&self) -> Result<Vec<Authentic<Announcement>>, Doubt> {
        let entries = guard(|| self.tree.iter().collect::<sled::Result<Vec<_>>>())?;
        entries.iter().map(|(key, value)| read(key, value)).collect()
    }

    /// As many as can be read: what a new index takes over from one in doubt.
    pub fn readable(&self) -> Vec<Authentic<Announcement>> {
        let entries = guard(|| Ok(self.tree.iter().take(self.max).map_while(Result::ok).collect::<Vec<_>>()));
        entries.unwrap_or_default().iter().filter_map(|(key, value)| read(key, value).ok()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        *lock(&self.len)
    }
}

/// Gives entries of the old form their base. What cannot be read is dropped: it is heard again.
fn rename_old(tree: &sled::Tree) -> Result<(), Doubt> {
    for (key, value) in guard(|| tree.iter().collect::<sled::Result<Vec<_>>>())? {
        if key.len() != OLD_NAME {
            continue;
        }
        if let Ok(announcement) = unpack(&value) {
            guard(|| tree.insert(name(&Key::of(announcement.body())), value))?;
        }
        guard(|| tree.remove(key))?;
    }
    Ok(())
}

fn name(key: &Key) -> Name {
    let mut name = [0; 96];
    let parts = [key.base.0, key.publisher.0, key.manifest.0];
    name.chunks_exact_mut(32).zip(parts).for_each(|(to, part)| to.copy_from_slice(&part.0));
    name
}

fn unpack(value: &[u8]) -> Result<Authentic<Announcement>, Doubt> {
    let cut = || Doubt("an announcement's entry has a wrong length".to_owned());
    let (number, signed) = value.split_first_chunk().ok_or_else(cut)?;
    if signed.len() > ANNOUNCEMENT_MAX {
        return Err(cut());
    }
    let authentic = Signed::<Announcement>::decode(signed)
        .map_err(|error| Doubt(error.to_string()))?
        .verify()
        .map_err(|error| Doubt(error.to_string()))?;
    if u64::from_le_bytes(*number) == authentic.body().sequence {
        return Ok(authentic);
    }
    Err(Doubt("an announcement's entry has another's number".to_owned()))
}

fn read(key: &[u8], value: &[u8]) -> Result<Authentic<Announcement>, Doubt> {
    let authentic = unpack(value)?;
    if name(&Key::of(authentic.body())) == key {
        return Ok(authentic);
    }
    Err(Doubt("an announcement lies under another's key".to_owned()))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::announce::KindTag;
    use potluck_protocol::id::{BaseId, Digest, ManifestId};
    use potluck_protocol::signed::PublicKey;

    use super::*;

    fn tree() -> sled::Tree {
        let db = sled::Config::new().temporary(true).cache_capacity(1 << 20).open().expect("opens");
        db.open_tree("heard").expect("opens")
    }

    fn announcement(keypair: &Keypair, manifest: u8, sequence: u64, size: u64) -> Authentic<Announcement> {
        let body = Announcement {
            manifest: ManifestId(Digest::of(&[manifest])),
            manifest_len: 1,
            kind: KindTag::Adapter,
            name: potluck_protocol::text::Name::new("n").expect("a name"),
            base: BaseId(Digest::of(b"base")),
            total_bytes: size,
            publisher: PublicKey::of(keypair),
            sequence,
        };
        let signed = Signed::sign(&body, keypair).expect("encodes").expect("its own key");
        signed.verify().expect("just signed")
    }

    #[test]
    fn the_newest_announcement_of_a_manifest_is_kept() {
        let heard = Heard::open(tree()).expect("empty");
        let key = Keypair::generate();
        let mut twins = [announcement(&key, 0, 6, 1), announcement(&key, 0, 6, 2)];
        twins.sort_by_key(|one| std::cmp::Reverse(announce::id(one)));
        assert_eq!(heard.put(&announcement(&key, 0, 5, 1)), Ok(true));
        assert_eq!(heard.put(&announcement(&key, 0, 5, 1)), Ok(false));
        assert_eq!(heard.put(&announcement(&key, 0, 4, 1)), Ok(false));
        assert_eq!(heard.put(&twins[0]), Ok(true));
        assert_eq!(heard.put(&twins[1]), Ok(true), "of two with one number the lower id");
        assert_eq!(heard.put(&twins[0]), Ok(false));
        let all = heard.all().expect("readable");
        assert_eq!((all.len(), heard.len(), &all[0]), (1, 1, &twins[1]));
        heard.forget(&Key::of(all[0].body())).expect("writable");
        heard.forget(&Key::of(all[0].body())).expect("writable");
        assert_eq!((heard.all().expect("readable").len(), heard.len()), (0, 0));
    }

    #[test]
    fn no_more_are_kept_than_a_catalogue_has() {
        let heard = Heard { max: 2, ..Heard::open(tree()).expect("empty") };
        let key = Keypair::generate();
        assert_eq!(heard.put(&announcement(&key, 1, 1, 1)), Ok(true));
        assert_eq!(heard.put(&announcement(&key, 2, 2, 1)), Ok(true));
        assert_eq!(heard.put(&announcement(&key, 3, 3, 1)), Ok(false));
        assert_eq!(heard.put(&announcement(&key, 2, 3, 1)), Ok(true), "a newer one takes the older one's place");
    }

    #[test]
    fn entries_of_the_old_form_are_taken_over() {
        let tree = tree();
        let key = Keypair::generate();
        let one = announcement(&key, 1, 7, 1);
        let old = [one.body().publisher.0.0, one.body().manifest.0.0].concat();
        let value = [&7u64.to_le_bytes()[..], &one.signed().encode().expect("encodes")].concat();
        tree.insert(old, value).expect("writable");
        tree.insert([9; OLD_NAME], &[1, 2, 3]).expect("writable");
        let heard = Heard::open(tree).expect("readable");
        assert_eq!(heard.all().expect("readable"), [one]);
        assert_eq!(heard.len(), 1);
    }
}
