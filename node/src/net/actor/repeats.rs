//! A failure that comes again and again, such as ten times a second while descriptors are short: one line, then counts.

use std::fmt::Display;

use tokio::time::{Duration, Instant};

/// Between two lines about failures of one kind.
const PAUSE: Duration = Duration::from_secs(60);

/// What was said, and what was not.
#[derive(Debug, Default)]
pub struct Repeats {
    said: Option<Instant>,
    since: u64,
}

impl Repeats {
    /// It failed.
    pub fn warn(&mut self, now: Instant, error: &dyn Display) {
        self.quiet(now);
        if self.said.is_some() {
            self.since += 1;
            return;
        }
        self.said = Some(now);
        tracing::warn!("a listener failed for a moment: {error}");
    }

    /// Says how often it failed since, once the pause is over.
    pub fn quiet(&mut self, now: Instant) {
        if self.said.is_none_or(|said| now.duration_since(said) < PAUSE) {
            return;
        }
        self.said = (self.since > 0).then_some(now);
        if self.since > 0 {
            tracing::warn!("a listener failed {} times more in the last {} s", self.since, PAUSE.as_secs());
        }
        self.since = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once_and_then_counted() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        for tenth in 0..100 {
            repeats.warn(start + Duration::from_millis(100 * tenth), &"full");
        }
        assert_eq!((repeats.said, repeats.since), (Some(start), 99));
        repeats.quiet(start + PAUSE);
        assert_eq!((repeats.said, repeats.since), (Some(start + PAUSE), 0), "the count was said");
        repeats.quiet(start + 2 * PAUSE);
        assert_eq!((repeats.said, repeats.since), (None, 0), "nothing more to say: the next one is news");
    }
}
