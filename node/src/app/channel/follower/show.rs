//! The lineage as it is known here, for whoever wants to see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use potluck_protocol::channel::{Role, Verdict, VerdictOutcome};
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::{Lineage, VersionEntry};
use potluck_protocol::manifest::{AdapterInfo, Kind as ManifestKind};
use potluck_protocol::recipe::Weight;

use crate::api::lineage;
use crate::api::lineage::{Halted, Input, Shown, Version};
use crate::app::channel::follower::chain::height_of;
use crate::app::channel::follower::chain_fetch::Chains;
use crate::app::channel::follower::describe::{describe_halt, rules};
use crate::app::channel::follower::heard::LastHeard;
use crate::app::disk::Disk;
use crate::app::known_bases::KnownBases;
use crate::app::lineages::Lineages;
use crate::app::network::Network;
use crate::app::reference::Names;
use crate::failure::Outcome;
use crate::identity::Identity;
use crate::store::ChannelRecord;

/// What is known of the adapters that a channel names.
#[derive(Default)]
struct Adapters {
    names: BTreeMap<ManifestId, String>,
    infos: BTreeMap<ManifestId, AdapterInfo>,
}

/// Shows channels.
#[derive(Clone)]
pub struct ChannelView {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) network: Option<Network>,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) lineages: Lineages,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) chains: Arc<Chains>,
}

impl ChannelView {
    /// Answers `potluck base show` of a channel.
    pub async fn show(&self, channel: &str) -> Outcome<Shown> {
        let record = self.names.find_channel(channel)?;
        let opened = self.lineages.read(record.id, None).await?;
        let chain = self.chains.gather_local(&opened).await?.chain(opened);
        // Of two versions for one height the chain holds one, which need not be the one in force.
        let lineage = match height_of(&chain.lineage, record.current) {
            Some(_) => chain.lineage,
            None => self.lineages.in_force(&record).await?,
        };
        let adapters = self.adapters(&lineage).await?;
        let mut shown = self.head(&record, &lineage);
        shown.steward_heard = LastHeard::read(&self.disk, self.network.as_ref()).await?.of(lineage.steward());
        shown.broken = chain.broken.map(|failure| failure.message);
        shown.versions = versions(&lineage, record.current, &adapters);
        Ok(shown)
    }

    fn head(&self, record: &ChannelRecord, lineage: &Lineage) -> Shown {
        let spec = lineage.spec();
        Shown {
            channel: record.id,
            name: record.name.to_string(),
            steward: lineage.steward(),
            own: lineage.steward() == self.identity.public(),
            steward_heard: None,
            genesis: spec.genesis,
            genesis_name: self.known.by_id(&spec.genesis).map(|base| base.name),
            forked_from: spec.forked_from,
            rules: rules(spec),
            height: height_of(lineage, record.current).unwrap_or(0),
            held: record.held,
            audit: record.audit,
            halted: record.halted.map(|halt| Halted { proof: halt, reason: describe_halt(&halt) }),
            broken: None,
            versions: Vec::new(),
        }
    }

    /// Names and parents, of those that are here or were heard of.
    async fn adapters(&self, lineage: &Lineage) -> Outcome<Adapters> {
        let releases = lineage.versions().iter();
        let named = releases.flat_map(|release| {
            let version = &release.version;
            let judged = version.verdicts.iter().map(|verdict| verdict.adapter);
            version.recipe.inputs().iter().map(|(id, _)| *id).chain(judged)
        });
        let named: BTreeSet<ManifestId> = named.collect();
        let mut adapters = Adapters::default();
        for heard in self.names.heard_now().await?.into_iter().flatten().filter(|heard| named.contains(&heard.manifest))
        {
            adapters.names.insert(heard.manifest, heard.name.to_string());
        }
        let here = self.disk.on_store(move |store| {
            let here = named.iter().filter_map(|id| store.manifest(id).transpose());
            here.collect::<Result<Vec<_>, _>>()
        });
        for manifest in here.await? {
            if let ManifestKind::Adapter(info) = &manifest.body().kind {
                adapters.names.insert(manifest.id(), manifest.body().name.to_string());
                adapters.infos.insert(manifest.id(), info.clone());
            }
        }
        Ok(adapters)
    }
}

fn versions(lineage: &Lineage, current: Option<ManifestId>, adapters: &Adapters) -> Vec<Version> {
    let stale = lineage.stale(&adapters.infos);
    let input = |(id, weight): &(ManifestId, Weight)| Input {
        adapter: *id,
        name: adapters.names.get(id).cloned(),
        weight: weight.get(),
        stale: stale.contains(id),
    };
    let mut before: &[(ManifestId, Weight)] = &[];
    let mut shown = Vec::new();
    for release in lineage.versions() {
        let version = &release.version;
        let inputs = version.recipe.inputs();
        shown.push(Version {
            height: version.height,
            version: release.id,
            base: version.base,
            digest: version.digest,
            created: release.created,
            change: version.change,
            in_force: current == Some(release.id),
            inputs: inputs.iter().map(input).collect(),
            added: inputs.iter().filter(|input| !before.contains(input)).map(input).collect(),
            removed: before.iter().filter(|(id, _)| !inputs.iter().any(|(now, _)| now == id)).map(input).collect(),
            loss_change: moved(release).map(|micro| micro as f64 / 1e6),
            verdicts: version.verdicts.iter().map(|verdict| describe_verdict(verdict, adapters)).collect(),
        });
        before = inputs;
    }
    shown
}

/// Of the mean over the suites that are to improve.
fn moved(release: &VersionEntry) -> Option<i64> {
    let opened = release.version.opened.as_ref()?;
    let scored = opened.sealed.suites.iter().zip(&opened.scores).filter(|(suite, _)| suite.role == Role::Improve);
    let moves: Vec<i128> =
        scored.map(|(_, score)| i128::from(score.after_micro) - i128::from(score.before_micro)).collect();
    let mean = moves.iter().sum::<i128>() / (moves.len().max(1) as i128);
    i64::try_from(mean).ok()
}

fn describe_verdict(verdict: &Verdict, adapters: &Adapters) -> lineage::Verdict {
    let (taken, reason) = match &verdict.outcome {
        VerdictOutcome::Taken { weight, alone_micro } => {
            let alone = *alone_micro as f64 / 1e6;
            (true, format!("taken at weight {}, alone it moved the held-out loss by {alone:+.4} nats", weight.get()))
        }
        VerdictOutcome::Refused(refusal) => (false, refusal.to_string()),
    };
    lineage::Verdict {
        proposal: verdict.proposal,
        adapter: verdict.adapter,
        name: adapters.names.get(&verdict.adapter).cloned(),
        taken,
        reason,
    }
}
