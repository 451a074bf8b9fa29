//! Auditing: a version is folded from genesis, and is what it states or is not. // I10
//!
//! Proofs of others are looked at so too: a claim is never believed, it is looked at again here; what is found then is
//! obeyed. A claim about bytes costs one fold, once for each version, and a few in an hour for each channel, whoever sends
//! how many. Those about what is in force, or about to be, come first.

use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::{Claim, ProofInfo, VersionInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::{Lineage, is_conflict};
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::Authentic;
use tokio::time::Instant;

use crate::app::call::Call;
use crate::app::channel::follower::chain::version_of;
use crate::app::channel::follower::limits::{LOOK, PROOFS_AT_ONCE};
use crate::app::channel::follower::rate_limit::{Rates, Refolded};
use crate::app::errors::ObjectError;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::app::versions::Versions;
use crate::failure::Outcome;
use crate::store::Halt;

/// What came of one.
enum Judged {
    Holds(Halt),
    /// It is wrong, and why: never looked at again.
    Fails(String),
    /// It cannot be told now.
    Open(String),
}

/// Folds versions again, and judges proofs.
#[derive(Clone)]
pub struct Auditor {
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) versions: Arc<Versions>,
    pub(in crate::app) rates: Rates,
}

impl Auditor {
    /// Whether a proof was looked at already and does not hold.
    pub fn is_judged(&self, proof: &ManifestId) -> bool {
        self.rates.with(|ledger| ledger.is_judged(proof))
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

    /// Looks at proofs against the channel that were not looked at before. `important` are the versions in force and next.
    pub async fn judge_proofs(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        important: &[ManifestId],
        patience: Duration,
    ) -> Outcome<Option<Halt>> {
        let mut proofs = self.new_proofs(lineage).await;
        proofs.sort_by_key(|(_, proof)| !concerns(&proof.claim, important));
        for (manifest, proof) in proofs {
            let id = manifest.id();
            match self.judge(call, lineage, proof.claim, patience).await? {
                Judged::Holds(halt) => {
                    // Kept, so that it is passed on to whoever asks for it.
                    self.objects.ensure_present(call, id, patience).await?;
                    return Ok(Some(halt));
                }
                Judged::Fails(why) => {
                    self.rates.with(|ledger| ledger.judged(id));
                    let prover = manifest.body().publisher.0.short();
                    tracing::warn!(channel = %lineage.name(), "proof {id} by {prover} does not hold and is ignored: {why}");
                }
                Judged::Open(why) => tracing::info!(channel = %lineage.name(), "proof {id} is not judged yet: {why}"),
            }
        }
        Ok(None)
    }

    /// The manifests of announced proofs against this channel, as many as may be looked at now.
    async fn new_proofs(&self, lineage: &Lineage) -> Vec<(Authentic<Manifest>, ProofInfo)> {
        let Some(network) = &self.network else { return Vec::new() };
        let now = Instant::now();
        let announced = network.handle.announcements(lineage.spec().genesis);
        let announced = announced.iter().map(|record| record.body()).filter(|body| body.kind == KindTag::Proof);
        let new = announced.filter(|body| {
            self.rates.with(|ledger| !ledger.is_judged(&body.manifest) && ledger.may_look(body.publisher, now))
        });
        let wanted = new.map(|body| body.manifest).take(PROOFS_AT_ONCE).collect();
        let mut proofs = Vec::new();
        for manifest in network.exchange.look_at(wanted, LOOK).await.found {
            match &manifest.body().kind {
                ManifestKind::Proof(proof) if proof.channel == lineage.channel() => {
                    let proof = proof.clone();
                    proofs.push((manifest, proof));
                }
                ManifestKind::Proof(_) => {}
                _ => self.rates.with(|ledger| ledger.judged(manifest.id())),
            }
        }
        proofs
    }

    /// A manifest that is here, or that a connected peer hands out at once: whoever names one that does not exist must not
    /// make anybody wait.
    async fn look_up(&self, id: ManifestId) -> Option<Authentic<Manifest>> {
        self.network.as_ref()?.exchange.look_at(vec![id], LOOK).await.found.pop()
    }

    async fn judge(&self, call: &Call<'_>, lineage: &Lineage, claim: Claim, patience: Duration) -> Outcome<Judged> {
        let judged = match claim {
            Claim::Mismatch { version, .. } => self.judge_mismatch(call, lineage, version, patience).await,
            Claim::Equivocation { first, second } => self.judge_two(call, lineage, [first, second], patience).await,
        };
        match judged {
            Err(failure) if call.cancel.is_cancelled() || failure.is_interrupted() => Err(failure),
            Err(failure) => Ok(Judged::Open(failure.message)),
            judged => judged,
        }
    }

    async fn judge_mismatch(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        id: ManifestId,
        patience: Duration,
    ) -> Outcome<Judged> {
        let Some(manifest) = self.look_up(id).await else { return Ok(Judged::Open(nobody(id))) };
        let Some(version) = version_of(lineage, &manifest) else {
            return Ok(Judged::Fails(format!("{} is no version that this steward signed", id.short())));
        };
        let known = self.rates.with(|ledger| ledger.result(&id));
        let allowed = || self.rates.with(|ledger| ledger.may_rerun(lineage.channel(), Instant::now()));
        if known.is_none() && !allowed() {
            return Ok(Judged::Open("enough versions were folded for claims within this hour".to_owned()));
        }
        self.objects.ensure_present(call, id, patience).await?;
        Ok(match self.audit(call, lineage, id, version, patience).await? {
            Refolded::Other(digest) => Judged::Holds(Halt::Mismatch { version: id, digest }),
            Refolded::Same => Judged::Fails(format!("folding version {} gives what it states", version.height)),
        })
    }

    async fn judge_two(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        [first, second]: [ManifestId; 2],
        patience: Duration,
    ) -> Outcome<Judged> {
        let Some(one) = self.look_up(first).await else { return Ok(Judged::Open(nobody(first))) };
        let Some(other) = self.look_up(second).await else { return Ok(Judged::Open(nobody(second))) };
        let ours = version_of(lineage, &one).is_some() && version_of(lineage, &other).is_some();
        if !ours || !is_conflict(&one, &other) {
            return Ok(Judged::Fails("they are not two versions for one height by this steward".to_owned()));
        }
        for id in [first, second] {
            // Whoever has both can show them; that they are signed is proof enough here.
            if let Err(error) = self.objects.ensure_present(call, id, patience).await {
                tracing::info!(version = %id, %error, "half of a proof is not kept");
            }
        }
        Ok(Judged::Holds(Halt::Equivocation { first: first.min(second), second: first.max(second) }))
    }
}

fn nobody(id: ManifestId) -> String {
    format!("nobody who is connected has {}", id.short())
}

fn concerns(claim: &Claim, important: &[ManifestId]) -> bool {
    match claim {
        // Reading two manifests costs nothing.
        Claim::Equivocation { .. } => true,
        Claim::Mismatch { version, .. } => important.contains(version),
    }
}
