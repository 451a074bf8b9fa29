//! Every bound on what following a channel may cost, with its reason (I12).

use std::time::Duration;

/// Announced versions of a steward that one update looks at, the newest first; the chain finds older ones by their ids.
pub const ANNOUNCED_MAX: usize = 256;

/// How long peers are asked for manifests that were announced.
pub const LOOK: Duration = Duration::from_secs(10);

/// A person who asks for an update waits at most so long until the announcements of peers have come, and the topic has
/// been silent for [`QUIET`]: what a peer knows comes in one go.
pub const CATCH_UP: Duration = Duration::from_secs(10);

/// How long a topic is silent once all that peers know has come, see [`CATCH_UP`].
pub const QUIET: Duration = Duration::from_millis(700);

/// How long the daemon looks for each record and adapter of its own accord.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often the daemon looks although it heard of nothing: announcements may be lost, and an adapter that was gone may be
/// back.
pub const EVERY: Duration = Duration::from_secs(300);

/// Between two updates that announcements ask for: a flood of them is one update each so often.
pub const PAUSE: Duration = Duration::from_secs(1);

/// Proofs of one channel whose manifests are read in one go, drawn by turns among their provers.
pub const PROOFS_AT_ONCE: usize = 64;

/// Proofs that one key may send within [`SPAN`].
pub const PROOFS_PER_KEY: usize = 8;

/// Versions of one channel that are folded within [`SPAN`] because somebody claims something. A claim about a version costs
/// one fold however many make it.
pub const RERUNS: usize = 4;

/// The same for versions that are neither in force nor next: what they were made of may be revoked by now, and would have
/// to be fetched for the claim alone.
pub const RERUNS_OF_OLD: usize = 1;

/// The span of [`PROOFS_PER_KEY`], [`RERUNS`] and [`RERUNS_OF_OLD`].
pub const SPAN: Duration = Duration::from_secs(3600);

/// What the ledger remembers: proofs, keys, results. The oldest are forgotten first.
pub const LEDGER_MAX: usize = 4096;
