//! The requests of one stream that have no whole answer yet.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use potluck_protocol::bulk::Request;
use potluck_protocol::codec::Heard;
use potluck_protocol::id::ShardId;

use super::super::lock;

/// Those requests, oldest first. Bounded by the queue that the requests themselves go through.
#[derive(Debug, Default)]
pub struct Asked(Mutex<VecDeque<(Option<ShardId>, Arc<AtomicBool>)>>);

/// One of them, on its way to its answer.
#[derive(Debug)]
pub struct Pending {
    /// What the peer asks.
    pub request: Heard<Request>,
    called_back: Arc<AtomicBool>,
}

impl Asked {
    /// Writes a request down.
    pub fn note(&self, request: Heard<Request>) -> Pending {
        let called_back = Arc::new(AtomicBool::new(false));
        let shard = if let Heard::Known(Request::Shard(id)) = &request { Some(*id) } else { None };
        lock(&self.0).push_back((shard, called_back.clone()));
        Pending { request, called_back }
    }

    /// Calls the oldest request for a shard back. None: it has been answered meanwhile.
    pub fn call_back(&self, id: ShardId) {
        let waiting = lock(&self.0);
        let wanted = waiting.iter().filter(|(shard, _)| *shard == Some(id)).map(|(_, called_back)| called_back);
        if let Some(called_back) = wanted.into_iter().find(|called_back| !called_back.load(Ordering::Relaxed)) {
            called_back.store(true, Ordering::Relaxed);
        }
    }

    /// The oldest has its answer.
    pub fn answered(&self) {
        lock(&self.0).pop_front();
    }

    /// Nothing waits for an answer.
    pub fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

impl Pending {
    /// Nobody wants the rest of the answer.
    pub fn is_called_back(&self) -> bool {
        self.called_back.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::id::Digest;

    use super::*;

    fn shard(name: &str) -> ShardId {
        ShardId(Digest::of(name.as_bytes()))
    }

    fn request(name: &str) -> Heard<Request> {
        Heard::Known(Request::Shard(shard(name)))
    }

    #[test]
    fn the_oldest_request_for_the_shard_is_called_back_and_no_other() {
        let asked = Asked::default();
        let all = ["a", "b", "a", "a"].map(|name| asked.note(request(name)));
        let back = |all: &[Pending; 4]| all.each_ref().map(Pending::is_called_back);
        asked.call_back(shard("a"));
        assert_eq!(back(&all), [true, false, false, false]);
        asked.call_back(shard("a"));
        assert_eq!(back(&all), [true, false, true, false]);
        asked.call_back(shard("none"));
        assert_eq!(back(&all), [true, false, true, false]);
    }

    #[test]
    fn what_was_answered_is_not_called_back() {
        let asked = Asked::default();
        let [first, second] = ["a", "a"].map(|name| asked.note(request(name)));
        asked.answered();
        asked.call_back(shard("a"));
        assert!(!first.is_called_back() && second.is_called_back());
        asked.answered();
        assert!(asked.is_empty());
        asked.call_back(shard("a"));
    }
}
