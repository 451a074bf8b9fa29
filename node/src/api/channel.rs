//! Requests about channels of base versions. CHANNEL in the docs of fields: a name that it has here, its id, or the start
//! of one.

use std::path::PathBuf;

use potluck_protocol::channel::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;
use crate::seconds::Seconds;

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelRequest)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Request {
    /// Opens a channel with this node as its steward.
    Open(Open),
    /// Offers a published adapter.
    Propose(Propose),
    /// As the steward: judges the proposals and publishes the next version.
    Release(Release),
    /// As the steward: takes adapters out for good.
    Revoke(Revoke),
    /// Takes the newest version, and new ones while the daemon runs.
    Follow(Follow),
    /// Follows it no longer.
    Unfollow(Unfollow),
    /// Looks for newer versions now and takes them; ends what a rollback holds.
    Update(Update),
    /// Goes back to an earlier version.
    Rollback(Rollback),
    /// The lineage, with verdicts, stale members and halts.
    Show(Show),
    /// The channels that are followed.
    List,
    /// Folds a version and writes it as a base folder.
    Export(Export),
}

/// A new channel, with this node's key as its steward.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelOpenRequest)]
pub struct Open {
    /// What to call it, here and for others.
    pub name: String,
    /// A base, or a version of another channel to fork from.
    pub genesis: String,
    /// For people.
    pub description: String,
    /// SPDX licence of the versions; empty for none.
    pub licence: String,
    /// Float type of the versions; the genesis base's if not said.
    pub dtype: Option<String>,
    /// Publishers that may propose, as hex keys or peer ids; empty for everybody.
    pub admit: Vec<String>,
    /// Licences that an adapter may have; empty for any.
    pub licences: Vec<String>,
    /// Rows to seal, each suite's dealt out over all shards.
    pub suites: Vec<SuiteRows>,
    /// Number of sealed shards, one for each scored release.
    pub shards: u32,
    /// What an adapter must take off the mean held-out loss, in parts per million of it.
    pub gain_ppm: u32,
    /// How far the perplexity of the --keep rows may rise above that of genesis, in parts per million of it.
    pub guard_ppm: u32,
    /// Norm of an update beside that of the weights it changes, in parts per million, above which its weight is lowered.
    pub clip_ppm: u64,
    /// The norm above which an adapter is refused, in parts per million.
    pub refuse_ppm: u64,
}

/// Rows of a suite.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SuiteRows {
    /// Its name.
    pub name: String,
    /// What its loss decides.
    #[schema(value_type = json_forms::Role)]
    pub role: Role,
    /// A file of JSON lines.
    #[schema(value_type = String)]
    pub rows: PathBuf,
}

/// Offers an adapter that is published to a channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelProposeRequest)]
pub struct Propose {
    /// To which.
    pub channel: String,
    /// A name or an id.
    pub adapter: String,
    /// 1 for the adapter as it is.
    pub weight: f64,
    /// Time limit for finding the channel if it is not known here.
    pub timeout_seconds: Seconds,
}

/// The next version, of all proposals that are known.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelReleaseRequest)]
pub struct Release {
    /// Which.
    pub channel: String,
    /// Time limit for finding and fetching all that was proposed and is not here.
    pub timeout_seconds: Seconds,
    /// For scoring and folding; the result does not depend on it.
    pub threads: usize,
    /// Sign without asking peers whether this key has signed newer versions elsewhere.
    #[serde(default)]
    pub offline: bool,
}

/// The next version, without some adapters.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelRevokeRequest)]
pub struct Revoke {
    /// Which.
    pub channel: String,
    /// Adapters in force.
    pub adapters: Vec<String>,
    /// For folding; the result does not depend on it.
    pub threads: usize,
    /// Sign without asking peers whether this key has signed newer versions elsewhere.
    #[serde(default)]
    pub offline: bool,
}

/// A channel to be followed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelFollowRequest)]
pub struct Follow {
    /// Which.
    pub channel: String,
    /// What to call it here; its own name if not said.
    pub name: Option<String>,
    /// Fold and compare every version before it is taken, and publish what is found to be wrong.
    pub audit: bool,
    /// Time limit for fetching each version and adapter.
    pub timeout_seconds: Seconds,
}

/// An earlier version to go back to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelRollbackRequest)]
pub struct Rollback {
    /// Which.
    pub channel: String,
    /// The version before the one in force if not said; 0 is genesis.
    pub to: Option<u32>,
    /// As its steward: publish a version with that recipe, for all followers.
    pub publish: bool,
    /// For folding; the result does not depend on it.
    pub threads: usize,
    /// With `publish`: sign without asking peers whether this key has signed newer versions elsewhere.
    #[serde(default)]
    pub offline: bool,
}

/// Follows a channel no longer; what is here of it stays.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelUnfollowRequest)]
pub struct Unfollow {
    /// Which.
    pub channel: String,
    /// Also a channel of this node's own.
    #[serde(default)]
    pub force: bool,
}

/// Takes the newest version of a channel now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelUpdateRequest)]
pub struct Update {
    /// Which.
    pub channel: String,
    /// Time limit for fetching each version and adapter.
    pub timeout_seconds: Seconds,
}

/// The lineage of a channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelShowRequest)]
pub struct Show {
    /// Which.
    pub channel: String,
}

/// Writes a version as a folder of merged safetensors.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ChannelExportRequest)]
pub struct Export {
    /// A channel, the id of a version, or the base id of one.
    pub channel: String,
    /// The folder: whole or not at all.
    #[schema(value_type = String)]
    pub out: PathBuf,
}
