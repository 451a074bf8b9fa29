//! `potluck channel release`: gather, screen, weigh, score, choose, fold, publish.

use std::time::Duration;

use potluck_protocol::channel::{Opened, Verdict, VerdictOutcome};
use potluck_protocol::limits::VERDICTS_MAX;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::FileEntry;
use potluck_protocol::text::RelPath;

use crate::api::answers::{NewRelease, NothingReleased, OpenedShard, ProposalVerdict, Released, SuiteScore};
use crate::api::channel::Release;
use crate::app::call::Call;
use crate::app::channel::steward::Steward;
use crate::app::channel::steward::own::Own;
use crate::app::channel::steward::proposals::{Group, grouped};
use crate::app::channel::steward::screen::Screened;
use crate::app::channel::steward::verdicts::{Screening, verdicts};
use crate::app::channel::steward::version::{Next, Scored};
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{SealedShard, Source, StoreError};
use crate::worker::proto::choose::{ChooseTask, Chosen, Proposed, SuiteFile};
use crate::worker::proto::{FoldSource, Task};

impl Steward {
    /// Judges what was proposed since the last version on a fresh sealed shard, and publishes the next version.
    pub async fn release(&self, call: &Call<'_>, release: Release) -> Outcome<Released> {
        let _one = self.making.lock().await;
        let own = self.load_own_channel(call, &release.channel).await?;
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
        let version = self.drafts.publish_version(call, &own.record, &own.lineage, next, release.threads).await?;
        Ok(Released::Version(Box::new(NewRelease {
            version,
            released: true,
            verdicts: described,
            opened: describe_opened(&opened),
            shards_left: own.lineage.spec().evaluation.len().saturating_sub(index as usize + 1),
            weighed: chosen.weighed,
            later: screening.later,
            finished: own.finished,
            asked: own.asked,
        })))
    }

    /// Every check of what was proposed that needs no numerics.
    async fn screen_pending(&self, call: &Call<'_>, lineage: &Lineage, patience: Duration) -> Outcome<Screening> {
        let pending = self.proposals.find_pending(call, lineage, patience).await?;
        let adapters = pending.iter().map(|proposal| proposal.info.adapter).collect();
        let publishers = self.proposals.publishers(adapters, patience).await?;
        let mut screening = Screening::default();
        for group in grouped(pending, &publishers) {
            match self.screen.screen(call, lineage, &group.first, patience).await? {
                Screened::Fit => screening.fit.push(group),
                Screened::Refused(refusal) => screening.refused.push((group, refusal)),
                Screened::Later => screening.later += 1 + group.others.len(),
            }
        }
        // What may pass comes before what is refused: nobody fills a release with proposals that cannot be taken.
        screening.fit.truncate(VERDICTS_MAX);
        Ok(screening)
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
