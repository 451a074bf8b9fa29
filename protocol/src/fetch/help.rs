//! What providers with nothing to do do for the others: take over, or bring a second copy. // I15

use std::collections::BTreeMap;

use libp2p_identity::PeerId;

use super::machine::Fetch;
use super::pace::{RATE_GUESS, RTT_GUESS_MS};
use super::peer::{Forecast, Peer};
use super::{Action, RequestId};
use crate::limits::SHARD_MAX;

/// Worth it at once if the other would take so many times longer.
const LATER_AT_ONCE: u64 = 10;
/// Worth it when nothing is left to give out.
const LATER_AT_END: u64 = 3;
/// Who takes so many times longer than somebody unknown should leads nowhere, and anybody is waited for so long.
const HOPELESS: u64 = 10;
const HOPELESS_MIN_MS: u64 = 5_000;

/// How the requests for one shard stand.
#[derive(Clone, Copy, Debug)]
struct ShardStatus {
    /// When the first of them will be there.
    finish_ms: u64,
    /// Bytes of it that came, and will be wasted if somebody else brings it.
    came: u64,
    requests: Counts,
    /// The only request, if it has not begun.
    waits: Option<(PeerId, RequestId)>,
}

/// Of all shards that are on their way.
struct Statuses {
    shards: BTreeMap<usize, ShardStatus>,
    /// All second copies, and the bytes of those that are fresh and of those that are hopeless.
    copies: Counts,
    fresh_bytes: u64,
    hopeless_bytes: u64,
}

/// Requests by what may be expected of them.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    fresh: usize,
    /// Not overdue, because their providers are known to be so slow.
    hopeless: usize,
    /// Overdue.
    late: usize,
}

/// What a provider that could help sees of a shard. One that would be fast itself takes what is hopeless for overdue; to
/// another slow one that is as good as it gets.
#[derive(Clone, Copy, Debug)]
struct View {
    /// How long it would take itself, and how long those take who owe the shard.
    ours_ms: u64,
    theirs_ms: u64,
    fresh: usize,
    late: usize,
    fresh_copies: usize,
    late_copies: usize,
    /// Of fresh copies.
    copied_bytes: u64,
}

/// What an idle provider can do.
#[derive(Clone, Copy, Debug)]
enum Help {
    TakeOver { from: PeerId, request: RequestId },
    Copy,
}

impl Fetch {
    /// Lets providers with nothing to do help, the fastest first.
    pub(super) fn help(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let able = |(_, state): &(&PeerId, &Peer)| state.is_idle() && state.has_room(now_ms);
        let speed = |(peer, state): (&PeerId, &Peer)| (state.due_ms(SHARD_MAX as u32, now_ms), state.luck, *peer);
        let mut idle: Vec<_> = self.peers.iter().filter(able).map(speed).collect();
        if idle.is_empty() || idle.len() == self.peers.len() {
            return;
        }
        idle.sort_unstable();
        let mut statuses = self.statuses(now_ms);
        for (_, _, peer) in idle {
            let Some((index, help)) = self.best_help(&peer, &statuses, now_ms) else { continue };
            if let Help::TakeOver { from, request } = help {
                self.take_from(from, request, actions);
            }
            self.ask(peer, index, now_ms, actions);
            statuses = self.statuses(now_ms);
        }
    }

    fn statuses(&self, now_ms: u64) -> Statuses {
        let (copies, fresh_bytes, hopeless_bytes) = (Counts::default(), 0, 0);
        let mut statuses = Statuses { shards: BTreeMap::new(), copies, fresh_bytes, hopeless_bytes };
        for (peer, state) in &self.peers {
            for one in state.forecast(now_ms) {
                let requests = one.counts(now_ms);
                if one.in_flight.copy {
                    statuses.copies.add(requests);
                    statuses.fresh_bytes += requests.fresh as u64 * u64::from(one.in_flight.len);
                    statuses.hopeless_bytes += requests.hopeless as u64 * u64::from(one.in_flight.len);
                }
                let waits =
                    (!one.begun && self.live[one.in_flight.index] == 1).then_some((*peer, one.in_flight.request));
                let new = ShardStatus { finish_ms: one.finish_ms, came: one.came, requests, waits };
                statuses.shards.entry(one.in_flight.index).and_modify(|status| status.join(new)).or_insert(new);
            }
        }
        statuses
    }

    /// The shard with which this provider gains most.
    fn best_help(&self, peer: &PeerId, statuses: &Statuses, now_ms: u64) -> Option<(usize, Help)> {
        let state = self.peers.get(peer)?;
        let mut best = None;
        for (index, status) in &statuses.shards {
            if !state.has(*index) {
                continue;
            }
            let len = self.wants[*index].len;
            let ours_ms = state.due_ms(len, now_ms).saturating_sub(now_ms).max(1);
            let view = View::new(ours_ms, len, status, statuses, now_ms);
            let gain = (view.theirs_ms.saturating_sub(ours_ms), std::cmp::Reverse(*index));
            if best.as_ref().is_none_or(|(most, _)| gain > *most)
                && let Some(help) = self.help_with(state, *index, status, view)
            {
                best = Some((gain, help));
            }
        }
        best.map(|((_, index), help)| (index.0, help))
    }

    fn help_with(&self, state: &Peer, index: usize, status: &ShardStatus, view: View) -> Option<Help> {
        let times = if self.open_shards.is_empty() { LATER_AT_END } else { LATER_AT_ONCE };
        let much = view.theirs_ms / times >= view.ours_ms;
        let in_bounds = self.copies.allow_one(view.copied_bytes, status.came);
        // Only one that has kept its word takes anything away from another; and where requests are not called back in
        // time, the account of waste ends it.
        if let Some((from, request)) = status.waits.filter(|_| much && in_bounds && state.is_proven()) {
            return Some(Help::TakeOver { from, request });
        }
        let allowed = if self.is_worth_any_cost(view) {
            true
        } else if view.fresh > 1 {
            false
        } else if much {
            in_bounds
        } else {
            let all = self.copies.allow_all_of(view.copied_bytes, self.wants[index].len);
            self.open_shards.is_empty() && view.theirs_ms > view.ours_ms && all
        };
        allowed.then_some(Help::Copy)
    }

    /// Who owes it is overdue, and nobody else may ever bring it. One copy at a time, and one more for each provider that
    /// led nowhere since the last shard came: a crowd that is silent is asked in as many rounds as it doubles, not one by
    /// one.
    fn is_worth_any_cost(&self, view: View) -> bool {
        view.late > 0 && view.fresh < view.late + self.stalled && view.fresh_copies <= view.late_copies + self.stalled
    }

    fn take_from(&mut self, peer: PeerId, request: RequestId, actions: &mut Vec<Action>) {
        let Some((in_flight, _)) = self.peers.get_mut(&peer).and_then(|state| state.settle(request)) else { return };
        self.live[in_flight.index] -= 1;
        self.remember(peer, &in_flight);
        actions.push(Action::Cancel { peer, request });
    }
}

/// How long anybody is waited for who sends a shard of that length.
fn patience_ms(len: u32) -> u64 {
    (HOPELESS * (RTT_GUESS_MS + u64::from(len) * 1000 / RATE_GUESS)).max(HOPELESS_MIN_MS)
}

impl Forecast<'_> {
    /// This one request.
    fn counts(&self, now_ms: u64) -> Counts {
        let late = now_ms >= self.in_flight.overdue_ms();
        let hopeless = !late && self.finish_ms.saturating_sub(now_ms) > patience_ms(self.in_flight.len);
        Counts { fresh: usize::from(!late && !hopeless), hopeless: usize::from(hopeless), late: usize::from(late) }
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.fresh += other.fresh;
        self.hopeless += other.hopeless;
        self.late += other.late;
    }

    /// Fresh and late ones, hopeless ones among the latter or not.
    fn seen(self, hopeless_is_late: bool) -> (usize, usize) {
        if hopeless_is_late { (self.fresh, self.late + self.hopeless) } else { (self.fresh + self.hopeless, self.late) }
    }
}

impl View {
    fn new(ours_ms: u64, len: u32, status: &ShardStatus, statuses: &Statuses, now_ms: u64) -> Self {
        let finish_ms = status.finish_ms.saturating_sub(now_ms);
        let fast = ours_ms <= patience_ms(len) || ours_ms <= finish_ms / LATER_AT_END;
        let (fresh, late) = status.requests.seen(fast);
        let (fresh_copies, late_copies) = statuses.copies.seen(fast);
        let copied_bytes = statuses.fresh_bytes + if fast { 0 } else { statuses.hopeless_bytes };
        let theirs_ms = if fresh == 0 { u64::MAX } else { finish_ms };
        Self { ours_ms, theirs_ms, fresh, late, fresh_copies, late_copies, copied_bytes }
    }
}

impl ShardStatus {
    fn join(&mut self, other: Self) {
        self.finish_ms = self.finish_ms.min(other.finish_ms);
        self.came += other.came;
        self.requests.add(other.requests);
        self.waits = None;
    }
}
