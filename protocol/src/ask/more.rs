//! When more providers are wanted than say that they have it.

/// Without anything new for so long.
const FRUITLESS_MS: u64 = 3_000;

/// While something comes, the time between two doubles up to this: what comes may be a trickle, and a faster provider not
/// asked yet.
const DOUBLINGS_MAX: u32 = 4;

/// The clock of one transfer.
#[derive(Clone, Debug)]
pub struct More {
    /// When something new came last, or it began.
    came_ms: u64,
    /// When more were wanted last, or it began.
    wanted_ms: u64,
    /// How often more were wanted although something came.
    times: u32,
}

impl More {
    /// A transfer begins.
    pub fn new(now_ms: u64) -> Self {
        Self { came_ms: now_ms, wanted_ms: now_ms, times: 0 }
    }

    /// Something new came.
    pub fn delivered(&mut self, now_ms: u64) {
        self.came_ms = now_ms;
    }

    /// Whether more are wanted now; if so, not again for a while.
    pub fn is_due(&mut self, now_ms: u64) -> bool {
        let since = now_ms.saturating_sub(self.wanted_ms);
        let fruitless = since.min(now_ms.saturating_sub(self.came_ms)) >= FRUITLESS_MS;
        let slow = since >= FRUITLESS_MS << self.times;
        if slow {
            self.times = (self.times + 1).min(DOUBLINGS_MAX);
        }
        if slow || fruitless {
            self.wanted_ms = now_ms;
        }
        slow || fruitless
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When more are wanted within two minutes, if something new comes each so many milliseconds.
    fn wanted(every_ms: u64) -> Vec<u64> {
        let mut more = More::new(0);
        let wanted = (0..=120_000_u64).step_by(250).filter(|now| {
            if *now > 0 && now.is_multiple_of(every_ms) {
                more.delivered(*now);
            }
            more.is_due(*now)
        });
        wanted.collect()
    }

    #[test]
    fn a_trickle_does_not_keep_a_pull_from_asking_further_providers() {
        assert_eq!(wanted(500), [3_000, 9_000, 21_000, 45_000, 93_000]);
    }

    #[test]
    fn whoever_delivers_nothing_is_one_of_more_every_three_seconds() {
        assert_eq!(wanted(u64::MAX), (1..=40).map(|n| 3_000 * n).collect::<Vec<_>>());
        // A shard a minute is nothing most of the time.
        assert!(wanted(60_000).len() > 35);
    }
}
