//! When which of our keys is told to the DHT: spread over time, never in a burst.
//!
//! A pure machine. One key at a time, with a pause between two that depends on their number: all of them together take a
//! quarter of the period. A key is due when three quarters of the period are over, so that it is told within the period
//! even if all were due at once. When each is due outlives the process; the pause begins anew with it, so that a
//! node that restarts again and again does not tell more than one that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::key::Key;
use super::limits::{PROVIDE_PACE, PROVIDE_PERIOD, PROVIDE_RETRY, PROVIDED};

const fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// A key that was told is due again after this.
const AGAIN_MS: u64 = ms(PROVIDE_PERIOD) / 4 * 3;

/// The keys and when each is due, in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    due: BTreeMap<Key, u64>,
    queue: BTreeSet<(u64, Key)>,
    /// No key before this.
    next_ms: u64,
}

impl Schedule {
    /// Goes on where an earlier process stopped; what it could not have said is due now.
    pub fn restore(kept: impl IntoIterator<Item = (Key, u64)>, now_ms: u64) -> Self {
        let mut schedule = Self::default();
        for (key, due_ms) in kept.into_iter().take(PROVIDED) {
            let possible = due_ms <= now_ms.saturating_add(AGAIN_MS);
            schedule.put(key, if possible { due_ms } else { now_ms });
        }
        schedule.next_ms = now_ms.saturating_add(schedule.pace_ms());
        schedule
    }

    /// What is to be told from now on, of it at most [`PROVIDED`]: what is new is due now. Returns what has gone.
    pub fn provide(&mut self, keys: impl IntoIterator<Item = Key>, now_ms: u64) -> Vec<Key> {
        let keys: BTreeSet<Key> = keys.into_iter().take(PROVIDED).collect();
        let gone: Vec<Key> = self.due.keys().filter(|key| !keys.contains(key)).copied().collect();
        gone.iter().for_each(|key| self.forget(key));
        for key in keys {
            if !self.due.contains_key(&key) {
                self.put(key, now_ms);
            }
        }
        gone
    }

    /// The key that is told now, if it is time for one.
    pub fn take(&mut self, now_ms: u64) -> Option<Key> {
        // A clock that was set back by more than a pause can ever be.
        if self.next_ms > now_ms.saturating_add(ms(PROVIDE_PACE)) {
            self.next_ms = now_ms;
        }
        let (due_ms, key) = *self.queue.first()?;
        if due_ms > now_ms || self.next_ms > now_ms {
            return None;
        }
        self.next_ms = now_ms.saturating_add(self.pace_ms());
        self.put(key, now_ms.saturating_add(AGAIN_MS));
        Some(key)
    }

    /// A key could not be told.
    pub fn failed(&mut self, key: Key, now_ms: u64) {
        if self.due.contains_key(&key) {
            self.put(key, now_ms.saturating_add(ms(PROVIDE_RETRY)));
        }
    }

    /// A key could not be told because there was nobody to tell it to: it waits for somebody.
    pub fn waits(&mut self, key: Key, now_ms: u64) {
        if self.due.contains_key(&key) {
            self.put(key, now_ms);
        }
    }

    /// When [`Self::take`] gives something next.
    pub fn wake_at_ms(&self) -> Option<u64> {
        self.queue.first().map(|(due_ms, _)| self.next_ms.max(*due_ms))
    }

    /// For the disk.
    pub fn entries(&self) -> impl Iterator<Item = (Key, u64)> + '_ {
        self.due.iter().map(|(key, due_ms)| (*key, *due_ms))
    }

    fn put(&mut self, key: Key, due_ms: u64) {
        self.forget(&key);
        self.due.insert(key, due_ms);
        self.queue.insert((due_ms, key));
    }

    fn forget(&mut self, key: &Key) {
        if let Some(due_ms) = self.due.remove(key) {
            self.queue.remove(&(due_ms, *key));
        }
    }

    fn pace_ms(&self) -> u64 {
        let quarter = ms(PROVIDE_PERIOD) / 4;
        (quarter / self.due.len().max(1) as u64).min(ms(PROVIDE_PACE))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_700_000_000_000;

    fn key(n: usize) -> Key {
        Key(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    /// Everything that is told until a time, with the time of each.
    fn run(schedule: &mut Schedule, now_ms: &mut u64, until_ms: u64) -> Vec<(u64, Key)> {
        let mut told = Vec::new();
        while let Some(at) = schedule.wake_at_ms().filter(|at| *at <= until_ms) {
            *now_ms = at.max(*now_ms);
            told.extend(schedule.take(*now_ms).map(|key| (*now_ms, key)));
        }
        *now_ms = until_ms;
        told
    }

    /// The longest time that any of so many keys waits, from a time on.
    fn longest(told: &[(u64, Key)], count: usize, from_ms: u64, until_ms: u64) -> u64 {
        let gap = |n: usize| {
            let own = told.iter().filter(|(_, one)| *one == key(n)).map(|(at, _)| *at);
            let times: Vec<u64> = std::iter::once(from_ms).chain(own).chain([until_ms]).collect();
            times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
        };
        (0..count).map(gap).max().unwrap_or(0)
    }

    fn check_spread(told: &[(u64, Key)], pace_ms: u64) {
        assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 >= pace_ms), "a burst");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

        #[test]
        fn every_key_is_told_within_the_period_and_never_two_at_once(
            count in 1usize..300, away_h in 0u64..100, restarts in prop::collection::vec(1u64..20_000, 0..5),
        ) {
            let mut now = START;
            let mut schedule = Schedule::default();
            prop_assert!(schedule.provide((0..count).map(key), now).is_empty());
            let until = now + 2 * ms(PROVIDE_PERIOD);
            let mut told = run(&mut schedule, &mut now, until);
            prop_assert!(longest(&told, count, START, now) <= ms(PROVIDE_PERIOD));
            // The process ends, is away, comes back, and ends again a few times.
            now += away_h * 3_600_000;
            let back = now;
            for run_s in restarts {
                schedule = Schedule::restore(schedule.entries().collect::<Vec<_>>(), now);
                schedule.provide((0..count).map(key), now);
                let until = now + run_s * 1000;
                told.extend(run(&mut schedule, &mut now, until));
            }
            let until = now + 2 * ms(PROVIDE_PERIOD);
            told.extend(run(&mut schedule, &mut now, until));
            check_spread(&told, schedule.pace_ms());
            let since: Vec<_> = told.into_iter().filter(|(at, _)| *at >= back).collect();
            // Each restart costs one pause at most.
            let slack = 5 * ms(PROVIDE_PACE);
            prop_assert!(longest(&since, count, back, now) <= ms(PROVIDE_PERIOD) + slack);
        }
    }

    #[test]
    fn a_full_schedule_is_spread_over_its_period() {
        let (mut now, mut schedule) = (START, Schedule::default());
        schedule.provide((0..PROVIDED + 10).map(key), now);
        let told = run(&mut schedule, &mut now, START + ms(PROVIDE_PERIOD));
        check_spread(&told, 1_300);
        let first: BTreeSet<_> = told.iter().map(|(_, key)| *key).collect();
        assert_eq!(first.len(), PROVIDED, "each of them, and no more than the bound");
    }

    #[test]
    fn a_crash_in_a_loop_tells_no_more_than_a_node_that_runs() {
        let mut kept: Vec<(Key, u64)> = (0..50).map(|n| (key(n), START)).collect();
        let mut told = 0;
        for second in 0..3_600 {
            let now = START + second * 1000;
            let mut schedule = Schedule::restore(kept.clone(), now);
            told += usize::from(schedule.take(now).is_some());
            kept = schedule.entries().collect();
        }
        assert_eq!(told, 0, "the pause begins anew with the process");
    }

    #[test]
    fn what_failed_is_tried_again_and_what_is_gone_is_not() {
        let mut schedule = Schedule::default();
        schedule.provide([key(1), key(2)], START);
        let first = schedule.take(START).expect("it is due");
        assert_eq!(schedule.take(START), None, "one at a time");
        schedule.failed(first, START);
        assert_eq!(
            schedule.entries().find(|(key, _)| *key == first).map(|(_, at)| at),
            Some(START + ms(PROVIDE_RETRY))
        );
        assert_eq!(schedule.provide([key(1)], START), [key(2)]);
        schedule.failed(key(2), START);
        assert_eq!(schedule.entries().count(), 1);
    }

    #[test]
    fn a_clock_that_jumps_does_not_stop_it() {
        let mut schedule = Schedule::default();
        schedule.provide([key(1)], START);
        assert!(schedule.take(START).is_some());
        // Kept under a clock that was a year ahead.
        let kept = [(key(1), START + 365 * 24 * 3_600_000), (key(2), START + 1)];
        let mut schedule = Schedule::restore(kept, START);
        let mut now = START;
        assert_eq!(run(&mut schedule, &mut now, START + 60_000).len(), 2);
        schedule.next_ms = START + 365 * 24 * 3_600_000;
        schedule.provide([key(1), key(2), key(3)], now);
        assert_eq!(schedule.take(now), Some(key(3)), "the pause is never longer than the longest");
    }
}
