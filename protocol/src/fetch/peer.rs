//! One provider as the machine sees it: what it has, what it owes, how fast it is.

use std::collections::VecDeque;

use super::{Holdings, RequestId};

/// Taken for a provider's speed until it has delivered something, in bytes a second.
const RATE_GUESS: u64 = 512 << 10;
/// Below this a provider counts as this fast: keeps the times finite.
const RATE_MIN: u64 = 1 << 10;
/// Bytes on their way from a provider that has not yet delivered anything.
const WINDOW_FIRST: u64 = 1 << 20;
/// Bytes on their way: what the provider delivers in two seconds, within these.
const WINDOW_MIN: u64 = 2 << 20;
const WINDOW_MAX: u64 = 32 << 20;
/// Requests on their way, however small the shards.
const REQUESTS_MAX: usize = 64;
/// A provider may stand still for this long, or for four times what the shard should take.
const PATIENCE_MS: u64 = 5_000;
/// Pauses and patience double with each failure in a row, up to this many times.
const DOUBLINGS_MAX: u32 = 6;
/// The shortest and longest pause that a busy provider may ask for.
const BUSY_MS: std::ops::RangeInclusive<u64> = 50..=10_000;

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Owed {
    pub request: RequestId,
    /// Index among the wanted shards.
    pub index: usize,
    pub len: u32,
    pub asked_ms: u64,
    /// When it should be there, by the speed known when it was asked.
    pub due_ms: u64,
}

impl Owed {
    /// It has taken twice as long as it should.
    pub fn overdue_ms(&self) -> u64 {
        self.due_ms + (self.due_ms - self.asked_ms)
    }
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Peer {
    holdings: Holdings,
    /// In the order in which they are answered.
    owed: VecDeque<Owed>,
    /// No shard before this index is both held here and still to be given out.
    pub cursor: usize,
    rate: u64,
    delivered: bool,
    /// A rate is measured between deliveries.
    last_delivery_ms: u64,
    /// The last sign of life while something is owed.
    alive_ms: u64,
    /// Not asked before this.
    paused_until_ms: u64,
    /// Stalls in a row, and refusals in a row.
    stalls: u32,
    refusals: u32,
}

impl Peer {
    pub fn new(holdings: Holdings) -> Self {
        Self {
            holdings,
            owed: VecDeque::new(),
            cursor: 0,
            rate: RATE_GUESS,
            delivered: false,
            last_delivery_ms: 0,
            alive_ms: 0,
            paused_until_ms: 0,
            stalls: 0,
            refusals: 0,
        }
    }

    pub fn has(&self, index: usize) -> bool {
        match &self.holdings {
            Holdings::All => true,
            Holdings::These(flags) => flags.get(index).copied().unwrap_or(false),
        }
    }

    pub fn set_holdings(&mut self, holdings: Holdings) {
        self.holdings = holdings;
        self.cursor = 0;
    }

    /// It said that it does not have this one.
    pub fn lacks(&mut self, index: usize, wanted: usize) {
        if self.holdings == Holdings::All {
            self.holdings = Holdings::These(vec![true; wanted]);
        }
        if let Holdings::These(flags) = &mut self.holdings
            && let Some(flag) = flags.get_mut(index)
        {
            *flag = false;
        }
    }

    pub fn owes(&self, index: usize) -> bool {
        self.owed.iter().any(|owed| owed.index == index)
    }

    pub fn owed(&self) -> impl Iterator<Item = &Owed> {
        self.owed.iter()
    }

    pub fn is_idle(&self) -> bool {
        self.owed.is_empty()
    }

    fn owed_bytes(&self) -> u64 {
        self.owed.iter().map(|owed| u64::from(owed.len)).sum()
    }

    fn window(&self) -> u64 {
        if self.delivered { (2 * self.rate).clamp(WINDOW_MIN, WINDOW_MAX) } else { WINDOW_FIRST }
    }

    /// May be asked for another shard now. The first one is always allowed, however long.
    pub fn has_room(&self, now_ms: u64) -> bool {
        now_ms >= self.paused_until_ms
            && (self.owed.is_empty() || (self.owed.len() < REQUESTS_MAX && self.owed_bytes() < self.window()))
    }

    /// When a further shard of `len` bytes would be there.
    pub fn due_ms(&self, len: u32, now_ms: u64) -> u64 {
        now_ms + (self.owed_bytes() + u64::from(len)) * 1000 / self.rate.max(RATE_MIN)
    }

    pub fn ask(&mut self, request: RequestId, index: usize, len: u32, now_ms: u64) {
        if self.owed.is_empty() {
            self.alive_ms = now_ms;
        }
        let due_ms = self.due_ms(len, now_ms);
        self.owed.push_back(Owed { request, index, len, asked_ms: now_ms, due_ms });
    }

    pub fn progress(&mut self, now_ms: u64) {
        self.alive_ms = now_ms;
    }

    /// The request was delivered: it is no longer owed, and tells how fast the provider is.
    pub fn delivered(&mut self, request: RequestId, now_ms: u64) -> Option<Owed> {
        let owed = self.settle(request)?;
        let took_ms = now_ms.saturating_sub(owed.asked_ms.max(self.last_delivery_ms)).max(1);
        let sample = u64::from(owed.len) * 1000 / took_ms;
        self.rate = if self.delivered { (7 * self.rate + 3 * sample) / 10 } else { sample };
        (self.delivered, self.last_delivery_ms, self.alive_ms) = (true, now_ms, now_ms);
        (self.stalls, self.refusals) = (0, 0);
        Some(owed)
    }

    /// The request was answered in whatever way.
    pub fn settle(&mut self, request: RequestId) -> Option<Owed> {
        let position = self.owed.iter().position(|owed| owed.request == request)?;
        self.owed.remove(position)
    }

    /// Everything that it owes is forgotten.
    pub fn forget_owed(&mut self) -> Vec<Owed> {
        self.owed.drain(..).collect()
    }

    /// When it will have stood still for too long.
    pub fn stalls_at_ms(&self) -> Option<u64> {
        let head = self.owed.front()?;
        let expected = u64::from(head.len) * 1000 / self.rate.max(RATE_MIN);
        let patience = PATIENCE_MS.max(4 * expected) << self.stalls.min(DOUBLINGS_MAX);
        Some(self.alive_ms + patience)
    }

    /// It stood still: it is thought slower, gets more time the next time, and is left alone for a while.
    pub fn stalled(&mut self, now_ms: u64) {
        self.paused_until_ms = now_ms + (PATIENCE_MS << self.stalls.min(DOUBLINGS_MAX));
        self.stalls += 1;
        self.rate = (self.rate / 2).max(RATE_MIN);
    }

    pub fn refused(&mut self, now_ms: u64, retry_ms: u32) {
        let pause = u64::from(retry_ms).clamp(*BUSY_MS.start(), *BUSY_MS.end());
        self.paused_until_ms = self.paused_until_ms.max(now_ms + (pause << self.refusals.min(DOUBLINGS_MAX)));
        self.refusals += 1;
        // Answering is a sign of life.
        self.alive_ms = now_ms;
    }

    /// When its pause ends, if it is in one.
    pub fn resumes_at_ms(&self, now_ms: u64) -> Option<u64> {
        (self.paused_until_ms > now_ms).then_some(self.paused_until_ms)
    }
}
