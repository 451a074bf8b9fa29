//! As a steward: opening, releasing, revoking; and proposing to any channel.
//!
//! A version comes about in this order, each step durable before the next, so that a crash at any point leaves the old
//! version in force and the new one to be finished, never two for one height:
//!
//! ```text
//! rows of the opened shard in the store -> promise of the whole body -> signature -> manifest, well-formed
//!   -> in force here -> pinned -> announced
//! ```

mod admit;
mod deal;
mod known;
mod open;
mod proposals;
mod propose;
mod release;
mod revoke;
mod rollback;
mod sift;
mod verdicts;
mod version;

pub(in crate::service) use version::Next;

use potluck_protocol::channel::Lineage;
use potluck_protocol::id::ManifestId;

use super::super::{Call, Service};
use super::follower::told;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::ChannelRecord;

/// A channel of this node's own key, with nothing left half done.
struct Own {
    record: ChannelRecord,
    lineage: Lineage,
    /// A version that an earlier command had promised and this one has finished.
    finished: Option<ManifestId>,
    /// Peers were asked whether this key has signed more than this home knows.
    asked: bool,
}

impl Service {
    /// The channel of that name or id, if this node is its steward; what its key signed elsewhere is taken up first, and what
    /// was promised here is finished.
    async fn stewarded(&self, call: &Call<'_>, reference: &str) -> Outcome<Own> {
        let record = self.find_channel(reference)?;
        self.check_steward(&record).await?;
        self.check_alone()?;
        let asked = self.take_up_signed(call, &record).await?;
        let record = self.store.channel(&record.id).unwrap_or(record);
        let (record, finished) = self.finish_promised(call, record).await?;
        let head = self.promised_version(&record.id)?.map(|(id, _)| id).or(record.current);
        let lineage = self.lineage(record.id, head).await?;
        Ok(Own { record, lineage, finished, asked })
    }

    async fn check_steward(&self, record: &ChannelRecord) -> Outcome<()> {
        let steward = self.lineage(record.id, None).await?.steward();
        if steward != self.identity.public() {
            let peer = steward.peer_id().map_or_else(String::new, |peer| format!(" ({peer})"));
            return Err(Failure::new(
                Kind::Denied,
                format!("the steward of channel `{}` is {}{peer}, and this node is another", record.name, steward.0),
            )
            .hint(
                "go on from any of its versions in a channel of your own: `potluck channel open NAME --genesis VERSION`",
            ));
        }
        match &record.halted {
            Some(halt) => Err(Failure::new(
                Kind::Verification,
                format!("channel `{}` is halted, nobody follows it any more: {}", record.name, told(halt)),
            )
            .hint("open another one from its last good version: `potluck channel open NAME --genesis VERSION`")),
            None => Ok(()),
        }
    }
}
