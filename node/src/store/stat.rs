//! What is here, as lists and in numbers.

use potluck_protocol::announce::{Announcement, KindTag};
use potluck_protocol::catalogue::{Key, Record};
use potluck_protocol::signed::Authentic;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::error::Result;
use crate::store::manifest_file::Summary;
use crate::store::{Store, lock};

/// The manifests that are here, by what they are. The one count, for every verb that tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = HeldManifests)]
pub struct Held {
    /// All of them.
    pub manifests: usize,
    /// Manifests of adapters.
    pub adapters: usize,
    /// Published ones, as shards.
    pub bases: usize,
    /// Manifests of data sets.
    pub datasets: usize,
    /// Genesis manifests of channels.
    pub channels: usize,
    /// Versions of channels.
    pub versions: usize,
    /// Proposals to channels.
    pub proposals: usize,
    /// Proofs against stewards.
    pub proofs: usize,
}

impl Held {
    fn of(manifests: &[Summary]) -> Self {
        let mut held = Self { manifests: manifests.len(), ..Self::default() };
        for summary in manifests {
            *match summary.kind {
                KindTag::Adapter => &mut held.adapters,
                KindTag::Base => &mut held.bases,
                KindTag::Dataset => &mut held.datasets,
                KindTag::Channel => &mut held.channels,
                KindTag::Version => &mut held.versions,
                KindTag::Proposal => &mut held.proposals,
                KindTag::Proof => &mut held.proofs,
            } += 1;
        }
        held
    }
}

/// Counts, and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = StoreCounts)]
pub struct Stat {
    /// Shards that are here and durable.
    pub shards: u64,
    /// Their bytes.
    pub shard_bytes: u64,
    /// Manifests by their kind.
    pub held: Held,
    /// Manifests that may be announced, merged and used.
    pub well_formed: usize,
    /// Recipes.
    pub recipes: usize,
    /// Announcements heard.
    pub heard: usize,
    /// Manifests that are pinned.
    pub pins: usize,
    /// Names that stand for manifests.
    pub names: usize,
    /// Bases added from this machine's files.
    pub added_bases: usize,
    /// Length of `state.log`.
    pub state_log_bytes: u64,
    /// What this user can still write to that disk.
    pub free_bytes: u64,
}

impl Store {
    /// Every manifest that is here with all its shards.
    pub fn manifests(&self) -> Result<Vec<Summary>> {
        self.0.lists.manifests()
    }

    /// Shards, and their bytes.
    pub fn shard_totals(&self) -> Result<(u64, u64)> {
        self.0.lists.shard_totals()
    }

    /// The announcements of the catalogue, by base and publisher. Not durable: what is lost is heard again.
    pub fn heard(&self) -> Vec<Authentic<Announcement>> {
        self.0.lists.announcements()
    }

    /// Makes what is kept of the catalogue what it is now: forgets some keys, then keeps some records.
    pub fn save_announcements(&self, gone: &[Key], new: &[Record]) {
        self.0.lists.save_announcements(gone, new);
    }

    /// Keeps an announcement; `false` if a newer one is there.
    #[cfg(test)]
    pub fn hear(&self, announcement: &Authentic<Announcement>) -> bool {
        self.0.lists.put_announcement(announcement)
    }

    /// Throws the index away and builds it from the files.
    pub fn rebuild(&self) -> Result<()> {
        self.0.lists.rebuild()
    }

    /// Bytes that this user can still write to the disk of the home.
    pub fn free_bytes(&self) -> Result<u64> {
        self.0.space.free_bytes()
    }

    /// Counts what is here. Lists folders, and reads no shard.
    pub fn stat(&self) -> Result<Stat> {
        let (shards, shard_bytes) = self.shard_totals()?;
        let held = Held::of(&self.manifests()?);
        let recipes = self.recipes()?.len();
        let heard = self.0.lists.announcement_count();
        let free_bytes = self.free_bytes()?;
        let log = lock(&self.0.log);
        let state = log.state();
        Ok(Stat {
            shards,
            shard_bytes,
            held,
            well_formed: state.well_formed.len(),
            recipes,
            heard,
            pins: state.pins.len(),
            names: state.names.len(),
            added_bases: state.bases.len(),
            state_log_bytes: log.len(),
            free_bytes,
        })
    }
}
