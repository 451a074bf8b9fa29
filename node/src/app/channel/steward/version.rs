//! The next version of a channel: made, promised, signed, published; and what was promised, finished.

use std::sync::Arc;

use potluck_protocol::channel::{Change, Opened, Verdict, VerdictOutcome, VersionInfo};
use potluck_protocol::codec;
use potluck_protocol::id::{BaseId, FoldDigest, ManifestId};
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::{FileEntry, Kind as ManifestKind, Manifest};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_protocol::signed::body_id;

use crate::api::answers::NewVersion;
use crate::app::bases::Bases;
use crate::app::call::Call;
use crate::app::channel::follower::chain_fetch::Chains;
use crate::app::channel::follower::limits::PATIENCE;
use crate::app::channel::follower::turns::Turns;
use crate::app::channel::steward::own::{Own, unobtained};
use crate::app::disk::Disk;
use crate::app::fold::Folds;
use crate::app::lineages::Lineages;
use crate::app::objects::Objects;
use crate::app::publisher::Publisher;
use crate::app::versions::Versions;
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::identity::Identity;
use crate::store::{ChannelRecord, Promise, StoreError};

/// What the next version does.
pub enum Next {
    Release(Box<Scored>),
    /// Takes these out, for good.
    Revoke(Vec<ManifestId>),
    /// Goes back to the recipe of that height.
    Rollback(u32),
}

/// What a release found.
pub struct Scored {
    pub opened: Opened,
    /// Sorted by proposal.
    pub verdicts: Vec<Verdict>,
    /// The opened rows, in the store already.
    pub files: Vec<FileEntry>,
}

/// Makes versions.
#[derive(Clone)]
pub struct Drafts {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) lineages: Lineages,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) publisher: Arc<Publisher>,
    pub(in crate::app) bases: Arc<Bases>,
    pub(in crate::app) folds: Arc<Folds>,
    pub(in crate::app) versions: Arc<Versions>,
    pub(in crate::app) turns: Turns,
    pub(in crate::app) chains: Arc<Chains>,
}

impl Drafts {
    /// Makes, promises, signs and publishes the next version after those of `own`, which must be all that this node has ever
    /// promised for the channel.
    pub async fn publish_version(&self, call: &Call<'_>, own: &Own, next: Next, threads: usize) -> Outcome<NewVersion> {
        let (channel, lineage) = (&own.record, &own.lineage);
        let manifest = self.draft_version(call, channel, lineage, next, threads).await?;
        let version = lineage.check(&manifest).map_err(|error| impossible(&error))?;
        let (height, recipe) = (version.height, version.recipe.clone());
        let body = codec::encode(&manifest).map_err(|error| impossible(&error))?;
        let (stored, digest) = (recipe.clone(), version.digest);
        self.disk
            .on_store(move |store| {
                let id = store.put_recipe(&stored)?;
                store.set_folded(id, digest)
            })
            .await?;
        self.check_free(call, own, height).await?;
        let promise = Promise { channel: channel.id, height, body };
        let wanted = promise.clone();
        let kept = self.disk.on_store(move |store| store.promise(promise)).await?;
        if kept != wanted {
            return Err(Failure::new(
                Kind::Conflict,
                format!("another version {} of `{}` was promised meanwhile", kept.height, channel.name),
            )
            .hint("run the command again: it finishes that one first"));
        }
        let (id, announced) = self.keep_promise(call, channel.clone(), &kept).await?;
        Ok(NewVersion {
            channel: channel.id,
            name: channel.name.clone(),
            version: id,
            height,
            change: version.change,
            recipe: recipe.id().map_err(StoreError::from)?,
            digest,
            base: version.base,
            adapters: recipe.inputs().len(),
            announced,
        })
    }

    /// Our key has signed nothing for that height elsewhere, as far as is known now: a fold takes long, and what was heard
    /// meanwhile counts.
    async fn check_free(&self, call: &Call<'_>, own: &Own, height: u32) -> Outcome<()> {
        let channel = &own.record;
        let opened = self.lineages.read(channel.id, None).await?;
        let gathered = self.chains.gather(call, &opened, PATIENCE).await?;
        let unknown: Vec<_> = gathered.unobtained.into_iter().filter(|id| !own.waived.contains(id)).collect();
        if !unknown.is_empty() {
            return Err(unobtained(channel, &unknown));
        }
        let Some((known, manifest)) = gathered.by_height.range(height..).next() else { return Ok(()) };
        Err(Failure::new(
            Kind::Conflict,
            format!(
                "version {known} of `{}` was signed with this node's key elsewhere meanwhile ({}): nothing was signed here",
                channel.name,
                manifest.id()
            ),
        )
        .hint("stop the other copy of this home, and run the command again: it goes on from that version"))
    }

    /// The unsigned manifest.
    async fn draft_version(
        &self,
        call: &Call<'_>,
        channel: &ChannelRecord,
        lineage: &Lineage,
        next: Next,
        threads: usize,
    ) -> Outcome<Manifest> {
        let (change, mut revoked) = (change(&next), lineage.revoked().to_vec());
        if let Next::Revoke(more) = &next {
            revoked.extend(more);
            revoked.sort();
            revoked.dedup();
        }
        let recipe = recipe(lineage, &next, &revoked)?;
        let (digest, base) = self.result_of(call, lineage, &recipe, threads).await?;
        let (opened, verdicts, files) = match next {
            Next::Release(scored) => (Some(scored.opened), scored.verdicts, scored.files),
            Next::Revoke(_) | Next::Rollback(_) => (None, Vec::new(), Vec::new()),
        };
        let previous = lineage.head().map(|head| head.id);
        let info = VersionInfo {
            channel: channel.id,
            height: lineage.next_height(),
            previous,
            change,
            recipe,
            digest,
            base,
            revoked,
            opened,
            verdicts,
        };
        let id = channel.id;
        let rules = self.disk.manifest(id).await?;
        Ok(Manifest {
            kind: ManifestKind::Version(Box::new(info)),
            name: lineage.name().clone(),
            licence: rules.body().licence.clone(),
            description: String::new(),
            created: config::seconds_since_1970(),
            publisher: self.identity.public(),
            files,
        })
    }

    /// What a recipe gives: its digest, and the id of those weights as a base. One that was folded for an earlier version
    /// gives the same again.
    async fn result_of(
        &self,
        call: &Call<'_>,
        lineage: &Lineage,
        recipe: &Recipe,
        threads: usize,
    ) -> Outcome<(FoldDigest, BaseId)> {
        if let Some(same) = lineage.versions().iter().find(|release| release.version.recipe == *recipe) {
            return Ok((same.version.digest, same.version.base));
        }
        let genesis = self.versions.genesis(call, lineage.spec()).await?;
        self.bases.id(call, &genesis).await?;
        call.phase(format!("folding {} adapters into {}", recipe.inputs().len(), genesis.name)).await;
        let folded = self.folds.fold(call, &genesis, recipe, None, threads).await?;
        Ok((folded.digest, folded.base))
    }

    /// The version that was promised last for a channel, with its promise.
    pub fn promised_version(&self, channel: &ManifestId) -> Outcome<Option<(ManifestId, Promise)>> {
        let promise = self.disk.store.promised(channel);
        Ok(promise.map(|promise| (ManifestId(body_id::<Manifest>(&promise.body)), promise)))
    }

    /// Does what is left to do of the last promise; the version if there was something.
    pub async fn finish_promised(
        &self,
        call: &Call<'_>,
        record: ChannelRecord,
    ) -> Outcome<(ChannelRecord, Option<ManifestId>)> {
        let Some((id, promise)) = self.promised_version(&record.id)? else { return Ok((record, None)) };
        // A steward that rolled back locally has finished what it promised before.
        let in_force = record.current == Some(id) || record.held;
        if self.disk.store.is_well_formed(&id) && in_force && self.disk.store.pins().contains(&id) {
            return Ok((record, None));
        }
        call.phase(format!("finishing version {} of {}, which was promised before", promise.height, record.name)).await;
        self.keep_promise(call, record.clone(), &promise).await?;
        let name = record.id;
        let record = self.disk.store.channel(&name).unwrap_or(record);
        Ok((record, Some(id)))
    }

    /// Signs exactly what was promised, puts it in force here, and announces it. Every step may have been done before.
    async fn keep_promise(
        &self,
        call: &Call<'_>,
        record: ChannelRecord,
        promise: &Promise,
    ) -> Outcome<(ManifestId, bool)> {
        let manifest: Manifest = codec::decode(&promise.body).map_err(StoreError::from)?;
        let ManifestKind::Version(version) = &manifest.kind else {
            return Err(Failure::new(Kind::Verification, "the promised version of the channel is invalid"));
        };
        let adapters: Vec<ManifestId> = version.recipe.inputs().iter().map(|(adapter, _)| *adapter).collect();
        call.phase(format!("signing version {} of {}", version.height, record.name)).await;
        let complete = self.publisher.sign_and_store(&manifest).await?;
        let well_formed = self.objects.inspect_record(complete).await?;
        let id = well_formed.manifest().id();
        // An update that runs beside this one must not put an older version back.
        let turn = self.turns.take(record.id).await;
        let record = self.disk.store.channel(&record.id).unwrap_or(record);
        self.disk
            .on_store(move |store| {
                store.set_channel(ChannelRecord { current: Some(id), held: false, ..record })?;
                // Whoever is to rebuild the version can have its adapters from here.
                adapters.into_iter().try_for_each(|adapter| store.pin(adapter))?;
                store.pin(id)
            })
            .await?;
        drop(turn);
        Ok((id, self.publisher.announce(well_formed.manifest()).await?))
    }
}

fn change(next: &Next) -> Change {
    match next {
        Next::Release(_) => Change::Release,
        Next::Revoke(_) => Change::Revoke,
        Next::Rollback(height) => Change::Rollback(*height),
    }
}

/// The recipe that the change gives; the rules are the lineage's.
fn recipe(lineage: &Lineage, next: &Next, revoked: &[ManifestId]) -> Outcome<Recipe> {
    let inputs: Vec<(ManifestId, Weight)> = match next {
        Next::Release(scored) => lineage.inputs().iter().copied().chain(taken(&scored.verdicts)).collect(),
        Next::Revoke(_) => lineage.without(revoked),
        Next::Rollback(height) => lineage.back_to(*height).ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("channel `{}` has no version {height}", lineage.name()))
                .hint("0 is genesis; `potluck channel show CHANNEL` lists the versions")
        })?,
    };
    lineage.recipe(inputs).ok_or_else(|| {
        Failure::new(Kind::Usage, "the adapters are too many for one recipe, or a weight is beyond 1024").hint(
            "continue in a new channel: `potluck channel open NAME --genesis VERSION` starts from the folded version",
        )
    })
}

/// The inputs that verdicts add.
fn taken(verdicts: &[Verdict]) -> impl Iterator<Item = (ManifestId, Weight)> + '_ {
    verdicts.iter().filter_map(|verdict| match verdict.outcome {
        VerdictOutcome::Taken { weight, .. } => Some((verdict.adapter, weight)),
        VerdictOutcome::Refused(_) => None,
    })
}

/// What was made here breaks the rules: nothing is promised.
fn impossible(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Failed, format!("the next version would be invalid: {error}")).hint("nothing was published")
}
