//! A number of bytes a second, kept exactly: each piece gets the moment from which it may be sent.

use std::num::NonZeroU64;

use potluck_protocol::limits::MIB;

/// Burst allowance. Kept short, so that a rate limit does not cause bursts on a shared line.
const BURST_US: u64 = 100_000;

/// Bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed(NonZeroU64);

impl Speed {
    /// The slowest that a person can set: below it a shard would not come within the time that peers give it.
    pub const MIN: u64 = 16 << 10;

    /// `None` below [`Self::MIN`].
    pub fn new(bytes_per_second: u64) -> Option<Self> {
        (bytes_per_second >= Self::MIN).then(|| NonZeroU64::new(bytes_per_second)).flatten().map(Self)
    }

    /// Microseconds for so many bytes, at most a few shards.
    fn time_us(self, bytes: usize) -> u64 {
        bytes.min(16 * MIB) as u64 * 1_000_000 / self.0
    }
}

/// What keeps a speed (the generic cell rate algorithm: ITU-T I.371, virtual scheduling).
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    speed: Speed,
    /// When the next piece would be due at exactly this speed.
    due_us: u64,
}

impl Pace {
    /// At rest: the first turns come at once, as far as [`BURST_US`] goes.
    pub fn new(speed: Speed) -> Self {
        Self { speed, due_us: 0 }
    }

    /// The earliest moment for a piece.
    fn earliest_us(&self, now_us: u64) -> u64 {
        self.due_us.saturating_sub(BURST_US).max(now_us)
    }

    fn take(&mut self, bytes: usize, at_us: u64) {
        self.due_us = self.due_us.max(at_us) + self.speed.time_us(bytes);
    }

    /// It is as a new one.
    pub fn is_rested(&self, now_us: u64) -> bool {
        self.due_us <= now_us
    }
}

/// The moment from which a piece may be sent that all of these are to carry.
pub fn slot<'a>(paces: impl IntoIterator<Item = &'a mut Pace>, bytes: usize, now_us: u64) -> u64 {
    let mut paces: Vec<_> = paces.into_iter().collect();
    let at_us = paces.iter().map(|pace| pace.earliest_us(now_us)).max().unwrap_or(now_us);
    paces.iter_mut().for_each(|pace| pace.take(bytes, at_us));
    at_us
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(speed: u64) -> Pace {
        Pace::new(Speed::new(speed).expect("fast enough"))
    }

    #[test]
    fn nothing_slower_than_the_least_speed_can_be_set() {
        assert_eq!(Speed::new(Speed::MIN - 1), None);
        assert_eq!(Speed::new(0), None);
        assert!(Speed::new(Speed::MIN).is_some());
    }

    proptest! {
        /// Whenever pieces come: in any stretch of time no more is sent than the speed, the burst and one piece.
        #[test]
        fn no_stretch_of_time_carries_more_than_the_speed(
            speed in Speed::MIN..200_000_000,
            pieces in proptest::collection::vec((1..=256usize << 10, 0..500_000u64), 1..200),
        ) {
            let mut pace = pace(speed);
            let (mut now_us, mut sent) = (0, Vec::new());
            for (bytes, pause_us) in pieces {
                now_us += pause_us;
                let at_us = slot([&mut pace], bytes, now_us);
                prop_assert!(at_us >= now_us);
                now_us = at_us;
                sent.push((at_us, bytes));
            }
            for from in 0..sent.len() {
                let mut total = 0;
                for &(at_us, bytes) in &sent[from..] {
                    let stretch_us = at_us - sent[from].0 + BURST_US;
                    prop_assert!(total as f64 <= stretch_us as f64 * speed as f64 / 1e6 + sent.len() as f64);
                    total += bytes;
                }
            }
        }

        /// With enough to send, the slowest of the paces is used in full.
        #[test]
        fn the_slowest_pace_is_used_in_full(speeds in proptest::collection::vec(1_000_000..100_000_000u64, 1..4)) {
            let mut paces: Vec<_> = speeds.iter().map(|speed| pace(*speed)).collect();
            let (mut now_us, piece) = (0, 64 << 10);
            for _ in 0..500 {
                now_us = slot(&mut paces, piece, now_us);
            }
            let slowest = *speeds.iter().min().expect("one at least") as f64;
            // The burst is made up for at the start; the pieces after it keep the speed.
            let at_speed = 499.0 * piece as f64 / slowest;
            let took = (now_us + BURST_US) as f64 / 1e6;
            prop_assert!((took - at_speed).abs() < 0.01 * at_speed + 1e-3, "{} s, not {}", took, at_speed);
        }
    }
}
