//! Proposals to a channel: finding those that have not been judged, and what became of one.
//!
//! What strangers announce is looked for by turns and all at once, so that who announces much that does not exist costs a
//! release a moment, and costs it once: what nobody had rests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use potluck_protocol::announce::KindTag;
use potluck_protocol::channel::{ProposalInfo, VerdictOutcome, VersionInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::limits::VERDICTS_MAX;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::{Authentic, PublicKey};

use crate::app::call::Call;
use crate::app::channel::follower::limits::LOOK;
use crate::app::channel::order::{ReleaseTime, Turns, by_turns, secret_seed};
use crate::app::channel::rests::Rests;
use crate::app::disk::Disk;
use crate::app::network::Network;
use crate::app::objects::Objects;
use crate::failure::Outcome;
use crate::store::StoreError;

/// Proposals that are asked for in one release, beyond those that are here: some will not be for this channel.
const LOOKED_AT_MAX: usize = 4 * VERDICTS_MAX;

/// A proposal to this channel.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub id: ManifestId,
    pub info: ProposalInfo,
    pub proposer: PublicKey,
}

/// All proposals of one adapter.
#[derive(Clone, Debug)]
pub struct Group {
    /// The one that counts.
    pub first: Proposal,
    /// Those that share its fate.
    pub others: Vec<Proposal>,
}

impl Group {
    /// How many proposals it is.
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }
}

/// Finds proposals.
#[derive(Clone)]
pub struct Proposals {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) rests: Rests,
}

/// What was found.
pub struct Pending {
    pub proposals: Vec<Proposal>,
    /// Announced ones that are looked for another time: they could not be had lately, or were too many.
    pub later: usize,
    /// Announced ones that nobody handed out now.
    pub missing: usize,
}

impl Proposals {
    /// What is proposed to the channel and was judged by none of its versions: what is here, and what is announced and
    /// handed out in time. `proven` are the publishers of what its versions took.
    pub async fn find_pending(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        proven: &BTreeSet<PublicKey>,
        budget: ReleaseTime,
    ) -> Outcome<Pending> {
        let (channel, genesis) = (lineage.channel(), lineage.spec().genesis);
        let judged: BTreeSet<ManifestId> = lineage
            .versions()
            .iter()
            .flat_map(|release| release.version.verdicts.iter().map(|verdict| verdict.proposal))
            .collect();
        let of_channel = move |manifest: &Authentic<Manifest>| match &manifest.body().kind {
            ManifestKind::Proposal(info) if info.channel == channel && info.genesis == genesis => {
                Some(Proposal { id: manifest.id(), info: info.clone(), proposer: manifest.body().publisher })
            }
            _ => None,
        };
        let wanted = self.announced(lineage, &judged, proven);
        let (missing, unasked) = self.collect(call, lineage, wanted.now, budget).await?;
        let later = wanted.later + unasked;
        let mut pending = self
            .disk
            .on_store(move |store| {
                let mut found = Vec::new();
                for summary in store.manifests()?.into_iter().filter(|one| one.kind == KindTag::Proposal) {
                    if summary.base == Some(genesis) && store.is_well_formed(&summary.id) {
                        found.extend(store.manifest(&summary.id)?.as_ref().and_then(of_channel));
                    }
                }
                Ok::<_, StoreError>(found)
            })
            .await?;
        pending.retain(|proposal| !judged.contains(&proposal.id));
        pending.sort_by_key(|proposal| proposal.id);
        Ok(Pending { proposals: pending, later, missing })
    }

    /// Announced proposals that are neither here nor judged, as many as are looked at in one release.
    fn announced(
        &self,
        lineage: &Lineage,
        judged: &BTreeSet<ManifestId>,
        proven: &BTreeSet<PublicKey>,
    ) -> Turns<ManifestId> {
        let Some(network) = &self.network else { return Turns { now: Vec::new(), later: 0 } };
        // The network's own catalogue: the store notes later what it heard.
        let genesis = lineage.spec().genesis;
        let heard = network.handle.announcements(genesis);
        // Whoever has come to say it costs a connection; other keys cost nothing.
        let mut first = network.handle.known().with(|known| known.vouched_for(&genesis, KindTag::Proposal));
        first.extend(proven);
        let heard = heard.iter().map(|record| record.body()).filter(|heard| heard.kind == KindTag::Proposal);
        let new = |id: &ManifestId| !judged.contains(id) && !self.disk.store.is_well_formed(id);
        // One that many announce is its first announcer's.
        let heard: BTreeMap<_, _> = heard.map(|heard| (heard.manifest, heard.publisher)).collect();
        let all = heard.into_iter().filter(|(id, _)| new(id)).map(|(id, announcer)| (announcer, id));
        let (resting, awake): (Vec<_>, Vec<_>) = all.partition(|(_, id)| self.rests.is_resting(id));
        let mut turns = by_turns(awake, &first, LOOKED_AT_MAX, secret_seed());
        // To rest is to come last, not never: whoever proposed it may be there by now.
        let last = by_turns(resting, &first, LOOKED_AT_MAX - turns.now.len().min(LOOKED_AT_MAX), secret_seed());
        turns.now.extend(last.now);
        Turns { later: turns.later + last.later, ..turns }
    }

    /// Keeps those of them that peers hand out and that are for this channel; how many nobody handed out, and for how many
    /// there was no time to ask.
    async fn collect(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        wanted: Vec<ManifestId>,
        budget: ReleaseTime,
    ) -> Outcome<(usize, usize)> {
        let Some(network) = self.network.as_ref().filter(|_| !wanted.is_empty()) else { return Ok((0, 0)) };
        call.phase(format!("looking at {} announced proposals", wanted.len())).await;
        let looked = network.exchange.look_at(wanted, budget.part(LOOK)).await;
        for manifest in looked.found {
            let ours =
                matches!(&manifest.body().kind, ManifestKind::Proposal(info) if info.channel == lineage.channel());
            if !ours {
                continue;
            }
            // It has no files: who has it has it whole.
            let complete = self
                .disk
                .on_store(move |store| {
                    let mapped = store.map(manifest)??;
                    Ok::<_, StoreError>(mapped.complete(|shard| store.has_shard(shard))??)
                })
                .await?;
            self.objects.inspect_record(complete).await?;
        }
        looked.missing.iter().for_each(|id| self.rests.missed(*id));
        Ok((looked.missing.len(), looked.unasked.len()))
    }

    /// The manifests of adapters, from here and from connected peers, all asked at once: what an announcement says of
    /// somebody else's is not believed. Those that rest are asked for last.
    pub async fn adapters(
        &self,
        mut adapters: Vec<ManifestId>,
        budget: ReleaseTime,
    ) -> Outcome<BTreeMap<ManifestId, Authentic<Manifest>>> {
        adapters.sort();
        adapters.dedup();
        let mut found = self.stored(adapters.clone()).await?;
        adapters.retain(|id| !found.contains_key(id));
        adapters.sort_by_key(|id| self.rests.is_resting(id));
        if let Some(network) = self.network.as_ref().filter(|_| !adapters.is_empty()) {
            let seen = network.exchange.look_at(adapters, budget.part(LOOK)).await.found;
            found.extend(seen.into_iter().map(|manifest| (manifest.id(), manifest)));
        }
        Ok(found)
    }

    async fn stored(&self, wanted: Vec<ManifestId>) -> Outcome<BTreeMap<ManifestId, Authentic<Manifest>>> {
        self.disk
            .on_store(move |store| {
                let mut found = BTreeMap::new();
                for id in wanted {
                    found.extend(store.manifest(&id)?.map(|manifest| (id, manifest)));
                }
                Ok::<_, StoreError>(found)
            })
            .await
    }

    /// Lines on a proposal's fate, by the versions that are here.
    pub async fn fate(&self, id: ManifestId, proposal: &ProposalInfo) -> Outcome<Vec<String>> {
        let channel = proposal.channel;
        let judged = self
            .disk
            .on_store(move |store| {
                let steward = store.manifest(&channel)?.map(|manifest| manifest.body().publisher);
                for summary in store.manifests()?.into_iter().filter(|summary| summary.kind == KindTag::Version) {
                    // Anybody can sign something that calls itself a version; the channel's own manifest says whose count.
                    if steward != Some(summary.publisher) {
                        continue;
                    }
                    let Some(manifest) = store.manifest(&summary.id)? else { continue };
                    let ManifestKind::Version(version) = &manifest.body().kind else { continue };
                    if version.channel == channel
                        && let Some(line) = verdict(version, id)
                    {
                        return Ok(Some(line));
                    }
                }
                Ok::<_, StoreError>(None)
            })
            .await?;
        Ok(match judged {
            Some(line) => vec![line],
            None => vec![
                "no version that is known here has judged it".to_owned(),
                format!("follow the channel to hear of the next ones: `potluck channel follow {channel}`"),
            ],
        })
    }
}

/// One adapter counts once: as its own publisher proposed it, else as the first proposal by id did. Nobody can take
/// another's adapter out of a release by proposing it at a useless weight.
pub fn grouped(pending: Vec<Proposal>, publisher: impl Fn(&ManifestId) -> Option<PublicKey>) -> Vec<Group> {
    let mut groups: BTreeMap<ManifestId, Vec<Proposal>> = BTreeMap::new();
    for proposal in pending {
        groups.entry(proposal.info.adapter).or_default().push(proposal);
    }
    let group = |(adapter, mut proposals): (ManifestId, Vec<Proposal>)| {
        let own = publisher(&adapter);
        proposals.sort_by_key(|proposal| (own != Some(proposal.proposer), proposal.id));
        let mut proposals = proposals.into_iter();
        Some(Group { first: proposals.next()?, others: proposals.collect() })
    };
    let mut groups: Vec<Group> = groups.into_iter().filter_map(group).collect();
    groups.sort_by_key(|group| group.first.id);
    groups
}

fn verdict(version: &VersionInfo, proposal: ManifestId) -> Option<String> {
    let verdict = version.verdicts.iter().find(|verdict| verdict.proposal == proposal)?;
    Some(match &verdict.outcome {
        VerdictOutcome::Taken { weight, alone_micro } => format!(
            "taken by version {} at weight {}: alone it moved the held-out loss by {:+.4} nats",
            version.height,
            weight.get(),
            *alone_micro as f64 / 1e6
        ),
        VerdictOutcome::Refused(refusal) => format!("refused by version {}: {refusal}", version.height),
    })
}

#[cfg(test)]
mod tests {
    use libp2p::identity::ed25519::Keypair;
    use potluck_protocol::id::{BaseId, Digest};
    use potluck_protocol::recipe::Weight;

    use super::*;

    #[test]
    fn one_adapter_counts_once_and_as_its_publisher_says() {
        let id = |n: u8| ManifestId(Digest::of(&[n]));
        let (own, stranger) = (PublicKey::of(&Keypair::generate()), PublicKey::of(&Keypair::generate()));
        let proposal = |n: u8, adapter: u8, proposer| Proposal {
            id: id(n),
            info: ProposalInfo {
                genesis: BaseId(Digest::of(b"genesis")),
                channel: id(200),
                adapter: id(adapter),
                weight: Weight::ONE,
            },
            proposer,
        };
        let all: Vec<_> = (0..9).map(|n| proposal(n, 100, if n == 5 { own } else { stranger })).collect();
        let publisher = BTreeMap::from([(id(100), own)]);
        let of = |id: &ManifestId| publisher.get(id).copied();
        let groups = grouped(all.iter().cloned().chain([proposal(20, 101, stranger)]).collect(), of);
        assert_eq!(groups.len(), 2);
        let group = groups.iter().find(|group| group.first.info.adapter == id(100)).expect("there");
        assert_eq!((group.first.id, group.others.len()), (id(5), 8));
        let unknown = grouped(all.clone(), |_| None);
        assert_eq!(unknown[0].first.id, all.iter().map(|one| one.id).min().expect("some"));
    }
}
