//! Who brings so much gossip that is not passed on that they cannot be honest.

use libp2p::PeerId;
use potluck_protocol::rate_limit::RateLimiter;

use super::announcements::Verdict;
use super::limits::{FORWARDERS, RELAYED, SENT};
use super::misdeed::Misdeed;

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The peer that brought it made it.
    Own,
    /// The peer had it from somebody, and took it for news.
    Relayed,
}

/// What peers may bring that is not passed on, whatever the reason: an honest one brings some, because it knows less or
/// more than we do. What it made itself it could have known. What it passes on a stranger may have made, and it took what
/// its version takes: so of that it is counted only what no version would have. // I12
#[derive(Debug)]
pub struct Forwarders {
    own: RateLimiter<PeerId>,
    relayed: RateLimiter<PeerId>,
}

impl Default for Forwarders {
    /// Nobody has brought anything yet.
    fn default() -> Self {
        Self { own: RateLimiter::new(SENT, FORWARDERS), relayed: RateLimiter::new(RELAYED, FORWARDERS) }
    }
}

impl Forwarders {
    /// What the peer that brought a message did wrong, if anything.
    pub fn misdeed(&mut self, from: PeerId, origin: Origin, verdict: &Verdict, now_ms: u64) -> Option<Misdeed> {
        let allowance = match origin {
            Origin::Own => &mut self.own,
            Origin::Relayed => &mut self.relayed,
        };
        match verdict {
            Verdict::Accept(_) => None,
            Verdict::Reject(_) => Some(Misdeed::Gossip),
            Verdict::Ignore(_) => (!allowance.take(from, now_ms)).then_some(Misdeed::Flood),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::announcements::Reason;
    use crate::net::limits::{FAMILIAR, NEWCOMERS, PUBLISHERS, PUBLISHERS_REMEMBERED, SAID};

    #[test]
    fn whoever_brings_more_of_anything_than_an_honest_node_can_is_counted() {
        let ignored = [Reason::Stale, Reason::TooMany, Reason::NoRoom, Reason::Cosigned, Reason::LaterKind];
        let honest = [(Origin::Own, vec![SAID], SENT), (Origin::Relayed, vec![FAMILIAR, NEWCOMERS], RELAYED)];
        for (reason, (origin, rates, most)) in
            ignored.into_iter().flat_map(|reason| honest.clone().map(|one| (reason, one)))
        {
            let (mut forwarders, peer) = (Forwarders::default(), PeerId::random());
            let counted = |now_ms: u64, forwarders: &mut Forwarders| {
                forwarders.misdeed(peer, origin, &Verdict::Ignore(reason), now_ms) == Some(Misdeed::Flood)
            };
            // What an honest node says or passes on at most, for an hour, none of which is new here.
            let at_once = rates.iter().map(|rate| rate.burst).sum::<u64>();
            assert!((0..at_once).all(|_| !counted(0, &mut forwarders)), "{reason:?}");
            for second in 1..3_600 {
                let each = rates.iter().map(|rate| 1_000 / rate.refill_ms).sum::<u64>();
                assert!((0..each).all(|_| !counted(second * 1_000, &mut forwarders)), "{reason:?} {second}");
            }
            let mut forwarders = Forwarders::default();
            let misdeeds = (0..most.burst + 4_000).filter(|_| counted(0, &mut forwarders)).count();
            assert_eq!(misdeeds, 4_000, "{reason:?}");
        }
    }

    /// Before there was an allowance of all known publishers together, a node passed on what each of them may say. Whoever
    /// has as many keys as it remembers has it pass on all of that at once.
    #[test]
    fn an_old_node_that_passes_on_what_a_stranger_floods_it_with_is_not_blamed() {
        let (mut forwarders, old) = (Forwarders::default(), PeerId::random());
        let ignored = Verdict::Ignore(Reason::TooMany);
        let of_each = PUBLISHERS.burst * PUBLISHERS_REMEMBERED as u64;
        let mut counted = |count: u64, now_ms: u64| {
            (0..count).filter(|_| forwarders.misdeed(old, Origin::Relayed, &ignored, now_ms).is_some()).count()
        };
        assert_eq!(counted(of_each + NEWCOMERS.burst, 0), 0);
        let minute = PUBLISHERS_REMEMBERED as u64 * 60_000 / PUBLISHERS.refill_ms + 60_000 / NEWCOMERS.refill_ms;
        assert!((1..=24 * 60).all(|minutes| counted(minute, minutes * 60_000) == 0));
    }
}
