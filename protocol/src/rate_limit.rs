//! How much of something is still allowed: token buckets, one for each of a bounded number of keys.

use std::collections::BTreeMap;

/// A bucket's size, and how long one token takes to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens of a full bucket: how many may be taken at once.
    pub burst: u64,
    /// Milliseconds until one token has come back.
    pub refill_ms: u64,
}

/// One bucket. Counts in milliseconds of refill, so that no rounding adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    rate: Rate,
    /// Missing from a full bucket, in milliseconds of refill, at `at_ms`.
    missing_ms: u64,
    at_ms: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate) -> Self {
        Self { rate, missing_ms: 0, at_ms: 0 }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now_ms: u64) -> bool {
        self.reserve(now_ms, 0).is_some()
    }

    /// Takes a token that is there, or that will be within `patience_ms` and nobody has taken before: from when on. `None`
    /// takes nothing.
    pub fn reserve(&mut self, now_ms: u64, patience_ms: u64) -> Option<u64> {
        let missing_ms = self.missing_ms(now_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let after = missing_ms.saturating_add(self.rate.refill_ms);
        let wait_ms = after.saturating_sub(self.full_ms());
        self.missing_ms = if wait_ms <= patience_ms { after } else { missing_ms };
        (wait_ms <= patience_ms).then(|| now_ms.saturating_add(wait_ms))
    }

    /// One token was taken for nothing.
    pub fn give_back(&mut self) {
        self.missing_ms = self.missing_ms.saturating_sub(self.rate.refill_ms);
    }

    /// Whether [`Self::take`] would give a token: what is dear need not be done for one that it would not.
    pub fn has(&self, now_ms: u64) -> bool {
        self.missing_ms(now_ms).saturating_add(self.rate.refill_ms) <= self.full_ms()
    }

    /// How many times in a row [`Self::take`] would give a token.
    pub fn count(&self, now_ms: u64) -> u64 {
        let here_ms = self.full_ms().saturating_sub(self.missing_ms(now_ms));
        here_ms.checked_div(self.rate.refill_ms).unwrap_or(self.rate.burst)
    }

    fn full_ms(&self) -> u64 {
        self.rate.burst.saturating_mul(self.rate.refill_ms)
    }

    fn missing_ms(&self, now_ms: u64) -> u64 {
        self.missing_ms.saturating_sub(now_ms.saturating_sub(self.at_ms))
    }
}

/// A bucket for each key. // I12
#[derive(Clone, Debug)]
pub struct RateLimiter<K> {
    rate: Rate,
    max: usize,
    buckets: BTreeMap<K, TokenBucket>,
}

impl<K: Ord + Copy> RateLimiter<K> {
    /// At most `max` keys are remembered; what is forgotten first is the fullest bucket, which says least.
    pub fn new(rate: Rate, max: usize) -> Self {
        Self { rate, max, buckets: BTreeMap::new() }
    }

    /// Takes a token of `key` if it has one.
    pub fn take(&mut self, key: K, now_ms: u64) -> bool {
        self.reserve(key, now_ms, 0).is_some()
    }

    /// As [`TokenBucket::reserve`], of `key`.
    pub fn reserve(&mut self, key: K, now_ms: u64, patience_ms: u64) -> Option<u64> {
        if !self.buckets.contains_key(&key) && self.buckets.len() >= self.max {
            self.forget(now_ms);
        }
        self.buckets.entry(key).or_insert_with(|| TokenBucket::new(self.rate)).reserve(now_ms, patience_ms)
    }

    /// One token of `key` was taken for nothing.
    pub fn give_back(&mut self, key: &K) {
        if let Some(tokens) = self.buckets.get_mut(key) {
            tokens.give_back();
        }
    }

    /// Whether [`Self::take`] would give `key` a token.
    pub fn has(&self, key: &K, now_ms: u64) -> bool {
        self.buckets.get(key).map_or(self.rate.burst > 0, |tokens| tokens.has(now_ms))
    }

    /// How many tokens of `key` there are.
    pub fn count(&self, key: &K, now_ms: u64) -> u64 {
        self.buckets.get(key).map_or(self.rate.burst, |tokens| tokens.count(now_ms))
    }

    /// Forgets all full buckets, which are as new ones, or else the fullest.
    fn forget(&mut self, now_ms: u64) {
        self.buckets.retain(|_, tokens| tokens.missing_ms(now_ms) > 0);
        if self.buckets.len() >= self.max
            && let Some((_, key)) = self.buckets.iter().map(|(key, tokens)| (tokens.missing_ms(now_ms), *key)).min()
        {
            self.buckets.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 12, refill_ms: 600_000 };

    #[test]
    fn a_burst_is_allowed_and_then_one_token_at_a_time() {
        let mut tokens = TokenBucket::new(RATE);
        assert_eq!((0..50).filter(|_| tokens.take(5)).count(), 12);
        assert!(!tokens.take(5 + RATE.refill_ms - 1));
        assert!(tokens.take(5 + RATE.refill_ms));
        assert!(!tokens.take(5 + RATE.refill_ms));
        assert_eq!((0..50).filter(|_| tokens.take(u64::MAX / 2)).count(), 12, "no more than full");
        assert!(!tokens.take(0), "a clock that goes back gives nothing");
    }

    #[test]
    fn to_look_takes_nothing_and_says_what_taking_would() {
        let mut all = RateLimiter::new(RATE, 3);
        for n in 0..50 {
            let at_ms = n * RATE.refill_ms / 7;
            assert!((0..9).all(|_| all.has(&0, at_ms) == all.has(&0, at_ms)));
            let before = all.count(&0, at_ms);
            assert_eq!(all.has(&0, at_ms), before > 0, "{n}");
            assert_eq!(all.has(&0, at_ms), all.take(0, at_ms), "{n}");
            assert_eq!(all.count(&0, at_ms), before.saturating_sub(1), "{n}");
        }
    }

    #[test]
    fn tokens_that_are_yet_to_come_are_given_out_in_turn_and_no_further_than_patience_goes() {
        let rate = Rate { burst: 3, refill_ms: 20 };
        let mut tokens = TokenBucket::new(rate);
        let turns: Vec<_> = (0..9).map(|_| tokens.reserve(100, 60)).collect();
        assert_eq!(turns[..6], [100, 100, 100, 120, 140, 160].map(Some));
        assert_eq!(turns[6..], [None; 3], "what is further away is not taken");
        assert!(!tokens.take(100) && !tokens.has(100) && tokens.count(100) == 0);
        tokens.give_back();
        assert_eq!(tokens.reserve(100, 60), Some(160));
        assert_eq!(tokens.reserve(120, 60), Some(180), "as long as from the last one");
        assert!(!tokens.take(199) && tokens.take(200));
        let all = (1..=1_000).filter_map(|n| tokens.reserve(200 + n, 60)).collect::<Vec<_>>();
        assert!(all.windows(2).all(|two| two[0] <= two[1]));
        assert!(all.len() as u64 <= (1_000 + 60) / rate.refill_ms, "{}", all.len());
    }

    #[test]
    fn one_key_does_not_use_up_anothers_and_the_keys_are_bounded() {
        let mut all = RateLimiter::new(RATE, 3);
        assert_eq!((0..50).filter(|_| all.take(0, 0)).count(), 12);
        assert!(all.take(1, 0));
        for key in 2..100 {
            assert!(all.take(key, 0), "{key}");
            assert!(all.buckets.len() <= 3);
        }
        assert!(!all.take(0, 0), "the emptiest bucket is not forgotten for others");
    }
}
