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
pub enum ProviderCommand {
    Ask(Ask),
    /// What that request asked for is not wanted any more.
    Cancel(RequestId),
}

/// A request to make.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The scheduler's number of it.
    pub request: RequestId,
    /// What is asked for.
    pub shard: ShardRow,
}

/// A request that has no answer yet.
struct InFlight {
    ask: Ask,
    cancelled: bool,
}

/// What a provider's task reports.
#[derive(Debug)]
pub enum ProviderEvent {
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
enum TaskEnd {
    Wrong(String),
    Lost(String),
    /// Nobody wants anything more.
    Unwanted,
}

/// Until nobody asks any more, or the provider fails.
pub async fn run(
    exchange: Exchange,
    peer: PeerId,
    commands: mpsc::Receiver<ProviderCommand>,
    events: mpsc::Sender<(PeerId, ProviderEvent)>,
) {
    let mut task = ProviderTask { exchange, peer, commands, events, in_flight: VecDeque::new() };
    let event = match task.run().await {
        TaskEnd::Wrong(reason) => ProviderEvent::Wrong(reason),
        TaskEnd::Lost(reason) => ProviderEvent::Lost(reason),
        TaskEnd::Unwanted => return,
    };
    // A pull that has ended does not listen any more.
    let _ = task.events.send((peer, event)).await;
}

struct ProviderTask {
    exchange: Exchange,
    peer: PeerId,
    commands: mpsc::Receiver<ProviderCommand>,
    events: mpsc::Sender<(PeerId, ProviderEvent)>,
    /// Not yet answered, in command.
    in_flight: VecDeque<InFlight>,
}

impl ProviderTask {
    /// Stream after stream: one ends when it has not been used for a while, or the provider is busy.
    async fn run(&mut self) -> TaskEnd {
        loop {
            if let Err(end) = self.next_stream().await {
                return end;
            }
        }
    }

    /// Waits for something to ask, and asks it on a new stream.
    async fn next_stream(&mut self) -> Result<(), TaskEnd> {
        while self.in_flight.is_empty() {
            match self.commands.recv().await.ok_or(TaskEnd::Unwanted)? {
                ProviderCommand::Ask(ask) => self.in_flight.push_back(InFlight { ask, cancelled: false }),
                ProviderCommand::Cancel(_) => {}
            }
        }
        match self.exchange.0.net.open_direct(self.peer).await {
            Ok(stream) => self.converse(stream).await,
            Err(NetError::Open { error: OpenError::TooMany, .. }) => self.all_busy(0).await,
            Err(error) => Err(TaskEnd::Lost(error.to_string())),
        }
    }

    /// Until the stream is given up.
    async fn converse(&mut self, stream: Outbound) -> Result<(), TaskEnd> {
        let (mut asker, mut answers) = stream.split();
        for one in &self.in_flight {
            asker.send(&Request::Shard(one.ask.shard.id)).await.map_err(end)?;
        }
        loop {
            while let Some(ask) = self.in_flight.front().map(|one| one.ask) {
                match self.answer(ask, &mut asker, &mut answers).await? {
                    // What was asked behind it would be answered in the same way.
                    Some(ProviderEvent::Busy { retry_ms, .. }) => return self.all_busy(retry_ms).await,
                    event => {
                        self.in_flight.pop_front();
                        if let Some(event) = event {
                            self.send(event).await?;
                        }
                    }
                }
            }
            // A stream that nobody uses is closed before the provider loses its patience.
            let Ok(command) = timeout(STREAM_KEEP, self.commands.recv()).await else { return Ok(()) };
            self.execute(command.ok_or(TaskEnd::Unwanted)?, &mut asker).await?;
        }
    }

    async fn execute(&mut self, command: ProviderCommand, asker: &mut Asker) -> Result<(), TaskEnd> {
        match command {
            ProviderCommand::Ask(ask) => {
                self.in_flight.push_back(InFlight { ask, cancelled: false });
                asker.send(&Request::Shard(ask.shard.id)).await.map_err(end)
            }
            ProviderCommand::Cancel(request) => {
                let Some(one) = self.in_flight.iter_mut().find(|one| one.ask.request == request) else { return Ok(()) };
                one.cancelled = true;
                asker.send(&Request::Cancel(one.ask.shard.id)).await.map_err(end)
            }
        }
    }

    /// Reads one whole answer; commands that come meanwhile are carried out. `None` if it was cancelled.
    async fn answer(
        &mut self,
        ask: Ask,
        asker: &mut Asker,
        answers: &mut Answers,
    ) -> Result<Option<ProviderEvent>, TaskEnd> {
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
                            Ok(shard) => Ok(Some(ProviderEvent::Arrived { ask, shard })),
                            Err(error) => Err(TaskEnd::Wrong(error.to_string())),
                        };
                    }
                    self.send(ProviderEvent::Progress { request, bytes: piece_len }).await?;
                }
                Reply::Refused(Refusal::Cancelled) if self.is_cancelled() => return Ok(None),
                // It took another request for this one, which had its answer already.
                Reply::Refused(Refusal::Cancelled) => return Ok(Some(ProviderEvent::Busy { request, retry_ms: 0 })),
                Reply::Refused(Refusal::NotFound) if bytes.is_empty() => {
                    return Ok(Some(ProviderEvent::NotFound(request)));
                }
                Reply::Refused(Refusal::Busy { retry_ms }) if bytes.is_empty() => {
                    return Ok(Some(ProviderEvent::Busy { request, retry_ms }));
                }
                _ => return Err(TaskEnd::Wrong("the pieces of a shard do not follow each other".to_owned())),
            }
        }
    }

    /// Nobody wants what is being answered.
    fn is_cancelled(&self) -> bool {
        self.in_flight.front().is_some_and(|one| one.cancelled)
    }

    /// The next frame. It is read to its end, whatever is to be sent meanwhile.
    async fn receive(&mut self, asker: &mut Asker, answers: &mut Answers) -> Result<Reply, TaskEnd> {
        let mut receiving = pin!(answers.receive());
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => self.execute(command.ok_or(TaskEnd::Unwanted)?, asker).await?,
                reply = &mut receiving => return reply.map_err(end),
            }
        }
    }

    /// Everything that waits is to be asked later, on a new stream.
    async fn all_busy(&mut self, retry_ms: u32) -> Result<(), TaskEnd> {
        for one in std::mem::take(&mut self.in_flight) {
            self.send(ProviderEvent::Busy { request: one.ask.request, retry_ms }).await?;
        }
        Ok(())
    }

    async fn send(&mut self, event: ProviderEvent) -> Result<(), TaskEnd> {
        self.events.send((self.peer, event)).await.map_err(|_| TaskEnd::Unwanted)
    }
}

fn end(error: FrameError) -> TaskEnd {
    if error.is_fault() { TaskEnd::Wrong(error.to_string()) } else { TaskEnd::Lost(error.to_string()) }
}
