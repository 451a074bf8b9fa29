//! One connection's side: negotiates streams, hands them out, and answers those that have no place with `Busy`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use libp2p::{PeerId, Stream, StreamProtocol};
use potluck_protocol::bulk::{Refusal, Reply};
use tokio::sync::{mpsc, oneshot};

use super::super::limits::{BUSY_RETRY_MS, OPENING_PER_CONNECTION, REFUSING_PER_CONNECTION};
use super::behaviour::OpenError;
use super::frame;
use super::stream::{Inbound, Outbound, Route, Slots};
use crate::net::counters::{NetCounters, Queue};

/// "Open a stream on this connection", with the way back.
#[derive(Debug)]
pub struct Open(pub oneshot::Sender<Result<Outbound, OpenError>>);

impl Open {
    fn answer(self, result: Result<Outbound, OpenError>) {
        // Whoever asked may have gone; the stream is then reset by its drop.
        let _ = self.0.send(result);
    }
}

/// The handler of one connection.
pub struct Handler {
    peer: PeerId,
    route: Route,
    protocol: StreamProtocol,
    accepted: mpsc::Sender<Inbound>,
    slots: Slots,
    metrics: NetCounters,
    waiting: VecDeque<Open>,
    /// Streams asked of the connection and not yet negotiated.
    opening: usize,
    refusing: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Handler {
    pub(super) fn new(
        peer: PeerId,
        route: Route,
        protocol: StreamProtocol,
        accepted: mpsc::Sender<Inbound>,
        slots: Slots,
        metrics: NetCounters,
    ) -> Self {
        let refusing = FuturesUnordered::new();
        Self { peer, route, protocol, accepted, slots, metrics, waiting: VecDeque::new(), opening: 0, refusing }
    }

    fn accept(&mut self, stream: Stream) {
        let Some(place) = self.slots.take() else {
            return self.refuse(stream);
        };
        // The place in the queue first: a stream that was put into a message cannot be taken back out.
        if let Ok(permit) = self.accepted.try_reserve() {
            return permit.send(Inbound::new(self.peer, self.route, stream, place, self.metrics.clone()));
        }
        self.refuse(stream);
    }

    /// Answers with `Busy`; beyond the bound the stream is reset, for then somebody floods us.
    fn refuse(&mut self, stream: Stream) {
        self.metrics.dropped.inc(Queue::BulkStreams);
        if self.refusing.len() < REFUSING_PER_CONNECTION {
            self.refusing.push(busy(stream).boxed());
        }
    }

    fn failed(&mut self, error: DialUpgradeError<Open, ReadyUpgrade<StreamProtocol>>) {
        self.opening = self.opening.saturating_sub(1);
        let reason = match error.error {
            StreamUpgradeError::NegotiationFailed => OpenError::Unsupported(self.protocol.clone()),
            StreamUpgradeError::Timeout => OpenError::Negotiation("it took too long".to_owned()),
            StreamUpgradeError::Io(error) => OpenError::Negotiation(error.to_string()),
            StreamUpgradeError::Apply(never) => match never {},
        };
        error.info.answer(Err(reason));
    }
}

/// Says `Busy`, then waits a moment for the peer to close, so that the reply is not cut off by a reset.
async fn busy(mut stream: Stream) {
    let refusal = Reply::Refused(Refusal::Busy { retry_ms: BUSY_RETRY_MS });
    let farewell = async {
        if frame::write(&mut stream, &refusal).await.is_ok() && stream.close().await.is_ok() {
            let mut ignored = [0; 1024];
            while matches!(stream.read(&mut ignored).await, Ok(1..)) {}
        }
    };
    // Whether it was heard or not, the stream ends here.
    let _ = tokio::time::timeout(Duration::from_secs(5), farewell).await;
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        while let Poll::Ready(Some(())) = self.refusing.poll_next_unpin(cx) {}
        match self.waiting.pop_front() {
            Some(open) => {
                self.opening += 1;
                let protocol = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), open);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, open: Open) {
        if self.waiting.len() + self.opening < OPENING_PER_CONNECTION {
            self.waiting.push_back(open);
        } else {
            open.answer(Err(OpenError::TooMany));
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Open>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => self.accept(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.opening = self.opening.saturating_sub(1);
                info.answer(Ok(Outbound::new(self.peer, protocol, self.metrics.clone())));
            }
            ConnectionEvent::DialUpgradeError(error) => self.failed(error),
            _ => {}
        }
    }
}
