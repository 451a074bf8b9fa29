//! Auditing: a version is folded from genesis, and is what it states or is not. // I10

use std::time::Duration;

use potluck_protocol::channel::{Lineage, VersionInfo};
use potluck_protocol::id::ManifestId;

use super::super::super::{Call, Service};
use super::ledger::Refolded;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::service::Folded;

impl Service {
    /// Folds a version whose adapters are here. The result is remembered: a version is folded once, whoever asks.
    pub(in crate::service) async fn refolded(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        id: ManifestId,
        version: &VersionInfo,
    ) -> Outcome<Refolded> {
        if let Some(known) = self.watching.ledger(|ledger| ledger.result(&id)) {
            return Ok(known);
        }
        let folded = self.fold_version(call, lineage, version).await?;
        let same = folded.digest == version.digest && folded.base == version.base;
        let result = if same { Refolded::Same } else { Refolded::Other(folded.digest) };
        self.watching.ledger(|ledger| ledger.set_result(id, result));
        Ok(result)
    }

    /// What the version's recipe gives on this machine.
    pub(in crate::service) async fn fold_version(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        version: &VersionInfo,
    ) -> Outcome<Folded> {
        let genesis = self.genesis(call, lineage.spec()).await?;
        self.base_id(call, &genesis).await?;
        let count = version.recipe.inputs().len();
        call.phase(format!("folding version {} from genesis, {count} adapters", version.height)).await;
        let folded = self.rebuild(call, &genesis, &version.recipe, None, config::processors()).await?;
        let (recipe, digest) = (version.recipe.clone(), folded.digest);
        self.on_store(move |store| store.put_recipe(&recipe).and_then(|id| store.set_folded(id, digest))).await?;
        Ok(folded)
    }

    /// Audits every version above `height`: the first that is not what it states. The last one must be foldable; adapters
    /// of those between may be gone by now.
    pub(super) async fn audited(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        height: u32,
        patience: Duration,
    ) -> Outcome<Option<(ManifestId, potluck_protocol::id::FoldDigest)>> {
        let new = lineage.versions().iter().filter(|release| release.version.height > height);
        for release in new {
            let is_last = lineage.head().is_some_and(|head| head.id == release.id);
            match self.audit(call, lineage, release.id, &release.version, patience).await {
                Ok(Refolded::Same) => {}
                Ok(Refolded::Other(digest)) => return Ok(Some((release.id, digest))),
                Err(failure) if !is_last && may_be_gone(&failure) => {
                    tracing::info!(version = %release.id, %failure, "not audited: a later version is");
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(None)
    }

    /// Folds one version; its adapters are fetched if they are not here.
    pub(super) async fn audit(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        id: ManifestId,
        version: &VersionInfo,
        patience: Duration,
    ) -> Outcome<Refolded> {
        for (adapter, _) in version.recipe.inputs() {
            self.kept(call, *adapter, patience).await?;
        }
        self.refolded(call, lineage, id, version).await
    }
}

fn may_be_gone(failure: &Failure) -> bool {
    matches!(failure.kind, Kind::NotFound | Kind::Timeout | Kind::Unreachable)
}
