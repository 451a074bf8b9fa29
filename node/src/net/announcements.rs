//! The announcements that are known, and the verdict over each that comes by gossip.
//!
//! The verdict is a function of the bytes and of our own state, never of who forwarded them: gossipsub delivers one
//! content once, so an honest copy behind a judged one would never be heard.

use std::sync::{Arc, Mutex};

use potluck_protocol::announce::{self, Announcement, AnnouncementError};
use potluck_protocol::catalogue::{Catalogue, Inserted, Record};
use potluck_protocol::id::BaseId;
use potluck_protocol::rate_limit::{RateLimiter, TokenBucket};
use potluck_protocol::signed::{Authentic, PublicKey};
use tokio::sync::Notify;

use super::limits::{MISSED_PAUSE_MS, NEWCOMERS, PUBLISHERS, PUBLISHERS_REMEMBERED};
use super::twin::Twin;
use crate::lock;

/// The catalogue of this node. Gossip judges by it, the exchange compares it with others', the store keeps it. Clones
/// share it.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// A `std::sync::Mutex`: held for operations on maps only, never over an await, so the swarm's loop may take it.
    catalogue: Mutex<Catalogue>,
    changed: Notify,
}

impl Known {
    /// Looks at the catalogue, or changes it. Whoever has changed it says so with [`Known::tell_changed`].
    pub fn with<T>(&self, f: impl FnOnce(&mut Catalogue) -> T) -> T {
        f(&mut lock::lock(&self.0.catalogue))
    }

    /// Tells [`Self::changed`] that the catalogue is another one.
    pub fn tell_changed(&self) {
        self.0.changed.notify_one();
    }

    /// Until somebody has said that it changed since this was last waited for.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }
}

/// What is done with an announcement.
#[derive(Debug)]
pub enum Verdict {
    /// Authentic and new: remembered, and passed on.
    Accept(Record),
    /// Provably wrong by its bytes: whoever forwarded it could have known.
    Reject(AnnouncementError),
    /// Not passed on, and nobody's fault.
    Ignore(Reason),
}

/// Why an announcement is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This one or a newer one of the same manifest is known.
    Stale,
    /// More come than can be looked at.
    TooMany,
    /// The catalogue is full of ones that come before it.
    NoRoom,
    /// It carries more signatures than its publisher's.
    TooLong,
    /// Only a later version knows what it announces. It is found by those who do.
    LaterKind,
}

/// The judge of gossip. // I12
#[derive(Debug)]
pub struct Announcements {
    /// The catalogue that verdicts are made by.
    pub known: Known,
    /// Our own key: what it signed, in an earlier life or in a copy of this home, is never too much.
    own: PublicKey,
    twin: Twin,
    /// Limits of known publishers, one for each, so that one who floods is not heard for a while and nobody else
    /// notices.
    publishers: RateLimiter<PublicKey>,
    /// What all others may say together, because keys are free.
    newcomers: TokenBucket,
    /// What may be said together of kinds that only later versions know.
    later: TokenBucket,
    /// When it may next be told that something was missed.
    tell_missed_ms: u64,
    /// How many were provably wrong.
    pub rejected: u64,
}

impl Announcements {
    /// Of the node with the key `own`, which knows no announcement yet.
    pub fn new(own: PublicKey, twin: Twin) -> Self {
        Self {
            known: Known::default(),
            own,
            twin,
            publishers: RateLimiter::new(PUBLISHERS, PUBLISHERS_REMEMBERED),
            newcomers: TokenBucket::new(NEWCOMERS),
            later: TokenBucket::new(NEWCOMERS),
            tell_missed_ms: 0,
            rejected: 0,
        }
    }

    /// The verdict over gossip that came on the topic of `topic`. // I8
    pub fn judge(&mut self, topic: BaseId, bytes: &[u8], now_ms: u64) -> Verdict {
        let announcement = match announce::verify(topic, bytes) {
            Ok(announcement) => announcement,
            Err(error) if !error.is_fault() => {
                let few = self.later.take(now_ms);
                return Verdict::Ignore(if few { Reason::LaterKind } else { Reason::TooMany });
            }
            Err(fault) => {
                self.rejected += 1;
                return Verdict::Reject(fault);
            }
        };
        let publisher = announcement.body().publisher;
        let (stale, familiar) =
            self.known.with(|catalogue| (catalogue.is_stale(&announcement), catalogue.knows(&publisher)));
        if stale {
            return Verdict::Ignore(Reason::Stale);
        }
        let allowed = if publisher == self.own {
            true
        } else if familiar {
            self.publishers.take(publisher, now_ms)
        } else {
            self.newcomers.take(now_ms)
        };
        if !allowed {
            return Verdict::Ignore(Reason::TooMany);
        }
        match self.insert(announcement) {
            Inserted::New { record, .. } => {
                if publisher == self.own {
                    self.twin.check_number(record.body().sequence);
                }
                Verdict::Accept(record)
            }
            Inserted::Stale => Verdict::Ignore(Reason::Stale),
            Inserted::NoRoom => Verdict::Ignore(Reason::NoRoom),
            Inserted::TooLong => Verdict::Ignore(Reason::TooLong),
        }
    }

    /// Remembers an announcement of our own.
    pub fn insert(&self, announcement: Authentic<Announcement>) -> Inserted {
        let inserted = self.known.with(|catalogue| catalogue.insert(announcement));
        self.known.tell_changed();
        inserted
    }

    /// Whether it is time to say that announcements were missed: not for each of a flood.
    pub fn tell_missed(&mut self, now_ms: u64) -> bool {
        let now = now_ms >= self.tell_missed_ms;
        if now {
            self.tell_missed_ms = now_ms.saturating_add(MISSED_PAUSE_MS);
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::limits::ANNOUNCEMENT_MAX;

    use super::*;
    use crate::net::testing::{announcement, base, key, later_announcement};
    use crate::net::twin::Sign;

    const OWN: u8 = 250;

    /// Of a node whose own key is that of no other seed.
    fn judge() -> Announcements {
        Announcements::new(PublicKey::of(&key(OWN)), Twin::new(100))
    }

    fn bytes(announcement: &Authentic<Announcement>) -> Vec<u8> {
        announcement.signed().encode().expect("it was encoded before")
    }

    fn count(known: &Announcements) -> usize {
        known.known.with(|catalogue| catalogue.len())
    }

    #[test]
    fn new_ones_are_accepted_once_and_newer_ones_replace_older_ones() {
        let mut known = judge();
        let (first, second) = (announcement(1, "a", 1), announcement(1, "a", 2));
        let base = first.body().base;
        assert!(matches!(known.judge(base, &bytes(&first), 0), Verdict::Accept(_)));
        assert!(matches!(known.judge(base, &bytes(&first), 0), Verdict::Ignore(Reason::Stale)));
        assert!(matches!(known.judge(base, &bytes(&second), 0), Verdict::Accept(_)));
        assert!(matches!(known.judge(base, &bytes(&first), 0), Verdict::Ignore(Reason::Stale)));
        known.known.with(|catalogue| {
            let sequences: Vec<_> = catalogue.of_base(&base).map(|one| one.body().sequence).collect();
            assert_eq!(sequences, [2]);
            assert_eq!(catalogue.publishers(&first.body().manifest), [first.body().publisher]);
        });
    }

    #[test]
    fn every_provable_fault_is_rejected() {
        let mut known = judge();
        let good = announcement(1, "a", 1);
        let base = good.body().base;
        let other = BaseId(potluck_protocol::id::Digest::of(b"other"));
        assert!(matches!(known.judge(other, &bytes(&good), 0), Verdict::Reject(AnnouncementError::OtherBase { .. })));
        assert!(matches!(
            known.judge(base, &[0; ANNOUNCEMENT_MAX + 1], 0),
            Verdict::Reject(AnnouncementError::TooLong { .. })
        ));
        for index in 0..bytes(&good).len() {
            let mut wrong = bytes(&good);
            wrong[index] ^= 1;
            assert!(matches!(known.judge(base, &wrong, 0), Verdict::Reject(_)), "byte {index}");
        }
        assert_eq!((count(&known), known.rejected), (0, 2 + bytes(&good).len() as u64));
    }

    #[test]
    fn a_kind_that_only_a_later_version_knows_is_nobodys_fault_and_damage_is() {
        let mut known = judge();
        let later = later_announcement(1, "later");
        for _ in 0..2 {
            let verdict = known.judge(base(), &later, 0);
            assert!(matches!(verdict, Verdict::Ignore(Reason::LaterKind)), "{verdict:?}");
        }
        assert_eq!((count(&known), known.rejected), (0, 0));
        for index in 0..later.len() {
            let mut wrong = later.clone();
            wrong[index] ^= 1;
            assert!(matches!(known.judge(base(), &wrong, 0), Verdict::Reject(_)), "byte {index}");
        }
        let other = BaseId(potluck_protocol::id::Digest::of(b"other"));
        assert!(matches!(known.judge(other, &later, 0), Verdict::Reject(AnnouncementError::OtherBase { .. })));
    }

    #[test]
    fn a_flood_of_later_kinds_silences_nobody_and_is_too_many() {
        let mut known = judge();
        let mut few = 0;
        for n in 0..2 * NEWCOMERS.burst {
            let verdict = known.judge(base(), &later_announcement(1, &format!("n{n}")), 0);
            few += u64::from(matches!(verdict, Verdict::Ignore(Reason::LaterKind)));
            assert!(matches!(verdict, Verdict::Ignore(Reason::LaterKind | Reason::TooMany)), "{verdict:?}");
        }
        assert_eq!(few, NEWCOMERS.burst);
        assert_eq!(accepted(&mut known, "new", 2..12, 1, 0), 10, "newcomers are heard");
    }

    /// How many of so many announcements by each of these keys are accepted at a time. `tag` makes them others.
    fn accepted(known: &mut Announcements, tag: &str, keys: std::ops::Range<u8>, each: usize, now_ms: u64) -> usize {
        let judged = keys.flat_map(|key| (0..each).map(move |n| announcement(key, &format!("{tag}.{key}.{n}"), 1)));
        let verdicts = judged.map(|one| known.judge(one.body().base, &bytes(&one), now_ms));
        verdicts.filter(|verdict| matches!(verdict, Verdict::Accept(_))).count()
    }

    #[test]
    fn a_publisher_that_floods_silences_nobody_else() {
        let mut known = judge();
        // Its first one as a newcomer.
        assert_eq!(accepted(&mut known, "flood", 1..2, 300, 0), 1 + PUBLISHERS.burst as usize);
        assert_eq!(accepted(&mut known, "first", 2..12, 1, 0), 10, "newcomers are heard");
        assert_eq!(accepted(&mut known, "more", 2..12, 5, 0), 50, "and those that are known");
        assert_eq!(accepted(&mut known, "again", 1..2, 300, PUBLISHERS.refill_ms), 1);
    }

    #[test]
    fn a_flood_of_keys_silences_newcomers_alone() {
        let mut known = judge();
        assert_eq!(accepted(&mut known, "first", 1..2, 1, 0), 1);
        assert_eq!(accepted(&mut known, "first", 2..200, 1, 0), NEWCOMERS.burst as usize - 1);
        assert_eq!(accepted(&mut known, "late", 200..201, 1, 0), 0);
        assert_eq!(accepted(&mut known, "more", 1..2, 5, 0), 5);
        assert_eq!(accepted(&mut known, "late", 200..201, 1, NEWCOMERS.refill_ms), 1);
        assert!(known.tell_missed(5) && !known.tell_missed(5) && known.tell_missed(5 + MISSED_PAUSE_MS));
    }

    #[test]
    fn our_own_announcements_that_come_back_are_taken_however_many_there_are() {
        let mut known = judge();
        for n in 1..=100 {
            let own = announcement(OWN, &format!("own{n}"), n);
            assert!(matches!(known.judge(base(), &bytes(&own), 0), Verdict::Accept(_)), "{n}");
            assert!(matches!(known.judge(base(), &bytes(&own), 0), Verdict::Ignore(Reason::Stale)), "{n}");
        }
        assert_eq!(known.twin.now(), None, "a process before this one may have made them");
        assert!(matches!(known.judge(base(), &bytes(&announcement(OWN, "new", 101)), 0), Verdict::Accept(_)));
        assert_eq!(known.twin.now(), Some(Sign::Announces(101)));
    }
}
