//! How fast a provider is: bytes over the time in which it owed something, and how long it takes to begin.

/// Taken for the speed until something was measured, in bytes a second.
pub const RATE_GUESS: u64 = 512 << 10;
/// Slower and faster than this does not count: keeps the times finite and the sums small.
const RATE_MIN: u64 = 1 << 10;
const RATE_MAX: u64 = 1 << 40;
/// Taken for the round trip until it was measured.
pub const RTT_GUESS_MS: u64 = 100;
/// Older measurements count half when there are so many milliseconds of them.
const MEMORY_MS: u64 = 4_000;
/// A silence up to this says nothing about speed: both sides have other things to do.
pub const HICCUP_MS: u64 = 200;

/// Measured speed. Sums rather than a mean of samples: a burst after a silence must not count as a great speed.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes: u64,
    /// The time that they took, while something was owed.
    took_ms: u64,
    rtt_ms: Option<u64>,
    measured: bool,
}

impl Pace {
    /// Nothing is measured yet: guesses.
    pub fn new() -> Self {
        Self { bytes: RATE_GUESS / 4, took_ms: 250, rtt_ms: None, measured: false }
    }

    /// So many bytes came in so many milliseconds.
    pub fn record(&mut self, bytes: u64, ms: u64) {
        if !std::mem::replace(&mut self.measured, true) {
            (self.bytes, self.took_ms) = (0, 0);
        }
        self.bytes += bytes;
        self.took_ms += ms;
        while self.took_ms > MEMORY_MS {
            self.bytes /= 2;
            self.took_ms /= 2;
        }
    }

    /// The first sign of life came so long after a question to a provider that had nothing else to do.
    pub fn record_rtt(&mut self, ms: u64) {
        // Less is believed at once: what lies above the least is work, not way.
        self.rtt_ms = Some(self.rtt_ms.map_or(ms, |old| if ms > old { (7 * old + ms) / 8 } else { ms }));
    }

    /// It stood still: it is thought half as fast.
    pub fn halve(&mut self) {
        self.bytes /= 2;
        self.measured = true;
    }

    /// Whether the rate is more than a guess.
    pub fn is_measured(&self) -> bool {
        self.measured
    }

    /// Milliseconds until a provider with nothing else to do begins to answer.
    pub fn rtt_ms(&self) -> u64 {
        self.rtt_ms.unwrap_or(RTT_GUESS_MS)
    }

    /// Bytes a second.
    pub fn rate(&self) -> u64 {
        self.rate_after(0)
    }

    /// The same of one that has been silent for so long although it owes something.
    pub fn rate_after(&self, silent_ms: u64) -> u64 {
        let ms = self.took_ms + silent_ms.saturating_sub(HICCUP_MS + self.rtt_ms());
        (self.bytes.saturating_mul(1000) / ms.max(1)).clamp(RATE_MIN, RATE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_after_a_silence_is_no_speed() {
        let mut pace = Pace::new();
        // One second of silence, then ten shards at once: 10 MiB in a second.
        pace.record(1 << 20, 1000);
        (0..9).for_each(|_| pace.record(1 << 20, 0));
        assert_eq!(pace.rate(), 10 << 20);
    }

    #[test]
    fn a_new_speed_is_believed_within_seconds() {
        let mut pace = Pace::new();
        (0..100).for_each(|_| pace.record(1 << 20, 100));
        assert_eq!(pace.rate() >> 20, 10);
        (0..6).for_each(|_| pace.record(1 << 20, 1000));
        assert!(pace.rate() < 3 << 20, "{}", pace.rate());
    }

    #[test]
    fn silence_makes_slower_and_stays_finite() {
        let mut pace = Pace::new();
        pace.record(1 << 20, 100);
        assert_eq!(pace.rate_after(HICCUP_MS), pace.rate());
        assert!(pace.rate_after(10_000) < pace.rate() / 50);
        assert_eq!(pace.rate_after(u64::MAX / 2), RATE_MIN);
        pace.record_rtt(10);
        pace.record_rtt(90);
        assert_eq!(pace.rtt_ms(), 20);
        pace.record_rtt(3);
        assert_eq!(pace.rtt_ms(), 3);
    }
}
