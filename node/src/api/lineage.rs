//! What is shown of a channel: its rules, its versions, and what became of each proposal. The same for people, drawings
//! and programs.

use potluck_protocol::channel::Change;
use potluck_protocol::id::{BaseId, FoldDigest, ManifestId};
use potluck_protocol::signed::PublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;
use crate::store::Halt;

/// A channel as it is known here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelShown)]
pub struct Shown {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// What it is called here.
    pub name: String,
    /// Whose key signs its versions.
    #[schema(value_type = json_forms::PublicKey)]
    pub steward: PublicKey,
    /// This node's key is the steward's.
    pub own: bool,
    /// When the steward was last heard from, in seconds since 1970: connected here then, or signing an announcement that is
    /// known here, by their clock. Versions newer than that may exist. `null`: never.
    pub steward_heard: Option<u64>,
    /// The base that every version is folded from.
    #[schema(value_type = json_forms::BaseId)]
    pub genesis: BaseId,
    /// What genesis is called here, if it is here.
    pub genesis_name: Option<String>,
    /// The version whose weights genesis is, if the channel is a fork.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub forked_from: Option<ManifestId>,
    /// For people.
    pub rules: Vec<String>,
    /// The height in force here.
    pub height: u32,
    /// A rollback holds it: newer versions are not taken.
    pub held: bool,
    /// Versions are folded and compared before they are taken.
    pub audit: bool,
    /// Its steward was found lying.
    pub halted: Option<Halted>,
    /// Why the next known version is not taken, if it does not fit.
    pub broken: Option<String>,
    /// From height 1 on.
    pub versions: Vec<Version>,
}

/// Why nothing more is taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelHalted)]
pub struct Halted {
    /// What the steward signed.
    pub proof: Halt,
    /// The same in words.
    pub reason: String,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ShownVersion)]
pub struct Version {
    /// Its place: genesis is 0.
    pub height: u32,
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub version: ManifestId,
    /// Its weights as a base.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// Of its weights.
    #[schema(value_type = json_forms::FoldDigest)]
    pub digest: FoldDigest,
    /// Seconds since 1970 by the steward's clock.
    pub created: u64,
    /// What it does to the one before.
    #[schema(value_type = json_forms::Change)]
    pub change: Change,
    /// It is the one that is used here.
    pub in_force: bool,
    /// All that it is made of.
    pub inputs: Vec<Input>,
    /// Beside the version before.
    pub added: Vec<Input>,
    /// Beside the version before.
    pub removed: Vec<Input>,
    /// How the mean loss of the suites that are to improve moved on the opened shard, in nats.
    pub loss_change: Option<f64>,
    /// What became of each proposal, of a release.
    pub verdicts: Vec<Verdict>,
}

/// An adapter in a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ShownInput)]
pub struct Input {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub adapter: ManifestId,
    /// Its publisher's name for it, if it is known here.
    pub name: Option<String>,
    /// 1 for the adapter as it is.
    pub weight: f64,
    /// It was trained on something that is revoked now.
    pub stale: bool,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ShownVerdict)]
pub struct Verdict {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub proposal: ManifestId,
    /// What was offered.
    #[schema(value_type = json_forms::ManifestId)]
    pub adapter: ManifestId,
    /// Its publisher's name for it, if it is known here.
    pub name: Option<String>,
    /// It is in the version.
    pub taken: bool,
    /// For its publisher.
    pub reason: String,
}

impl Input {
    /// Its name, or the start of its id.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.adapter.short())
    }
}
