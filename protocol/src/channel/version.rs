//! One version of a channel: what it is made of, what that gives, and why.

use serde::{Deserialize, Serialize};

use super::sealed::Opened;
use super::verdict::Verdict;
use crate::codec::{Malformed, Wire};
use crate::id::{BaseId, FoldDigest, ManifestId};
use crate::limits::{RECIPE_INPUTS_MAX, VERDICTS_MAX};
use crate::recipe::Recipe;

/// A version. Whether it fits the chain before it, [`crate::lineage::Lineage`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The channel that it is a version of.
    pub channel: ManifestId,
    /// From 1; genesis is 0.
    pub height: u32,
    /// The version before; none at height 1.
    pub previous: Option<ManifestId>,
    /// What it does to the version before.
    pub change: Change,
    /// From genesis, always: folding a fold loses small updates.
    pub recipe: Recipe,
    /// What the recipe gives.
    pub digest: FoldDigest,
    /// The id of those weights as a base: what an adapter trained on this version names.
    pub base: BaseId,
    /// Everything that the channel has ever revoked; sorted.
    pub revoked: Vec<ManifestId>,
    /// Of a release.
    pub opened: Option<Opened>,
    /// Of a release; sorted by proposal.
    pub verdicts: Vec<Verdict>,
}

/// What a version does to the one before. Append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Adds proposals that passed the gate.
    Release,
    /// Takes inputs out, for good.
    Revoke,
    /// Goes back to the recipe of that height, less what was revoked since.
    Rollback(u32),
}

impl VersionInfo {
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        self.recipe.check()?;
        Malformed::unless(self.height >= 1 && (self.height == 1) == self.previous.is_none(), || {
            "the first version has height 1 and none before it, every other one has both otherwise".to_owned()
        })?;
        let revoked = self.revoked.len() <= RECIPE_INPUTS_MAX && self.revoked.windows(2).all(|pair| pair[0] < pair[1]);
        Malformed::unless(revoked, || "what is revoked is too much or not sorted, each once".to_owned())?;
        let sorted = self.verdicts.windows(2).all(|pair| pair[0].proposal < pair[1].proposal);
        Malformed::unless(sorted && self.verdicts.len() <= VERDICTS_MAX, || {
            format!("the verdicts are more than {VERDICTS_MAX} or not sorted by proposal, each once")
        })?;
        self.verdicts.iter().try_for_each(Verdict::check)?;
        self.opened.as_ref().map_or(Ok(()), Opened::check)
    }
}
