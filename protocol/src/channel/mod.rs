//! Channels: one base that strangers improve, as a growing chain of signed versions.
//!
//! ```text
//! Channel (steward's rules) <- Proposal (an adapter, by its publisher)
//!    |                            | inspected, norm-clipped, scored on a sealed shard that is opened now
//!    +-- Version 1 <- Version 2 <- Version 3      each: a recipe from genesis, its digest, verdicts, signed
//!                        ^ Proof: two versions at one height, or bytes that do not follow from the recipe
//! ```
//!
//! All four travel as manifests, so that they are signed, announced on the genesis base's topic, kept in catalogues
//! and pulled as adapters are. Goals: what is in force follows from signed bytes alone; whoever has genesis and the
//! adapters rebuilds every version; a lying steward is found out by anybody, and its followers stop; nothing depends
//! on a steward who is gone, because any version can be the genesis of another channel. Non-goals: to keep a steward
//! from choosing badly (people choose whom to follow), to score (that is the trainer's).
//!
//! Here is what is signed, and how a release chooses among proposals; [`crate::lineage`] checks a chain of versions.

mod choose;
mod proof;
mod proposal;
mod sealed;
mod spec;
mod verdict;
mod version;

pub use choose::{Candidate, Choice, Losses, Scorer, choose, clip, scores_max};
pub use proof::{Claim, Envelope, ProofInfo};
pub use proposal::ProposalInfo;
pub use sealed::{Opened, Role, Score, Sealed, Suite};
pub use spec::{Admission, ChannelInfo, Gate, NormBound};
pub use verdict::{Refusal, Verdict, VerdictOutcome};
pub use version::{Change, VersionInfo};
