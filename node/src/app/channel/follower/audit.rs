//! Auditing: a version is folded from genesis, and is what it states or is not. // I10

use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::channel::VersionInfo;
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::Lineage;

use crate::app::call::Call;
use crate::app::channel::follower::rate_limit::{Rates, Refolded};
use crate::app::channel::rests::Rests;
use crate::app::errors::ObjectError;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::app::versions::Versions;
use crate::failure::Outcome;

/// Folds versions again, and judges proofs.
#[derive(Clone)]
pub struct Auditor {
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) versions: Arc<Versions>,
    pub(in crate::app) rates: Rates,
    /// Proofs that could not be judged.
    pub(in crate::app) rests: Rests,
}

impl Auditor {
    /// Whether looking at a proof would tell nothing now: it does not hold, or could not be judged a short while ago.
    pub fn is_settled(&self, proof: &ManifestId) -> bool {
        self.rates.with(|ledger| ledger.is_judged(proof)) || self.rests.is_resting(proof)
    }

    /// Folds a version whose adapters are here. The result is remembered: a version is folded once, whoever asks.
    pub async fn fold_once(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        id: ManifestId,
        version: &VersionInfo,
    ) -> Outcome<Refolded> {
        if let Some(known) = self.rates.with(|ledger| ledger.result(&id)) {
            return Ok(known);
        }
        let folded = self.versions.refold(call, lineage, version).await?;
        let same = folded.digest == version.digest && folded.base == version.base;
        let result = if same { Refolded::Same } else { Refolded::Other(folded.digest) };
        self.rates.with(|ledger| ledger.set_result(id, result));
        Ok(result)
    }

    /// Audits every version above `height`: the first that is not what it states. The last one must be foldable; adapters
    /// of those between may be gone by now.
    pub async fn audit_new(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        height: u32,
        patience: Duration,
    ) -> Outcome<Option<(ManifestId, potluck_protocol::id::FoldDigest)>> {
        let new = lineage.versions().iter().filter(|release| release.version.height > height);
        for release in new {
            let is_last = lineage.head().is_some_and(|head| head.id == release.id);
            match self.fetch_inputs(call, &release.version, patience).await {
                Err(error) if !is_last && error.is_missing() => {
                    tracing::info!(version = %release.id, %error, "not audited: a later version is");
                    continue;
                }
                fetched => fetched?,
            }
            if let Refolded::Other(digest) = self.fold_once(call, lineage, release.id, &release.version).await? {
                return Ok(Some((release.id, digest)));
            }
        }
        Ok(None)
    }

    /// Folds one version; its adapters are fetched if they are not here.
    pub async fn audit(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        id: ManifestId,
        version: &VersionInfo,
        patience: Duration,
    ) -> Outcome<Refolded> {
        self.fetch_inputs(call, version, patience).await?;
        self.fold_once(call, lineage, id, version).await
    }

    /// The adapters of a version's recipe.
    async fn fetch_inputs(
        &self,
        call: &Call<'_>,
        version: &VersionInfo,
        patience: Duration,
    ) -> Result<(), ObjectError> {
        for (adapter, _) in version.recipe.inputs() {
            self.objects.ensure_present(call, *adapter, patience).await?;
        }
        Ok(())
    }
}
