//! Who has a place among the providers. There are few, and anybody can say that they have everything: so a place is kept
//! by what comes, not by who was first. // I12, I15

use std::cmp::Reverse;

use super::machine::Fetch;
use super::pace::RATE_GUESS;
use super::peer::Peer;
use super::{Action, Holdings};

/// Providers that are looked at.
const PLACES: usize = 64;

/// As long as fewer have delivered nothing yet, a newcomer may take the place of one that has.
const NEWCOMERS: usize = 8;

/// For so long a provider that has not failed keeps its place: others have theirs only because they were tried.
const TRIAL_MS: u64 = 5_000;

/// Who has delivered keeps its place through so many failures in a row.
const FORGIVEN: u32 = 3;

/// What there is to lose with a provider, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It has nothing that is still wanted.
    Nothing,
    /// It owes nothing, and has failed so often since it last delivered.
    Failed(Reverse<u32>),
    /// It has not been needed.
    Idle,
    /// It owes something and has never delivered: so many bytes a second are to be expected.
    Unproven(u64),
    /// It has delivered.
    Proven(u64),
}

impl Fetch {
    /// Whether somebody who has this can help.
    pub(super) fn is_of_use(&self, holdings: &Holdings) -> bool {
        match holdings {
            Holdings::All => self.missing > 0,
            Holdings::These(flags) => flags.iter().zip(&self.arrived).any(|(has, arrived)| *has && !arrived),
        }
    }

    /// Whether there is a place for a newcomer; the one who has the least to lose gives theirs up if need be.
    pub(super) fn make_place(&mut self, now_ms: u64, actions: &mut Vec<Action>) -> bool {
        if self.peers.len() < PLACES {
            return true;
        }
        let newcomers = self.peers.values().filter(|state| !state.is_proven()).count();
        let able = self.peers.iter().filter_map(|(peer, state)| {
            let worth = self.worth(state, now_ms);
            let may_go = match worth {
                Worth::Nothing | Worth::Failed(_) => true,
                Worth::Idle => state.known_for_ms(now_ms) >= TRIAL_MS,
                // Of somebody unknown more is to be expected.
                Worth::Unproven(rate) => rate < RATE_GUESS && state.known_for_ms(now_ms) >= TRIAL_MS,
                Worth::Proven(rate) => rate < RATE_GUESS && newcomers < NEWCOMERS,
            };
            may_go.then_some((worth, state.luck, *peer))
        });
        let Some((_, _, peer)) = able.min() else { return false };
        self.forget(&peer);
        actions.push(Action::Release { peer });
        true
    }

    fn worth(&self, state: &Peer, now_ms: u64) -> Worth {
        let (failures, proven) = (state.failures(), state.is_proven());
        let forgiven = if proven { FORGIVEN } else { 0 };
        if !self.is_of_use(state.holdings()) {
            Worth::Nothing
        } else if state.is_idle() && failures > forgiven {
            Worth::Failed(Reverse(failures))
        } else if proven {
            Worth::Proven(state.rate_at(now_ms))
        } else if state.is_idle() {
            Worth::Idle
        } else {
            Worth::Unproven(state.rate_at(now_ms))
        }
    }
}
