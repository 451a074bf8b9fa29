//! One provider as the machine sees it: what it has, what it owes, how fast it is.

use std::collections::VecDeque;

use super::open_shards::Position;
use super::pace::Pace;
use super::pause::Pause;
use super::{Holdings, RequestId};
use crate::splitmix::SplitMix64;

/// Bytes on their way from a provider that has not yet sent anything.
const WINDOW_FIRST: u64 = 1 << 20;
/// At least the bytes of two seconds, of which so many are enough.
const WINDOW_MIN: u64 = 2 << 20;
const WINDOW_MIN_MS: u64 = 2_000;
/// Bytes on their way, before the last request.
pub const WINDOW_MAX: u64 = 32 << 20;
/// What a round trip takes beside the way: our own turn, the provider's disk.
const TURN_MS: u64 = 50;
/// Requests on their way, however small the shards.
pub const REQUESTS_MAX: usize = 64;
/// A request is not overdue before it is so much late: less may be our own fault.
const GRACE_MS: u64 = 500;

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// Its name in events and actions.
    pub request: RequestId,
    /// Index among the wanted shards.
    pub index: usize,
    /// Bytes of the shard.
    pub len: u32,
    asked_ms: u64,
    /// When it should be there, by the speed known when it was asked.
    due_ms: u64,
    /// Somebody else owed the same shard already.
    pub copy: bool,
}

impl InFlight {
    /// When it has taken twice as long as it should.
    pub fn overdue_ms(&self) -> u64 {
        self.due_ms + (self.due_ms - self.asked_ms).max(GRACE_MS)
    }
}

/// What is known about a request on its way.
pub struct Forecast<'a> {
    /// The request.
    pub in_flight: &'a InFlight,
    /// When it will be there, as far as can be said now.
    pub finish_ms: u64,
    /// Bytes of it are on their way: it is the first.
    pub begun: bool,
    /// Bytes of it that have come.
    pub came: u64,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Peer {
    holdings: Holdings,
    /// In the order in which they are answered.
    in_flight: VecDeque<InFlight>,
    /// Bytes of all that is owed, and those of the first that have come.
    in_flight_bytes: u64,
    came: u64,
    /// No shard before this place is both held here and still to be given out.
    pub cursor: Position,
    /// Between equals: downloaders that begin together shall not all ask the same one first.
    pub luck: u64,
    pace: Pace,
    /// It has delivered a whole shard.
    proven: bool,
    /// When it was found.
    found_ms: u64,
    /// The last sign of life, or the question to one that had nothing to do.
    alive_ms: u64,
    /// No sign of life came since that question.
    unanswered: bool,
    pause: Pause,
}

impl Peer {
    /// A provider of whom nothing is known but what it has. `luck` decides between equals.
    pub fn new(holdings: Holdings, luck: u64, found_ms: u64) -> Self {
        Self {
            holdings,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            came: 0,
            cursor: Position::FIRST,
            luck,
            pace: Pace::new(),
            proven: false,
            found_ms,
            alive_ms: 0,
            unanswered: false,
            pause: Pause::default(),
        }
    }

    /// What it has, as it said last.
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// It has something else now. Returns what it had.
    pub fn set_holdings(&mut self, holdings: Holdings) -> Holdings {
        self.cursor = Position::FIRST;
        std::mem::replace(&mut self.holdings, holdings)
    }

    /// Whether it has the wanted shard of that index.
    pub fn has(&self, index: usize) -> bool {
        match &self.holdings {
            Holdings::All => true,
            Holdings::These(flags) => flags.get(index).copied().unwrap_or(false),
        }
    }

    /// What it owes, in the order in which it answers.
    pub fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter()
    }

    /// Whether it owes nothing.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether it has ever delivered a whole shard.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// For how long it has been known.
    pub fn known_for_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.found_ms)
    }

    /// In a row, of all sorts.
    pub fn failures(&self) -> u32 {
        self.pause.failures()
    }

    fn left_bytes(&self) -> u64 {
        self.in_flight_bytes - self.came
    }

    fn window(&self) -> u64 {
        if !self.pace.is_measured() {
            return WINDOW_FIRST;
        }
        let in_ms = |ms: u64| self.pace.rate().saturating_mul(ms) / 1000;
        in_ms(2 * (self.pace.rtt_ms() + TURN_MS)).clamp(WINDOW_MIN.min(in_ms(WINDOW_MIN_MS)), WINDOW_MAX)
    }

    /// May be asked for another shard now. The first one is always allowed, however long.
    pub fn has_room(&self, now_ms: u64) -> bool {
        self.pause.is_over(now_ms)
            && (self.in_flight.is_empty()
                || (self.in_flight.len() < REQUESTS_MAX && self.counted_bytes() < self.window()))
    }

    /// The first piece says nothing about speed, and makes no room yet.
    fn counted_bytes(&self) -> u64 {
        if self.pace.is_measured() { self.left_bytes() } else { self.in_flight_bytes }
    }

    /// When a further shard of `len` bytes would be there.
    pub fn due_ms(&self, len: u32, now_ms: u64) -> u64 {
        now_ms + self.pace.rtt_ms() + (self.left_bytes() + u64::from(len)) * 1000 / self.rate_at(now_ms)
    }

    /// When each thing that it owes will be there.
    pub fn forecast(&self, now_ms: u64) -> impl Iterator<Item = Forecast<'_>> {
        let rate = self.rate_at(now_ms);
        let mut bytes = 0;
        self.in_flight.iter().enumerate().map(move |(position, in_flight)| {
            bytes += u64::from(in_flight.len);
            let finish_ms = now_ms + bytes.saturating_sub(self.came) * 1000 / rate;
            let (begun, came) = (position == 0, if position == 0 { self.came } else { 0 });
            Forecast { in_flight, finish_ms, begun, came }
        })
    }

    /// Bytes a second, as far as can be said now.
    pub fn rate_at(&self, now_ms: u64) -> u64 {
        let silent_ms = if self.in_flight.is_empty() { 0 } else { now_ms.saturating_sub(self.alive_ms) };
        self.pace.rate_after(silent_ms)
    }

    /// It is asked for a shard. `copy`: somebody else owes the same one already.
    pub fn ask(&mut self, request: RequestId, index: usize, len: u32, copy: bool, now_ms: u64) {
        if self.in_flight.is_empty() {
            (self.alive_ms, self.unanswered) = (now_ms, true);
        }
        let due_ms = self.due_ms(len, now_ms);
        self.in_flight.push_back(InFlight { request, index, len, asked_ms: now_ms, due_ms, copy });
        self.in_flight_bytes += u64::from(len);
    }

    /// Bytes came, of the first request unless that was given up.
    pub fn note_progress(&mut self, request: RequestId, bytes: u32, now_ms: u64) {
        if let Some(first) = self.in_flight.front().copied().filter(|first| first.request == request) {
            self.measure(u64::from(bytes), false, now_ms);
            self.came = (self.came + u64::from(bytes)).min(u64::from(first.len));
        }
        self.alive_ms = now_ms;
    }

    /// The request was delivered: it is no longer owed, and tells how fast the provider is.
    pub fn complete(&mut self, request: RequestId, now_ms: u64) -> Option<InFlight> {
        let (in_flight, came) = self.settle(request)?;
        self.measure(u64::from(in_flight.len) - came, true, now_ms);
        (self.proven, self.alive_ms) = (true, now_ms);
        self.pause.reset();
        Some(in_flight)
    }

    fn measure(&mut self, bytes: u64, whole: bool, now_ms: u64) {
        let took_ms = now_ms.saturating_sub(self.alive_ms);
        if std::mem::take(&mut self.unanswered) {
            self.pace.record_rtt(took_ms);
            // How long the first piece itself took is not known.
            if !whole {
                return;
            }
        }
        self.pace.record(bytes, took_ms);
    }

    /// The request was answered in whatever way: with how many of its bytes have come.
    pub fn settle(&mut self, request: RequestId) -> Option<(InFlight, u64)> {
        let position = self.in_flight.iter().position(|in_flight| in_flight.request == request)?;
        let in_flight = self.in_flight.remove(position)?;
        let came = if position == 0 { std::mem::take(&mut self.came) } else { 0 };
        self.in_flight_bytes -= u64::from(in_flight.len);
        Some((in_flight, came))
    }

    /// Everything that it owes is forgotten.
    pub fn take_in_flight(&mut self) -> Vec<InFlight> {
        (self.in_flight_bytes, self.came) = (0, 0);
        self.in_flight.drain(..).collect()
    }

    /// When it will have stood still for too long.
    pub fn stalls_at_ms(&self) -> Option<u64> {
        let first = self.in_flight.front()?;
        let expected = self.pace.rtt_ms() + u64::from(first.len) * 1000 / self.pace.rate();
        Some(self.alive_ms + self.pause.stall_after_ms(expected))
    }

    /// It stood still: it is left alone for a while, and thought slower.
    pub fn note_stall(&mut self, now_ms: u64, rng: &mut SplitMix64) {
        self.pause.note_stall(now_ms, rng);
        self.pace.halve();
    }

    /// What it was reset for came after all.
    pub fn excuse(&mut self, now_ms: u64) {
        self.pause.excuse(now_ms);
    }

    /// It said `Busy`.
    pub fn note_refusal(&mut self, retry_ms: u32, now_ms: u64, rng: &mut SplitMix64) {
        self.pause.note_refusal(retry_ms, now_ms, rng);
        // Answering is a sign of life.
        self.alive_ms = now_ms;
    }

    /// It said that it does not have this one. Returns its holdings before, if it had said that it has all.
    pub fn note_missing(&mut self, index: usize, wanted: usize, now_ms: u64, rng: &mut SplitMix64) -> Option<Holdings> {
        self.alive_ms = now_ms;
        self.pause.note_miss(now_ms, rng);
        let before = (self.holdings == Holdings::All).then_some(Holdings::All);
        if before.is_some() {
            self.holdings = Holdings::These(vec![true; wanted]);
        }
        if let Holdings::These(flags) = &mut self.holdings
            && let Some(flag) = flags.get_mut(index)
        {
            *flag = false;
        }
        before
    }

    /// When its pause ends, if it is in one.
    pub fn resumes_at_ms(&self, now_ms: u64) -> Option<u64> {
        self.pause.ends_at_ms(now_ms)
    }
}
