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
/// A copy that takes so many times longer than one of somebody unknown should leads nowhere.
const HOPELESS: u64 = 10;

/// How the requests for one shard stand.
#[derive(Clone, Copy, Debug)]
struct ShardStatus {
    /// When the first of them will be there.
    finish_ms: u64,
    /// How many of them are overdue, and how many are not.
    late: usize,
    fresh: usize,
    /// The only request, if it has not begun.
    waits: Option<(PeerId, RequestId)>,
}

/// Of all shards that are on their way.
struct Statuses {
    shards: BTreeMap<usize, ShardStatus>,
    /// Bytes of second copies that are not overdue.
    copies: u64,
    /// How many of these there are, and how many copies are overdue.
    fresh_copies: usize,
    late_copies: usize,
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
        let mut statuses = Statuses { shards: BTreeMap::new(), copies: 0, fresh_copies: 0, late_copies: 0 };
        for (peer, state) in &self.peers {
            for one in state.forecast(now_ms) {
                let late = one.is_late(now_ms);
                if one.in_flight.copy && late {
                    statuses.late_copies += 1;
                } else if one.in_flight.copy {
                    statuses.fresh_copies += 1;
                    statuses.copies += u64::from(one.in_flight.len);
                }
                let waits =
                    (!one.begun && self.live[one.in_flight.index] == 1).then_some((*peer, one.in_flight.request));
                let (late, fresh) = (usize::from(late), usize::from(!late));
                let new = ShardStatus { finish_ms: one.finish_ms, late, fresh, waits };
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
            let ours_ms = state.due_ms(self.wants[*index].len, now_ms).saturating_sub(now_ms).max(1);
            let theirs_ms = if status.is_late() { u64::MAX } else { status.finish_ms.saturating_sub(now_ms) };
            let gain = (theirs_ms.saturating_sub(ours_ms), std::cmp::Reverse(*index));
            if best.as_ref().is_none_or(|(most, _)| gain > *most)
                && let Some(help) = self.help_with(state, *index, status, statuses, (ours_ms, theirs_ms))
            {
                best = Some((gain, help));
            }
        }
        best.map(|((_, index), help)| (index.0, help))
    }

    fn help_with(
        &self,
        state: &Peer,
        index: usize,
        status: &ShardStatus,
        statuses: &Statuses,
        (ours_ms, theirs_ms): (u64, u64),
    ) -> Option<Help> {
        let len = self.wants[index].len;
        let times = if self.open_shards.is_empty() { LATER_AT_END } else { LATER_AT_ONCE };
        let much = theirs_ms / times >= ours_ms;
        let copies = statuses.copies;
        let in_bounds = self.copies.allow_one(copies);
        // Only one that has kept its word takes anything away from another; and where requests are not called back in
        // time, the account of waste ends it.
        if let Some((from, request)) = status.waits.filter(|_| much && in_bounds && state.is_proven()) {
            return Some(Help::TakeOver { from, request });
        }
        let allowed = if self.is_worth_any_cost(status, statuses) {
            true
        } else if status.fresh > 1 {
            false
        } else if much {
            in_bounds
        } else {
            self.open_shards.is_empty() && theirs_ms > ours_ms && self.copies.allow_all_of(copies, len)
        };
        allowed.then_some(Help::Copy)
    }

    /// Who owes it is overdue, and nobody else may ever bring it. One copy at a time, and one more for each provider that
    /// led nowhere since the last shard came: a crowd that is silent is asked in as many rounds as it doubles, not one by
    /// one.
    fn is_worth_any_cost(&self, status: &ShardStatus, statuses: &Statuses) -> bool {
        status.late > 0
            && status.fresh < status.late + self.stalled
            && statuses.fresh_copies <= statuses.late_copies + self.stalled
    }

    fn take_from(&mut self, peer: PeerId, request: RequestId, actions: &mut Vec<Action>) {
        let Some((in_flight, _)) = self.peers.get_mut(&peer).and_then(|state| state.settle(request)) else { return };
        self.live[in_flight.index] -= 1;
        self.remember(peer, &in_flight);
        actions.push(Action::Cancel { peer, request });
    }
}

impl Forecast<'_> {
    /// Whether somebody else should be asked. A copy is late too if it leads nowhere: its provider said itself that it is
    /// slow, so that what it was expected to take says nothing.
    fn is_late(&self, now_ms: u64) -> bool {
        let of_unknown_ms = RTT_GUESS_MS + u64::from(self.in_flight.len) * 1000 / RATE_GUESS;
        let hopeless = self.in_flight.copy && self.finish_ms.saturating_sub(now_ms) > HOPELESS * of_unknown_ms;
        now_ms >= self.in_flight.overdue_ms() || hopeless
    }
}

impl ShardStatus {
    /// All of them are overdue.
    fn is_late(&self) -> bool {
        self.fresh == 0
    }

    fn join(&mut self, other: Self) {
        self.finish_ms = self.finish_ms.min(other.finish_ms);
        self.late += other.late;
        self.fresh += other.fresh;
        self.waits = None;
    }
}
