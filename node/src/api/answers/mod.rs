//! What requests answer, one file per family; what a worker computes stands in [`crate::worker::answers`]. On the socket
//! each is a JSON object whose first field is its schema: see [`super::ask`].
//!
//! Ids, keys and digests are hex. Sizes are bytes, losses nats per labelled token, shares 0 to 1, times seconds; a name
//! that ends otherwise says so. A field that is `None` is `null`, unless it is said that it is left out.

mod adapters;
mod bases;
mod channels;
mod node;
mod store;

pub use adapters::{
    FetchedShards, Folded, Merged, Presence, Published, Pulled, PulledFrom, RecipeTag, Shown, Verified, VerifiedKind,
    WeightedAdapter,
};
pub use bases::{Base, Bases, ListedBase, ViewOf};
pub use channels::{
    Channels, Exported, Followed, InForce, NewRelease, NewVersion, NothingReleased, OpenedChannel, OpenedShard,
    ProposalVerdict, Proposed, Released, Revoked, RolledBack, RolledBackForAll, RolledBackHere, SealedSuite,
    SuiteScore, Unfollowed,
};
pub use node::{Bootstrap, Heard, NetworkKey, NetworkShown, Peer, Peers, Route, Status, Stopped, Up};
pub use store::{StoreStat, StoreVerified};

// What a worker measures or makes is answered as the worker writes it.
pub use crate::worker::answers::{
    Chosen, Distance, GenerateMeasured, Generated, LeastKept, MergeMeasured, MergedAdapter, MethodName, StepMeasured,
    Trained,
};

#[cfg(test)]
mod tests;
