//! Halting: a steward was found lying, and from then on no version of the channel is taken here.

use std::sync::Arc;

use potluck_protocol::channel::{Claim, ProofInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::lineage::Lineage;
use potluck_protocol::manifest::Kind as ManifestKind;

use crate::app::call::Call;
use crate::app::channel::follower::chain::{Found, height_of};
use crate::app::channel::follower::describe::describe_halt;
use crate::app::disk::Disk;
use crate::app::lineages::Lineages;
use crate::app::publisher::Publisher;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{ChannelRecord, Halt};

/// Halts channels, and proves why.
#[derive(Clone)]
pub struct Halts {
    pub(in crate::app) disk: Disk,
    pub(in crate::app) lineages: Lineages,
    pub(in crate::app) publisher: Arc<Publisher>,
}

impl Halts {
    /// Notes why the channel is halted. If the version that was found out is in force here, or was built upon, the one
    /// before it is from now on.
    pub async fn halt(&self, record: ChannelRecord, halt: Halt) -> Outcome<ChannelRecord> {
        let mut record = ChannelRecord { halted: Some(halt), ..record };
        if let Halt::Mismatch { version, .. } = halt {
            let lineage = self.lineages.read(record.id, record.current).await?;
            if let Some(height) = height_of(&lineage, Some(version)) {
                record.current = height.checked_sub(1).and_then(|before| lineage.at(before)).map(|before| before.id);
            }
        }
        let noted = record.clone();
        self.disk.on_store(move |store| store.set_channel(noted)).await?;
        tracing::warn!(channel = %record.name, "halted: {}", describe_halt(&halt));
        Ok(record)
    }

    /// [`Self::halt`] for what was found here, and tells everybody.
    pub async fn halt_and_prove(
        &self,
        call: &Call<'_>,
        record: ChannelRecord,
        lineage: &Lineage,
        found: Found,
    ) -> Outcome<Failure> {
        let Found { halt, claims } = found;
        let record = self.halt(record, halt).await?;
        for claim in claims {
            match self.prove(lineage, halt, claim).await {
                Ok(proof) => call.phase(format!("proof {proof} is published")).await,
                // Halted all the same; others find it out by themselves.
                Err(failure) => tracing::warn!(channel = %record.name, "the proof is not published: {failure}"),
            }
        }
        Ok(halted(&record, &halt))
    }

    /// Signs, keeps and announces what was found.
    async fn prove(&self, lineage: &Lineage, halt: Halt, claim: Claim) -> Outcome<ManifestId> {
        let info = ProofInfo { genesis: lineage.spec().genesis, channel: lineage.channel(), claim };
        let record =
            self.publisher.publish_record(ManifestKind::Proof(info), lineage.name(), "", describe_halt(&halt)).await?;
        Ok(record.0)
    }
}

/// What a command on a halted channel says.
pub fn halted(record: &ChannelRecord, halt: &Halt) -> Failure {
    Failure::new(Kind::Verification, format!("channel `{}` is halted: {}", record.name, describe_halt(halt))).hint(format!(
        "nothing more is taken from this steward; see it with `potluck channel show {}`, and go on from any version as \
         the genesis of another channel",
        record.name
    ))
}
