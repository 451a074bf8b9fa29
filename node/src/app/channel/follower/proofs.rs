//! Proofs of others: a claim is never believed, it is looked at again here; what is found then is obeyed.
//!
//! Anybody can make any number of them. They are read beside the taking of a version, all at once, by turns among provers
//! drawn at random; those that cannot be judged rest, twice as long each time. What encloses two versions costs two
//! signatures. A claim about bytes costs one fold, once for each version, and a few in an hour for each channel, whoever
//! sends how many; those about what is in force, or about to be, come first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::{Claim, ProofInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::{Lineage, enclosed, is_conflict};
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::{Authentic, PublicKey};
use tokio::time::Instant;

use crate::app::call::Call;
use crate::app::channel::follower::audit::Auditor;
use crate::app::channel::follower::chain::{Found, version_of};
use crate::app::channel::follower::limits::{LOOK, PROOFS_AT_ONCE, RERUNS, RERUNS_OF_OLD};
use crate::app::channel::follower::rate_limit::Refolded;
use crate::app::channel::order::{by_turns, secret_seed};
use crate::app::lineages::Lineages;
use crate::app::network::Network;
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

/// A proof that holds.
pub struct Proven {
    pub halt: Halt,
    /// What shows it: the proof, for two versions the one that names them too, and both.
    shown_by: Vec<ManifestId>,
}

/// Proofs against one channel, with the versions that they name, as far as peers hand them out.
#[derive(Default)]
pub struct Claims {
    proofs: Vec<(Authentic<Manifest>, ProofInfo)>,
    versions: BTreeMap<ManifestId, Authentic<Manifest>>,
}

impl Auditor {
    /// Reads proofs against the channel that were not looked at before.
    pub async fn read_proofs(&self, lineage: &Lineage) -> Claims {
        let Some(network) = &self.network else { return Claims::default() };
        let chosen = self.choose_proofs(network, lineage).await;
        if chosen.is_empty() {
            return Claims::default();
        }
        let looked = network.exchange.look_at(chosen, LOOK).await;
        let mut proofs = Vec::new();
        for manifest in looked.found {
            let id = manifest.id();
            match &manifest.body().kind {
                ManifestKind::Proof(proof) => {
                    self.rates.with(|ledger| ledger.read(id, proof.channel));
                    if proof.channel == lineage.channel() {
                        let proof = proof.clone();
                        proofs.push((manifest, proof));
                    }
                }
                _ => self.rates.with(|ledger| ledger.judged(id)),
            }
        }
        looked.missing.into_iter().for_each(|id| self.rests.missed(id));
        let named: BTreeSet<ManifestId> = proofs.iter().flat_map(|(_, proof)| named(&proof.claim)).collect();
        let versions = match named.is_empty() {
            true => Vec::new(),
            // Whoever names what does not exist makes nobody wait but for all at once.
            false => network.exchange.look_at(named.into_iter().collect(), LOOK).await.found,
        };
        Claims { proofs, versions: versions.into_iter().map(|manifest| (manifest.id(), manifest)).collect() }
    }

    /// As many as are read in one go; of each prover the newest first, and before others those of whom the channel's
    /// versions took something.
    async fn choose_proofs(&self, network: &Network, lineage: &Lineage) -> Vec<ManifestId> {
        let (now, channel) = (Instant::now(), lineage.channel());
        let announced = network.handle.announcements(lineage.spec().genesis);
        let announced = announced.iter().map(|record| record.body()).filter(|body| body.kind == KindTag::Proof);
        let mut new: Vec<_> = self.rates.with(|ledger| {
            let ledger = &*ledger;
            let unread = |proof: &ManifestId| !ledger.is_judged(proof) && !ledger.is_elsewhere(proof, &channel);
            let new = announced.filter(|body| unread(&body.manifest) && ledger.has_looks(&body.publisher, now));
            new.map(|body| (Reverse(body.sequence), body.publisher, body.manifest)).collect()
        });
        new.retain(|(.., proof)| !self.rests.is_resting(proof));
        if new.is_empty() {
            return Vec::new();
        }
        new.sort();
        let lineages = Lineages { disk: self.objects.disk.clone() };
        let proven = lineages.publishers(lineage).await.unwrap_or_default();
        let items = new.into_iter().map(|(_, prover, proof)| (prover, (prover, proof)));
        let turns = by_turns(items, &proven, PROOFS_AT_ONCE, secret_seed());
        let allowed = |one: &(PublicKey, ManifestId)| self.rates.with(|ledger| ledger.may_look(one.0, now));
        turns.now.into_iter().filter(allowed).map(|(_, proof)| proof).collect()
    }

    /// Looks at what was read. `important` are the versions in force and next.
    pub async fn judge_proofs(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        mut claims: Claims,
        important: &[ManifestId],
        patience: Duration,
    ) -> Outcome<Option<Proven>> {
        claims.proofs.sort_by_key(|(_, proof)| urgency(&proof.claim, important));
        for (manifest, proof) in &claims.proofs {
            let id = manifest.id();
            match self.judge(call, lineage, proof, &claims.versions, important, patience).await? {
                Judged::Holds(halt) => {
                    let mut shown_by = vec![id];
                    if let Halt::Equivocation { first, second } = halt {
                        let names = |claim: &Claim| *claim == Claim::Equivocation { first, second };
                        let other = claims.proofs.iter().find(|(other, proof)| other.id() != id && names(&proof.claim));
                        shown_by.extend(other.map(|(other, _)| other.id()).into_iter().chain([first, second]));
                    }
                    return Ok(Some(Proven { halt, shown_by }));
                }
                Judged::Fails(why) => {
                    self.rates.with(|ledger| ledger.judged(id));
                    let prover = manifest.body().publisher.0.short();
                    tracing::warn!(channel = %lineage.name(), "proof {id} by {prover} does not hold and is ignored: {why}");
                }
                Judged::Open(why) => {
                    self.rests.missed(id);
                    tracing::info!(channel = %lineage.name(), "proof {id} is not judged yet: {why}");
                }
            }
        }
        Ok(None)
    }

    /// Keeps what shows that a proof holds, so that it is passed on to whoever asks for it. Programs from before decision
    /// 0023 need the versions themselves.
    pub async fn keep(&self, call: &Call<'_>, proven: &Proven) {
        let one = |id: ManifestId| async move { (id, self.objects.ensure_present(call, id, LOOK).await) };
        for (id, kept) in futures::future::join_all(proven.shown_by.iter().copied().map(one)).await {
            if let Err(error) = kept {
                tracing::info!(manifest = %id, %error, "what shows that a proof holds is not kept");
            }
        }
    }

    async fn judge(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        proof: &ProofInfo,
        versions: &BTreeMap<ManifestId, Authentic<Manifest>>,
        important: &[ManifestId],
        patience: Duration,
    ) -> Outcome<Judged> {
        let found = |id: &ManifestId| versions.get(id).ok_or_else(|| Judged::Open(nobody(*id)));
        match &proof.claim {
            Claim::Enclosed { .. } => Ok(judge_enclosed(lineage, proof)),
            Claim::Equivocation { first, second } => Ok(match (found(first), found(second)) {
                (Ok(one), Ok(other)) => judge_two(lineage, one, other),
                (Err(open), _) | (_, Err(open)) => open,
            }),
            Claim::Mismatch { version, .. } => {
                let manifest = match found(version) {
                    Ok(manifest) => manifest,
                    Err(open) => return Ok(open),
                };
                let most = if important.contains(version) { RERUNS } else { RERUNS_OF_OLD };
                match self.judge_mismatch(call, lineage, manifest, most, patience).await {
                    Err(failure) if call.cancel.is_cancelled() || failure.is_interrupted() => Err(failure),
                    Err(failure) => Ok(Judged::Open(failure.message)),
                    judged => judged,
                }
            }
        }
    }

    async fn judge_mismatch(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        manifest: &Authentic<Manifest>,
        most: usize,
        patience: Duration,
    ) -> Outcome<Judged> {
        let id = manifest.id();
        let Some(version) = version_of(lineage, manifest) else {
            return Ok(Judged::Fails(format!("{} is no version that this steward signed", id.short())));
        };
        let known = self.rates.with(|ledger| ledger.result(&id));
        let allowed = || self.rates.with(|ledger| ledger.may_rerun(lineage.channel(), most, Instant::now()));
        if known.is_none() && !allowed() {
            return Ok(Judged::Open("enough versions were folded for claims within this hour".to_owned()));
        }
        self.objects.ensure_present(call, id, patience).await?;
        Ok(match self.audit(call, lineage, id, version, patience).await? {
            Refolded::Other(digest) => Judged::Holds(Halt::Mismatch { version: id, digest }),
            Refolded::Same => Judged::Fails(format!("folding version {} gives what it states", version.height)),
        })
    }
}

fn judge_enclosed(lineage: &Lineage, proof: &ProofInfo) -> Judged {
    match enclosed(proof) {
        Some(Ok([one, other])) => judge_two(lineage, &one, &other),
        Some(Err(error)) => Judged::Fails(error.to_string()),
        None => Judged::Fails("it encloses nothing".to_owned()),
    }
}

/// That they are signed is proof enough.
fn judge_two(lineage: &Lineage, one: &Authentic<Manifest>, other: &Authentic<Manifest>) -> Judged {
    let ours = version_of(lineage, one).is_some() && version_of(lineage, other).is_some();
    match ours && is_conflict(one, other) {
        true => Judged::Holds(Found::equivocation(one, other).halt),
        false => Judged::Fails("they are not two versions for one height by this steward".to_owned()),
    }
}

/// The versions that have to be read to judge it.
fn named(claim: &Claim) -> Vec<ManifestId> {
    match claim {
        Claim::Mismatch { version, .. } => vec![*version],
        Claim::Equivocation { first, second } => vec![*first, *second],
        Claim::Enclosed { .. } => Vec::new(),
    }
}

fn nobody(id: ManifestId) -> String {
    format!("nobody who is connected has {}", id.short())
}

/// What costs nothing comes first, then what concerns this node.
fn urgency(claim: &Claim, important: &[ManifestId]) -> u8 {
    match claim {
        Claim::Enclosed { .. } | Claim::Equivocation { .. } => 0,
        Claim::Mismatch { version, .. } if important.contains(version) => 1,
        Claim::Mismatch { .. } => 2,
    }
}
