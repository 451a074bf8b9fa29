//! A muxer that hands over no more streams of its peer than are allowed.
//!
//! Each stream that a peer opens costs a negotiation and a task before anything is asked on it, whatever its protocol. The
//! next one is not taken from the connection before its turn: it costs little there, and what the muxer cannot keep it
//! resets.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use potluck_protocol::rate_limit::{Rate, TokenBucket};
use tokio::time::{Instant, Sleep, sleep_until};

/// See the module.
pub struct Paced<M> {
    muxer: M,
    streams: TokenBucket,
    since: Instant,
    /// When the next stream may come, if that is later than now.
    turn: Option<Pin<Box<Sleep>>>,
}

impl<M> Paced<M> {
    /// Lets streams in at this rate.
    pub fn new(muxer: M, streams: Rate) -> Self {
        Self { muxer, streams: TokenBucket::new(streams), since: Instant::now(), turn: None }
    }

    /// A stream came: when the next one may.
    fn note_stream(&mut self) {
        let now_ms = self.since.elapsed().as_millis() as u64;
        if let Some(at_ms) = self.streams.reserve(now_ms, u64::MAX).filter(|at_ms| *at_ms > now_ms) {
            self.turn = Some(Box::pin(sleep_until(self.since + Duration::from_millis(at_ms))));
        }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Paced<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<M::Substream, M::Error>> {
        let this = self.get_mut();
        if let Some(turn) = &mut this.turn {
            ready!(turn.as_mut().poll(cx));
            this.turn = None;
        }
        let stream = ready!(Pin::new(&mut this.muxer).poll_inbound(cx))?;
        this.note_stream();
        Poll::Ready(Ok(stream))
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<M::Substream, M::Error>> {
        Pin::new(&mut self.get_mut().muxer).poll_outbound(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Pin::new(&mut self.get_mut().muxer).poll_close(cx)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.get_mut().muxer).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use futures::io::Cursor;

    use super::*;

    /// A connection whose peer opens streams without end.
    struct Endless;

    impl StreamMuxer for Endless {
        type Substream = Cursor<Vec<u8>>;
        type Error = Infallible;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<Self::Substream, Infallible>> {
            Poll::Ready(Ok(Cursor::new(Vec::new())))
        }

        fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, Infallible>> {
            self.poll_inbound(cx)
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Infallible>> {
            Poll::Pending
        }
    }

    const HOUR_MS: u64 = 3_600_000;

    #[tokio::test]
    async fn so_many_streams_come_at_once_and_then_none_before_its_turn() {
        let mut paced = Paced::new(Endless, Rate { burst: 5, refill_ms: HOUR_MS });
        let count = poll_fn(|cx| {
            let mut paced = Pin::new(&mut paced);
            Poll::Ready((0..50).take_while(|_| paced.as_mut().poll_inbound(cx).is_ready()).count())
        });
        // The sixth is one ahead of its turn, and all others wait for that.
        assert_eq!(count.await, 6);
        poll_fn(|cx| {
            assert!(Pin::new(&mut paced).poll_outbound(cx).is_ready(), "our own streams wait for nothing");
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_when_their_turn_is() {
        let mut paced = Paced::new(Endless, Rate { burst: 1, refill_ms: 1 });
        for _ in 0..20 {
            poll_fn(|cx| Pin::new(&mut paced).poll_inbound(cx)).await.expect("it never fails");
        }
    }
}
