//! One provider's task: keeps a stream to it, sends the requests, puts the pieces together and checks them.

use std::collections::VecDeque;

use libp2p::PeerId;
use potluck_protocol::bulk::{Refusal, Reply, Request};
use potluck_protocol::fetch::RequestId;
use potluck_protocol::shard::{ShardRow, VerifiedShard};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::limits::STREAM_KEEP;
use crate::net::{FrameError, Handle, NetError, OpenError, Outbound};

/// A request to make.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub request: RequestId,
    pub shard: ShardRow,
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
pub async fn run(net: Handle, peer: PeerId, asks: mpsc::Receiver<Ask>, notes: mpsc::Sender<(PeerId, Said)>) {
    let mut worker = Worker { net, peer, asks, notes, stream: None, queue: VecDeque::new() };
    let said = match worker.work().await {
        End::Wrong(reason) => Said::Wrong(reason),
        End::Lost(reason) => Said::Lost(reason),
        End::Unwanted => return,
    };
    // A pull that has ended does not listen any more.
    let _ = worker.notes.send((peer, said)).await;
}

struct Worker {
    net: Handle,
    peer: PeerId,
    asks: mpsc::Receiver<Ask>,
    notes: mpsc::Sender<(PeerId, Said)>,
    stream: Option<Outbound>,
    /// Sent and not yet answered, in order.
    queue: VecDeque<Ask>,
}

impl Worker {
    async fn work(&mut self) -> End {
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// Waits for a request if none is on its way, then for one answer.
    async fn turn(&mut self) -> Result<(), End> {
        if self.queue.is_empty() {
            let ask = self.next_ask().await?;
            self.send(ask).await?;
        }
        let Some(ask) = self.queue.front().copied() else { return Ok(()) };
        let said = self.answer(ask).await?;
        match said {
            // What was asked behind it would be answered in the same way.
            Said::Busy { retry_ms, .. } => self.all_busy(retry_ms).await,
            said => {
                self.queue.pop_front();
                self.say(said).await
            }
        }
    }

    /// The next request; a stream that nobody uses is closed before the provider loses its patience.
    async fn next_ask(&mut self) -> Result<Ask, End> {
        let ask = match timeout(STREAM_KEEP, self.asks.recv()).await {
            Ok(ask) => ask,
            Err(_) => {
                self.stream = None;
                self.asks.recv().await
            }
        };
        ask.ok_or(End::Unwanted)
    }

    async fn send(&mut self, ask: Ask) -> Result<(), End> {
        self.queue.push_back(ask);
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => match self.net.open_direct(self.peer).await {
                Ok(stream) => self.stream.insert(stream),
                Err(NetError::Open { error: OpenError::TooMany, .. }) => return self.all_busy(0).await,
                Err(error) => return Err(End::Lost(error.to_string())),
            },
        };
        stream.send(&Request::Shard(ask.shard.id)).await.map_err(end)
    }

    /// Reads one whole answer; requests that come meanwhile are sent between its pieces.
    async fn answer(&mut self, ask: Ask) -> Result<Said, End> {
        let mut bytes = Vec::new();
        loop {
            while let Ok(more) = self.asks.try_recv() {
                self.send(more).await?;
            }
            let Some(stream) = &mut self.stream else { return Ok(Said::Busy { request: ask.request, retry_ms: 0 }) };
            match stream.receive().await.map_err(end)? {
                Reply::Shard { len, offset, bytes: piece } if offset as usize == bytes.len() => {
                    let piece_len = piece.len() as u32;
                    bytes.extend_from_slice(&piece);
                    // The codec has bounded `len` by the longest shard, and the piece by `len`. // I4
                    if bytes.len() == len as usize {
                        return match VerifiedShard::check(ask.shard.id, bytes) {
                            Ok(shard) => Ok(Said::Arrived { ask, shard }),
                            Err(error) => Err(End::Wrong(error.to_string())),
                        };
                    }
                    self.say(Said::Progress { request: ask.request, bytes: piece_len }).await?;
                }
                Reply::Refused(Refusal::NotFound) if bytes.is_empty() => return Ok(Said::NotFound(ask.request)),
                Reply::Refused(Refusal::Busy { retry_ms }) if bytes.is_empty() => {
                    return Ok(Said::Busy { request: ask.request, retry_ms });
                }
                _ => return Err(End::Wrong("the pieces of a shard do not follow each other".to_owned())),
            }
        }
    }

    /// Everything that waits is to be asked later, on a new stream.
    async fn all_busy(&mut self, retry_ms: u32) -> Result<(), End> {
        self.stream = None;
        for ask in std::mem::take(&mut self.queue) {
            self.say(Said::Busy { request: ask.request, retry_ms }).await?;
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
