//! Every bound of discovery, with its reason (invariant I12).

use std::time::Duration;

use potluck_protocol::rate_limit::Rate;

/// Keys that this node provides at once: manifests that it holds, and bases that it follows.
pub const PROVIDED: usize = 8_192;

/// Every key is told to the network at least so often. Others forget it after four times as long.
pub const PROVIDE_PERIOD: Duration = Duration::from_secs(12 * 3600);

/// A key that could not be told is tried again after this.
pub const PROVIDE_RETRY: Duration = Duration::from_secs(600);

/// The longest pause between two keys. One who has [`PROVIDED`] must make it 1.3 s.
pub const PROVIDE_PACE: Duration = Duration::from_secs(2);

/// How long others' records are believed.
pub const RECORD_TTL: Duration = Duration::from_secs(48 * 3600);

/// Records of other peers: at 32 bytes of key, a peer id and at most four addresses some 20 MiB at worst.
pub const RECORDS: usize = 16_384;

/// Of them from one peer, and from one address group (a /24, a /56).
pub const RECORDS_PER_PEER: usize = 2_048;
/// Records of other peers from one address group.
pub const RECORDS_PER_GROUP: usize = 4_096;

/// Providers of one key: as many as an answer names.
pub const RECORDS_PER_KEY: usize = 20;

/// A question to the DHT, all of it.
pub const QUERY: Duration = Duration::from_secs(40);

/// A DHT message: 20 peers with 8 addresses each are some 20 KiB.
pub const PACKET: usize = 64 << 10;

/// Questions to the DHT that are on their way. More: the asker is told to come back.
pub const QUERIES: usize = 32;

/// Providers that one question looks for.
pub const PROVIDERS: usize = 20;

/// Fewer peers than this, and a node looks for more.
pub const TARGET: usize = 8;

/// Peers that might be dialled, and addresses of each.
pub const HINTS: usize = 256;
/// Addresses of each peer that might be dialled.
pub const HINT_ADDRESSES: usize = 4;

/// Addresses in one address group that might be dialled: nobody makes us knock on a whole network's doors.
pub const HINTS_PER_GROUP: usize = 32;

/// Addresses that failed and are left alone for a while.
pub const FAILED: usize = 1_024;

/// How long after the first and after later failures.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(2);
/// The longest time that an address which failed is left alone.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(600);

/// A hint that failed so often is forgotten, but for peers on the local network, who still say that they are there.
pub const TRIES: u32 = 6;

/// The side that is not the first to dial a peer of the local network dials after this.
pub const SECOND_DIALLER: Duration = Duration::from_secs(5);

/// Peers that left lately and are named to others all the same, and for how long.
pub const LATELY: usize = 64;
/// For how long a peer that left is named to others.
pub const LATELY_AGE: Duration = Duration::from_secs(1_800);

/// How often one peer may ask whom we know.
pub const ASKED: Rate = Rate { burst: 8, refill_ms: 20_000 };
/// Peers whose questions are counted.
pub const ASKERS: usize = 1_024;

/// When a peer is asked again whom it knows: first, doubling to the last. Soon at first: it may not have known yet who we
/// are when it was asked, and then could not tell us of a twin.
pub const ASK_AGAIN_FIRST: Duration = Duration::from_secs(5);
/// The longest time between two questions to a peer about whom it knows.
pub const ASK_AGAIN_MAX: Duration = Duration::from_secs(600);

/// Bases whose peers are looked for in one round, and how long between rounds.
pub const BASES_LOOKED_FOR: usize = 8;
/// Between two rounds of looking for peers of bases.
pub const BASES_AGAIN: Duration = Duration::from_secs(300);
