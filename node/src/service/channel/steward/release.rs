//! `potluck channel release`: gather, sift, weigh, score, choose, fold, publish.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_protocol::channel::{Lineage, Opened, Outcome as Fate, Refusal, Verdict};
use potluck_protocol::id::ManifestId;
use potluck_protocol::limits::VERDICTS_MAX;
use potluck_protocol::manifest::FileEntry;
use potluck_protocol::signed::PublicKey;
use potluck_protocol::text::RelPath;
use serde_json::{Value, json};

use super::super::super::{Call, Service};
use super::proposals::{Group, grouped};
use super::sift::Sifted;
use super::version::Scored;
use super::{Next, Own};
use crate::api::channel::Release;
use crate::failure::{Failure, Kind, Outcome};
use crate::service::apart::with_schema;
use crate::store::{SealedShard, Source, StoreError};
use crate::worker::proto::choose::{ChooseTask, Chosen, Proposed, SuiteFile};
use crate::worker::proto::{FoldSource, Task};

/// What the checks before scoring gave.
#[derive(Default)]
struct Sieve {
    fit: Vec<Group>,
    refused: Vec<(Group, Refusal)>,
    /// Proposals of adapters that nobody could be asked for.
    later: usize,
}

impl Service {
    pub(in crate::service::channel) async fn channel_release(
        &self,
        call: &Call<'_>,
        release: Release,
    ) -> Outcome<Value> {
        let _one = self.stewarding.lock().await;
        let own = self.stewarded(call, &release.channel).await?;
        let patience = release.timeout_seconds.duration();
        let pending = self.pending(call, &own.lineage, patience).await?;
        let publishers =
            self.publishers(pending.iter().map(|proposal| proposal.info.adapter).collect(), patience).await?;
        let mut sieve = Sieve::default();
        for group in grouped(pending, &publishers) {
            match self.sift(call, &own.lineage, &group.first, patience).await? {
                Sifted::Fit => sieve.fit.push(group),
                Sifted::Refused(refusal) => sieve.refused.push((group, refusal)),
                Sifted::Later => sieve.later += 1 + group.others.len(),
            }
        }
        // What may pass comes before what is refused: nobody fills a release with proposals that cannot be taken.
        sieve.fit.truncate(VERDICTS_MAX);
        if sieve.fit.is_empty() {
            return self.nothing(&own, &sieve, &[]).await;
        }
        let (index, shard) = self.next_sealed(&own.lineage).await?;
        let chosen = self.chosen(call, &own.lineage, &sieve.fit, &shard, release.threads).await?;
        let Some(scores) = chosen.scores.clone() else {
            return self.nothing(&own, &sieve, &chosen.verdicts).await;
        };
        let verdicts = verdicts(&sieve, &chosen.verdicts);
        let files = self.rows_of(&shard).await?;
        let opened = Opened { index, sealed: shard.sealed.clone(), scores };
        let told = self.told(&verdicts).await?;
        let scored = Scored { opened: opened.clone(), verdicts, files };
        let next = Next::Release(Box::new(scored));
        let answer = self.publish_version(call, &own.record, &own.lineage, next, release.threads).await?;
        let mut answer = with_schema("potluck.channel.release/1", answer)?;
        answer["released"] = json!(true);
        answer["verdicts"] = json!(told);
        answer["opened"] = suites(&opened);
        answer["shards_left"] = json!(own.lineage.spec().evaluation.len().saturating_sub(index as usize + 1));
        answer["weighed"] = json!(chosen.weighed);
        answer["later"] = json!(sieve.later);
        answer["finished"] = json!(own.finished);
        answer["asked"] = json!(own.asked);
        Ok(answer)
    }

    /// Nobody passed what needs no score: no shard is opened and nothing is released. The next release says it again, in
    /// its record.
    async fn nothing(&self, own: &Own, sieve: &Sieve, weighed: &[Verdict]) -> Outcome<Value> {
        let verdicts = verdicts(sieve, weighed);
        let head = own.lineage.head();
        Ok(json!({
            "schema": "potluck.channel.release/1", "released": false, "channel": own.record.id, "name": own.record.name,
            "version": head.map(|head| head.id), "height": head.map_or(0, |head| head.version.height),
            "verdicts": self.told(&verdicts).await?, "later": sieve.later, "finished": own.finished,
            "asked": own.asked,
        }))
    }

    /// Who published the adapters, by their manifests: what an announcement says of somebody else's is not believed.
    async fn publishers(
        &self,
        mut adapters: Vec<ManifestId>,
        patience: Duration,
    ) -> Outcome<BTreeMap<ManifestId, PublicKey>> {
        adapters.sort();
        adapters.dedup();
        let wanted = adapters.clone();
        let mut publishers = self
            .on_store(move |store| {
                let mut publishers = BTreeMap::new();
                for id in wanted {
                    publishers.extend(store.manifest(&id)?.map(|manifest| (id, manifest.body().publisher)));
                }
                Ok::<_, StoreError>(publishers)
            })
            .await?;
        adapters.retain(|id| !publishers.contains_key(id));
        if let Some(network) = self.network.as_ref().filter(|_| !adapters.is_empty()) {
            let seen = network.exchange.look_at(adapters, patience).await;
            publishers.extend(seen.iter().map(|manifest| (manifest.id(), manifest.body().publisher)));
        }
        Ok(publishers)
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
                    "all {} sealed shards of `{}` are used up: nothing is left to score with",
                    all.len(),
                    lineage.name()
                ),
            )
            .hint(format!(
                "go on in a new channel with fresh rows: `potluck channel open NAME --genesis {head} --improve ...`"
            )));
        };
        let shard = self.on_store(move |store| store.sealed(&commitment)).await?;
        let shard = shard.ok_or_else(|| {
            Failure::new(
                Kind::NotFound,
                format!(
                    "the rows of sealed shard {index} of `{}` are not in this home, or not as they were",
                    lineage.name()
                ),
            )
            .hint(format!("put the folder {commitment} back into {}", self.home.layout().sealed().display()))
        })?;
        Ok((index, shard))
    }

    async fn chosen(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        fit: &[Group],
        shard: &SealedShard,
        threads: usize,
    ) -> Outcome<Chosen> {
        let spec = lineage.spec();
        let genesis = self.genesis(call, spec).await?;
        self.base_id(call, &genesis).await?;
        let (mut held, mut proposed) = (Vec::new(), Vec::new());
        for (id, weight) in lineage.inputs() {
            held.push(FoldSource { id: *id, folder: self.exported(*id).await?, weight: weight.0 });
        }
        for group in fit {
            let (id, weight) = (group.first.info.adapter, group.first.info.weight.0);
            let adapter = FoldSource { id, folder: self.exported(id).await?, weight };
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
        self.numerics(call, threads, Task::Choose(Box::new(task))).await
    }

    /// The rows of the shard as files of the version. They are public from the announcement on.
    async fn rows_of(&self, shard: &SealedShard) -> Outcome<Vec<FileEntry>> {
        let mut files = Vec::new();
        for suite in &shard.sealed.suites {
            let path = RelPath::new(suite.path()).map_err(|error| Failure::new(Kind::Failed, error))?;
            files.push((path, Source::Path(shard.rows(suite.name.as_str()))));
        }
        self.on_store(move |store| store.import_files(files)).await
    }

    /// Verdicts for people.
    async fn told(&self, verdicts: &[Verdict]) -> Outcome<Vec<Value>> {
        let verdicts = verdicts.to_vec();
        self.on_store(move |store| {
            let told = |verdict: &Verdict| {
                let name = store.manifest(&verdict.adapter)?.map(|manifest| manifest.body().name.clone());
                Ok::<_, StoreError>(one(verdict, name.as_ref().map(|name| name.as_str())))
            };
            verdicts.iter().map(told).collect::<Result<Vec<_>, _>>()
        })
        .await
    }
}

/// One for each proposal, sorted, as many as a version holds.
fn verdicts(sieve: &Sieve, chosen: &[Verdict]) -> Vec<Verdict> {
    let mut all = Vec::new();
    for group in &sieve.fit {
        if let Some(verdict) = chosen.iter().find(|verdict| verdict.proposal == group.first.id) {
            all.extend(shared(group, &verdict.outcome));
        }
    }
    for (group, refusal) in &sieve.refused {
        all.extend(shared(group, &Fate::Refused(refusal.clone())));
    }
    // Those that count come first, whatever else was proposed.
    all.sort_by_key(|(first, _)| !first);
    let mut all: Vec<Verdict> = all.into_iter().map(|(_, verdict)| verdict).take(VERDICTS_MAX).collect();
    all.sort_by_key(|verdict| verdict.proposal);
    all
}

/// The same adapter proposed again shares the fate of the proposal that counts; what was taken is in already.
fn shared<'a>(group: &'a Group, fate: &'a Fate) -> impl Iterator<Item = (bool, Verdict)> + 'a {
    let again = match fate {
        Fate::Taken { .. } => Fate::Refused(Refusal::AlreadyIn),
        Fate::Refused(refusal) => Fate::Refused(refusal.clone()),
    };
    let verdict = |proposal, outcome| Verdict { proposal, adapter: group.first.info.adapter, outcome };
    let others = group.others.iter().map(move |other| (false, verdict(other.id, again.clone())));
    std::iter::once((true, verdict(group.first.id, fate.clone()))).chain(others)
}

fn one(verdict: &Verdict, name: Option<&str>) -> Value {
    let (taken, weight, alone, reason) = match &verdict.outcome {
        Fate::Taken { weight, alone_micro } => (true, Some(weight.get()), Some(*alone_micro), None),
        Fate::Refused(refusal) => (false, None, None, Some(refusal.to_string())),
    };
    json!({
        "proposal": verdict.proposal, "adapter": verdict.adapter, "name": name, "taken": taken, "weight": weight,
        "loss_change": alone.map(|micro| micro as f64 / 1e6), "reason": reason, "outcome": verdict.outcome,
    })
}

fn suites(opened: &Opened) -> Value {
    let nats = |micro: u64| micro as f64 / 1e6;
    let suites = opened.sealed.suites.iter().zip(&opened.scores).map(|(suite, score)| {
        json!({
            "suite": suite.name, "role": suite.role, "genesis": nats(score.genesis_micro),
            "before": nats(score.before_micro), "after": nats(score.after_micro),
        })
    });
    json!({ "index": opened.index, "suites": suites.collect::<Vec<_>>() })
}
