//! How much of what comes by gossip is taken of whom. Keys are free: what nobody has heard of is bounded by who brings it.

use potluck_protocol::catalogue::Neighbourhood;
use potluck_protocol::rate_limit::{RateLimiter, TokenBucket};
use potluck_protocol::signed::PublicKey;

use super::limits::{FAMILIAR, NEIGHBOURHOODS, NEWCOMERS, NEWCOMERS_NEAR, PUBLISHERS, PUBLISHERS_REMEMBERED};

/// What an announcement's allowance is counted by.
#[derive(Clone, Copy)]
pub enum Standing {
    /// It is our own.
    Own,
    /// A person follows its publisher: what other keys say uses up nothing of its allowance.
    Followed,
    /// Something of its publisher is known.
    Familiar,
    /// Nothing is; where the peer is that brings it.
    Newcomer(Neighbourhood, Newcomer),
}

/// What newcomers say, each with an allowance of its own: keys are free, and these are not all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Newcomer {
    /// Its publisher brings it, and so is connected.
    Present,
    /// Others bring it, and channels live by it.
    OfChannels,
    /// Others bring it.
    Other,
}

/// How many of these there are.
const NEWCOMER_KINDS: usize = 3;

/// What is still allowed. // I12
#[derive(Debug)]
pub struct Allowances {
    /// Limits of known publishers, one for each, so that one who floods is not heard for a while and nobody else
    /// notices.
    publishers: RateLimiter<PublicKey>,
    /// What all known publishers may say together: it bounds what we pass on.
    familiar: TokenBucket,
    /// What all others may say together, because keys are free.
    newcomers: RateLimiter<Newcomer>,
    /// The same for each neighbourhood that brings them.
    newcomers_near: RateLimiter<(Neighbourhood, Newcomer)>,
    /// What may be said together of kinds that only later versions know.
    later: TokenBucket,
}

impl Default for Allowances {
    /// Nothing has been taken yet.
    fn default() -> Self {
        Self {
            publishers: RateLimiter::new(PUBLISHERS, PUBLISHERS_REMEMBERED),
            familiar: TokenBucket::new(FAMILIAR),
            newcomers: RateLimiter::new(NEWCOMERS, NEWCOMER_KINDS),
            newcomers_near: RateLimiter::new(NEWCOMERS_NEAR, NEWCOMER_KINDS * NEIGHBOURHOODS),
            later: TokenBucket::new(NEWCOMERS),
        }
    }
}

impl Allowances {
    /// Whether [`Self::take`] would take something that is there.
    pub fn has(&self, publisher: PublicKey, standing: Standing, now_ms: u64) -> bool {
        match standing {
            Standing::Own => true,
            Standing::Followed => self.publishers.has(&publisher, now_ms),
            Standing::Familiar => self.publishers.has(&publisher, now_ms) && self.familiar.has(now_ms),
            Standing::Newcomer(near, kind) => {
                self.newcomers_near.has(&(near, kind), now_ms) && self.newcomers.has(&kind, now_ms)
            }
        }
    }

    /// Uses up what one announcement costs.
    pub fn take(&mut self, publisher: PublicKey, standing: Standing, now_ms: u64) {
        match standing {
            Standing::Own => {}
            Standing::Followed => drop(self.publishers.take(publisher, now_ms)),
            Standing::Familiar => {
                self.publishers.take(publisher, now_ms);
                self.familiar.take(now_ms);
            }
            Standing::Newcomer(near, kind) => {
                self.newcomers_near.take((near, kind), now_ms);
                self.newcomers.take(kind, now_ms);
            }
        }
    }

    /// Whether the signatures of one more of a later version's kinds are checked.
    pub fn take_later(&mut self, now_ms: u64) -> bool {
        self.later.take(now_ms)
    }
}
