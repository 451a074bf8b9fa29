//! When catalogues are compared, and for how long a peer may keep us waiting.

/// Between two comparisons of a base with a peer chosen at random, give or take a quarter: gossip delivers nearly
/// everything, this finds the rest.
pub const PERIOD_MS: u64 = 600_000;

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

/// After a round that taught us nothing the peer is left alone for twice this time, after the next one in a row for
/// four times as long, and so on up to [`BACKOFF_MAX_MS`]. (Only we wait: it asks when it likes.)
pub const BACKOFF_MS: u64 = 1_000;
/// The longest time for which a peer is left alone.
pub const BACKOFF_MAX_MS: u64 = 600_000;

/// Bases whose peers are known: more than a node follows. // I12
pub(super) const BASES: usize = 128;
/// Peers of one base that are known. // I12
pub(super) const PEERS_PER_BASE: usize = 512;
/// Peers whose backoff is remembered. // I12
pub(super) const PEERS: usize = 1024;
