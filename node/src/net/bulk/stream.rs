//! The two ends of a bulk stream. They are different types, so that the half-duplex rule cannot be broken: who opened
//! sends requests and reads replies, who accepted reads requests and sends replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use libp2p::{PeerId, Stream};
use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::codec::Heard;
use tokio::time::timeout;

use super::super::limits::{STREAM_IDLE, STREAMS, STREAMS_NEAR, STREAMS_PER_PEER, STREAMS_SURE};
use super::frame::{self, FrameError};
use crate::addresses::AddressGroup;
use crate::net::counters::NetCounters;
use crate::net::counters::bulk::Direction;

/// The end that asks.
#[derive(Debug)]
pub struct Outbound {
    peer: PeerId,
    stream: Stream,
    metrics: NetCounters,
}

impl Outbound {
    pub(super) fn new(peer: PeerId, stream: Stream, metrics: NetCounters) -> Self {
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

    /// The next reply frame, at most [`STREAM_IDLE`] from now. One that only a later version knows is as good as none:
    /// the peer does not have what was asked for in a form that is of use here.
    pub async fn receive(&mut self) -> Result<Reply, FrameError> {
        receive_reply(&mut self.stream, &self.metrics).await
    }

    /// One request with one reply frame.
    pub async fn ask(&mut self, request: &Request) -> Result<Reply, FrameError> {
        self.send(request).await?;
        self.receive().await
    }

    /// Its two directions, so that requests can be sent while an answer is read.
    pub fn split(self) -> (Asker, Answers) {
        let (reader, writer) = self.stream.split();
        (Asker(writer), Answers { stream: reader, metrics: self.metrics })
    }

    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// Sends the requests of an [`Outbound`].
#[derive(Debug)]
pub struct Asker(WriteHalf<Stream>);

impl Asker {
    /// As [`Outbound::send`].
    pub async fn send(&mut self, request: &Request) -> Result<(), FrameError> {
        within(STREAM_IDLE, frame::write(&mut self.0, request)).await
    }
}

/// Receives the answers of an [`Outbound`].
#[derive(Debug)]
pub struct Answers {
    stream: ReadHalf<Stream>,
    metrics: NetCounters,
}

impl Answers {
    /// As [`Outbound::receive`]. Not to be given up half-way: the rest of a frame would be taken for the next one.
    pub async fn receive(&mut self) -> Result<Reply, FrameError> {
        receive_reply(&mut self.stream, &self.metrics).await
    }
}

async fn receive_reply(stream: &mut (impl AsyncRead + Unpin), metrics: &NetCounters) -> Result<Reply, FrameError> {
    let heard = within(STREAM_IDLE, frame::read(stream)).await?.ok_or(FrameError::Ended)?;
    let reply = match heard {
        Heard::Known(reply) => reply,
        Heard::Later(_) => Reply::Refused(Refusal::NotFound),
    };
    metrics.bulk.answered(Direction::In, &reply);
    Ok(reply)
}

/// How a stream's connection came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// It leads through a relay.
    pub relayed: bool,
    /// The neighbourhood at its other end.
    pub group: AddressGroup,
}

/// The end that answers. Counts against its peer's allowance until it is dropped.
#[derive(Debug)]
pub struct Inbound {
    peer: PeerId,
    route: Route,
    stream: Stream,
    /// Held, not read: gives the peer's place back.
    _place: Slot,
    metrics: NetCounters,
}

impl Inbound {
    pub(super) fn new(peer: PeerId, route: Route, stream: Stream, place: Slot, metrics: NetCounters) -> Self {
        Self { peer, route, stream, _place: place, metrics }
    }

    /// Who asks.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where it comes from.
    pub fn group(&self) -> AddressGroup {
        self.route.group
    }

    /// The next request; `None` when the peer is done.
    #[cfg(test)]
    pub async fn receive(&mut self) -> Result<Option<Request>, FrameError> {
        match within(STREAM_IDLE, frame::read(&mut self.stream)).await? {
            Some(Heard::Known(request)) => Ok(Some(request)),
            Some(Heard::Later(tag)) => panic!("request {tag} is no test's"),
            None => Ok(None),
        }
    }

    /// One answer.
    #[cfg(test)]
    pub async fn send(&mut self, reply: &Reply) -> Result<(), FrameError> {
        within(STREAM_IDLE, frame::write(&mut self.stream, reply)).await
    }

    /// It leads through a relay.
    #[cfg(test)]
    pub fn is_relayed(&self) -> bool {
        self.route.relayed
    }

    /// Its two directions, so that a request can be called back while it is answered.
    pub fn split(self) -> (Requests, Replier) {
        let Self { peer, route, stream, _place, metrics } = self;
        let (reader, writer) = stream.split();
        let requests = Requests { stream: reader, metrics: metrics.clone() };
        (requests, Replier { peer, relayed: route.relayed, stream: writer, _place, metrics })
    }

    #[cfg(test)]
    pub(crate) fn raw(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

/// Receives the requests of an [`Inbound`].
#[derive(Debug)]
pub struct Requests {
    stream: ReadHalf<Stream>,
    metrics: NetCounters,
}

impl Requests {
    /// The next request and its length, whenever it comes; `None` when the peer is done. How long to wait is the caller's
    /// to say: a peer that waits for an answer says nothing.
    pub async fn receive(&mut self) -> Result<Option<(Heard<Request>, usize)>, FrameError> {
        let request = frame::read_sized(&mut self.stream).await?;
        if let Some((request, _)) = &request {
            self.metrics.bulk.asked(request);
        }
        Ok(request)
    }
}

/// Sends the replies of an [`Inbound`].
#[derive(Debug)]
pub struct Replier {
    peer: PeerId,
    relayed: bool,
    stream: WriteHalf<Stream>,
    /// Held, not read: gives the peer's place back.
    _place: Slot,
    metrics: NetCounters,
}

impl Replier {
    /// Who asks.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// It came through a relay, which carries no shards.
    pub fn is_relayed(&self) -> bool {
        self.relayed
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
}

/// Inbound streams that are open: those of one peer over all its connections, and of those that are not its first ones,
/// those of its neighbourhood and those of everybody. // I12
#[derive(Clone, Debug)]
pub(super) struct Slots {
    /// Streams of this peer.
    pub peer: Arc<AtomicUsize>,
    /// Streams of its neighbourhood; `None` on this machine.
    pub near: Option<Arc<AtomicUsize>>,
    /// Streams of all peers.
    pub all: Arc<AtomicUsize>,
}

impl Slots {
    /// A place, if it is the peer's first one, or if the peer, its neighbourhood and all together have fewer than they may.
    pub fn take(&self) -> Option<Slot> {
        if let Some(sure) = Taken::take(&self.peer, STREAMS_SURE) {
            return Some(Slot { _of_peer: sure, _shared: None });
        }
        let of_peer = Taken::take(&self.peer, STREAMS_PER_PEER)?;
        let of_near = match &self.near {
            Some(near) => Some(Taken::take(near, STREAMS_NEAR)?),
            None => None,
        };
        Some(Slot { _of_peer: of_peer, _shared: Some((of_near, Taken::take(&self.all, STREAMS)?)) })
    }
}

/// One stream's place.
#[derive(Debug)]
pub(super) struct Slot {
    _of_peer: Taken,
    /// What it takes of what its neighbourhood, and all, may have.
    _shared: Option<(Option<Taken>, Taken)>,
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
    timeout(limit, io).await.unwrap_or(Err(FrameError::stalled(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(near: Option<&Arc<AtomicUsize>>, all: &Arc<AtomicUsize>) -> Slots {
        Slots { peer: Arc::default(), near: near.cloned(), all: all.clone() }
    }

    fn take_all(slots: &Slots) -> Vec<Slot> {
        (0..100).filter_map(|_| slots.take()).collect()
    }

    #[test]
    fn places_are_bounded_for_each_peer_and_for_all_together_and_come_back() {
        let all = Arc::<AtomicUsize>::default();
        let peers: Vec<_> = (0..100).map(|_| of(None, &all)).collect();
        let taken: Vec<_> = peers.iter().map(take_all).collect();
        assert_eq!(taken[0].len(), STREAMS_PER_PEER);
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), STREAMS + peers.len() * STREAMS_SURE);
        drop(taken);
        assert_eq!(all.load(Ordering::Relaxed), 0);
        assert!(peers.iter().all(|peer| peer.peer.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_peers_first_stream_has_a_place_and_a_neighbourhood_takes_a_part_of_the_others() {
        let (all, near) = (Arc::<AtomicUsize>::default(), Arc::default());
        let crowd: Vec<_> = (0..16).map(|_| of(Some(&near), &all)).collect();
        let taken: Vec<_> = crowd.iter().map(take_all).collect();
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>(), STREAMS_NEAR + crowd.len() * STREAMS_SURE);
        let elsewhere = take_all(&of(Some(&Arc::default()), &all));
        assert_eq!(elsewhere.len(), STREAMS_PER_PEER);
        // Crowds in many networks.
        let crowds: Vec<_> = (0..64).map(|_| take_all(&of(Some(&Arc::default()), &all))).collect();
        assert_eq!(all.load(Ordering::Relaxed), STREAMS);
        assert_eq!(take_all(&of(Some(&Arc::default()), &all)).len(), STREAMS_SURE);
        drop((taken, crowds, elsewhere));
        assert_eq!((all.load(Ordering::Relaxed), near.load(Ordering::Relaxed)), (0, 0));
    }
}
