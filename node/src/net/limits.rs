//! Every bound of the network actor, with its reason (invariant I12).

use std::time::Duration;

use potluck_protocol::catalogue::timing::PER_PUBLISHER;
use potluck_protocol::rate_limit::Rate;

/// Commands waiting for the actor. Full: callers wait.
pub const COMMANDS: usize = 256;

/// Events waiting for each listener. Full: that listener loses the oldest and is told how many.
pub const EVENTS: usize = 1024;

/// Inbound bulk streams that nobody has accepted yet. Full: the stream is answered with `Busy`.
pub const ACCEPT_QUEUE: usize = 64;

/// Inbound bulk streams of one peer at once. More: `Busy`.
pub const STREAMS_PER_PEER: usize = 16;

/// Streams that one connection opens and that are still negotiating. More: the caller gets an error.
pub const OPENING_PER_CONNECTION: usize = 16;

/// Streams of one connection that are being answered with `Busy`. More: reset, because someone floods us.
pub const REFUSING_PER_CONNECTION: usize = 16;

/// How long a bulk stream may stand still, in either direction.
pub const STREAM_IDLE: Duration = Duration::from_secs(30);

/// When a refused peer may try again, in milliseconds.
pub const BUSY_RETRY_MS: u32 = 250;

/// A connection without a stream is kept this long: cheaper than a new handshake for the next question.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(300);

/// Dialling and the handshakes together. Three SYNs that are lost fit in; and it is below the 10 s in which whoever probes
/// an address for another one must answer, so that an address behind a NAT that drops the dial in silence is answered
/// with a refusal, and not probed again and again.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(8);

/// Handshakes of those who connect, all together and from one neighbourhood (/24, /56): some 100 KiB each at most. More:
/// the oldest of the largest neighbourhood makes room. An honest one takes milliseconds.
pub const HANDSHAKES: usize = 256;
/// Handshakes from one neighbourhood at once.
pub const HANDSHAKES_PER_GROUP: usize = 32;

/// New connections from one neighbourhood: 64 at once, eight a second. Each handshake costs us half a millisecond of a
/// processor. More: closed before the first byte. This machine's own are not counted.
pub const HANDSHAKE_RATE: Rate = Rate { burst: 64, refill_ms: 125 };

/// Neighbourhoods whose rate is remembered; those that came least often are forgotten first.
pub const HANDSHAKE_GROUPS: usize = 4096;

/// Connections. Four a peer: a relayed one, two direct ones because both sides may dial at once, and one with which a
/// peer that was asked to probes our address.
pub const PENDING_OUT: u32 = 32;
/// Connections that this node made.
pub const ESTABLISHED_OUT: u32 = 64;

/// Connections that others made to us. More: one of them is closed.
pub const ESTABLISHED_IN: usize = 200;

/// Connections that are being closed to make room, beside those: more newcomers are denied. Closing takes a moment, and
/// with few of these a flood shuts the door that the places keep open.
pub const ESTABLISHED_SURPLUS: usize = 256;

/// Of them, from one neighbourhood (/24, /56). This machine's own are not counted.
pub const SLOTS_PER_GROUP: usize = 16;

/// Those of our network that have been here longest never give up their place.
pub const PROTECTED: usize = 32;

/// So long a peer may take to say that it is of our network: the stream's own timeout, and some.
pub const UNIDENTIFIED_MS: u64 = 15_000;

/// A peer whose misdeeds add up to this is banned; they fade by half in ten minutes.
pub const BAN_SCORE: f64 = 1.0;
/// In so long a peer's score falls to a half.
pub const SCORE_HALF_MS: u64 = 600_000;

/// Ten minutes, twice as long each time, at most half a day; a day after the last one all is forgotten.
pub const BAN_FIRST_MS: u64 = 600_000;
/// The longest ban.
pub const BAN_MAX_MS: u64 = 43_200_000;
/// After so long without a ban the next one is a first one again.
pub const BAN_FORGET_MS: u64 = 86_400_000;

/// So many banned ones from one neighbourhood, and nobody from there is let in for ten minutes.
pub const BANNED_PER_GROUP: usize = 5;

/// Peers whose misdeeds are remembered; the least is forgotten first.
pub const BANS: usize = 4096;

/// Announcements that a peer says itself and that are ignored, for whatever reason. An honest one says no more than
/// [`SAID`], even if none of it is new here. More is a misdeed.
pub const SENT: Rate = Rate { burst: 4_000, refill_ms: 20 };

/// The same of those that it passes on. One of this version accepts 1,300 at once and 80 a second ([`FAMILIAR`] and
/// [`NEWCOMERS`]); the first versions had no bound for all known publishers together, so a stranger with enough keys can
/// have one of them pass on twelve of each of 4,096 at once and six an hour. To look at so many takes seconds.
pub const RELAYED: Rate = Rate { burst: 65_536, refill_ms: 10 };

/// Our own announcements that go out by gossip: a thousand at once, five a second. More is found by comparing
/// catalogues.
pub const SAID: Rate = Rate { burst: 1_000, refill_ms: 200 };

/// Forwarders that are counted.
pub const FORWARDERS: usize = 1024;

/// How often gossip's scores are looked at.
pub const WATCH: Duration = Duration::from_secs(1);
/// Connections with one peer.
pub const ESTABLISHED_PER_PEER: u32 = 4;

/// Of these, so many have a place whatever others have: whoever connects from many networks keeps nobody from asking.
pub const STREAMS_SURE: usize = 1;

/// All others of all peers at once. Each stream may hold a window of 256 KiB that nobody has read: with those of
/// [`ESTABLISHED_IN`] and [`ESTABLISHED_OUT`] peers that are sure, 128 MiB. More: `Busy`.
pub const STREAMS: usize = 248;

/// Of these, from one neighbourhood. This machine's own are not counted.
pub const STREAMS_NEAR: usize = STREAMS / 4;

/// Streams that a peer may open on one connection, whatever is said on them: each costs some 100 us before that. Twice what the
/// questions need that a peer may ask, each on a stream of its own. More: they wait for their turn.
pub const STREAMS_OPENED: Rate = Rate { burst: 4_096, refill_ms: 10 };

/// yamux streams of one connection: fewer streams leave more room for each window to grow.
pub const YAMUX_STREAMS: usize = 64;

/// What may be on its way to us on one QUIC stream and on one QUIC connection.
#[cfg(feature = "quic")]
pub const QUIC_STREAM_WINDOW: u32 = 16_000_000;
/// Bytes of all streams of a QUIC connection that are sent before the other side has taken them.
#[cfg(feature = "quic")]
pub const QUIC_CONNECTION_WINDOW: u32 = 64_000_000;

/// A QUIC connection that is silent for so long is lost; a third of it is the time between two signs of life.
#[cfg(feature = "quic")]
pub const QUIC_IDLE_MS: u32 = 30_000;

/// Peers whose addresses are remembered after they left, oldest forgotten first, and addresses of each.
pub const BOOK_PEERS: usize = 1024;
/// Addresses of each peer that are remembered.
pub const BOOK_ADDRESSES: usize = 8;

/// Bases that one node follows, and topics that one peer may subscribe to.
pub const TOPICS: usize = 100;

/// Of those who announced a manifest, so many are looked at at once, drawn by lot: anybody may have made thousands of keys
/// that did, and the name of each peer costs a check of its key, and a look at its addresses.
pub const ANNOUNCERS: usize = 64;

/// Own announcements that wait for a listener, oldest dropped first.
pub const OUTBOX: usize = 1024;

/// Between two attempts to reach the bootstrap peers while nobody is connected: first and longest.
pub const REDIAL_FIRST: Duration = Duration::from_millis(500);
/// The longest pause between two attempts while nobody is connected.
pub const REDIAL_MAX: Duration = Duration::from_secs(30);

/// The same while others are connected: seldom, for a bootstrap peer has many who know it, and no room for all of them.
pub const BOOTSTRAP_FIRST: Duration = Duration::from_secs(5);
/// The longest pause between two attempts at a bootstrap address.
pub const BOOTSTRAP_MAX: Duration = Duration::from_secs(600);

/// Pause before a swarm that panicked is built anew: under the promised second.
pub const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// New announcements of one publisher of whom something is known already; what is ignored is found by comparing
/// catalogues.
pub const PUBLISHERS: Rate = PER_PUBLISHER;

/// Publishers whose allowance is remembered.
pub const PUBLISHERS_REMEMBERED: usize = 4096;

/// The same of all of these publishers together: a thousand at once, twenty a second.
pub const FAMILIAR: Rate = Rate { burst: 1_000, refill_ms: 50 };

/// New announcements of all other publishers together: a hundred at once, twenty a second.
pub const NEWCOMERS: Rate = Rate { burst: 100, refill_ms: 50 };

/// The same of those that come from one neighbourhood: so whoever makes keys in one silences nobody elsewhere.
pub const NEWCOMERS_NEAR: Rate = Rate { burst: 50, refill_ms: 250 };

/// Neighbourhoods whose newcomers are counted.
pub const NEIGHBOURHOODS: usize = 1_024;

/// Between two notes that announcements were ignored because too many came.
pub const MISSED_PAUSE_MS: u64 = 1_000;
