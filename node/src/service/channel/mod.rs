//! Channels of base versions: this node as a steward, a proposer, a follower and an auditor.
//!
//! What is in force follows from signed manifests in the store ([`Lineage`]) and one record in `state.log`
//! ([`ChannelRecord`]); a command that dies half way leaves the old version in force.

mod follower;
mod steward;

pub(super) use follower::limits::FORKS_MAX;
pub use follower::{Watching, watch};

use potluck_protocol::channel::{ChannelInfo, Lineage, LineageError};
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::{Kind as ManifestKind, Manifest};
use potluck_protocol::signed::Authentic;
use potluck_protocol::text::Name;
use serde_json::Value;

use super::{Call, Service, named};
use crate::api::channel::{Export, Request, Show, Unfollow, Update};
use crate::config;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{ChannelRecord, StoreError};

impl Service {
    pub(super) async fn channel(&self, call: &Call<'_>, request: Request) -> Outcome<Value> {
        match request {
            Request::Open(open) => self.channel_open(call, open).await,
            Request::Propose(propose) => self.channel_propose(call, propose).await,
            Request::Release(release) => self.channel_release(call, release).await,
            Request::Revoke(revoke) => self.channel_revoke(call, revoke).await,
            Request::Follow(follow) => self.channel_follow(call, follow).await,
            Request::Unfollow(Unfollow { channel, force }) => self.channel_unfollow(&channel, force).await,
            Request::Update(Update { channel, timeout_seconds }) => {
                self.channel_update(call, &channel, timeout_seconds).await
            }
            Request::Rollback(rollback) => self.channel_rollback(call, rollback).await,
            Request::Show(Show { channel }) => self.channel_show(&channel).await,
            Request::List => self.channel_list().await,
            Request::Export(Export { channel, out }) => self.channel_export(call, &channel, &out).await,
        }
    }

    /// A channel that is known here.
    pub(super) fn known_channel(&self, reference: &str) -> Outcome<Option<ChannelRecord>> {
        let all = self.store.channels();
        named::one(reference, all.into_iter().map(|one| (one.name.to_string(), one.id.to_string(), one)))
    }

    pub(super) fn find_channel(&self, reference: &str) -> Outcome<ChannelRecord> {
        self.known_channel(reference)?.ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("no channel `{reference}` is followed here"))
                .hint("follow one with `potluck channel follow CHANNEL`; list those that are with `potluck channel list`, those that were heard of with `potluck search`")
        })
    }

    /// The channel's versions up to `head`, from the store, each checked against the one before.
    pub(super) async fn lineage(&self, channel: ManifestId, head: Option<ManifestId>) -> Outcome<Lineage> {
        self.on_store(move |store| {
            let read = |id: ManifestId| Ok::<_, Failure>(store.manifest(&id)?.ok_or(StoreError::NoManifest(id))?);
            let mut lineage = Lineage::open(&read(channel)?).map_err(|error| not_of(channel, &error))?;
            let mut chain: Vec<Authentic<Manifest>> = Vec::new();
            let mut next = head;
            while let Some(id) = next.filter(|_| chain.len() < potluck_protocol::limits::VERSIONS_MAX) {
                let manifest = read(id)?;
                next = match &manifest.body().kind {
                    ManifestKind::Version(version) => version.previous,
                    _ => return Err(not_of(id, &LineageError::NotAVersion)),
                };
                chain.push(manifest);
            }
            for version in chain.iter().rev() {
                lineage.extend(version).map_err(|error| not_of(version.id(), &error))?;
            }
            Ok(lineage)
        })
        .await
    }

    /// Signs a record that says all in its body, keeps it, pinned, and announces it; `false` if nobody was told.
    async fn publish_record(
        &self,
        kind: ManifestKind,
        name: &Name,
        licence: &str,
        description: String,
    ) -> Outcome<(ManifestId, bool)> {
        self.check_alone()?;
        let manifest = Manifest {
            kind,
            name: name.clone(),
            licence: licence.to_owned(),
            description,
            created: config::seconds_since_1970(),
            publisher: self.identity.public(),
            files: Vec::new(),
        };
        let complete = self.signed_complete(&manifest).await?;
        let well_formed = self.inspect(complete).await?;
        let id = well_formed.manifest().id();
        self.on_store(move |store| store.pin(id)).await?;
        Ok((id, self.announce(well_formed.manifest()).await?))
    }

    /// The versions in force here.
    pub(super) async fn lineage_in_force(&self, channel: &ChannelRecord) -> Outcome<Lineage> {
        self.lineage(channel.id, channel.current).await
    }
}

/// A manifest that is no link of the chain: its signer's fault.
pub(super) fn not_of(id: ManifestId, error: &LineageError) -> Failure {
    Failure::new(Kind::Verification, format!("manifest {} does not belong there: {error}", id.short()))
}

/// Whether a manifest is one of those that make up channels.
pub(super) fn is_record(kind: &ManifestKind) -> bool {
    match kind {
        ManifestKind::Channel(_) | ManifestKind::Proposal(_) | ManifestKind::Version(_) | ManifestKind::Proof(_) => {
            true
        }
        ManifestKind::Adapter(_) | ManifestKind::Base(_) | ManifestKind::Dataset(_) => false,
    }
}

/// What `potluck show` says of one.
pub(super) fn told(kind: &ManifestKind) -> Vec<String> {
    match kind {
        ManifestKind::Channel(channel) => rules(channel),
        ManifestKind::Proposal(proposal) => vec![format!(
            "adapter {} at weight {} to channel {}",
            proposal.adapter.short(),
            proposal.weight.get(),
            proposal.channel.short()
        )],
        ManifestKind::Version(version) => vec![format!(
            "version {} of channel {}: {} adapters, base {}",
            version.height,
            version.channel.short(),
            version.recipe.inputs().len(),
            version.base.short()
        )],
        ManifestKind::Proof(proof) => {
            vec![format!("against channel {}: {}", proof.channel.short(), follower::claimed(proof.claim))]
        }
        ManifestKind::Adapter(_) | ManifestKind::Base(_) | ManifestKind::Dataset(_) => Vec::new(),
    }
}

fn rules(channel: &ChannelInfo) -> Vec<String> {
    vec![
        format!("versions of {} from genesis {}", channel.dtype, channel.genesis.short()),
        format!(
            "an adapter must lower the held-out loss by {} % and may raise the perplexity of what is to be kept by {} %",
            f64::from(channel.gate.gain_ppm) / 1e4,
            f64::from(channel.gate.guard_ppm) / 1e4
        ),
        format!("{} sealed evaluation shards", channel.evaluation.len()),
    ]
}
