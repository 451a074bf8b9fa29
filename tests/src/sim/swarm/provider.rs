//! The serving half of a node, honest or not.

use std::collections::{BTreeMap, VecDeque};

use super::{Message, SMALL, Stream};
use crate::sim::Out;
use potluck_protocol::fetch::RequestId;
use potluck_protocol::splitmix::SplitMix64;

/// How a node serves. Counts are of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Honest,
    /// Claims to have everything; sends wrong bytes after so many good pieces.
    Liar(u32),
    /// Claims to have everything; sends nothing more after so many pieces.
    Silent(u32),
    /// Claims to have everything; sends a byte every two seconds.
    Dripping,
    /// Refuses so many of a hundred requests for a while.
    Busy(u64),
    /// Claims to have everything, and then has nothing.
    Empty,
    /// Takes every question, and never answers.
    Mute,
}

impl Conduct {
    pub fn claims_all(self) -> bool {
        !matches!(self, Self::Honest | Self::Busy(_))
    }

    /// Serves what it has, sooner or later.
    pub fn is_honest(self) -> bool {
        !self.claims_all()
    }
}

/// Bytes of one piece.
const PIECE: u32 = 64 << 10;
/// Requests of one stream that wait.
const WAITING_MAX: usize = 128;
const DRIP_MS: u64 = 2_000;

#[derive(Clone, Copy, Debug)]
struct Job {
    request: RequestId,
    len: u32,
    sent: u32,
}

/// What is asked of a node, and how far it is.
#[derive(Clone, Debug)]
pub struct Provider {
    pub conduct: Conduct,
    rng: SplitMix64,
    queues: BTreeMap<(usize, Stream), VecDeque<Job>>,
    /// Whose piece went last: streams take turns.
    last: Option<(usize, Stream)>,
    /// A piece is leaving.
    sending: bool,
    pieces: u32,
    pub served_bytes: u64,
    drip_at_ms: u64,
}

impl Provider {
    pub fn new(conduct: Conduct, seed: u64) -> Self {
        let queues = BTreeMap::new();
        let rng = SplitMix64::new(seed);
        Self { conduct, rng, queues, last: None, sending: false, pieces: 0, served_bytes: 0, drip_at_ms: DRIP_MS }
    }

    /// Somebody wants a shard of `len` bytes; 0 if it is not here.
    pub fn ask(&mut self, from: usize, stream: Stream, request: RequestId, len: u32, out: &mut Out<Message>) {
        let queue = self.queues.entry((from, stream)).or_default();
        let busy = match self.conduct {
            Conduct::Busy(percent) => self.rng.chance(percent),
            _ => queue.len() >= WAITING_MAX,
        };
        if busy {
            let retry_ms = self.rng.between(50, 2_000) as u32;
            out.send(from, Message::Busy { stream, request, retry_ms }, SMALL);
        } else if len == 0 || self.conduct == Conduct::Empty {
            out.send(from, Message::NotFound { stream, request }, SMALL);
        } else {
            queue.push_back(Job { request, len, sent: 0 });
        }
        self.send_next(out);
    }

    pub fn cancel(&mut self, from: usize, stream: Stream, request: RequestId) {
        if let Some(queue) = self.queues.get_mut(&(from, stream)) {
            queue.retain(|job| job.request != request);
        }
    }

    pub fn close(&mut self, from: usize, stream: Stream) {
        self.queues.remove(&(from, stream));
    }

    pub fn note_lost(&mut self, node: usize) {
        self.queues.retain(|(from, _), _| *from != node);
    }

    /// The last piece has left.
    pub fn note_sent(&mut self, out: &mut Out<Message>) {
        self.sending = false;
        self.send_next(out);
    }

    fn send_next(&mut self, out: &mut Out<Message>) {
        let mute = match self.conduct {
            Conduct::Silent(after) => self.pieces >= after,
            Conduct::Dripping | Conduct::Mute => true,
            _ => false,
        };
        if mute || self.sending {
            return;
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        let after = self.queues.keys().find(|key| self.last.is_none_or(|last| **key > last));
        let next = after.or_else(|| self.queues.keys().next()).copied();
        let Some((to, stream)) = next else { return };
        self.last = next;
        let Some(queue) = self.queues.get_mut(&(to, stream)) else { return };
        let Some(job) = queue.front_mut() else { return };
        let bytes = PIECE.min(job.len - job.sent);
        job.sent += bytes;
        let (request, last) = (job.request, job.sent == job.len);
        if last {
            queue.pop_front();
        }
        let good = !matches!(self.conduct, Conduct::Liar(after) if self.pieces >= after);
        (self.pieces, self.sending) = (self.pieces + 1, true);
        self.served_bytes += u64::from(bytes);
        out.send_and_tell(to, Message::Piece { stream, request, bytes, last, good }, u64::from(bytes) + SMALL, 0);
    }

    /// A byte for everybody who waits.
    pub fn drip(&mut self, now_ms: u64, out: &mut Out<Message>) {
        if self.conduct != Conduct::Dripping || now_ms < self.drip_at_ms {
            return;
        }
        self.drip_at_ms = now_ms + DRIP_MS;
        for ((to, stream), queue) in &self.queues {
            if let Some(job) = queue.front() {
                let (stream, request) = (*stream, job.request);
                out.send(*to, Message::Piece { stream, request, bytes: 1, last: false, good: true }, SMALL);
            }
        }
    }

    pub fn wake_at_ms(&self) -> Option<u64> {
        (self.conduct == Conduct::Dripping && !self.queues.is_empty()).then_some(self.drip_at_ms)
    }
}
