//! When catalogues are compared, for how long a peer may keep us waiting, and how much is taken in which time.

use crate::rate_limit::Rate;

/// Between two comparisons of a base with a peer chosen at random, give or take a quarter: gossip delivers nearly
/// everything, this finds the rest.
pub const PERIOD_MS: u64 = 600_000;

/// The same where there is no room: what a peer stands behind is found by asking it and in no other way, for two that
/// have heard the same look equal whatever lies beside it. Each neighbourhood has its turn.
pub const PERIOD_CROWDED_MS: u64 = 60_000;

/// A peer that passed on something for which there was no room is asked what it stands behind, and not again within
/// this time.
pub const CROWDED_PAUSE_MS: u64 = 5_000;

/// The same, and up to as much again, when there is a reason to believe that something was missed.
pub const SOON_MS: u64 = 10_000;

/// A newly met peer is compared with within this time, so that a node that meets many at once asks one after another.
pub const MEET_MS: u64 = 200;

/// A peer whose question showed a difference is asked in its turn within this time: by then it has mostly finished.
pub(super) const TURN_MS: u64 = 500;

/// What was learned by comparing is news to our neighbours too, for gossip has failed them as it failed us. This many
/// of them are compared with, within this time, and not again before the pause is over: eight random neighbours each
/// reach all but 3 in 10,000 nodes.
pub const SPREAD: usize = 8;
/// The neighbours of a [`SPREAD`] are compared with within this time.
pub(super) const SPREAD_MS: u64 = 1_000;
/// Between two spreads of one base.
pub(super) const SPREAD_PAUSE_MS: u64 = 5_000;

/// Rounds at once, all bases together.
pub const ROUNDS: usize = 8;

/// A second round of one base waits so long for the first: both would fetch the same.
pub const HEDGE_MS: u64 = 2_000;

/// A peer has so long for one answer.
pub const ANSWER_MS: u64 = 10_000;
/// A peer has so long for a whole round: 4,096 records are seventeen answers.
pub const ROUND_MS: u64 = 60_000;

/// After a round that taught us nothing the peer is left alone about that base for twice this time, after the next one in a
/// row for four times as long, and so on up to [`BACKOFF_MAX_MS`]; about all bases if it did not answer. (Only we wait: it
/// asks when it likes.)
pub const BACKOFF_MS: u64 = 1_000;
/// The longest time for which a peer is left alone.
pub const BACKOFF_MAX_MS: u64 = 600_000;

/// Bases whose peers are known: more than a node follows. // I12
pub(super) const BASES: usize = 128;
/// Peers of one base that are known. // I12
pub(super) const PEERS_PER_BASE: usize = 512;
/// Peers that are remembered because they did not answer. // I12
pub(super) const PEERS: usize = 1024;
/// Peers that are remembered because they taught nothing about a base, once for each base. // I12
pub(super) const FRUITLESS: usize = 4 * PEERS;

/// Announcements of one publisher of whom something is known already: twelve at once, six an hour. Nobody trains
/// adapters faster. Gossip takes so many new ones, and comparing so many newer ones of what is known (of new ones
/// comparing takes more, see [`ARRIVALS`]).
pub const PER_PUBLISHER: Rate = Rate { burst: 12, refill_ms: 600_000 };
/// Publishers whose allowance is remembered. // I12
pub const PUBLISHERS: usize = 4_096;
/// Newer announcements of what is known, of all publishers together. An honest one is needed where a home has lost its
/// records; each costs every node a write.
pub const RENEWALS: Rate = Rate { burst: 256, refill_ms: 2_000 };

/// A record that was not taken is not asked for again for so long: until then its publisher has another allowance.
pub const DECLINED_MS: u64 = 600_000;
/// The same of one of a kind that only a later version knows: it will not be known before this program is another one.
pub const LATER_MS: u64 = 6 * 3_600_000;
/// Records that are remembered as declined, each of one neighbourhood: those of eight full bases, 5 MiB. // I12
pub(super) const DECLINED: usize = 32_768;

/// Publishers of whom nothing is known, as far as they come by comparing with the peers of one neighbourhood: so many
/// at once and one a minute; and as many of what channels live by, which the others do not use up. Keys are free, and this
/// is what a neighbourhood may bring of them. Whoever comes late and
/// has four neighbourhoods around has all of a full base at once.
pub const NEWCOMERS: Rate = Rate { burst: 512, refill_ms: 60_000 };
/// New things of publishers who are known, as far as they come by comparing with the peers of one neighbourhood: whoever
/// comes late lacks thousands, and each costs every node a write.
pub const ARRIVALS: Rate = Rate { burst: 8_192, refill_ms: 1_000 };
/// New things of a key that is followed: a steward's versions are found by the newest one.
pub const FOLLOWED: Rate = Rate { burst: 256, refill_ms: 60_000 };
/// Records that have a place because a peer of a neighbourhood stands behind them: as many at once as there are places,
/// and one a minute.
pub const STOOD_BEHIND: Rate = Rate { burst: 64, refill_ms: 60_000 };
/// Neighbourhoods whose allowance is remembered. // I12
pub(super) const NEIGHBOURHOODS: usize = 1_024;

/// How long a draw of lots lasts. Short, because whoever makes keys until their lots are good has a full base of them
/// within minutes; and long, because what has just lost its place is brought back then by whoever stands behind it.
pub const EPOCH_S: u64 = 6 * 3_600;

/// The epoch of a time of day.
pub fn epoch(seconds_since_1970: u64) -> u64 {
    seconds_since_1970 / EPOCH_S
}
