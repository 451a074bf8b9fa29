//! How long somebody is left alone after what led nowhere: exponential backoff, for a bounded number of keys.

use std::collections::BTreeMap;

/// Doublings of the first delay: more would be beyond any longest one.
const DOUBLINGS_MAX: u32 = 16;

/// What counts as that many failures at once: a broken rule.
const BROKEN_RULE: u32 = 8;

/// The first and the longest delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// After one failure, in milliseconds. Doubles with each further one in a row.
    pub first_ms: u64,
    /// No delay is longer.
    pub longest_ms: u64,
}

/// Those who disappointed. It outlives their connections, or else coming back would pay. // I12
#[derive(Clone, Debug)]
pub struct Backoff<K> {
    delays: Delays,
    max: usize,
    resting: BTreeMap<K, Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    /// In a row.
    failures: u32,
    until_ms: u64,
}

impl<K: Ord + Copy> Backoff<K> {
    /// Nobody has disappointed. At most `max` keys are remembered; whose delay ends first is forgotten first.
    pub fn new(delays: Delays, max: usize) -> Self {
        Self { delays, max, resting: BTreeMap::new() }
    }

    /// When its delay ends; 0 if it has none.
    pub fn until_ms(&self, key: &K) -> u64 {
        self.resting.get(key).map_or(0, |rest| rest.until_ms)
    }

    /// Its delay has not ended.
    pub fn is_resting(&self, key: &K, now_ms: u64) -> bool {
        self.until_ms(key) > now_ms
    }

    /// Failures in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.resting.get(key).map_or(0, |rest| rest.failures)
    }

    /// There is a new reason to try it: its delay ends at `at_ms` at the latest. Its failures stay.
    pub fn shorten(&mut self, key: &K, at_ms: u64) {
        if let Some(rest) = self.resting.get_mut(key) {
            rest.until_ms = rest.until_ms.min(at_ms);
        }
    }

    /// It did what was wanted: it starts afresh.
    pub fn reset(&mut self, key: &K) {
        self.resting.remove(key);
    }

    /// It failed: the delay doubles.
    pub fn back_off(&mut self, key: K, now_ms: u64) {
        let before = self.failures(&key);
        let delay_ms = self.delays.first_ms.saturating_mul(1 << before.min(DOUBLINGS_MAX)).min(self.delays.longest_ms);
        self.insert(key, Rest { failures: before.saturating_add(1), until_ms: now_ms.saturating_add(delay_ms) });
    }

    /// It failed while its delay may not have ended: failures at the same time count once.
    pub fn back_off_once(&mut self, key: K, now_ms: u64) {
        if !self.is_resting(&key, now_ms) {
            self.back_off(key, now_ms);
        }
    }

    /// It broke the rules: the longest delay at once.
    pub fn penalize(&mut self, key: K, now_ms: u64) {
        let failures = self.failures(&key).saturating_add(BROKEN_RULE);
        self.insert(key, Rest { failures, until_ms: now_ms.saturating_add(self.delays.longest_ms) });
    }

    fn insert(&mut self, key: K, rest: Rest) {
        self.resting.insert(key, rest);
        if self.resting.len() > self.max
            && let Some((_, first)) = self.resting.iter().map(|(key, rest)| (rest.until_ms, *key)).min()
        {
            self.resting.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: Delays = Delays { first_ms: 2_000, longest_ms: 600_000 };

    #[test]
    fn delays_double_up_to_the_longest_and_end_with_success() {
        let mut backoff = Backoff::new(DELAYS, 9);
        let mut last = 0;
        for n in 0..100 {
            backoff.back_off(0, 0);
            let until = backoff.until_ms(&0);
            assert!(until >= last && until <= DELAYS.longest_ms);
            assert!(n > 3 || until == DELAYS.first_ms << n);
            last = until;
        }
        assert_eq!((last, backoff.failures(&0)), (DELAYS.longest_ms, 100));
        assert!(backoff.is_resting(&0, last - 1) && !backoff.is_resting(&0, last));
        backoff.reset(&0);
        assert_eq!((backoff.until_ms(&0), backoff.failures(&0)), (0, 0));
        for key in 0..20 {
            backoff.penalize(key, 0);
        }
        assert_eq!(backoff.resting.len(), 9);
    }

    #[test]
    fn failures_at_the_same_time_count_once() {
        let mut backoff = Backoff::new(DELAYS, 9);
        (0..50).for_each(|at| backoff.back_off_once(0, at));
        assert_eq!((backoff.failures(&0), backoff.until_ms(&0)), (1, DELAYS.first_ms));
        backoff.back_off_once(0, DELAYS.first_ms);
        assert_eq!((backoff.failures(&0), backoff.until_ms(&0)), (2, 3 * DELAYS.first_ms));
    }
}
