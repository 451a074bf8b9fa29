//! Proofs of others: a claim is never believed, it is looked at again here; what is found then is obeyed.
//!
//! A claim about bytes costs one fold, once for each version, and a few in an hour for each channel, whoever sends how
//! many. Those about what is in force, or about to be, come first.

use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::{Claim, Lineage, ProofInfo, is_conflict};
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::Authentic;
use tokio::time::Instant;

use super::super::super::{Call, Service};
use super::gather::version_of;
use super::ledger::Refolded;
use super::limits::{LOOK, PROOFS_AT_ONCE};
use crate::failure::{Kind, Outcome};
use crate::store::Halt;

/// What came of one.
enum Judged {
    Holds(Halt),
    /// It is wrong, and why: never looked at again.
    Fails(String),
    /// It cannot be told now.
    Open(String),
}

impl Service {
    /// Looks at proofs against the channel that were not looked at before. `important` are the versions in force and next.
    pub(super) async fn proven(
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
                    self.kept(call, id, patience).await?;
                    return Ok(Some(halt));
                }
                Judged::Fails(why) => {
                    self.watching.ledger(|ledger| ledger.judged(id));
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
            self.watching.ledger(|ledger| !ledger.is_judged(&body.manifest) && ledger.may_look(body.publisher, now))
        });
        let wanted = new.map(|body| body.manifest).take(PROOFS_AT_ONCE).collect();
        let mut proofs = Vec::new();
        for manifest in network.exchange.look_at(wanted, LOOK).await {
            match &manifest.body().kind {
                ManifestKind::Proof(proof) if proof.channel == lineage.channel() => {
                    let proof = proof.clone();
                    proofs.push((manifest, proof));
                }
                ManifestKind::Proof(_) => {}
                _ => self.watching.ledger(|ledger| ledger.judged(manifest.id())),
            }
        }
        proofs
    }

    /// A manifest that is here, or that a connected peer hands out at once: whoever names one that does not exist must not
    /// make anybody wait.
    async fn seen(&self, id: ManifestId) -> Option<Authentic<Manifest>> {
        self.network.as_ref()?.exchange.look_at(vec![id], LOOK).await.pop()
    }

    async fn judge(&self, call: &Call<'_>, lineage: &Lineage, claim: Claim, patience: Duration) -> Outcome<Judged> {
        let judged = match claim {
            Claim::Mismatch { version, .. } => self.judge_mismatch(call, lineage, version, patience).await,
            Claim::Equivocation { first, second } => self.judge_two(call, lineage, [first, second], patience).await,
        };
        match judged {
            Err(failure) if failure.kind == Kind::Interrupted => Err(failure),
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
        let Some(manifest) = self.seen(id).await else { return Ok(Judged::Open(nobody(id))) };
        let Some(version) = version_of(lineage, &manifest) else {
            return Ok(Judged::Fails(format!("{} is no version that this steward signed", id.short())));
        };
        let known = self.watching.ledger(|ledger| ledger.result(&id));
        let allowed = || self.watching.ledger(|ledger| ledger.may_rerun(lineage.channel(), Instant::now()));
        if known.is_none() && !allowed() {
            return Ok(Judged::Open("enough versions were folded for claims within this hour".to_owned()));
        }
        self.kept(call, id, patience).await?;
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
        let Some(one) = self.seen(first).await else { return Ok(Judged::Open(nobody(first))) };
        let Some(other) = self.seen(second).await else { return Ok(Judged::Open(nobody(second))) };
        let ours = version_of(lineage, &one).is_some() && version_of(lineage, &other).is_some();
        if !ours || !is_conflict(&one, &other) {
            return Ok(Judged::Fails("they are not two versions for one height by this steward".to_owned()));
        }
        for id in [first, second] {
            // Whoever has both can show them; that they are signed is proof enough here.
            if let Err(failure) = self.kept(call, id, patience).await {
                tracing::info!(version = %id, %failure, "half of a proof is not kept");
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
