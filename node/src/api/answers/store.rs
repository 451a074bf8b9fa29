//! The store.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::{Held, Stat};

/// What is in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoreStat {
    /// How many.
    pub shards: u64,
    /// Of all of them.
    pub shard_bytes: u64,
    /// All manifests.
    pub manifests: usize,
    /// Manifests by kind.
    pub held: Held,
    /// Recipes of folds.
    pub recipes: usize,
    /// All counts that the store keeps.
    pub detail: Stat,
}

/// Every byte was hashed again, and nothing is wrong. Damage is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreVerified {
    /// Good ones.
    pub shards: u64,
    /// Good ones.
    pub manifests: u64,
}
