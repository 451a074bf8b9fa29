//! Every bound of NAT traversal, with its reason (invariant I12).

use std::time::Duration;

/// Relays that hold a place for us at once: one may go, and the other still leads here.
pub const RESERVATIONS: usize = 2;

/// Peers that offered to relay and are remembered; those met later are left out.
pub const RELAYS_KNOWN: usize = 32;

/// Before a relay that refused or ended a place is asked again: first and longest.
pub const RETRY_FIRST: Duration = Duration::from_secs(5);
/// The longest pause before a relay that failed is asked again.
pub const RETRY_MAX: Duration = Duration::from_secs(300);

/// How long a probe may take: when a peer that probes has been connected for so long and no address of ours is
/// confirmed, we are taken to be unreachable. Five seconds until the first one is sent, 10 s until libp2p gives it up
/// and says nothing.
pub const VERDICT: Duration = Duration::from_secs(16);

/// Confirmed addresses that are remembered.
pub const EXTERNAL: usize = 16;

/// Observed addresses with another port than ours that are offered for probing and punching. A symmetric NAT shows one
/// more for every peer, and none of them helps.
pub const OBSERVED: usize = 8;

/// How long a relayed connection stays beside a direct one: questions on their way on it are answered meanwhile, and
/// the other side may still refuse the direct one.
pub const SUPERSEDED: Duration = Duration::from_secs(3);

/// How long whoever wants shards waits for the direct connection to a peer that is reached through a relay only: three
/// attempts at a hole.
pub const DIRECT_PATIENCE: Duration = Duration::from_secs(10);

/// Addresses of one peer that are dialled beside its relayed connection.
pub const DIALLED: usize = 8;

/// What a node that relays gives to others. A circuit is for finding each other, for questions and for manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Peers that may be reached through us.
    pub reservations: usize,
    /// How long a reservation lasts before it has to be renewed.
    pub reservation: Duration,
    /// Circuits through us at once.
    pub circuits: usize,
    /// Circuits of one peer at once.
    pub circuits_per_peer: usize,
    /// How long a circuit may last.
    pub circuit: Duration,
    /// Bytes in one direction after which a circuit ends.
    pub circuit_bytes: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations: 256,
            reservation: Duration::from_secs(3600),
            circuits: 64,
            circuits_per_peer: 4,
            circuit: Duration::from_secs(120),
            circuit_bytes: 1 << 20,
        }
    }
}

/// New places and new circuits that one peer may ask for: so many at once, and one more after each interval.
pub const PER_PEER: (u32, Duration) = (30, Duration::from_secs(120));

/// The same for one IP address: many homes share one.
pub const PER_IP: (u32, Duration) = (60, Duration::from_secs(60));
