//! `potluck channel rollback --publish`: an earlier recipe again, for all followers.

use serde_json::{Value, json};

use super::super::super::{Call, Service};
use super::Next;
use crate::api::channel::Rollback;
use crate::failure::{Failure, Kind, Outcome};
use crate::service::apart::with_schema;

impl Service {
    /// A version with the inputs of an earlier height, less what was revoked since.
    pub(in crate::service::channel) async fn channel_publish_rollback(
        &self,
        call: &Call<'_>,
        rollback: &Rollback,
    ) -> Outcome<Value> {
        let _one = self.stewarding.lock().await;
        let own = self.stewarded(call, &rollback.channel).await?;
        let head = own.lineage.next_height() - 1;
        let to = rollback.to.unwrap_or(head.saturating_sub(1));
        if to >= head {
            let message =
                format!("channel `{}` stands at version {head}: it can go back to an earlier one", own.record.name);
            return Err(Failure::new(Kind::Usage, message).hint("say which with --to HEIGHT; 0 is genesis"));
        }
        let answer =
            self.publish_version(call, &own.record, &own.lineage, Next::Rollback(to), rollback.threads).await?;
        let mut answer = with_schema("potluck.channel.rollback/1", answer)?;
        answer["back_to"] = json!(to);
        answer["finished"] = json!(own.finished);
        Ok(answer)
    }
}
