//! Following and no longer following; the list of what is followed; going back, here alone.

use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::text::Name;

use crate::api::answers::{Channels, Followed, InForce, RolledBackHere, Unfollowed};
use crate::api::channel::{Follow, Rollback};
use crate::app::call::Call;
use crate::app::channel::follower::Follower;
use crate::app::channel::follower::heard::LastHeard;
use crate::app::channel::follower::limits::PATIENCE;
use crate::app::channel::follower::update::Asked;
use crate::app::reference::no_channel_called;
use crate::failure::{Failure, Kind, Outcome};
use crate::naming;
use crate::store::ChannelRecord;

impl Follower {
    /// Answers `potluck channel follow`.
    pub async fn follow(&self, call: &Call<'_>, follow: Follow) -> Outcome<InForce> {
        let patience = follow.timeout_seconds.duration();
        let id =
            self.names.find_channel_id(&follow.channel).await?.ok_or_else(|| no_channel_called(&follow.channel))?;
        call.phase(format!("looking for channel {}", id.short())).await;
        self.objects.ensure_present(call, id, patience).await?;
        let lineage = self.lineages.read(id, None).await.map_err(|failure| failure.hint(NO_CHANNEL))?;
        if let Some(network) = &self.network {
            network.handle.subscribe(lineage.spec().genesis).await?;
        }
        self.versions.shapes(call, lineage.spec()).await?;
        let record = self.save_record(&follow, &lineage).await?;
        if let Some(network) = &self.network {
            network.handle.follow(lineage.steward());
        }
        let updated = self.update(call, id, Asked::Person(patience)).await;
        let updated = updated.map_err(|failure| failure.context(format!("`{}` is followed, but", record.name)))?;
        Ok(updated.in_force())
    }

    /// The record of a channel that is followed from now on, or with other settings.
    async fn save_record(&self, follow: &Follow, lineage: &Lineage) -> Outcome<ChannelRecord> {
        let id = lineage.channel();
        let _turn = self.turns.take(id).await;
        let before = self.disk.store.channel(&id);
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
        self.disk.on_store(move |store| store.set_channel(noted)).await?;
        Ok(record)
    }

    /// One name, one thing: what `--base NAME` means must not depend on who published what.
    fn check_free(&self, name: &Name, id: ManifestId) -> Outcome<()> {
        if let Some(reason) = naming::misleading(name.as_str()) {
            return Err(Failure::new(
                Kind::Conflict,
                format!("the channel's name `{name}` cannot be used here: {reason}"),
            )
            .hint("give another name with --name NAME"));
        }
        let base = self.disk.store.bases().iter().any(|base| base.name == *name);
        if base || self.disk.store.channels().iter().any(|channel| channel.name == *name && channel.id != id) {
            return Err(Failure::new(Kind::Conflict, format!("`{name}` is a base or a channel here already"))
                .hint("give another name with --name NAME"));
        }
        Ok(())
    }

    /// Answers `potluck channel unfollow`.
    pub async fn unfollow(&self, channel: &str, force: bool) -> Outcome<Unfollowed> {
        let record = self.names.find_channel(channel)?;
        let _turn = self.turns.take(record.id).await;
        let id = record.id;
        if !force && self.is_own(id).await {
            return Err(own(&record));
        }
        self.disk.on_store(move |store| store.forget_channel(id)).await?;
        Ok(Unfollowed { channel: id, name: record.name })
    }

    /// One whose records are damaged is nobody's any more.
    async fn is_own(&self, channel: ManifestId) -> bool {
        self.lineages.read(channel, None).await.is_ok_and(|lineage| lineage.steward() == self.identity.public())
    }

    /// Answers `potluck channel list`.
    pub async fn list(&self) -> Outcome<Channels> {
        let heard = LastHeard::read(&self.disk, self.network.as_ref()).await?;
        let mut channels = Vec::new();
        for record in self.disk.store.channels() {
            // One whose records are damaged is listed all the same.
            let lineage = self.lineages.in_force(&record).await.ok();
            let height = lineage.as_ref().map(|lineage| lineage.next_height() - 1);
            let steward = lineage.as_ref().map(Lineage::steward);
            channels.push(Followed {
                name: record.name,
                channel: record.id,
                height,
                version: record.current,
                steward,
                held: record.held,
                audit: record.audit,
                halted: record.halted.is_some(),
                own: steward == Some(self.identity.public()),
                steward_heard: steward.and_then(|steward| heard.of(steward)),
            });
        }
        Ok(Channels { channels })
    }

    /// A version from before is in force here, until somebody asks for an update.
    pub async fn rollback(&self, call: &Call<'_>, rollback: Rollback) -> Outcome<RolledBackHere> {
        let record = self.names.find_channel(&rollback.channel)?;
        let _turn = self.turns.take(record.id).await;
        let record = self.find_followed(record.id)?;
        let lineage = self.lineages.in_force(&record).await?;
        let from = lineage.next_height() - 1;
        let to = target(&record, from, rollback.to)?;
        let current = lineage.at(to).map(|release| release.id);
        let target = self.lineages.read(record.id, current).await?;
        self.versions.ensure_adapters(call, &target, PATIENCE).await?;
        let noted = ChannelRecord { current, held: true, ..record.clone() };
        self.disk.on_store(move |store| store.set_channel(noted)).await?;
        let base = target.head().map_or(target.spec().genesis, |head| head.version.base);
        Ok(RolledBackHere {
            channel: record.id,
            name: record.name,
            from,
            height: to,
            version: current,
            base,
            held: true,
            published: false,
        })
    }
}

/// A steward that stops following its own channel loses more than a follower does.
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

fn target(record: &ChannelRecord, from: u32, to: Option<u32>) -> Outcome<u32> {
    let name = &record.name;
    if from == 0 {
        return Err(Failure::new(Kind::Conflict, format!("genesis of `{name}` is in force: nothing came before it")));
    }
    let to = to.unwrap_or(from - 1);
    if to < from {
        return Ok(to);
    }
    Err(Failure::new(Kind::Usage, format!("version {to} of `{name}` is not before version {from}, which is in force"))
        .hint(format!(
            "give a height from 0 (genesis) to {}; newer versions come with `potluck channel update`",
            from - 1
        )))
}
