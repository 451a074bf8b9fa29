//! Attempts that are repeated after pauses that double.

use std::time::Duration;

use tokio::time::Instant;

/// When the next attempt is due, if there is to be one.
#[derive(Debug)]
pub struct Again {
    first: Duration,
    longest: Duration,
    pause: Duration,
    at: Option<Instant>,
}

impl Again {
    /// With the first pause and the longest; nothing is due.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, pause: first, at: None }
    }

    /// When the next attempt is due.
    pub const fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Whether an attempt is to be made now; it is asked for once.
    pub fn take(&mut self, now: Instant) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    /// An attempt was made, or there is a reason for one: the next is due after the pause, and the one after that after
    /// twice as long. One that is due already stays.
    pub fn later(&mut self, now: Instant) {
        if self.at.is_none() {
            self.at = Some(now + self.pause);
            self.pause = (self.pause * 2).min(self.longest);
        }
    }

    /// It went well: the next pause is the first again.
    pub const fn rest(&mut self) {
        self.pause = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_when_it_went_well() {
        let (second, start) = (Duration::from_secs(1), Instant::now());
        let mut again = Again::new(second, 3 * second);
        assert!(again.at().is_none() && !again.take(start + 9 * second), "nothing is due");
        let mut now = start;
        for pause in [1, 2, 3, 3] {
            again.later(now);
            again.later(now + second);
            let at = now + pause * second;
            assert_eq!(again.at(), Some(at));
            assert!(!again.take(at - second / 2) && again.take(at) && !again.take(at), "once, and not before");
            now = at;
        }
        again.rest();
        again.later(now);
        assert_eq!(again.at(), Some(now + second));
    }
}
