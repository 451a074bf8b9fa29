//! `potluck channel release`: gather, screen, weigh, score, choose, fold, publish.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use potluck_protocol::channel::{Opened, Refusal, Verdict, VerdictOutcome};
use potluck_protocol::limits::VERDICTS_MAX;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::{FileEntry, Manifest};
use potluck_protocol::signed::Authentic;
use potluck_protocol::text::RelPath;

use crate::api::answers::{NewRelease, NothingReleased, OpenedShard, ProposalVerdict, Released, SuiteScore};
use crate::api::channel::Release;
use crate::app::call::Call;
use crate::app::channel::order::{ReleaseTime, by_turns, secret_seed};
use crate::app::channel::steward::Steward;
use crate::app::channel::steward::own::Own;
use crate::app::channel::steward::proposals::{Group, Pending, grouped};
use crate::app::channel::steward::screen::{Screen, Screened};
use crate::app::channel::steward::verdicts::{Screening, verdicts};
use crate::app::channel::steward::version::{Next, Scored};
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{SealedShard, Source, StoreError};
use crate::worker::proto::choose::{ChooseTask, Chosen, Proposed, SuiteFile};
use crate::worker::proto::{FoldSource, Task};

/// Adapters that are fetched at once.
const AT_ONCE: usize = 16;

/// Adapters that no connected peer handed out, of which others are asked in one release.
const FOUND_MAX: usize = 64;

impl Steward {
    /// Judges what was proposed since the last version on a fresh sealed shard, and publishes the next version.
    pub async fn release(&self, call: &Call<'_>, release: Release) -> Outcome<Released> {
        let _one = self.making.lock().await;
        let own = self.load_own_channel(call, &release.channel, release.offline).await?;
        let screening = self.screen_pending(call, &own.lineage, release.timeout_seconds.duration()).await?;
        if screening.fit.is_empty() {
            return self.answer_without_release(&own, &screening, &[]).await;
        }
        let (index, shard) = self.next_sealed(&own.lineage).await?;
        let chosen = self.choose(call, &own.lineage, &screening.fit, &shard, release.threads).await?;
        let Some(scores) = chosen.scores.clone() else {
            return self.answer_without_release(&own, &screening, &chosen.verdicts).await;
        };
        let verdicts = verdicts(&screening, &chosen.verdicts);
        let files = self.rows_of(&shard).await?;
        let opened = Opened { index, sealed: shard.sealed.clone(), scores };
        let described = self.describe_verdicts(&verdicts).await?;
        let scored = Scored { opened: opened.clone(), verdicts, files };
        let next = Next::Release(Box::new(scored));
        let version = self.drafts.publish_version(call, &own, next, release.threads).await?;
        Ok(Released::Version(Box::new(NewRelease {
            version,
            released: true,
            verdicts: described,
            opened: describe_opened(&opened),
            shards_left: own.lineage.spec().evaluation.len().saturating_sub(index as usize + 1),
            weighed: chosen.weighed,
            later: screening.later,
            missing: screening.missing,
            finished: own.finished,
            asked: own.asked,
        })))
    }

    /// Every check of what was proposed that needs no numerics. Whatever strangers proposed, it ends when the time that a
    /// person gave has run out.
    async fn screen_pending(&self, call: &Call<'_>, lineage: &Lineage, time: Duration) -> Outcome<Screening> {
        let budget = ReleaseTime::new(time);
        let proven = self.lineages.publishers(lineage).await?;
        let Pending { proposals, later, missing } = self.proposals.find_pending(call, lineage, &proven, budget).await?;
        let adapters = proposals.iter().map(|proposal| proposal.info.adapter).collect();
        let mut adapters = self.proposals.adapters(adapters, budget).await?;
        let publishers: BTreeMap<_, _> =
            adapters.iter().map(|(id, manifest)| (*id, manifest.body().publisher)).collect();
        let mut screening = Screening { later, missing, ..Screening::default() };
        // The rules first, which cost nothing: nobody fills a release with proposals that cannot be taken.
        let mut allowed = Vec::new();
        for group in grouped(proposals, |id| publishers.get(id).copied()) {
            let adapter = group.first.info.adapter;
            match Screen::refuse(lineage, &group.first, adapters.get(&adapter)) {
                Some(refusal) => screening.refused.push((group, refusal)),
                None if !adapters.contains_key(&adapter) && self.screen.rests.is_resting(&adapter) => {
                    screening.later += group.len();
                }
                None => allowed.push((group.first.proposer, group)),
            }
        }
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            allowed.into_iter().partition(|(_, group)| adapters.contains_key(&group.first.info.adapter));
        // What peers are known to have, and then what is still to be found.
        for (candidates, most) in [(here, VERDICTS_MAX), (elsewhere, FOUND_MAX)] {
            let turns = by_turns(candidates, &proven, most.min(VERDICTS_MAX - screening.fit.len()), secret_seed());
            screening.later += turns.later;
            let candidates = turns.now.into_iter().map(|group| {
                let adapter = adapters.remove(&group.first.info.adapter);
                (group, adapter)
            });
            let candidates: Vec<_> = candidates.collect();
            self.screen_all(call, lineage, candidates, budget, &mut screening).await?;
        }
        screening.fit.sort_by_key(|group| group.first.id);
        Ok(screening)
    }

    /// Fetches and checks adapters, several at once.
    async fn screen_all(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        candidates: Vec<(Group, Option<Authentic<Manifest>>)>,
        budget: ReleaseTime,
        screening: &mut Screening,
    ) -> Outcome<()> {
        let screened = candidates.into_iter().map(|(group, adapter)| async move {
            let time = budget.part(Duration::MAX);
            let screened = self.screen.screen(call, lineage, &group.first, adapter, time).await?;
            Ok::<_, Failure>((group, screened))
        });
        let mut screened = futures::stream::iter(screened).buffer_unordered(AT_ONCE);
        while let Some((group, screened)) = screened.try_next().await? {
            match screened {
                Screened::Fit => screening.fit.push(group),
                Screened::Later => screening.later += group.len(),
                Screened::NotHad => screening.missing += group.len(),
                Screened::Refused(refusal) => {
                    screening.missing += if refusal == Refusal::Missing { group.len() } else { 0 };
                    screening.refused.push((group, refusal));
                }
            }
        }
        Ok(())
    }

    /// Nobody passed what needs no score: no shard is opened and nothing is released. The next release says it again, in
    /// its record.
    async fn answer_without_release(&self, own: &Own, screening: &Screening, weighed: &[Verdict]) -> Outcome<Released> {
        let verdicts = verdicts(screening, weighed);
        let head = own.lineage.head();
        Ok(Released::Nothing(NothingReleased {
            released: false,
            channel: own.record.id,
            name: own.record.name.clone(),
            version: head.map(|head| head.id),
            height: head.map_or(0, |head| head.version.height),
            verdicts: self.describe_verdicts(&verdicts).await?,
            later: screening.later,
            missing: screening.missing,
            finished: own.finished,
            asked: own.asked,
        }))
    }

    /// The next shard that no release has opened.
    async fn next_sealed(&self, lineage: &Lineage) -> Outcome<(u32, SealedShard)> {
        let index = lineage.next_shard();
        let all = &lineage.spec().evaluation;
        let Some(commitment) = all.get(index as usize).copied() else {
            let head = lineage.head().map_or_else(|| lineage.spec().genesis.to_string(), |head| head.id.to_string());
            return Err(Failure::new(
                Kind::Conflict,
                format!(
                    "all {} sealed shards of `{}` are opened: there is none left to score with",
                    all.len(),
                    lineage.name()
                ),
            )
            .hint(format!(
                "continue in a new channel with fresh rows: `potluck channel open NAME --genesis {head} --improve ...`"
            )));
        };
        let shard = self.disk.on_store(move |store| store.sealed(&commitment)).await?;
        let shard = shard.ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!(
                    "the rows of sealed shard {index} of `{}` are missing from this home, or were changed",
                    lineage.name()
                ),
            )
            .hint(format!("put the folder {commitment} back into {}", self.disk.home.layout().sealed().display()))
        })?;
        Ok((index, shard))
    }

    /// Weighs the proposals that passed, scores them on the shard, and chooses among them: in the worker.
    async fn choose(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        fit: &[Group],
        shard: &SealedShard,
        threads: usize,
    ) -> Outcome<Chosen> {
        let spec = lineage.spec();
        let genesis = self.versions.genesis(call, spec).await?;
        self.bases.id(call, &genesis).await?;
        let (mut held, mut proposed) = (Vec::new(), Vec::new());
        for (id, weight) in lineage.inputs() {
            held.push(FoldSource { id: *id, folder: self.adapters.export(*id).await?, weight: *weight });
        }
        for group in fit {
            let (id, weight) = (group.first.info.adapter, group.first.info.weight);
            let adapter = FoldSource { id, folder: self.adapters.export(id).await?, weight };
            proposed.push(Proposed { proposal: group.first.id, adapter });
        }
        let suite = |suite: &potluck_protocol::channel::Suite| SuiteFile {
            name: suite.name.clone(),
            role: suite.role,
            rows: shard.rows(suite.name.as_str()),
        };
        let task = ChooseTask {
            genesis: genesis.source,
            suites: shard.sealed.suites.iter().map(suite).collect(),
            held,
            proposed,
            gate: spec.gate,
            norm: spec.norm,
        };
        call.phase(format!("scoring {} proposals on a sealed shard", fit.len())).await;
        self.worker.compute(call, threads, Task::Choose(Box::new(task))).await
    }

    /// The rows of the shard as files of the version. They are public from the announcement on.
    async fn rows_of(&self, shard: &SealedShard) -> Outcome<Vec<FileEntry>> {
        let mut files = Vec::new();
        for suite in &shard.sealed.suites {
            let path = RelPath::new(suite.path()).map_err(|error| Failure::new(Kind::Failed, error))?;
            files.push((path, Source::Path(shard.rows(suite.name.as_str()))));
        }
        self.disk.on_store(move |store| store.import_files(files)).await
    }

    /// Verdicts for people.
    async fn describe_verdicts(&self, verdicts: &[Verdict]) -> Outcome<Vec<ProposalVerdict>> {
        let verdicts = verdicts.to_vec();
        self.disk
            .on_store(move |store| {
                let describe = |verdict: &Verdict| {
                    let name = store.manifest(&verdict.adapter)?.map(|manifest| manifest.body().name.to_string());
                    Ok::<_, StoreError>(describe_verdict(verdict, name))
                };
                verdicts.iter().map(describe).collect::<Result<Vec<_>, _>>()
            })
            .await
    }
}

fn describe_verdict(verdict: &Verdict, name: Option<String>) -> ProposalVerdict {
    let (taken, weight, alone, reason) = match &verdict.outcome {
        VerdictOutcome::Taken { weight, alone_micro } => (true, Some(weight.get()), Some(*alone_micro), None),
        VerdictOutcome::Refused(refusal) => (false, None, None, Some(refusal.to_string())),
    };
    ProposalVerdict {
        proposal: verdict.proposal,
        adapter: verdict.adapter,
        name,
        taken,
        weight,
        loss_change: alone.map(|micro| micro as f64 / 1e6),
        reason,
        outcome: verdict.outcome.clone(),
    }
}

fn describe_opened(opened: &Opened) -> OpenedShard {
    let nats = |micro: u64| micro as f64 / 1e6;
    let suites = opened.sealed.suites.iter().zip(&opened.scores).map(|(suite, score)| SuiteScore {
        suite: suite.name.clone(),
        role: suite.role,
        genesis: nats(score.genesis_micro),
        before: nats(score.before_micro),
        after: nats(score.after_micro),
    });
    OpenedShard { index: opened.index, suites: suites.collect() }
}
