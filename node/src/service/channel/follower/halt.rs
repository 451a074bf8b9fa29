//! Halting: a steward was found lying, and from then on no version of the channel is taken here.

use potluck_protocol::channel::{Claim, Lineage, ProofInfo};
use potluck_protocol::id::ManifestId;
use potluck_protocol::manifest::Kind as ManifestKind;

use super::super::super::{Call, Service};
use super::chain::height_of;
use crate::failure::{Failure, Kind, Outcome};
use crate::store::{ChannelRecord, Halt};

impl Service {
    /// Notes why the channel is halted. If the version that was found out is in force here, or was built upon, the one
    /// before it is from now on.
    pub(super) async fn halt(&self, record: ChannelRecord, halt: Halt) -> Outcome<ChannelRecord> {
        let mut record = ChannelRecord { halted: Some(halt), ..record };
        if let Halt::Mismatch { version, .. } = halt {
            let lineage = self.lineage(record.id, record.current).await?;
            if let Some(height) = height_of(&lineage, Some(version)) {
                record.current = height.checked_sub(1).and_then(|before| lineage.at(before)).map(|before| before.id);
            }
        }
        let noted = record.clone();
        self.on_store(move |store| store.set_channel(noted)).await?;
        tracing::warn!(channel = %record.name, "halted: {}", told(&halt));
        Ok(record)
    }

    /// [`Self::halt`] for what was found here, and tells everybody.
    pub(in crate::service::channel) async fn halt_and_prove(
        &self,
        call: &Call<'_>,
        record: ChannelRecord,
        lineage: &Lineage,
        halt: Halt,
    ) -> Outcome<Failure> {
        let record = self.halt(record, halt).await?;
        match self.prove(lineage, halt).await {
            Ok(proof) => call.phase(format!("proof {proof} is published")).await,
            // Halted all the same; others find it out by themselves.
            Err(failure) => tracing::warn!(channel = %record.name, "the proof is not published: {failure}"),
        }
        Ok(halted(&record, &halt))
    }

    /// Signs, keeps and announces a pointer to what was found.
    async fn prove(&self, lineage: &Lineage, halt: Halt) -> Outcome<ManifestId> {
        let claim = claim(halt);
        let info = ProofInfo { genesis: lineage.spec().genesis, channel: lineage.channel(), claim };
        let record = self.publish_record(ManifestKind::Proof(info), lineage.name(), "", told(&halt)).await?;
        Ok(record.0)
    }
}

fn claim(halt: Halt) -> Claim {
    match halt {
        Halt::Equivocation { first, second } => Claim::Equivocation { first, second },
        Halt::Mismatch { version, digest } => Claim::Mismatch { version, digest },
    }
}

/// What the steward did.
pub fn told(halt: &Halt) -> String {
    match halt {
        Halt::Equivocation { first, second } => {
            format!("its steward signed two versions for one height, {first} and {second}")
        }
        Halt::Mismatch { version, digest } => {
            format!("version {version} is not what its recipe gives: folding it here gave digest {digest}")
        }
    }
}

/// What a proof says that the steward did.
pub fn claimed(claim: Claim) -> String {
    told(&match claim {
        Claim::Equivocation { first, second } => Halt::Equivocation { first, second },
        Claim::Mismatch { version, digest } => Halt::Mismatch { version, digest },
    })
}

/// What a command on a halted channel says.
pub fn halted(record: &ChannelRecord, halt: &Halt) -> Failure {
    Failure::new(Kind::Verification, format!("channel `{}` is halted: {}", record.name, told(halt))).hint(format!(
        "nothing more is taken from this steward; look at it with `potluck channel show {}`, and go on from any version as \
         the genesis of another channel",
        record.name
    ))
}
