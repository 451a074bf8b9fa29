//! Every bound of the network actor, with its reason (invariant I12).

use std::time::Duration;

use potluck_protocol::catalogue::Rate;

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

/// Connections. Four a peer: a relayed one, two direct ones because both sides may dial at once, and one with which a
/// peer that was asked to probes our address.
pub const PENDING_IN: u32 = 32;
pub const PENDING_OUT: u32 = 32;
pub const ESTABLISHED_IN: u32 = 200;
pub const ESTABLISHED_OUT: u32 = 64;
pub const ESTABLISHED_PER_PEER: u32 = 4;

/// yamux streams of one connection: fewer streams leave more room for each window to grow.
pub const YAMUX_STREAMS: usize = 64;

/// What may be on its way to us on one QUIC stream and on one QUIC connection.
#[cfg(feature = "quic")]
pub const QUIC_STREAM_WINDOW: u32 = 16_000_000;
#[cfg(feature = "quic")]
pub const QUIC_CONNECTION_WINDOW: u32 = 64_000_000;

/// A QUIC connection that is silent for so long is lost; a third of it is the time between two signs of life.
#[cfg(feature = "quic")]
pub const QUIC_IDLE_MS: u32 = 30_000;

/// Peers whose addresses are remembered after they left, oldest forgotten first, and addresses of each.
pub const BOOK_PEERS: usize = 1024;
pub const BOOK_ADDRESSES: usize = 8;

/// Bases that one node follows, and topics that one peer may subscribe to.
pub const TOPICS: usize = 100;

/// Own announcements that wait for a listener, oldest dropped first.
pub const OUTBOX: usize = 1024;

/// Between two attempts to reach the bootstrap peers while nobody is connected: first and longest.
pub const REDIAL_FIRST: Duration = Duration::from_millis(500);
pub const REDIAL_MAX: Duration = Duration::from_secs(30);

/// Pause before a swarm that panicked is built anew: under the promised second.
pub const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// New announcements of one publisher of whom something is known already: twelve at once, six an hour. Nobody trains
/// adapters faster; what is ignored is found by comparing catalogues.
pub const PUBLISHERS: Rate = Rate { burst: 12, refill_ms: 600_000 };

/// Publishers whose allowance is remembered.
pub const PUBLISHERS_REMEMBERED: usize = 4096;

/// New announcements of all other publishers together: a hundred at once, twenty a second.
pub const NEWCOMERS: Rate = Rate { burst: 100, refill_ms: 50 };

/// Between two notes that announcements were ignored because too many came.
pub const MISSED_PAUSE_MS: u64 = 1_000;
