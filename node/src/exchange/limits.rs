//! Every bound of the exchange, with its reason (invariant I12).

use std::time::Duration;

use potluck_protocol::ask::{ANSWER_MS, HEDGE_MS};
use potluck_protocol::backoff::Delays;
use potluck_protocol::limits::REQUEST_MAX;
use potluck_protocol::rate_limit::Rate;

/// Shards being read or sent at once, each up to 1 MiB of memory. More: `Busy`.
pub const SERVING: usize = 64;

/// The same for one peer, over all its streams: each stream of ours has two.
pub const SLOTS_PER_PEER: usize = 8;

/// Small questions being looked up at once: they never wait behind shards. More: `Busy`.
pub const ASKING: usize = 64;

/// When all slots are taken, whoever has been taking one shard for so long (512 KiB/s) may lose its slot.
pub const STALL_GRACE: Duration = Duration::from_secs(2);

/// When a peer that is told `Busy` may ask again, in milliseconds.
pub const BUSY_RETRY_MS: u32 = 250;

/// Requests of one stream that wait for their turn: more than a downloader of ours ever sends ahead ([`COMMANDS`]). Full:
/// the next ones stay on the wire.
pub const REQUESTS: usize = 256;

/// How long a stream without a request is kept.
pub const REQUEST_IDLE: Duration = Duration::from_secs(30);

/// A peer that does not take a whole shard in this time (9 KiB/s) gives its slot to others.
pub const SEND_SHARD: Duration = Duration::from_secs(120);

/// Manifests whose holders are remembered, and likewise those whose askers are; the oldest are forgotten first.
pub const HOLDERS_MANIFESTS: usize = 1024;
/// Holders of each manifest that are remembered, and likewise askers.
pub const HOLDERS_EACH: usize = 16;

/// How long a peer that sent wrong bytes is not asked, and how many such peers are remembered.
pub const BLAME: Duration = Duration::from_secs(600);
/// Peers that sent wrong bytes and are remembered.
pub const BLAMED: usize = 1024;

/// One small question and its answer, however often the peer is busy meanwhile.
pub const QUESTION: Duration = Duration::from_millis(ANSWER_MS);

/// How often one question is repeated to a peer that says `Busy`.
pub const QUESTION_TRIES: u32 = 4;

/// Peers of one pull that say they have it and are used at once; with those, nobody more is asked until more are wanted
/// ([`potluck_protocol::ask::More`]): each may have one shard in memory.
pub const PROVIDERS_AT_ONCE: usize = 64;

/// Peers that one pull dials at once because they say that they have it, and as many because others do.
pub const DIALLED: usize = 32;
/// Of those that others name, so many because of one peer.
pub const DIALLED_OF_ONE: usize = 4;
/// Of those for whom only their own announcement speaks, so many of one neighbourhood.
pub const DIALLED_NEAR: usize = 8;
/// All dials of one pull: strangers state addresses, and nobody else's doors are to be knocked at often.
pub const DIAL_RATE: Rate = Rate { burst: 64, refill_ms: 100 };

/// A peer that is said to have it and is not connected is dialled again after this, if it does not rest.
pub const DIAL_AGAIN: Duration = Duration::from_secs(6);

/// How long a peer rests that could not be reached, unless it gave us something.
pub const UNREACHABLE_RESTS: Delays = Delays { first_ms: 6_000, longest_ms: 600_000 };
/// Such peers that are remembered.
pub const UNREACHABLE: usize = 1024;

/// How often a pull looks at who is connected: cheaper than to follow every event of the network.
pub const LOOK_AROUND: Duration = Duration::from_millis(250);

/// Events of all providers of one pull that wait to be looked at. Full: the providers' streams wait, and so do they.
pub const EVENTS: usize = 64;

/// Commands that one provider's task has not read: more than the requests that the scheduler ever has on their way.
pub const COMMANDS: usize = 128;

/// Verified shards that wait to be written, each up to 1 MiB of memory. Full: the providers wait.
pub const UNWRITTEN: usize = 8;

/// Written shards of one pull that wait to be durable, up to 512 MiB of the system's memory for files (which it takes
/// back when it is needed). Full: the providers wait. A kill loses none of them.
pub const UNSETTLED: usize = 512;

/// A provider's stream is closed after this long without a question, before the provider's own patience ends.
pub const STREAM_KEEP: Duration = Duration::from_secs(10);

/// Bytes of requests of one stream that wait for their turn: two of the longest. More: the next ones stay on the wire.
pub const REQUEST_BYTES: usize = 2 * REQUEST_MAX;

/// Small questions that one peer may ask, of whatever kind: 36 bytes may make us look for a signed manifest of 260 KiB.
/// A pull of the largest base asks twenty a second while it waits for others, a release a thousand at once. More: they
/// wait for their turn.
pub const QUESTIONS: Rate = Rate { burst: 2_048, refill_ms: 20 };
/// The same of all peers of one neighbourhood: keys are free, and each would come with an allowance of its own.
pub const QUESTIONS_NEAR: Rate = four_times(QUESTIONS);

/// Requests for shards that bring nothing, or less than a tensor's own shard: a pull of a folder of many small ones, or
/// from a provider that has not got them yet. Some tens of microseconds each. More: they wait for their turn.
pub const SMALL_SHARDS: Rate = Rate { burst: 8_192, refill_ms: 4 };
/// The same of all peers of one neighbourhood.
pub const SMALL_SHARDS_NEAR: Rate = four_times(SMALL_SHARDS);

/// So long a request waits for its turn: whoever asks waits ten seconds for an answer. One whose turn would be later is
/// told `Busy` then, and was not counted. A peer that has all its streams waiting is below it.
pub const TURN_PATIENCE_MS: u64 = 4_000;

/// Peers, and neighbourhoods, whose questions are counted.
pub const ASKERS: usize = 1024;

/// What a neighbourhood may ask, when a peer may ask so much.
const fn four_times(rate: Rate) -> Rate {
    Rate { burst: 4 * rate.burst, refill_ms: rate.refill_ms / 4 }
}

/// Of these, questions about our catalogue: a node that follows many bases asks once for each when it comes,
/// and seventeen times for all of a full one. At most 130 KiB go out for each. More: they wait for their turn.
pub const CATALOGUE_QUESTIONS: Rate = Rate { burst: 256, refill_ms: 250 };
/// The same of all peers of one neighbourhood.
pub const CATALOGUE_QUESTIONS_NEAR: Rate = four_times(CATALOGUE_QUESTIONS);

/// Peers whose catalogues an inquiry compares with ours at once: one of them that is honest and knows is enough.
pub const INQUIRED: usize = 16;
/// Of these, so many that the settings name.
pub const INQUIRED_NAMED: usize = 4;
/// And so many of those that have been connected longest, each of another neighbourhood.
pub const INQUIRED_LONGEST: usize = 4;

/// Comparisons that showed a difference and that our own have not followed yet. Full: the next ones find it.
pub const CATALOGUE_ASKED: usize = 64;

/// What is trusted in the catalogue follows what the store has within this time, if nothing else is heard.
pub const CATALOGUE_TRUST: Duration = Duration::from_secs(60);

/// Changes of the catalogue are written together: so long after the first.
pub const CATALOGUE_KEEP: Duration = Duration::from_millis(200);

/// And not again before so long after that.
pub const CATALOGUE_PAUSE: Duration = Duration::from_secs(30);

/// What was only heard is written when it has stood for so long, and at the latest after twice that: whoever says things
/// again and again makes nobody write. What a crash loses is heard again.
pub const CATALOGUE_STOOD: Duration = Duration::from_secs(600);

/// Manifests that are looked for together, each up to 260 KiB. One for which only late answers are waited for does not
/// count: nobody's silence keeps the next one waiting.
pub const LOOK_AT_ONCE: usize = 8;

/// How long a search waits for more when it has found all whose names fit, and when it has found some.
pub const LOOK_GRACE: Duration = Duration::from_millis(300);
/// The second of these: a peer that is far away answers within it.
pub const LOOK_QUIET: Duration = Duration::from_secs(1);

/// Bases that peers follow and this node does not, of which a search looks at some offers: at most 20 KiB from a peer each.
pub const BASES_OF_OTHERS: usize = 32;
/// Peers that are asked for the offers of one of them, each from another neighbourhood.
pub const FOLLOWERS_ASKED: usize = 3;
/// If no more than one in so many of the peers that are asked still owe an answer, they have [`AROUND_HEDGE`] more.
pub const AROUND_FEW: usize = 4;
/// Counted from the last answer that came.
pub const AROUND_HEDGE: Duration = Duration::from_millis(HEDGE_MS);

/// A manifest that nobody handed out is looked for after the others, for a time that doubles.
pub const MISSING_RESTS: Delays = Delays { first_ms: 10_000, longest_ms: 3_600_000 };
/// Such manifests that are remembered.
pub const MISSING: usize = 4096;
