//! `store stat`: what is here, in numbers.

use potluck_protocol::announce::KindTag;
use serde::{Deserialize, Serialize};

use crate::store::error::Result;
use crate::store::manifests::Summary;
use crate::store::rebuild::scan_shards;
use crate::store::{Store, lock};

/// The manifests that are here, by what they are. The one count, for every verb that tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
    /// Shards, and their bytes.
    pub fn shard_totals(&self) -> Result<(u64, u64)> {
        match self.with_index(|index| index.shard_totals()) {
            Some(totals) => Ok(totals),
            None => {
                let shards = scan_shards(self.layout())?;
                Ok(shards.iter().fold((0, 0), |(n, sum), (_, len)| (n + 1, sum + u64::from(*len))))
            }
        }
    }

    /// Counts what is here. Lists folders, and reads no shard.
    pub fn stat(&self) -> Result<Stat> {
        let (shards, shard_bytes) = self.shard_totals()?;
        let held = Held::of(&self.manifests()?);
        let recipes = self.recipes()?.len();
        let heard = self.with_index(|index| Ok(index.heard.len())).unwrap_or_default();
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
