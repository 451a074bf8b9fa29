//! The two ends of a bulk stream. They are different types, so that the half-duplex rule cannot be broken: who opened
//! sends requests and reads replies, who accepted reads requests and sends replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::AsyncWriteExt;
use libp2p::{PeerId, Stream};
use potluck_protocol::bulk::{Reply, Request};
use tokio::time::timeout;

use super::super::limits::{STREAM_IDLE, STREAMS, STREAMS_PER_PEER};
use super::frame::{self, FrameError};
use crate::metrics::bulk::Direction;
use crate::metrics::net::Net;

/// The end that asks.
#[derive(Debug)]
pub struct Outbound {
    peer: PeerId,
    stream: Stream,
    metrics: Net,
}

impl Outbound {
    pub(super) fn new(peer: PeerId, stream: Stream, metrics: Net) -> Self {
        Self { peer, stream, metrics }
    }

    /// Who will answer.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Sends one request. Several may be on their way; replies come in the order of the requests.
    pub async fn send(&mut self, request: &Request) -> Result<(), FrameError> {
        within(STREAM_IDLE, frame::write(&mut self.stream, request)).await
    }

    /// The next reply frame, at most [`STREAM_IDLE`] from now.
    pub async fn receive(&mut self) -> Result<Reply, FrameError> {
        let reply = within(STREAM_IDLE, frame::read(&mut self.stream)).await?.ok_or(FrameError::Ended)?;
        self.metrics.bulk.answered(Direction::In, &reply);
        Ok(reply)
    }

    /// One request with one reply frame.
    pub async fn ask(&mut self, request: &Request) -> Result<Reply, FrameError> {
        self.send(request).await?;
        self.receive().await
    }

    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// The end that answers. Counts against its peer's allowance until it is dropped.
#[derive(Debug)]
pub struct Inbound {
    peer: PeerId,
    stream: Stream,
    /// Held, not read: gives the peer's place back.
    _place: Place,
    metrics: Net,
}

impl Inbound {
    pub(super) fn new(peer: PeerId, stream: Stream, place: Place, metrics: Net) -> Self {
        Self { peer, stream, _place: place, metrics }
    }

    /// Who asks.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The next request; `None` when the peer is done.
    pub async fn receive(&mut self) -> Result<Option<Request>, FrameError> {
        let request = within(STREAM_IDLE, frame::read(&mut self.stream)).await?;
        if let Some(request) = &request {
            self.metrics.bulk.asked(request);
        }
        Ok(request)
    }

    /// Sends one reply frame; fails if the peer does not take it within [`STREAM_IDLE`].
    pub async fn send(&mut self, reply: &Reply) -> Result<(), FrameError> {
        self.metrics.bulk.answered(Direction::Out, reply);
        within(STREAM_IDLE, frame::write(&mut self.stream, reply)).await
    }

    /// Ends the stream in order, so that the last reply is not cut off by a reset.
    pub async fn close(mut self) -> Result<(), FrameError> {
        within(STREAM_IDLE, async { Ok(self.stream.close().await?) }).await
    }

    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// Inbound streams that are open: those of one peer, over all its connections, and those of everybody. // I12
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub peer: Arc<AtomicUsize>,
    pub all: Arc<AtomicUsize>,
}

impl Places {
    /// A place, if the peer and all together have fewer than they may.
    pub fn take(&self) -> Option<Place> {
        let of_peer = Taken::take(&self.peer, STREAMS_PER_PEER)?;
        Some(Place { _of_peer: of_peer, _of_all: Taken::take(&self.all, STREAMS)? })
    }
}

/// One stream's place.
#[derive(Debug)]
pub(super) struct Place {
    _of_peer: Taken,
    _of_all: Taken,
}

/// One of a number; given back when it is dropped.
#[derive(Debug)]
struct Taken(Arc<AtomicUsize>);

impl Taken {
    fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let place = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1));
        place.is_ok().then(|| Self(taken.clone()))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn within<T>(limit: Duration, io: impl Future<Output = Result<T, FrameError>>) -> Result<T, FrameError> {
    timeout(limit, io).await.unwrap_or(Err(FrameError::Stalled { seconds: limit.as_secs() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_peer_and_for_all_together_and_come_back() {
        let all = Arc::<AtomicUsize>::default();
        let peers: Vec<_> =
            (0..2 * STREAMS / STREAMS_PER_PEER).map(|_| Places { peer: Arc::default(), all: all.clone() }).collect();
        let of_one: Vec<_> = (0..100).filter_map(|_| peers[0].take()).collect();
        assert_eq!(of_one.len(), STREAMS_PER_PEER);
        let others: Vec<_> = peers.iter().flat_map(|peer| (0..100).filter_map(|_| peer.take())).collect();
        assert_eq!(of_one.len() + others.len(), STREAMS);
        drop((of_one, others));
        assert_eq!(all.load(Ordering::Relaxed), 0);
        assert!(peers.iter().all(|peer| peer.peer.load(Ordering::Relaxed) == 0));
    }
}
