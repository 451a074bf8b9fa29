//! Signs of a twin: another process that has this node's key, because its home was copied and both run.
//!
//! Two of one key cannot know what the other one numbers, so while there is a sign nothing that carries a number is signed
//! here. Two signs are certain: our own key answers where nobody can be but somebody else, and an announcement of ours is
//! heard that was numbered after this process began and is not from here. What a process before this one has announced
//! has lower numbers, and is no sign.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libp2p::Multiaddr;
use tokio::time::Instant;

use crate::lock;

/// So long after the last sign of a twin nothing is signed: a twin that runs shows itself again within minutes.
pub const UNSURE: Duration = Duration::from_secs(600);

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It answered when an address was dialled.
    Answers(Multiaddr),
    /// It came to us.
    Comes,
    /// An announcement with this number.
    Announces(u64),
}

impl std::fmt::Display for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answers(address) => write!(f, "another process with this node's key answers at {address}"),
            Self::Comes => write!(f, "another process with this node's key connects to this one"),
            Self::Announces(_) => write!(f, "another process with this node's key announces what this one did not"),
        }
    }
}

/// What is known of a twin. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Twin(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Numbers above it are this process's, or a twin's.
    begun: u64,
    last: Option<(Sign, Instant)>,
}

impl Twin {
    /// `begun`: the highest number that a process before this one can have used.
    pub fn new(begun: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner { begun, last: None })))
    }

    /// There is one: said once, and again when it had not been seen for a while.
    pub fn record(&self, sign: Sign) {
        self.record_at(sign, Instant::now());
    }

    fn record_at(&self, sign: Sign, now: Instant) {
        let mut inner = self.lock();
        if inner.last.as_ref().is_none_or(|(_, at)| now.duration_since(*at) >= UNSURE) {
            tracing::warn!(
                "{sign}: nothing is published here until {} s after the last sign of it; stop one of the two, or give the \
                 copied home a key of its own (move its file `identity.key` away)",
                UNSURE.as_secs()
            );
        }
        inner.last = Some((sign, now));
    }

    /// An announcement of ours has come, and was not known here.
    pub fn check_number(&self, number: u64) {
        if number > self.lock().begun {
            self.record(Sign::Announces(number));
        }
    }

    /// What was seen last, if it was not long ago.
    pub fn now(&self) -> Option<Sign> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<Sign> {
        let inner = self.lock();
        inner.last.as_ref().filter(|(_, at)| now.duration_since(*at) < UNSURE).map(|(sign, _)| sign.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        lock::lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_numbered_after_the_start_is_a_sign_and_it_fades() {
        let twin = Twin::new(10);
        twin.check_number(10);
        assert_eq!(twin.now(), None, "a process before this one can have made it");
        twin.check_number(11);
        assert_eq!(twin.now(), Some(Sign::Announces(11)));
        let later = Instant::now() + UNSURE / 2;
        twin.record_at(Sign::Comes, later);
        assert_eq!(twin.at(later + UNSURE / 2), Some(Sign::Comes), "the last sign counts");
        assert_eq!(twin.at(later + UNSURE), None);
    }
}
