//! The announcements that are known, and the verdict over each that comes by gossip.
//!
//! The verdict is a function of the bytes and of our own state: gossipsub delivers one content once, so an honest copy
//! behind a judged one would never be heard. Of who forwards it, this alone matters: a neighbourhood that has brought
//! too many newcomers is not listened to for more. What an honest one would have brought is found by comparing then.

use std::sync::{Arc, Mutex};

use potluck_protocol::announce::{self, Announcement, AnnouncementError};
use potluck_protocol::catalogue::{Catalogue, Inserted, Neighbour, Record, Trust, Voucher};
use potluck_protocol::id::BaseId;
use potluck_protocol::signed::{Authentic, Claimed, PublicKey, SignatureError};
use tokio::sync::Notify;

use super::allowances::{Allowances, Newcomer, Standing};
use super::limits::MISSED_PAUSE_MS;
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
    /// Others than its publisher have signed it: an announcement needs no second signature, and each costs a check.
    Cosigned,
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
    allowances: Allowances,
    /// When it may next be told that something was missed.
    tell_missed_ms: u64,
    /// How many were provably wrong.
    pub rejected: u64,
}

impl Announcements {
    /// Of the node with the key `own`, which knows no announcement yet.
    pub fn new(own: PublicKey, twin: Twin) -> Self {
        let known = Known::default();
        known.with(|catalogue| catalogue.set_own(own));
        Self { known, own, twin, allowances: Allowances::default(), tell_missed_ms: 0, rejected: 0 }
    }

    /// The verdict over gossip that came on the topic of `topic`. What costs least comes first, and signatures last:
    /// only one that would be kept is worth a check. // I8
    pub fn judge(&mut self, from: Neighbour, topic: BaseId, bytes: &[u8], now_ms: u64) -> Verdict {
        self.judge_by(from, topic, bytes, now_ms, Claimed::verify)
    }

    /// The same with another way to check signatures, such as one that remembers what it has checked before. Whatever it
    /// does, only a check makes an [`Authentic`].
    pub fn judge_by(
        &mut self,
        from: Neighbour,
        topic: BaseId,
        bytes: &[u8],
        now_ms: u64,
        verify: impl FnOnce(Claimed<Announcement>) -> Result<Authentic<Announcement>, SignatureError>,
    ) -> Verdict {
        let claimed = match announce::read(topic, bytes) {
            Ok(claimed) => claimed,
            Err(AnnouncementError::LaterKind { .. }) => return self.judge_later(topic, bytes, now_ms),
            Err(fault) => return self.reject(fault),
        };
        if claimed.signature_count() > 1 {
            return Verdict::Ignore(Reason::Cosigned);
        }
        let publisher = claimed.claim().publisher;
        let voucher = Voucher::of_publisher(from, &publisher);
        let (trust, familiar, refused) = self.known.with(|catalogue| {
            let trust = catalogue.trust_in(claimed.claim());
            let refused = if catalogue.would_be_stale(&claimed) {
                Some(Reason::Stale)
            } else {
                let has_place = trust.is_some() || voucher.is_some() || catalogue.has_room_for(&claimed);
                (!has_place).then_some(Reason::NoRoom)
            };
            (trust, catalogue.expects(&publisher), refused)
        });
        if let Some(reason) = refused {
            return Verdict::Ignore(reason);
        }
        let standing = match familiar {
            _ if trust == Some(Trust::Own) => Standing::Own,
            _ if trust == Some(Trust::Followed) => Standing::Followed,
            true => Standing::Familiar,
            false if voucher.is_some() => Standing::Newcomer(from.near, Newcomer::Present),
            false if claimed.claim().kind.is_of_channels() => Standing::Newcomer(from.near, Newcomer::OfChannels),
            false => Standing::Newcomer(from.near, Newcomer::Other),
        };
        if !self.allowances.has(publisher, standing, now_ms) {
            return Verdict::Ignore(Reason::TooMany);
        }
        let announcement = match verify(claimed) {
            Ok(announcement) => announcement,
            Err(fault) => return self.reject(fault.into()),
        };
        // After the signature: what others forge in a publisher's name does not use up its allowance.
        self.allowances.take(publisher, standing, now_ms);
        match self.insert_vouched(announcement, voucher) {
            Inserted::New { record, .. } => {
                if publisher == self.own {
                    self.twin.check_number(record.body().sequence);
                }
                Verdict::Accept(record)
            }
            Inserted::Stale => Verdict::Ignore(Reason::Stale),
            Inserted::NoRoom | Inserted::TooLong => Verdict::Ignore(Reason::NoRoom),
        }
    }

    /// Of a kind that only a later version knows: signatures are checked of as many as newcomers may say. Of more than that
    /// nothing is missed here, so that no catalogue is compared for them.
    fn judge_later(&mut self, topic: BaseId, bytes: &[u8], now_ms: u64) -> Verdict {
        if !self.allowances.take_later(now_ms) {
            return Verdict::Ignore(Reason::LaterKind);
        }
        match announce::verify(topic, bytes) {
            Err(fault) if fault.is_fault() => self.reject(fault),
            Ok(_) | Err(_) => Verdict::Ignore(Reason::LaterKind),
        }
    }

    fn reject(&mut self, fault: AnnouncementError) -> Verdict {
        self.rejected += 1;
        Verdict::Reject(fault)
    }

    /// Remembers an announcement of our own.
    pub fn insert(&self, announcement: Authentic<Announcement>) -> Inserted {
        self.insert_vouched(announcement, None)
    }

    fn insert_vouched(&self, announcement: Authentic<Announcement>, voucher: Option<Voucher>) -> Inserted {
        let inserted = self.known.with(|catalogue| catalogue.insert_vouched(announcement, voucher));
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
    use libp2p::PeerId;
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::catalogue::Neighbourhood;
    use potluck_protocol::limits::CATALOGUE_RECORD_MAX;

    use super::*;
    use crate::net::limits::{NEWCOMERS, NEWCOMERS_NEAR, PUBLISHERS};
    use crate::net::testing::{announcement, base, key, later_announcement};
    use crate::net::twin::Sign;

    const OWN: u8 = 250;

    /// Of a node whose own key is that of no other seed.
    fn judge() -> Announcements {
        Announcements::new(PublicKey::of(&key(OWN)), Twin::new(100))
    }

    /// A forwarder in that neighbourhood.
    fn somebody(near: u64) -> Neighbour {
        Neighbour { peer: PeerId::random(), near: Neighbourhood(near) }
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
        assert!(matches!(known.judge(somebody(0), base, &bytes(&first), 0), Verdict::Accept(_)));
        assert!(matches!(known.judge(somebody(0), base, &bytes(&first), 0), Verdict::Ignore(Reason::Stale)));
        assert!(matches!(known.judge(somebody(0), base, &bytes(&second), 0), Verdict::Accept(_)));
        assert!(matches!(known.judge(somebody(0), base, &bytes(&first), 0), Verdict::Ignore(Reason::Stale)));
        known.known.with(|catalogue| {
            let sequences: Vec<_> = catalogue.of_base(&base).map(|one| one.body().sequence).collect();
            assert_eq!(sequences, [2]);
            assert!(catalogue.announces(&first.body().manifest, &first.body().publisher));
        });
    }

    #[test]
    fn every_provable_fault_is_rejected() {
        let mut known = judge();
        let good = announcement(1, "a", 1);
        let base = good.body().base;
        let other = BaseId(potluck_protocol::id::Digest::of(b"other"));
        assert!(matches!(
            known.judge(somebody(0), other, &bytes(&good), 0),
            Verdict::Reject(AnnouncementError::OtherBase { .. })
        ));
        assert!(matches!(
            known.judge(somebody(0), base, &[0; CATALOGUE_RECORD_MAX + 1], 0),
            Verdict::Reject(AnnouncementError::TooLong { .. })
        ));
        for index in 0..bytes(&good).len() {
            let mut wrong = bytes(&good);
            wrong[index] ^= 1;
            assert!(matches!(known.judge(somebody(0), base, &wrong, 0), Verdict::Reject(_)), "byte {index}");
        }
        assert_eq!((count(&known), known.rejected), (0, 2 + bytes(&good).len() as u64));
    }

    /// The same announcement with `extra` further signatures, all of them zero bytes: whoever checks one sees it.
    fn cosigned(announcement: &Authentic<Announcement>, extra: usize) -> Vec<u8> {
        let bytes = bytes(announcement);
        // Eight bytes of length, the body, eight bytes of count, then 96 for each signature.
        let (head, own) = bytes.split_at(bytes.len() - 96);
        let of = |n: usize| [&PublicKey::of(&Keypair::generate()).0.0[..], &[n as u8; 64]].concat();
        let mut entries: Vec<_> = (0..extra).map(of).chain([own.to_vec()]).collect();
        entries.sort();
        [&head[..head.len() - 8], &(entries.len() as u64).to_le_bytes(), &entries.concat()].concat()
    }

    #[test]
    fn long_and_cosigned_announcements_are_refused_before_a_signature_is_checked() {
        let mut known = judge();
        let good = announcement(1, "a", 1);
        let base = good.body().base;
        let long = known.judge(somebody(0), base, &cosigned(&good, 15), 0);
        assert!(matches!(long, Verdict::Reject(AnnouncementError::TooLong { .. })), "{long:?}");
        let two = known.judge(somebody(0), base, &cosigned(&good, 1), 0);
        assert!(matches!(two, Verdict::Ignore(Reason::Cosigned)), "{two:?}");
        assert_eq!(count(&known), 0);
        // Their twenty a second are untouched: none of these was a newcomer's.
        (0..1000).for_each(|_| drop(known.judge(somebody(0), base, &cosigned(&good, 1), 0)));
        assert_eq!(accepted(&mut known, "first", 2..12, 1, 0), 10);
    }

    #[test]
    fn what_would_not_be_kept_costs_no_signature_check_and_no_allowance_of_its_publisher() {
        let mut known = judge();
        let one = announcement(1, "a", 5);
        let base = one.body().base;
        assert!(matches!(known.judge(somebody(0), base, &bytes(&one), 0), Verdict::Accept(_)));
        let forged = |announcement: &Authentic<Announcement>| {
            let mut bytes = bytes(announcement);
            *bytes.last_mut().expect("it has bytes") ^= 1;
            bytes
        };
        // Whoever checked the signature would reject it.
        assert!(matches!(known.judge(somebody(0), base, &forged(&one), 0), Verdict::Ignore(Reason::Stale)));
        for n in 0..100 {
            let name = format!("forged{n}");
            assert!(matches!(
                known.judge(somebody(0), base, &forged(&announcement(1, &name, 6)), 0),
                Verdict::Reject(_)
            ));
        }
        assert_eq!(accepted(&mut known, "own", 1..2, 100, 0), PUBLISHERS.burst as usize);
        let beyond = known.judge(somebody(0), base, &forged(&announcement(1, "beyond", 7)), 0);
        assert!(matches!(beyond, Verdict::Ignore(Reason::TooMany)), "{beyond:?}");
    }

    #[test]
    fn a_kind_that_only_a_later_version_knows_is_nobodys_fault_and_damage_is() {
        let mut known = judge();
        let later = later_announcement(1, "later");
        for _ in 0..2 {
            let verdict = known.judge(somebody(0), base(), &later, 0);
            assert!(matches!(verdict, Verdict::Ignore(Reason::LaterKind)), "{verdict:?}");
        }
        assert_eq!((count(&known), known.rejected), (0, 0));
        for index in 0..later.len() {
            let mut wrong = later.clone();
            wrong[index] ^= 1;
            // A second for each: they are said by as few as newcomers are.
            let verdict = known.judge(somebody(0), base(), &wrong, 1_000 * index as u64);
            assert!(matches!(verdict, Verdict::Reject(_)), "byte {index}");
        }
        let other = BaseId(potluck_protocol::id::Digest::of(b"other"));
        assert!(matches!(
            known.judge(somebody(0), other, &later, 0),
            Verdict::Reject(AnnouncementError::OtherBase { .. })
        ));
    }

    #[test]
    fn a_flood_of_later_kinds_silences_nobody_costs_few_checks_and_has_no_catalogue_compared() {
        let mut known = judge();
        for n in 0..2 * NEWCOMERS.burst {
            let verdict = known.judge(somebody(0), base(), &later_announcement(1, &format!("n{n}")), 0);
            // Of `TooMany` it would be said that something was missed.
            assert!(matches!(verdict, Verdict::Ignore(Reason::LaterKind)), "{verdict:?}");
        }
        let mut wrong = later_announcement(1, "wrong");
        wrong.last_mut().into_iter().for_each(|byte| *byte ^= 1);
        let verdict = known.judge(somebody(0), base(), &wrong, 0);
        assert!(matches!(verdict, Verdict::Ignore(Reason::LaterKind)), "no signature is checked: {verdict:?}");
        assert_eq!(accepted(&mut known, "new", 2..12, 1, 0), 10, "newcomers are heard");
    }

    /// How many of so many announcements by each of these keys are accepted at a time. `tag` makes them others.
    fn accepted(known: &mut Announcements, tag: &str, keys: std::ops::Range<u8>, each: usize, now_ms: u64) -> usize {
        let judged = keys.flat_map(|key| (0..each).map(move |n| announcement(key, &format!("{tag}.{key}.{n}"), 1)));
        let verdicts = judged.map(|one| {
            known.judge(somebody(u64::from(one.body().publisher.0.0[0])), one.body().base, &bytes(&one), now_ms)
        });
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
    fn known_keys_that_flood_use_up_nothing_of_what_a_followed_one_may_say() {
        let mut known = judge();
        let steward = PublicKey::of(&key(249));
        known.known.with(|catalogue| catalogue.follow(steward));
        // Newcomers once, a hundred at a time, and then all that each of them may say.
        assert_eq!(
            (accepted(&mut known, "a", 1..101, 1, 0), accepted(&mut known, "b", 1..101, 12, 5_000)),
            (100, 1_000)
        );
        assert_eq!(accepted(&mut known, "c", 1..101, 1, 5_000), 0);
        assert_eq!(accepted(&mut known, "d", 249..250, 20, 5_000), PUBLISHERS.burst as usize);
    }

    #[test]
    fn a_neighbourhood_that_makes_keys_silences_newcomers_of_its_own_alone() {
        let mut known = judge();
        let mut taken = |near: u64, keys: std::ops::Range<u8>| {
            let announced = keys.map(|key| announcement(key, &format!("of.{key}"), 1));
            let verdicts = announced.map(|one| known.judge(somebody(near), base(), &bytes(&one), 0));
            verdicts.filter(|verdict| matches!(verdict, Verdict::Accept(_))).count()
        };
        assert_eq!(taken(1, 1..200), NEWCOMERS_NEAR.burst as usize);
        assert_eq!(taken(2, 200..220), 20);
        assert_eq!(taken(1, 220..230), 0);
    }

    #[test]
    fn whoever_brings_what_is_its_own_is_heard_beside_any_flood_that_others_pass_on() {
        let mut known = judge();
        // From six neighbourhoods, as many as all may bring together.
        let of = |key: u8| announcement(key, &format!("of.{key}"), 1);
        (1..200).for_each(|key| drop(known.judge(somebody(u64::from(key % 6)), base(), &bytes(&of(key)), 0)));
        assert!(matches!(known.judge(somebody(9), base(), &bytes(&of(200)), 0), Verdict::Ignore(Reason::TooMany)));
        let (own, peer) = (of(201), PublicKey::of(&key(201)).peer_id().expect("a key"));
        let itself = Neighbour { peer, near: Neighbourhood(3) };
        assert!(matches!(known.judge(itself, base(), &bytes(&own), 0), Verdict::Accept(_)));
    }

    #[test]
    fn our_own_announcements_that_come_back_are_taken_however_many_there_are() {
        let mut known = judge();
        for n in 1..=100 {
            let own = announcement(OWN, &format!("own{n}"), n);
            assert!(matches!(known.judge(somebody(0), base(), &bytes(&own), 0), Verdict::Accept(_)), "{n}");
            assert!(matches!(known.judge(somebody(0), base(), &bytes(&own), 0), Verdict::Ignore(Reason::Stale)), "{n}");
        }
        assert_eq!(known.twin.now(), None, "a process before this one may have made them");
        assert!(matches!(
            known.judge(somebody(0), base(), &bytes(&announcement(OWN, "new", 101)), 0),
            Verdict::Accept(_)
        ));
        assert_eq!(known.twin.now(), Some(Sign::Announces(101)));
    }
}
