//! Channels of base versions. The lineage of one has a file of its own: [`crate::api::lineage`].

use std::path::PathBuf;

use potluck_protocol::channel::{Change, Role, VerdictOutcome};
use potluck_protocol::id::{BaseId, FoldDigest, ManifestId, RecipeId};
use potluck_protocol::signed::PublicKey;
use potluck_protocol::tensor::DType;
use potluck_protocol::text::Name;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::WeightedAdapter;
use crate::json_forms;
use crate::worker::proto::choose::Weighed;

/// A channel was opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OpenedChannel {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// Its name, here and for others.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// The base that every version is folded from.
    #[schema(value_type = json_forms::BaseId)]
    pub genesis: BaseId,
    /// The version of another channel whose weights genesis is, if it is a fork.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub forked_from: Option<ManifestId>,
    /// This node's key.
    #[schema(value_type = json_forms::PublicKey)]
    pub steward: PublicKey,
    /// Number of sealed shards, one for each scored release.
    pub shards: usize,
    /// Sorted by name.
    pub suites: Vec<SealedSuite>,
    /// Peers were told; otherwise they are when the daemon runs.
    pub announced: bool,
}

/// A suite whose rows were sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SealedSuite {
    /// Its name.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// What its loss decides.
    #[schema(value_type = json_forms::Role)]
    pub role: Role,
    /// In all shards together.
    pub rows: usize,
    /// Equal rows that were left out.
    pub repeats: usize,
    /// In each shard, at least.
    pub rows_a_release: usize,
    /// So few that chance decides.
    pub few: bool,
}

/// An adapter was offered to a channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Proposed {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub proposal: ManifestId,
    /// To which.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// The channel's own name.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// What is offered.
    #[schema(value_type = json_forms::ManifestId)]
    pub adapter: ManifestId,
    /// At most; a channel may lower it.
    pub weight: f64,
    /// Peers were told; otherwise they are when the daemon runs.
    pub announced: bool,
}

/// A version that this node, as the steward, has published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewVersion {
    /// The channel's id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// What it is called here.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// The version's id.
    #[schema(value_type = json_forms::ManifestId)]
    pub version: ManifestId,
    /// Its place in the channel.
    pub height: u32,
    /// What it does to the one before.
    #[schema(value_type = json_forms::Change)]
    pub change: Change,
    /// What it is made of.
    #[schema(value_type = json_forms::RecipeId)]
    pub recipe: RecipeId,
    /// Of its weights.
    #[schema(value_type = json_forms::FoldDigest)]
    pub digest: FoldDigest,
    /// Its weights as a base.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// Adapters in the recipe.
    pub adapters: usize,
    /// Peers were told; otherwise they are when the daemon runs.
    pub announced: bool,
}

/// What came of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Released {
    /// A version: `released` is true.
    Version(Box<NewRelease>),
    /// No proposal passed: `released` is false.
    Nothing(NothingReleased),
}

/// A release that is a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewRelease {
    /// The version.
    #[serde(flatten)]
    pub version: NewVersion,
    /// True.
    pub released: bool,
    /// One for each proposal, sorted by its id.
    pub verdicts: Vec<ProposalVerdict>,
    /// The shard that scored it. Its rows are public now.
    pub opened: OpenedShard,
    /// Sealed shards that no release has opened.
    pub shards_left: usize,
    /// Norms of the proposed adapters.
    pub weighed: Vec<Weighed>,
    /// Proposals that are left for another release: they are too many for one, could not be had lately or in time, are too
    /// large for this disk or for what is fetched unasked in a day, were made by a later version, or this node is on no
    /// network.
    pub later: usize,
    /// Proposals that could not be had, or whose adapters could not: no peer that was asked has them.
    pub missing: usize,
    /// A version that an earlier command had promised and this one has finished.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub finished: Option<ManifestId>,
    /// Peers were asked whether this key has signed more than this home knows.
    pub asked: bool,
}

/// A release that is none: nothing changed and no shard was opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NothingReleased {
    /// False.
    pub released: bool,
    /// The channel's id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// What it is called here.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// The version in force; `None` at genesis.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub version: Option<ManifestId>,
    /// Its height; 0 at genesis.
    pub height: u32,
    /// One for each proposal, sorted by its id.
    pub verdicts: Vec<ProposalVerdict>,
    /// Proposals that are left for another release: they are too many for one, could not be had lately or in time, are too
    /// large for this disk or for what is fetched unasked in a day, were made by a later version, or this node is on no
    /// network.
    pub later: usize,
    /// Proposals that could not be had, or whose adapters could not: no peer that was asked has them.
    pub missing: usize,
    /// A version that an earlier command had promised and this one has finished.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub finished: Option<ManifestId>,
    /// Peers were asked whether this key has signed more than this home knows.
    pub asked: bool,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProposalVerdict {
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub proposal: ManifestId,
    /// What was offered.
    #[schema(value_type = json_forms::ManifestId)]
    pub adapter: ManifestId,
    /// Its publisher's name for it, if it is here.
    pub name: Option<String>,
    /// It is in the version.
    pub taken: bool,
    /// At which weight, after the norm clip, if it was taken.
    pub weight: Option<f64>,
    /// How it alone moved the mean held-out loss, if it was taken.
    pub loss_change: Option<f64>,
    /// Why not, in words, if it was refused.
    pub reason: Option<String>,
    /// As the version states it, with its own units: millionths, and weights in 1/65536.
    #[schema(value_type = json_forms::VerdictOutcome)]
    pub outcome: VerdictOutcome,
}

/// A sealed shard that a release has opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OpenedShard {
    /// Which of the channel's commitments.
    pub index: u32,
    /// In the shard's order.
    pub suites: Vec<SuiteScore>,
}

/// Mean losses on a suite's rows, in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SuiteScore {
    /// Its name.
    #[schema(value_type = json_forms::Name)]
    pub suite: Name,
    /// What its loss decides.
    #[schema(value_type = json_forms::Role)]
    pub role: Role,
    /// Of genesis.
    pub genesis: f64,
    /// Of the version before.
    pub before: f64,
    /// Of this version.
    pub after: f64,
}

/// Adapters were taken out of a channel, for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Revoked {
    /// The version without them.
    #[serde(flatten)]
    pub version: NewVersion,
    /// Sorted by id.
    #[schema(value_type = Vec<json_forms::ManifestId>)]
    pub revoked: Vec<ManifestId>,
    /// A version that an earlier command had promised and this one has finished.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub finished: Option<ManifestId>,
}

/// An earlier recipe holds again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RolledBack {
    /// For all followers: a version was published.
    ForAll(Box<RolledBackForAll>),
    /// On this node alone.
    Here(RolledBackHere),
}

/// A version with the recipe of an earlier one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolledBackForAll {
    /// The version.
    #[serde(flatten)]
    pub version: NewVersion,
    /// Height of the one whose recipe it has, less what was revoked since.
    pub back_to: u32,
    /// A version that an earlier command had promised and this one has finished.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub finished: Option<ManifestId>,
}

/// An earlier version is in force here until somebody asks for an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolledBackHere {
    /// The channel's id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// What it is called here.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// Height that was in force.
    pub from: u32,
    /// Height that is in force; 0 is genesis.
    pub height: u32,
    /// The version in force; `None` at genesis.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub version: Option<ManifestId>,
    /// Its weights as a base.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// True: newer versions are not taken until one asks for them.
    pub held: bool,
    /// False.
    pub published: bool,
}

/// What of a channel is in force here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InForce {
    /// The channel's id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// What it is called here.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// Whose key signs its versions.
    #[schema(value_type = json_forms::PublicKey)]
    pub steward: PublicKey,
    /// The base that every version is folded from.
    #[schema(value_type = json_forms::BaseId)]
    pub genesis: BaseId,
    /// Height that was in force before.
    pub from: u32,
    /// Height that is in force; 0 is genesis.
    pub height: u32,
    /// The version in force; `None` at genesis.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub version: Option<ManifestId>,
    /// Its weights as a base.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
    /// Adapters in it.
    pub adapters: usize,
    /// Versions are folded and compared before they are taken.
    pub audit: bool,
    /// Bytes of adapters and records that came just now.
    pub fetched_bytes: u64,
}

/// A channel is no longer followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Unfollowed {
    /// Its id, by which it can be followed again.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// What it was called here.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
}

/// The channels that are followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Channels {
    /// This node's own ones included.
    pub channels: Vec<Followed>,
}

/// One channel that is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Followed {
    /// What it is called here.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// Height in force, 0 is genesis; `None` if its records are damaged.
    pub height: Option<u32>,
    /// The version in force; `None` at genesis.
    #[schema(value_type = Option<json_forms::ManifestId>)]
    pub version: Option<ManifestId>,
    /// Whose key signs its versions; `None` if its records are damaged.
    #[schema(value_type = Option<json_forms::PublicKey>)]
    pub steward: Option<PublicKey>,
    /// A rollback holds it: newer versions are not taken.
    pub held: bool,
    /// Versions are folded and compared before they are taken.
    pub audit: bool,
    /// Its steward was found lying: no version is taken any more.
    pub halted: bool,
    /// This node's key is the steward's.
    pub own: bool,
    /// When the steward was last heard from, in seconds since 1970: connected here then, or signing an announcement that is
    /// known here, by their clock. Versions newer than that may exist. `null`: never.
    pub steward_heard: Option<u64>,
}

/// A version was written as a base folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Exported {
    /// Where.
    #[schema(value_type = String)]
    pub folder: PathBuf,
    /// The channel's id.
    #[schema(value_type = json_forms::ManifestId)]
    pub channel: ManifestId,
    /// The channel's own name.
    #[schema(value_type = json_forms::Name)]
    pub name: Name,
    /// The version's place in the channel.
    pub height: u32,
    /// Its id.
    #[schema(value_type = json_forms::ManifestId)]
    pub version: ManifestId,
    /// Genesis.
    #[schema(value_type = json_forms::BaseId)]
    pub parent: BaseId,
    /// Adapters with their weights.
    pub inputs: Vec<WeightedAdapter>,
    /// Float type of the weights.
    #[schema(value_type = json_forms::DType)]
    pub dtype: DType,
    /// Of the weights.
    #[schema(value_type = json_forms::FoldDigest)]
    pub digest: FoldDigest,
    /// The weights as a base.
    #[schema(value_type = json_forms::BaseId)]
    pub base: BaseId,
}
