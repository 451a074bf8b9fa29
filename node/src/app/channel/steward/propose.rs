//! `potluck channel propose`: an adapter of this node's store, offered to a channel.

use std::sync::Arc;
use std::time::Duration;

use potluck_protocol::channel::{ChannelInfo, ProposalInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::recipe::Weight;
use potluck_protocol::signed::Authentic;

use crate::api::answers::Proposed;
use crate::api::channel::Propose;
use crate::app::adapters::Adapters;
use crate::app::adapters::of_base::another_base;
use crate::app::call::Call;
use crate::app::disk::Disk;
use crate::app::known_bases::KnownBases;
use crate::app::lineages::Lineages;
use crate::app::objects::Objects;
use crate::app::publisher::Publisher;
use crate::app::reference::{Names, no_channel_called};
use crate::failure::{Failure, Kind, Outcome};
use crate::identity::Identity;
use crate::licence;
use crate::text::shell;

/// Offers adapters to channels.
#[derive(Clone)]
pub struct Proposer {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) identity: Identity,
    pub(in crate::app) known: Arc<KnownBases>,
    pub(in crate::app) lineages: Lineages,
    pub(in crate::app) names: Arc<Names>,
    pub(in crate::app) objects: Arc<Objects>,
    pub(in crate::app) publisher: Arc<Publisher>,
    pub(in crate::app) adapters: Arc<Adapters>,
}

impl Proposer {
    /// Answers `potluck channel propose`.
    pub async fn propose(&self, call: &Call<'_>, propose: Propose) -> Outcome<Proposed> {
        let weight = Weight::nearest(propose.weight).filter(|weight| weight.0 != 0).ok_or_else(|| {
            Failure::new(Kind::Usage, format!("weight {} is 0 or beyond 1024", propose.weight))
                .hint("weights are usually between 0 and 1")
        })?;
        let adapter = self.proposable(&propose.adapter).await?;
        let patience = propose.timeout_seconds.duration();
        let channel = self.channel_manifest(call, &propose.channel, patience).await?;
        let ManifestKind::Channel(rules) = &channel.body().kind else {
            return Err(Failure::new(Kind::Usage, format!("`{}` is no channel", propose.channel))
                .hint("`potluck search` lists the channels that were heard of"));
        };
        self.acceptable(channel.id(), rules, adapter.body()).await?;
        let info = ProposalInfo { genesis: rules.genesis, channel: channel.id(), adapter: adapter.id(), weight };
        let (kind, offered) = (ManifestKind::Proposal(info), adapter.body());
        let (id, announced) =
            self.publisher.publish_record(kind, &offered.name, &offered.licence, String::new()).await?;
        Ok(Proposed {
            proposal: id,
            channel: channel.id(),
            name: channel.body().name.clone(),
            adapter: adapter.id(),
            weight: weight.get(),
            announced,
        })
    }

    /// An adapter that is published and here, whole and checked.
    async fn proposable(&self, reference: &str) -> Outcome<Authentic<Manifest>> {
        let id = self.adapters.find(reference).await?.manifest.ok_or_else(|| {
            Failure::new(Kind::Usage, format!("{reference} is a folder: a channel takes published adapters"))
                .hint(format!("publish it first: `potluck publish {} --name NAME`", shell(reference)))
        })?;
        Ok(self.disk.manifest(id).await?)
    }

    /// The manifest of a channel that is followed here or was heard of, or of any by its whole id.
    async fn channel_manifest(
        &self,
        call: &Call<'_>,
        reference: &str,
        patience: Duration,
    ) -> Outcome<Authentic<Manifest>> {
        let id = self.names.find_channel_id(reference).await?.ok_or_else(|| no_channel_called(reference))?;
        if let Some(manifest) = self.disk.on_store(move |store| store.manifest(&id)).await? {
            return Ok(manifest);
        }
        call.phase(format!("looking for channel {}", id.short())).await;
        self.objects.find_and_fetch(call, id, patience).await?;
        let complete = self.disk.complete(id).await?;
        Ok(self.objects.inspect(call, complete).await?.manifest().clone())
    }

    /// What the steward would refuse at once is refused here, before anybody is bothered.
    async fn acceptable(&self, channel: ManifestId, rules: &ChannelInfo, adapter: &Manifest) -> Outcome<()> {
        if !rules.admission.admits(&self.identity.public()) {
            return Err(Failure::new(
                Kind::Denied,
                "the channel admits only listed publishers, and this node is not one of them",
            )
            .hint("ask its steward to open another channel that admits you, or open one of your own"));
        }
        if !licence::taken(&rules.licences, &adapter.licence) {
            let stated = if adapter.licence.is_empty() { "no licence" } else { &adapter.licence };
            return Err(Failure::new(
                Kind::Incompatible,
                format!("`{}` states {stated}, the channel allows {}", adapter.name, rules.licences.join(", ")),
            )
            .hint("publish it again with --licence, if it is yours"));
        }
        let Some(base) = adapter.base().filter(|base| *base != rules.genesis) else { return Ok(()) };
        if self.lineages.is_version_of(channel, base).await? {
            return Ok(());
        }
        let genesis = self.known.by_id(&rules.genesis).map(|known| known.name);
        let own = self.adapters.describe_own(format!("`{}`", adapter.name), base, None);
        let failure = another_base(&own, rules.genesis, genesis.as_deref());
        let message = format!("{}, the channel's genesis, nor a version of it that is known here", failure.message);
        Err(Failure { message, ..failure }.hint(format!(
            "follow the channel to know its versions: `potluck channel follow {channel}`; an adapter of another base cannot \
             be taken"
        )))
    }
}
