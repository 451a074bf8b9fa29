//! Which records are to be written, and which removed. A pure machine: it knows what is on disk.
//!
//! What has a reason to stay (our own, of those whom we follow, of what is here and checked) is written soon. What was
//! only heard is written when it has stood for a while: strangers say as much as they like, new or again, and what they
//! replace before it is old costs no disk anything. Until then the older announcement of a key, if there is one, stays
//! where it is: it is as good to begin with, for the newer one is heard again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use potluck_protocol::announce::{self, Announcement};
use potluck_protocol::catalogue::{Catalogue, Key, Record};
use potluck_protocol::id::AnnouncementId;
use potluck_protocol::signed::Authentic;

/// Of two announcements of a key the lower one counts.
type Standing = (Reverse<u64>, AnnouncementId);

fn standing(record: &Authentic<Announcement>) -> Standing {
    (Reverse(record.body().sequence), announce::id(record))
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What has a reason to stay.
    Trusted,
    /// And what was heard by the last time that this was asked for.
    Stood,
    /// Everything: the node stops.
    All,
}

/// What changes on disk.
#[derive(Debug, Default)]
pub struct Changes {
    /// Nothing is known any more of these keys.
    pub gone: Vec<Key>,
    /// In place of what is there of their keys.
    pub new: Vec<Record>,
}

/// What is on disk. Bounded by what the catalogue has. // I12
#[derive(Debug, Default)]
pub struct Kept {
    on_disk: BTreeMap<Key, Standing>,
    /// What was heard by the last time, and not written.
    heard: BTreeSet<AnnouncementId>,
}

impl Kept {
    /// These are on disk.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Authentic<Announcement>>) -> Self {
        let on_disk = records.into_iter().map(|one| (Key::of(one.body()), standing(one))).collect();
        Self { on_disk, heard: BTreeSet::new() }
    }

    /// What is to be changed, and counts as changed from now on.
    pub fn changes(&mut self, catalogue: &Catalogue, extent: Extent) -> Changes {
        let (mut new, mut known, mut later) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for record in catalogue.records() {
            let (key, standing) = (Key::of(record.body()), standing(record));
            if self.on_disk.get(&key).is_none_or(|here| standing < *here) {
                if self.is_due(record, &standing.1, extent, catalogue) {
                    self.on_disk.insert(key, standing);
                    new.push(record.clone());
                } else {
                    later.insert(standing.1);
                }
            }
            known.insert(key);
        }
        let gone: Vec<Key> = self.on_disk.keys().filter(|key| !known.contains(key)).copied().collect();
        for key in &gone {
            self.on_disk.remove(key);
        }
        if extent != Extent::Trusted {
            self.heard = later;
        }
        Changes { gone, new }
    }

    fn is_due(&self, record: &Record, id: &AnnouncementId, extent: Extent, catalogue: &Catalogue) -> bool {
        match extent {
            Extent::Trusted => catalogue.trust_in(record.body()).is_some(),
            Extent::Stood => self.heard.contains(id) || catalogue.trust_in(record.body()).is_some(),
            Extent::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::catalogue::Bounds;

    use super::*;
    use crate::net::testing::{announcement, key};

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::new(Bounds::default());
        catalogue.set_own(potluck_protocol::signed::PublicKey::of(&key(1)));
        catalogue
    }

    fn say(catalogue: &mut Catalogue, by: u8, names: std::ops::Range<u64>, sequence: u64) {
        for n in names {
            drop(catalogue.insert(announcement(by, &format!("{by}.{n}"), sequence)));
        }
    }

    /// How many are written, and how many removed.
    fn count(kept: &mut Kept, catalogue: &Catalogue, extent: Extent) -> (usize, usize) {
        let changes = kept.changes(catalogue, extent);
        (changes.new.len(), changes.gone.len())
    }

    #[test]
    fn what_is_own_is_written_at_once_and_what_was_only_heard_when_it_has_stood() {
        let (mut kept, mut catalogue) = (Kept::default(), catalogue());
        say(&mut catalogue, 1, 0..3, 1);
        say(&mut catalogue, 2, 0..5, 1);
        assert_eq!(count(&mut kept, &catalogue, Extent::Trusted), (3, 0));
        assert_eq!(count(&mut kept, &catalogue, Extent::Trusted), (0, 0), "once");
        assert_eq!(count(&mut kept, &catalogue, Extent::Stood), (0, 0));
        say(&mut catalogue, 3, 0..7, 1);
        say(&mut catalogue, 1, 0..1, 2);
        assert_eq!(count(&mut kept, &catalogue, Extent::Stood), (5 + 1, 0));
        assert_eq!(count(&mut kept, &catalogue, Extent::All), (7, 0), "nothing is lost where a node stops");
        assert_eq!(count(&mut kept, &catalogue, Extent::All), (0, 0));
    }

    #[test]
    fn what_is_said_again_and_again_is_never_written() {
        let (mut kept, mut catalogue) = (Kept::default(), catalogue());
        let mut written = 0;
        for round in 1..=100 {
            say(&mut catalogue, 2, 0..50, round);
            written += kept.changes(&catalogue, Extent::Trusted).new.len();
            written += kept.changes(&catalogue, Extent::Stood).new.len();
        }
        assert_eq!(written, 0);
        assert_eq!(count(&mut kept, &catalogue, Extent::Stood), (50, 0), "once it has stood");
    }

    #[test]
    fn an_older_announcement_stays_until_the_newer_one_has_stood() {
        let mut catalogue = catalogue();
        say(&mut catalogue, 2, 0..4, 1);
        let mut kept = Kept::of(catalogue.records().map(AsRef::as_ref));
        say(&mut catalogue, 2, 0..4, 2);
        assert_eq!(count(&mut kept, &catalogue, Extent::Stood), (0, 0));
        assert_eq!(count(&mut kept, &catalogue, Extent::Stood), (4, 0));
    }

    #[test]
    fn what_is_not_known_any_more_is_removed() {
        let mut before = catalogue();
        say(&mut before, 2, 0..4, 1);
        let mut kept = Kept::of(before.records().map(AsRef::as_ref));
        let mut after = catalogue();
        say(&mut after, 2, 1..3, 1);
        let gone: BTreeSet<Key> = kept.changes(&after, Extent::Trusted).gone.into_iter().collect();
        let keys = |catalogue: &Catalogue| catalogue.records().map(|one| Key::of(one.body())).collect::<BTreeSet<_>>();
        assert_eq!(gone, &keys(&before) - &keys(&after));
        assert_eq!((gone.len(), kept.on_disk.len()), (2, 2));
    }
}
