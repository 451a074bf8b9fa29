//! Going back, here alone: a version from before stays in force until somebody asks for an update.

use serde_json::{Value, json};

use super::super::super::{Call, Service};
use super::limits::PATIENCE;
use crate::api::channel::Rollback;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::ChannelRecord;

impl Service {
    pub(in crate::service::channel) async fn channel_rollback(
        &self,
        call: &Call<'_>,
        rollback: Rollback,
    ) -> Outcome<Value> {
        let record = self.find_channel(&rollback.channel)?;
        if rollback.publish {
            return self.channel_publish_rollback(call, &rollback).await;
        }
        let _turn = self.watching.turn(record.id).await;
        let record = self.followed(record.id)?;
        let lineage = self.lineage_in_force(&record).await?;
        let from = lineage.next_height() - 1;
        let to = target(&record, from, rollback.to)?;
        let current = lineage.at(to).map(|release| release.id);
        let target = self.lineage(record.id, current).await?;
        self.kept_adapters(call, &target, PATIENCE).await?;
        let noted = ChannelRecord { current, held: true, ..record.clone() };
        self.on_store(move |store| store.set_channel(noted)).await?;
        let base = target.head().map_or(target.spec().genesis, |head| head.version.base);
        Ok(json!({
            "schema": "potluck.channel.rollback/1", "channel": record.id, "name": record.name, "from": from, "height": to,
            "version": current, "base": base, "held": true, "published": false,
        }))
    }
}

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
