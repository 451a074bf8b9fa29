//! What a fetch says while it runs, and how it is told to end.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::HubError;

/// A thread that waits looks so often whether it shall end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a person sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// How far a fetch is.
    Bytes {
        /// Bytes that are here.
        done: u64,
        /// Bytes of all files.
        total: u64,
    },
    /// Something that is not as it should be, and goes on all the same.
    Note(String),
}

/// Whoever asked for the fetch.
pub struct Talk {
    tell: RefCell<Box<dyn FnMut(Event)>>,
    stop: CancellationToken,
}

impl Talk {
    /// `stop` ends the fetch at its next step; what has come is kept.
    pub fn new(tell: impl FnMut(Event) + 'static, stop: CancellationToken) -> Self {
        Self { tell: RefCell::new(Box::new(tell)), stop }
    }

    pub(super) fn note(&self, text: impl Into<String>) {
        (self.tell.borrow_mut())(Event::Note(text.into()));
    }

    pub(super) fn bytes(&self, done: u64, total: u64) {
        (self.tell.borrow_mut())(Event::Bytes { done, total });
    }

    /// Whether to go on.
    pub(super) fn go_on(&self) -> Result<(), HubError> {
        if self.stop.is_cancelled() { Err(HubError::Interrupted) } else { Ok(()) }
    }

    pub(super) fn wait(&self, time: Duration) -> Result<(), HubError> {
        let begun = Instant::now();
        loop {
            self.go_on()?;
            match time.checked_sub(begun.elapsed()) {
                None | Some(Duration::ZERO) => return Ok(()),
                Some(left) => std::thread::sleep(left.min(LOOK_EVERY)),
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::rc::Rc;

    use super::*;

    /// A talk that nobody stops, and what is said in it.
    pub fn recorded() -> (Talk, Rc<RefCell<Vec<Event>>>) {
        let told = Rc::<RefCell<Vec<Event>>>::default();
        let telling = told.clone();
        (Talk::new(move |event| telling.borrow_mut().push(event), CancellationToken::new()), told)
    }

    #[test]
    fn a_wait_ends_when_it_is_told_to() {
        let (talk, told) = recorded();
        talk.wait(Duration::from_millis(1)).expect("nobody stops it");
        talk.note("a");
        talk.stop.cancel();
        assert!(matches!(talk.wait(Duration::from_secs(3600)), Err(HubError::Interrupted)));
        assert_eq!(told.take(), [Event::Note("a".to_owned())]);
    }
}
