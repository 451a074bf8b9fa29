//! Following and no longer following; the list of what is followed.

use potluck_protocol::channel::Lineage;
use potluck_protocol::id::ManifestId;
use potluck_protocol::text::Name;
use serde_json::{Value, json};

use super::super::super::{Call, Service};
use super::update::Asked;
use crate::api::channel::Follow;
use crate::failure::{Failure, Kind, Outcome};
use crate::naming;
use crate::store::ChannelRecord;

impl Service {
    pub(in crate::service::channel) async fn channel_follow(&self, call: &Call<'_>, follow: Follow) -> Outcome<Value> {
        let patience = follow.timeout_seconds.duration();
        let id = self.find_channel_id(&follow.channel).await?.ok_or_else(|| unheard(&follow.channel))?;
        call.phase(format!("looking for channel {}", id.short())).await;
        self.kept(call, id, patience).await?;
        let lineage = self.lineage(id, None).await.map_err(|failure| failure.hint(NO_CHANNEL))?;
        if let Some(network) = &self.network {
            network.handle.subscribe(lineage.spec().genesis).await?;
        }
        self.shapes(call, lineage.spec()).await?;
        let record = self.noted(&follow, &lineage).await?;
        let updated = self.update(call, id, Asked::Person(patience)).await;
        let updated = updated.map_err(|failure| failure.context(format!("`{}` is followed, but", record.name)))?;
        Ok(updated.answer("potluck.channel.follow/1"))
    }

    /// The record of a channel that is followed from now on, or with other settings.
    async fn noted(&self, follow: &Follow, lineage: &Lineage) -> Outcome<ChannelRecord> {
        let id = lineage.channel();
        let _turn = self.watching.turn(id).await;
        let before = self.store.channel(&id);
        let name = match (&follow.name, &before) {
            (Some(name), _) => {
                let name = naming::own(name)?;
                self.check_free(&name, id)?;
                name
            }
            (None, Some(before)) => before.name.clone(),
            (None, None) => {
                self.check_free(lineage.name(), id)?;
                lineage.name().clone()
            }
        };
        let record = ChannelRecord {
            id,
            name,
            current: before.as_ref().and_then(|before| before.current),
            held: before.as_ref().is_some_and(|before| before.held),
            audit: follow.audit || before.as_ref().is_some_and(|before| before.audit),
            halted: before.and_then(|before| before.halted),
        };
        let noted = record.clone();
        self.on_store(move |store| store.set_channel(noted)).await?;
        Ok(record)
    }

    /// One name, one thing: what `--base NAME` means must not depend on who published what.
    pub(in crate::service::channel) fn check_free(&self, name: &Name, id: ManifestId) -> Outcome<()> {
        if let Some(reason) = naming::misleading(name.as_str()) {
            return Err(Failure::new(
                Kind::Conflict,
                format!("the channel is called `{name}`, and that cannot be its name here: {reason}"),
            )
            .hint("call it something else with --name NAME"));
        }
        let base = self.store.bases().iter().any(|base| base.name == *name);
        if base || self.store.channels().iter().any(|channel| channel.name == *name && channel.id != id) {
            return Err(Failure::new(Kind::Conflict, format!("`{name}` is a base or a channel here already"))
                .hint("call it something else with --name NAME"));
        }
        Ok(())
    }

    pub(in crate::service::channel) async fn channel_unfollow(&self, channel: &str, force: bool) -> Outcome<Value> {
        let record = self.find_channel(channel)?;
        let _turn = self.watching.turn(record.id).await;
        let id = record.id;
        if !force && self.is_own(id).await {
            return Err(own(&record));
        }
        self.on_store(move |store| store.forget_channel(id)).await?;
        Ok(json!({ "schema": "potluck.channel.unfollow/1", "channel": id, "name": record.name }))
    }

    /// One whose records are damaged is nobody's any more.
    async fn is_own(&self, channel: ManifestId) -> bool {
        self.lineage(channel, None).await.is_ok_and(|lineage| lineage.steward() == self.identity.public())
    }

    pub(in crate::service::channel) async fn channel_list(&self) -> Outcome<Value> {
        let mut channels = Vec::new();
        for record in self.store.channels() {
            // One whose records are damaged is listed all the same.
            let lineage = self.lineage_in_force(&record).await.ok();
            let height = lineage.as_ref().map(|lineage| lineage.next_height() - 1);
            channels.push(json!({
                "name": record.name, "channel": record.id, "height": height, "version": record.current,
                "steward": lineage.as_ref().map(Lineage::steward), "held": record.held, "audit": record.audit,
                "halted": record.halted.is_some(), "own": lineage.is_some_and(|one| one.steward() == self.identity.public()),
            }));
        }
        Ok(json!({ "schema": "potluck.channel.list/1", "channels": channels }))
    }
}

/// A steward who follows his channel no longer has lost more than what a follower loses.
fn own(record: &ChannelRecord) -> Failure {
    let ChannelRecord { id, name, .. } = record;
    Failure::new(
        Kind::Usage,
        format!(
            "you are the steward of `{name}`: as long as it is not followed here nothing is proposed to it, released or \
             revoked under that name, and followers get no version; which version is in force here is forgotten"
        ),
    )
    .hint(format!(
        "`potluck channel unfollow {name} --force` does it all the same; sealed rows and versions stay, and `potluck channel \
         follow {id}` takes it up again: keep that id"
    ))
}

const NO_CHANNEL: &str = "give the id of a channel, as its steward got it from `potluck channel open`";

pub fn unheard(reference: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("no channel `{reference}` is followed here or was heard of")).hint(
        "`potluck search` lists those that were heard of; another one is given by its whole id (64 hex digits), as its steward got it from `potluck channel open`",
    )
}
