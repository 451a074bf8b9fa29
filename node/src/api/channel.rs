//! Requests about channels of base versions. CHANNEL in the docs of fields: a name that it has here, its id, or the start
//! of one.

use std::path::PathBuf;

use potluck_protocol::channel::Role;
use serde::{Deserialize, Serialize};

use crate::seconds::Seconds;

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Request {
    Open(Open),
    Propose(Propose),
    Release(Release),
    Revoke(Revoke),
    Follow(Follow),
    Unfollow(Unfollow),
    /// Looks for newer versions now and takes them; ends what a rollback holds.
    Update(Update),
    Rollback(Rollback),
    /// The lineage, with verdicts, stale members and halts.
    Show(Show),
    List,
    /// Folds a version and writes it as a base folder.
    Export(Export),
}

/// A new channel, with this node's key as its steward.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    pub name: String,
    /// A base, or a version of another channel to fork from.
    pub genesis: String,
    pub description: String,
    pub licence: String,
    /// Float type of the versions; the genesis base's if not said.
    pub dtype: Option<String>,
    /// Publishers that may propose, as hex keys or peer ids; empty for everybody.
    pub admit: Vec<String>,
    /// Licences that an adapter may have; empty for any.
    pub licences: Vec<String>,
    /// Rows to seal, each suite's dealt out over all shards.
    pub suites: Vec<SuiteRows>,
    /// Sealed shards: releases that can be scored.
    pub shards: u32,
    pub gain_ppm: u32,
    pub guard_ppm: u32,
    pub clip_ppm: u64,
    pub refuse_ppm: u64,
}

/// Rows of a suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SuiteRows {
    pub name: String,
    pub role: Role,
    pub rows: PathBuf,
}

/// Offers an adapter that is published to a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Propose {
    pub channel: String,
    pub adapter: String,
    pub weight: f64,
    /// How long to look for the channel if it is not known here.
    pub timeout_seconds: Seconds,
}

/// The next version, of all proposals that are known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    pub channel: String,
    /// How long to look for each adapter that is not here.
    pub timeout_seconds: Seconds,
    pub threads: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revoke {
    pub channel: String,
    /// Adapters in force.
    pub adapters: Vec<String>,
    pub threads: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Follow {
    pub channel: String,
    /// What to call it here; its own name if not said.
    pub name: Option<String>,
    /// Fold and compare every version before it is taken, and publish what is found to be wrong.
    pub audit: bool,
    pub timeout_seconds: Seconds,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rollback {
    pub channel: String,
    /// The version before the one in force if not said; 0 is genesis.
    pub to: Option<u32>,
    /// As its steward: publish a version with that recipe, for all followers.
    pub publish: bool,
    pub threads: usize,
}

/// Follows a channel no longer; what is here of it stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unfollow {
    /// Which.
    pub channel: String,
    /// Also a channel of this node's own.
    #[serde(default)]
    pub force: bool,
}

/// Takes the newest version of a channel now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    /// Which.
    pub channel: String,
    /// How long to look for each thing.
    pub timeout_seconds: Seconds,
}

/// The lineage of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Show {
    /// Which.
    pub channel: String,
}

/// Writes a version as a folder of merged safetensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    /// A channel, the id of a version, or the base id of one.
    pub channel: String,
    /// The folder: whole or not at all.
    pub out: PathBuf,
}
