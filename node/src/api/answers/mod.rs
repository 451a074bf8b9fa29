//! What requests answer, one file per family. On the wire each is a JSON object whose first field is its schema: see
//! [`super::ask`].
//!
//! Ids, keys and digests are hex. Sizes are bytes, losses nats per labelled token, shares 0 to 1, times seconds; a name
//! that ends otherwise says so. A field that is `None` is `null`, unless it is said that it is left out.

mod adapters;
mod bases;
mod bench;
mod channels;
mod node;
mod store;
mod training;

pub use adapters::{
    Chosen, FetchedShards, Folded, LeastKept, Merged, MergedAdapter, MethodName, Presence, Published, Pulled,
    PulledFrom, RecipeTag, Shown, Verified, VerifiedKind, WeightedAdapter,
};
pub use bases::{Base, Bases, Distance, ListedBase, ViewOf};
pub use bench::{GenerateMeasured, MergeMeasured, StepMeasured};
pub use channels::{
    Channels, Exported, Followed, InForce, NewRelease, NewVersion, NothingReleased, OpenedChannel, OpenedShard,
    ProposalVerdict, Proposed, Released, Revoked, RolledBack, RolledBackForAll, RolledBackHere, SealedSuite,
    SuiteScore, Unfollowed,
};
pub use node::{Bootstrap, Heard, NetworkKey, NetworkShown, Peer, Peers, Route, Status, Stopped, Up};
pub use store::{StoreStat, StoreVerified};
pub use training::{Generated, Trained};

#[cfg(test)]
mod tests;
