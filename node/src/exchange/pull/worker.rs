//! One provider's task: keeps a stream to it, sends the requests, puts the pieces together and checks them.

use std::collections::VecDeque;
use std::pin::pin;

use libp2p::PeerId;
use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::fetch::RequestId;
use potluck_protocol::shard::{ShardRow, VerifiedShard};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::Exchange;
use super::super::limits::STREAM_KEEP;
use crate::net::{Answers, Asker, FrameError, NetError, OpenError, Outbound};

/// What a provider's task is told.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Ask(Ask),
    /// What that request asked for is not wanted any more.
    CallBack(RequestId),
}

/// A request to make.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub request: RequestId,
    pub shard: ShardRow,
}

/// A request that has no answer yet.
struct Owed {
    ask: Ask,
    called_back: bool,
}

/// What a provider's task says.
#[derive(Debug)]
pub enum Said {
    /// So many bytes of the request came.
    Progress {
        request: RequestId,
        bytes: u32,
    },
    /// The bytes of the request, and they are what they should be.
    Arrived {
        ask: Ask,
        shard: VerifiedShard,
    },
    NotFound(RequestId),
    Busy {
        request: RequestId,
        retry_ms: u32,
    },
    /// The peer sent what no honest peer sends. The task has ended.
    Wrong(String),
    /// The stream or the connection is gone. The task has ended.
    Lost(String),
}

/// Why the task ends.
enum End {
    Wrong(String),
    Lost(String),
    /// Nobody wants anything more.
    Unwanted,
}

/// Until nobody asks any more, or the provider fails.
pub async fn run(exchange: Exchange, peer: PeerId, orders: mpsc::Receiver<Order>, notes: mpsc::Sender<(PeerId, Said)>) {
    let mut worker = Worker { exchange, peer, orders, notes, queue: VecDeque::new() };
    let said = match worker.work().await {
        End::Wrong(reason) => Said::Wrong(reason),
        End::Lost(reason) => Said::Lost(reason),
        End::Unwanted => return,
    };
    // A pull that has ended does not listen any more.
    let _ = worker.notes.send((peer, said)).await;
}

struct Worker {
    exchange: Exchange,
    peer: PeerId,
    orders: mpsc::Receiver<Order>,
    notes: mpsc::Sender<(PeerId, Said)>,
    /// Not yet answered, in order.
    queue: VecDeque<Owed>,
}

impl Worker {
    /// Stream after stream: one ends when it has not been used for a while, or the provider is busy.
    async fn work(&mut self) -> End {
        loop {
            if let Err(end) = self.next_stream().await {
                return end;
            }
        }
    }

    /// Waits for something to ask, and asks it on a new stream.
    async fn next_stream(&mut self) -> Result<(), End> {
        while self.queue.is_empty() {
            match self.orders.recv().await.ok_or(End::Unwanted)? {
                Order::Ask(ask) => self.queue.push_back(Owed { ask, called_back: false }),
                Order::CallBack(_) => {}
            }
        }
        match self.exchange.0.net.open_direct(self.peer).await {
            Ok(stream) => self.converse(stream).await,
            Err(NetError::Open { error: OpenError::TooMany, .. }) => self.all_busy(0).await,
            Err(error) => Err(End::Lost(error.to_string())),
        }
    }

    /// Until the stream is given up.
    async fn converse(&mut self, stream: Outbound) -> Result<(), End> {
        let (mut asker, mut answers) = stream.split();
        for owed in &self.queue {
            asker.send(&Request::Shard(owed.ask.shard.id)).await.map_err(end)?;
        }
        loop {
            while let Some(ask) = self.queue.front().map(|owed| owed.ask) {
                match self.answer(ask, &mut asker, &mut answers).await? {
                    // What was asked behind it would be answered in the same way.
                    Some(Said::Busy { retry_ms, .. }) => return self.all_busy(retry_ms).await,
                    said => {
                        self.queue.pop_front();
                        if let Some(said) = said {
                            self.say(said).await?;
                        }
                    }
                }
            }
            // A stream that nobody uses is closed before the provider loses its patience.
            let Ok(order) = timeout(STREAM_KEEP, self.orders.recv()).await else { return Ok(()) };
            self.obey(order.ok_or(End::Unwanted)?, &mut asker).await?;
        }
    }

    async fn obey(&mut self, order: Order, asker: &mut Asker) -> Result<(), End> {
        match order {
            Order::Ask(ask) => {
                self.queue.push_back(Owed { ask, called_back: false });
                asker.send(&Request::Shard(ask.shard.id)).await.map_err(end)
            }
            Order::CallBack(request) => {
                let Some(owed) = self.queue.iter_mut().find(|owed| owed.ask.request == request) else { return Ok(()) };
                owed.called_back = true;
                asker.send(&Request::Cancel(owed.ask.shard.id)).await.map_err(end)
            }
        }
    }

    /// Reads one whole answer; orders that come meanwhile are carried out. `None` if it was called back.
    async fn answer(&mut self, ask: Ask, asker: &mut Asker, answers: &mut Answers) -> Result<Option<Said>, End> {
        let request = ask.request;
        let mut bytes = Vec::new();
        loop {
            match self.receive(asker, answers).await? {
                Reply::Shard { len, offset, bytes: piece } if offset as usize == bytes.len() => {
                    let piece_len = piece.len() as u32;
                    self.exchange.0.downloads.turn(piece.len()).await;
                    if bytes.capacity() == 0 {
                        // The codec has bounded `len` by the longest shard, and the piece by `len`. // I4
                        bytes.reserve_exact(len as usize);
                    }
                    bytes.extend_from_slice(&piece);
                    if bytes.len() == len as usize {
                        return match VerifiedShard::check(ask.shard.id, bytes) {
                            Ok(shard) => Ok(Some(Said::Arrived { ask, shard })),
                            Err(error) => Err(End::Wrong(error.to_string())),
                        };
                    }
                    self.say(Said::Progress { request, bytes: piece_len }).await?;
                }
                Reply::Refused(Refusal::Cancelled) if self.is_called_back() => return Ok(None),
                // It took another request for this one, which had its answer already.
                Reply::Refused(Refusal::Cancelled) => return Ok(Some(Said::Busy { request, retry_ms: 0 })),
                Reply::Refused(Refusal::NotFound) if bytes.is_empty() => return Ok(Some(Said::NotFound(request))),
                Reply::Refused(Refusal::Busy { retry_ms }) if bytes.is_empty() => {
                    return Ok(Some(Said::Busy { request, retry_ms }));
                }
                _ => return Err(End::Wrong("the pieces of a shard do not follow each other".to_owned())),
            }
        }
    }

    /// Nobody wants what is being answered.
    fn is_called_back(&self) -> bool {
        self.queue.front().is_some_and(|owed| owed.called_back)
    }

    /// The next frame. It is read to its end, whatever is to be sent meanwhile.
    async fn receive(&mut self, asker: &mut Asker, answers: &mut Answers) -> Result<Reply, End> {
        let mut receiving = pin!(answers.receive());
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv() => self.obey(order.ok_or(End::Unwanted)?, asker).await?,
                reply = &mut receiving => return reply.map_err(end),
            }
        }
    }

    /// Everything that waits is to be asked later, on a new stream.
    async fn all_busy(&mut self, retry_ms: u32) -> Result<(), End> {
        for owed in std::mem::take(&mut self.queue) {
            self.say(Said::Busy { request: owed.ask.request, retry_ms }).await?;
        }
        Ok(())
    }

    async fn say(&mut self, said: Said) -> Result<(), End> {
        self.notes.send((self.peer, said)).await.map_err(|_| End::Unwanted)
    }
}

fn end(error: FrameError) -> End {
    if error.is_fault() { End::Wrong(error.to_string()) } else { End::Lost(error.to_string()) }
}
