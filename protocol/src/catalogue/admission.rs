//! What is taken of what comparing brings. Keys are free and signing costs nothing, so that what comes is bounded by who
//! says it and by time, as it is where gossip comes in; the rest is left for later.

use std::collections::{BTreeMap, BTreeSet};

use super::timing::{
    ARRIVALS, DECLINED, DECLINED_MS, FOLLOWED, LATER_MS, NEIGHBOURHOODS, NEWCOMERS, PER_PUBLISHER, PUBLISHERS,
    RENEWALS, STOOD_BEHIND,
};
use super::voucher::Neighbourhood;
use crate::id::AnnouncementId;
use crate::rate_limit::{RateLimiter, TokenBucket};
use crate::signed::PublicKey;

/// What is still allowed, and what was declined. // I12
#[derive(Clone, Debug)]
pub(super) struct Admission {
    /// Newer announcements of what is known already, for each publisher.
    renewals: RateLimiter<PublicKey>,
    /// The same of all publishers together.
    renewals_in_all: TokenBucket,
    /// Publishers of whom nothing is known, for each neighbourhood that brings them, and apart what channels live by.
    newcomers: RateLimiter<(Neighbourhood, bool)>,
    /// New things of publishers who are known, likewise.
    arrivals: RateLimiter<Neighbourhood>,
    /// New things of each key that is followed.
    followed: RateLimiter<PublicKey>,
    /// What has a place because a peer stands behind it, for each neighbourhood.
    stood_behind: RateLimiter<Neighbourhood>,
    /// Whether there is a bound.
    limited: bool,
    /// Records that are not asked for again before a time, each of the neighbourhood that brought it: what is declined
    /// because a neighbourhood has brought too much is had from others. `None`: of nobody, for only a later version knows
    /// its kind.
    declined: BTreeMap<Declined, u64>,
    /// Those, by time.
    declined_until: BTreeSet<(u64, Declined)>,
}

type Declined = (Option<Neighbourhood>, AnnouncementId);

impl Default for Admission {
    fn default() -> Self {
        Self {
            renewals: RateLimiter::new(PER_PUBLISHER, PUBLISHERS),
            renewals_in_all: TokenBucket::new(RENEWALS),
            newcomers: RateLimiter::new(NEWCOMERS, 2 * NEIGHBOURHOODS),
            followed: RateLimiter::new(FOLLOWED, PUBLISHERS),
            arrivals: RateLimiter::new(ARRIVALS, NEIGHBOURHOODS),
            stood_behind: RateLimiter::new(STOOD_BEHIND, NEIGHBOURHOODS),
            limited: true,
            declined: BTreeMap::new(),
            declined_until: BTreeSet::new(),
        }
    }
}

impl Admission {
    /// For a comparison that somebody waits for, and that must miss nothing.
    pub fn unlimited() -> Self {
        Self { limited: false, ..Self::default() }
    }

    /// Whether there are bounds at all.
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether a trusted publisher's newer announcement of a manifest may take the place of the older one now: strangers
    /// use up nothing of its allowance.
    pub fn take_trusted_renewal(&mut self, publisher: PublicKey, now_ms: u64) -> bool {
        !self.limited || self.renewals.take(publisher, now_ms)
    }

    /// Whether something new of a key that is followed may be taken.
    pub fn take_followed(&mut self, publisher: PublicKey, now_ms: u64) -> bool {
        !self.limited || self.followed.take(publisher, now_ms)
    }

    /// Whether a publisher's newer announcement of a manifest may take the place of the older one now.
    pub fn take_renewal(&mut self, publisher: PublicKey, now_ms: u64) -> bool {
        if !self.limited {
            return true;
        }
        self.renewals.has(&publisher, now_ms)
            && self.renewals_in_all.take(now_ms)
            && self.renewals.take(publisher, now_ms)
    }

    /// Whether a neighbourhood may bring a publisher of whom nothing is known, by something that channels live by or not.
    pub fn take_newcomer(&mut self, near: Neighbourhood, of_channels: bool, now_ms: u64) -> bool {
        !self.limited || self.newcomers.take((near, of_channels), now_ms)
    }

    /// Whether a neighbourhood may bring something new of a publisher who is known.
    pub fn take_arrival(&mut self, near: Neighbourhood, now_ms: u64) -> bool {
        !self.limited || self.arrivals.take(near, now_ms)
    }

    /// How many records a neighbourhood may bring now, of whichever publishers they are.
    pub fn left(&self, near: &Neighbourhood, now_ms: u64) -> u64 {
        if !self.limited {
            return u64::MAX;
        }
        self.newcomers.count(&(*near, false), now_ms).min(self.arrivals.count(near, now_ms))
    }

    /// Whether a neighbourhood may bring a record for one of its own places.
    pub fn take_stood_behind(&mut self, near: Neighbourhood, now_ms: u64) -> bool {
        !self.limited || self.stood_behind.take(near, now_ms)
    }

    /// A record was not taken: for a while it is not worth another question to that neighbourhood.
    pub fn decline(&mut self, near: Neighbourhood, id: AnnouncementId, now_ms: u64) {
        self.note_declined((Some(near), id), now_ms.saturating_add(DECLINED_MS));
    }

    /// A record is of a kind that only a later version knows.
    pub fn decline_later(&mut self, id: AnnouncementId, now_ms: u64) {
        self.note_declined((None, id), now_ms.saturating_add(LATER_MS));
    }

    fn note_declined(&mut self, declined: Declined, until_ms: u64) {
        if let Some(before) = self.declined.insert(declined, until_ms) {
            self.declined_until.remove(&(before, declined));
        }
        self.declined_until.insert((until_ms, declined));
        if self.declined.len() > DECLINED
            && let Some((_, first)) = self.declined_until.pop_first()
        {
            self.declined.remove(&first);
        }
    }

    /// Whether a record was declined lately that a neighbourhood brought.
    pub fn is_declined(&self, near: &Neighbourhood, id: &AnnouncementId, now_ms: u64) -> bool {
        let until_ms = [Some(*near), None].into_iter().filter_map(|of| self.declined.get(&(of, *id)));
        until_ms.max().is_some_and(|until_ms| *until_ms > now_ms)
    }

    /// Whether a record was declined because only a later version knows its kind.
    pub fn is_later(&self, id: &AnnouncementId) -> bool {
        self.declined.contains_key(&(None, *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    fn key(n: u64) -> PublicKey {
        PublicKey(Digest::of(&n.to_le_bytes()))
    }

    #[test]
    fn renewals_are_as_rare_as_in_gossip_however_many_keys_there_are() {
        let mut admission = Admission::default();
        assert_eq!((0..50).filter(|_| admission.take_renewal(key(0), 0)).count(), PER_PUBLISHER.burst as usize);
        let taken = (0..4_000).filter(|n| admission.take_renewal(key(n + 1), 0)).count();
        assert_eq!(taken, (RENEWALS.burst - PER_PUBLISHER.burst) as usize);
        // A day of it.
        let day_ms = 24 * 3_600_000;
        let times = (1..=day_ms / 5_000).flat_map(|n| (0..8).map(move |other| (n * 5_000, other * 500 + n % 500)));
        let taken = times.filter(|(at_ms, n)| admission.take_renewal(key(n + 1), *at_ms)).count() as u64;
        assert!(taken <= day_ms / RENEWALS.refill_ms + RENEWALS.burst, "{taken}");
    }

    #[test]
    fn a_comparison_that_must_miss_nothing_has_no_bound() {
        let mut admission = Admission::unlimited();
        assert!((0..4_000).all(|n| admission.take_renewal(key(n % 7), 0)));
        let (one, mut taken) = (Neighbourhood(1), 0);
        for _ in 0..20_000 {
            let all = [
                admission.take_newcomer(one, false, 0),
                admission.take_arrival(one, 0),
                admission.take_stood_behind(one, 0),
            ];
            taken += usize::from(all == [true; 3]);
        }
        assert_eq!((taken, admission.left(&one, 0)), (20_000, u64::MAX));
    }

    #[test]
    fn what_a_neighbourhood_brings_is_limited_and_costs_no_other_one() {
        let mut admission = Admission::default();
        let (one, other) = (Neighbourhood(1), Neighbourhood(2));
        let most = NEWCOMERS.burst.min(ARRIVALS.burst);
        assert_eq!((admission.left(&one, 0), admission.left(&other, 0)), (most, most));
        assert_eq!((0..20_000).filter(|_| admission.take_arrival(one, 0)).count(), ARRIVALS.burst as usize);
        assert_eq!((0..20_000).filter(|_| admission.take_newcomer(one, false, 0)).count(), NEWCOMERS.burst as usize);
        assert_eq!((admission.left(&one, 0), admission.left(&other, 0)), (0, most));
        assert!(admission.take_newcomer(other, false, 0) && admission.take_arrival(other, 0));
        // An hour of it.
        let arrivals = (1..=36_000).filter(|n| admission.take_arrival(one, n * 100)).count() as u64;
        assert_eq!(arrivals, 3_600_000 / ARRIVALS.refill_ms);
    }

    #[test]
    fn what_was_declined_is_bounded_and_comes_back() {
        let (mut admission, near) = (Admission::default(), Neighbourhood(1));
        let id = |n: usize| AnnouncementId(Digest::of(&n.to_le_bytes()));
        (0..DECLINED + 9).for_each(|n| admission.decline(near, id(n), n as u64));
        assert_eq!(admission.declined.len(), DECLINED);
        let (last, now_ms) = (id(DECLINED + 8), DECLINED as u64 + 8);
        assert!(admission.is_declined(&near, &last, now_ms + DECLINED_MS - 1));
        assert!(!admission.is_declined(&near, &last, now_ms + DECLINED_MS));
        assert!(!admission.is_declined(&near, &id(0), now_ms));
    }

    #[test]
    fn what_one_neighbourhood_brought_too_much_of_is_asked_of_another() {
        let mut admission = Admission::default();
        let (id, later) = (AnnouncementId(Digest::of(b"known")), AnnouncementId(Digest::of(b"later")));
        admission.decline(Neighbourhood(1), id, 0);
        admission.decline_later(later, 0);
        assert!(admission.is_declined(&Neighbourhood(1), &id, 1) && !admission.is_declined(&Neighbourhood(2), &id, 1));
        assert!(admission.is_declined(&Neighbourhood(2), &later, 1) && admission.is_later(&later));
        assert!(!admission.is_later(&id));
    }
}
