//! The requests of one stream that have no whole answer yet.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use potluck_protocol::bulk::Request;
use potluck_protocol::codec::Heard;
use potluck_protocol::id::ShardId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::limits::REQUEST_BYTES;
use super::super::lock;

/// No request takes less memory.
const LEAST_BYTES: usize = 64;

/// Those requests. Their number is bounded by the queue that they go through, their bytes by [`Self::room`].
#[derive(Debug)]
pub struct Asked {
    /// The oldest first.
    waiting: Mutex<VecDeque<(Option<ShardId>, Arc<AtomicBool>)>>,
    /// Bytes that may be read ahead.
    room: Arc<Semaphore>,
}

/// Room for one request in memory, until it has its answer.
#[derive(Debug)]
pub struct Room {
    /// Held, not read.
    _permit: Option<OwnedSemaphorePermit>,
}

/// One of them, on its way to its answer.
#[derive(Debug)]
pub struct Pending {
    /// What the peer asks.
    pub request: Heard<Request>,
    called_back: Arc<AtomicBool>,
    _room: Room,
}

impl Default for Asked {
    fn default() -> Self {
        Self { waiting: Mutex::default(), room: Arc::new(Semaphore::new(REQUEST_BYTES)) }
    }
}

impl Asked {
    /// Waits until a request of so many bytes has room beside those that wait for their answers.
    pub async fn room(&self, bytes: usize) -> Room {
        let bytes = bytes.clamp(LEAST_BYTES, REQUEST_BYTES) as u32;
        // It is never closed.
        Room { _permit: self.room.clone().acquire_many_owned(bytes).await.ok() }
    }

    /// Writes a request down.
    pub fn note(&self, request: Heard<Request>, room: Room) -> Pending {
        let called_back = Arc::new(AtomicBool::new(false));
        let shard = if let Heard::Known(Request::Shard(id)) = &request { Some(*id) } else { None };
        lock(&self.waiting).push_back((shard, called_back.clone()));
        Pending { request, called_back, _room: room }
    }

    /// Calls the oldest request for a shard back. None: it has been answered meanwhile.
    pub fn call_back(&self, id: ShardId) {
        let waiting = lock(&self.waiting);
        let wanted = waiting.iter().filter(|(shard, _)| *shard == Some(id)).map(|(_, called_back)| called_back);
        if let Some(called_back) = wanted.into_iter().find(|called_back| !called_back.load(Ordering::Relaxed)) {
            called_back.store(true, Ordering::Relaxed);
        }
    }

    /// The oldest has its answer.
    pub fn answered(&self) {
        lock(&self.waiting).pop_front();
    }

    /// Nothing waits for an answer.
    pub fn is_empty(&self) -> bool {
        lock(&self.waiting).is_empty()
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
    use futures::FutureExt;
    use potluck_protocol::id::Digest;
    use potluck_protocol::limits::REQUEST_MAX;

    use super::super::super::limits::REQUESTS;
    use super::*;

    fn shard(name: &str) -> ShardId {
        ShardId(Digest::of(name.as_bytes()))
    }

    fn note(asked: &Asked, name: &str) -> Pending {
        let room = asked.room(36).now_or_never().expect("there is room");
        asked.note(Heard::Known(Request::Shard(shard(name))), room)
    }

    #[test]
    fn the_oldest_request_for_the_shard_is_called_back_and_no_other() {
        let asked = Asked::default();
        let all = ["a", "b", "a", "a"].map(|name| note(&asked, name));
        let back = |all: &[Pending; 4]| all.each_ref().map(Pending::is_called_back);
        asked.call_back(shard("a"));
        assert_eq!(back(&all), [true, false, false, false]);
        asked.call_back(shard("a"));
        assert_eq!(back(&all), [true, false, true, false]);
        asked.call_back(shard("none"));
        assert_eq!(back(&all), [true, false, true, false]);
    }

    #[test]
    fn what_is_read_ahead_is_bounded_in_bytes_and_as_many_shards_as_ever_can_be_asked_for() {
        let asked = Asked::default();
        let all: Vec<_> = (0..REQUESTS).map(|_| note(&asked, "a")).collect();
        drop(all);
        let mut long: Vec<_> = std::iter::from_fn(|| asked.room(REQUEST_MAX).now_or_never()).collect();
        assert_eq!(long.len() * REQUEST_MAX, REQUEST_BYTES);
        assert!(asked.room(1).now_or_never().is_none(), "it stays on the wire");
        long.pop();
        assert!(asked.room(REQUEST_MAX).now_or_never().is_some());
    }

    #[test]
    fn what_was_answered_is_not_called_back() {
        let asked = Asked::default();
        let [first, second] = ["a", "a"].map(|name| note(&asked, name));
        asked.answered();
        asked.call_back(shard("a"));
        assert!(!first.is_called_back() && second.is_called_back());
        asked.answered();
        assert!(asked.is_empty());
        asked.call_back(shard("a"));
    }
}
