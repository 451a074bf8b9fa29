//! Whom to leave alone, and for how long: pauses after failures, that double with each in a row.

use crate::splitmix::SplitMix64;

/// A provider may stand still for this long, or for four times what the shard should take.
const STALL_MS: u64 = 5_000;
/// Whoever sends no byte for so long has gone, however slow it was.
const STALL_MAX_MS: u64 = 120_000;
/// Pauses and stall times double with each failure in a row, up to this many times.
const DOUBLINGS_MAX: u32 = 6;
/// The shortest and longest pause that a busy provider may ask for.
const BUSY_MS: std::ops::RangeInclusive<u64> = 50..=10_000;
/// No pause is longer.
const PAUSE_MAX_MS: u64 = 60_000;
/// So many shards in a row may be missing before a pause.
const MISSES_FREE: u32 = 4;

/// A provider's failures in a row, and until when it is left alone for them.
#[derive(Clone, Debug, Default)]
pub struct Pause {
    until_ms: u64,
    stalls: u32,
    refusals: u32,
    misses: u32,
}

impl Pause {
    /// Whether it may be asked again.
    pub fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms
    }

    /// When it ends, if it is not over.
    pub fn ends_at_ms(&self, now_ms: u64) -> Option<u64> {
        (self.until_ms > now_ms).then_some(self.until_ms)
    }

    /// In a row, of all sorts.
    pub fn failures(&self) -> u32 {
        self.stalls + self.refusals + self.misses
    }

    /// A shard was delivered.
    pub fn reset(&mut self) {
        (self.stalls, self.refusals, self.misses) = (0, 0, 0);
    }

    /// How long it may stand still with a shard that should take so long.
    pub fn stall_after_ms(&self, expected_ms: u64) -> u64 {
        let stall_ms = STALL_MS.max(4 * expected_ms) << self.stalls.min(DOUBLINGS_MAX);
        stall_ms.min(STALL_MAX_MS)
    }

    /// It stood still: it gets more time the next time, and is left alone for a while.
    pub fn note_stall(&mut self, now_ms: u64, rng: &mut SplitMix64) {
        self.begin(STALL_MS, self.stalls, now_ms, rng);
        self.stalls += 1;
    }

    /// What it was reset for came after all.
    pub fn excuse(&mut self, now_ms: u64) {
        self.stalls = 0;
        self.until_ms = self.until_ms.min(now_ms);
    }

    /// It said `Busy`. What it says to all that it owes counts once.
    pub fn note_refusal(&mut self, retry_ms: u32, now_ms: u64, rng: &mut SplitMix64) {
        let asked_ms = u64::from(retry_ms).clamp(*BUSY_MS.start(), *BUSY_MS.end());
        if self.until_ms > now_ms {
            self.until_ms = self.until_ms.max(now_ms + asked_ms);
        } else {
            self.begin(asked_ms, self.refusals, now_ms, rng);
            self.refusals += 1;
        }
    }

    /// It does not have what it was asked for.
    pub fn note_miss(&mut self, now_ms: u64, rng: &mut SplitMix64) {
        self.misses += 1;
        if self.misses > MISSES_FREE {
            self.begin(*BUSY_MS.start(), self.misses - MISSES_FREE, now_ms, rng);
        }
    }

    /// A part by chance: many downloaders that were refused together shall not come back together.
    fn begin(&mut self, first_ms: u64, doublings: u32, now_ms: u64, rng: &mut SplitMix64) {
        let pause = (first_ms << doublings.min(DOUBLINGS_MAX)).min(PAUSE_MAX_MS);
        self.until_ms = self.until_ms.max(now_ms + pause + rng.below(pause / 4 + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_to_many_requests_counts_once_and_grows() {
        let mut rng = SplitMix64::new(1);
        let mut pause = Pause::default();
        (0..8).for_each(|_| pause.note_refusal(100, 0, &mut rng));
        let first = pause.ends_at_ms(0).expect("it waits");
        assert!((100..=125).contains(&first), "{first}");
        pause.note_refusal(100, first, &mut rng);
        let second = pause.ends_at_ms(first).expect("it waits") - first;
        assert!((200..=250).contains(&second), "{second}");
        (0..40).for_each(|n| pause.note_refusal(10_000, 1_000_000 * n, &mut rng));
        assert!(pause.ends_at_ms(39_000_000).expect("it waits") <= 39_000_000 + 75_000);
    }
}
