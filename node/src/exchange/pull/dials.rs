//! Whom a pull dials of those that may have what it wants, and are not connected.
//!
//! Anybody can announce anything, and name anybody. So those come first for whom more speaks than their word, the others
//! are drawn at random and spread over neighbourhoods, few at a time, and who could not be reached rests. A peer of which
//! no address is known takes no place.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};
use potluck_protocol::ask::spread;
use potluck_protocol::backoff::Backoff;
use potluck_protocol::rate_limit::TokenBucket;
use potluck_protocol::splitmix::SplitMix64;

use super::super::limits::{DIAL_AGAIN, DIAL_RATE, DIALLED, DIALLED_NEAR, DIALLED_OF_ONE};
use crate::addresses::AddressGroup;

/// What speaks for it that a peer has it, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It gave it before, or a person says so.
    Gave,
    /// It brought its announcement itself, or that is trusted for another reason.
    Vouched,
    /// Its key has announced it.
    Said,
}

/// A peer that may be dialled.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub peer: PeerId,
    pub addresses: Vec<Multiaddr>,
    pub rank: Rank,
}

impl Candidate {
    fn near(&self) -> AddressGroup {
        self.addresses.first().map(AddressGroup::from).unwrap_or_default()
    }
}

/// Peers that led nowhere when they were dialled, whatever for.
pub type Unreachable = Backoff<PeerId>;

/// Whom one pull has dialled.
pub struct Dials {
    rng: SplitMix64,
    attempts: BTreeMap<PeerId, Attempt>,
    rate: TokenBucket,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// Until then it is under way, unless it has failed, and there is no other one.
    until_ms: u64,
    near: AddressGroup,
    why: Why,
}

/// Why somebody is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Rank(Rank),
    /// That peer named it.
    NamedBy(PeerId),
}

impl Dials {
    /// Nobody is dialled yet. The seed must be one that strangers do not know.
    pub fn new(seed: u64) -> Self {
        Self { rng: SplitMix64::new(seed), attempts: BTreeMap::new(), rate: TokenBucket::new(DIAL_RATE) }
    }

    /// Those of them that are dialled now. Nobody has a place without an address.
    pub fn choose(&mut self, away: Vec<Candidate>, unreachable: &Unreachable, now_ms: u64) -> Vec<Candidate> {
        let able = away.into_iter().filter(|one| {
            // Whoever gave it is worth another try, however often it was away.
            let rests = one.rank != Rank::Gave && unreachable.is_resting(&one.peer, now_ms);
            !one.addresses.is_empty() && !rests && !self.is_under_way(&one.peer, now_ms)
        });
        let mut order = spread(able.collect(), Candidate::near, &mut self.rng);
        order.sort_by_key(|one| one.rank);
        let may = |one: &Candidate| self.take(one.peer, one.near(), Why::Rank(one.rank), unreachable, now_ms);
        order.into_iter().filter(may).collect()
    }

    /// Whether a peer is dialled that `by` says has it.
    pub fn may_dial_named(&mut self, one: &Candidate, by: PeerId, unreachable: &Unreachable, now_ms: u64) -> bool {
        !one.addresses.is_empty()
            && !unreachable.is_resting(&one.peer, now_ms)
            && !self.is_under_way(&one.peer, now_ms)
            && self.take(one.peer, one.near(), Why::NamedBy(by), unreachable, now_ms)
    }

    fn is_under_way(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.attempts.get(peer).is_some_and(|attempt| attempt.until_ms > now_ms)
    }

    /// Takes a place if there is one. Those that a peer names leave room for the others, and for those of other peers;
    /// those for whom only their word speaks leave room for those of other neighbourhoods.
    fn take(&mut self, peer: PeerId, near: AddressGroup, why: Why, unreachable: &Unreachable, now_ms: u64) -> bool {
        let open =
            |(peer, attempt): &(&PeerId, &Attempt)| attempt.until_ms > now_ms && !unreachable.is_resting(peer, now_ms);
        let count = |of: &dyn Fn(&Attempt) -> bool| {
            self.attempts.iter().filter(open).filter(|(_, attempt)| of(attempt)).count()
        };
        let is_named = |why: Why| matches!(why, Why::NamedBy(_));
        let own = match why {
            Why::NamedBy(_) => count(&|attempt| attempt.why == why) < DIALLED_OF_ONE,
            Why::Rank(Rank::Said) => count(&|attempt| attempt.why == why && attempt.near == near) < DIALLED_NEAR,
            Why::Rank(_) => true,
        };
        let room = own && count(&|attempt| is_named(attempt.why) == is_named(why)) < DIALLED;
        if !room || !self.rate.take(now_ms) {
            return false;
        }
        // Those that have ended say nothing more. // I12
        self.attempts.retain(|_, attempt| attempt.until_ms > now_ms);
        let until_ms = now_ms.saturating_add(DIAL_AGAIN.as_millis() as u64);
        self.attempts.insert(peer, Attempt { until_ms, near, why });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::limits::{UNREACHABLE, UNREACHABLE_RESTS};

    fn candidate(near: u8, rank: Rank) -> Candidate {
        let address = format!("/ip4/198.51.{near}.7/tcp/1").parse().expect("an address");
        Candidate { peer: PeerId::random(), addresses: vec![address], rank }
    }

    fn nobody_rests() -> Unreachable {
        Backoff::new(UNREACHABLE_RESTS, UNREACHABLE)
    }

    /// When the last one of them is dialled among those that are chosen each quarter of a second; who is, rests.
    fn dialled_after_ms(crowd: &[Candidate], honest: &Candidate, seed: u64) -> u64 {
        let (mut dials, mut unreachable) = (Dials::new(seed), nobody_rests());
        for now_ms in (0..600_000).step_by(250) {
            let away = crowd.iter().chain([honest]).cloned().collect();
            for one in dials.choose(away, &unreachable, now_ms) {
                if one.peer == honest.peer {
                    return now_ms;
                }
                unreachable.back_off(one.peer, now_ms);
            }
        }
        u64::MAX
    }

    #[test]
    fn thousands_that_have_no_address_take_no_place() {
        let away = (0..5_000).map(|_| Candidate { addresses: Vec::new(), ..candidate(0, Rank::Said) });
        let (crowd, honest) = (away.collect::<Vec<_>>(), candidate(0, Rank::Said));
        assert_eq!(dialled_after_ms(&crowd, &honest, 1), 0);
    }

    #[test]
    fn who_brought_its_announcement_itself_is_dialled_before_a_crowd_that_only_says_so() {
        let crowd: Vec<_> = (0..1_000).map(|n| candidate(n as u8, Rank::Said)).collect();
        for rank in [Rank::Vouched, Rank::Gave] {
            assert_eq!(dialled_after_ms(&crowd, &candidate(0, rank), 1), 0);
        }
    }

    #[test]
    fn a_crowd_of_one_neighbourhood_keeps_nobody_of_another_from_being_dialled() {
        let crowd: Vec<_> = (0..1_000).map(|_| candidate(0, Rank::Said)).collect();
        for seed in 0..20 {
            assert_eq!(dialled_after_ms(&crowd, &candidate(1, Rank::Said), seed), 0);
        }
    }

    #[test]
    fn what_led_nowhere_makes_room_and_rests_twice_as_long_each_time() {
        let crowd: Vec<_> = (0..200).map(|n| candidate(n, Rank::Said)).collect();
        for seed in 0..20 {
            let after_ms = dialled_after_ms(&crowd, &candidate(200, Rank::Said), seed);
            assert!(after_ms <= 60_000, "{after_ms}");
        }
        let (mut dials, mut unreachable, one) = (Dials::new(1), nobody_rests(), candidate(0, Rank::Said));
        let mut tries = 0;
        for now_ms in (0..600_000).step_by(250) {
            for tried in dials.choose(vec![one.clone()], &unreachable, now_ms) {
                unreachable.back_off(tried.peer, now_ms);
                tries += 1;
            }
        }
        assert!((5..=8).contains(&tries), "{tries} times in ten minutes");
        let again = dials.choose(vec![Candidate { rank: Rank::Gave, ..one }], &unreachable, 600_000);
        assert_eq!(again.len(), 1, "who gave it before is not given up");
    }

    #[test]
    fn what_one_peer_names_leaves_room_for_what_others_name_and_announce() {
        let (mut dials, unreachable) = (Dials::new(1), nobody_rests());
        let (liar, other) = (PeerId::random(), PeerId::random());
        let mut named = |count: usize, by: &dyn Fn() -> PeerId| {
            let one = |_: &usize| dials.may_dial_named(&candidate(0, Rank::Said), by(), &unreachable, 0);
            (0..count).filter(one).count()
        };
        assert_eq!(named(1_000, &|| liar), DIALLED_OF_ONE);
        assert_eq!(named(1, &|| other), 1);
        assert_eq!(named(1_000, &PeerId::random), DIALLED - DIALLED_OF_ONE - 1);
        let holder = candidate(0, Rank::Vouched);
        let dialled = dials.choose(vec![holder.clone()], &unreachable, 0);
        assert_eq!(dialled.len(), 1, "those that say it themselves have places of their own");
        assert!(dials.choose(vec![holder], &unreachable, 0).is_empty(), "once in a while");
    }

    #[test]
    fn a_pull_knocks_at_few_doors_a_second() {
        let (mut dials, mut unreachable) = (Dials::new(1), nobody_rests());
        let mut all = 0_u64;
        for now_ms in (0..60_000).step_by(250) {
            let away = (0..100).map(|n| candidate(n, Rank::Vouched)).collect();
            for refused in dials.choose(away, &unreachable, now_ms) {
                unreachable.back_off(refused.peer, now_ms);
                all += 1;
            }
        }
        assert!(all <= DIAL_RATE.burst + 60_000 / DIAL_RATE.refill_ms, "{all}");
    }
}
