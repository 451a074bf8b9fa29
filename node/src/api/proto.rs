//! Requests, progress and answers. On the socket each is one line of JSON.

use std::path::{Path, PathBuf};

use potluck_protocol::id::{BaseId, ManifestId};
use potluck_trainer::merge::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::channel;
use super::search::Search;
use crate::exchange::Phases;
use crate::failure::Failure;
use crate::seconds::Seconds;
use crate::worker::proto::{BenchMergeSettings, BenchWork, CheckSettings, TrainSettings};

/// The longest line that either side reads: a prompt, a status or a list of peers.
pub const LINE_MAX: usize = 4 << 20;

/// Everything that can be asked of a node. Paths are absolute: the daemon has a working folder of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    Status,
    Peers,
    BaseAdd {
        path: PathBuf,
        name: Option<String>,
        /// The base that it is a view of, e.g. a quantised file of it.
        #[serde(default)]
        view_of: Option<String>,
    },
    /// Fetches a base from the swarm by its id.
    BaseFetch(BaseFetch),
    BaseList,
    BaseShow {
        base: String,
    },
    Train(Box<Train>),
    Eval(Eval),
    Generate(Generate),
    DataCheck(DataCheck),
    Publish(Publish),
    PublishBase(PublishBase),
    Search(Box<Search>),
    Show {
        reference: String,
    },
    Pull(Pull),
    /// Makes a manifest and its shards present, without inspecting or exporting anything.
    Fetch {
        manifest: ManifestId,
        timeout_seconds: Seconds,
    },
    /// Waits until these adapters of a base have been heard of.
    Heard {
        base: String,
        adapters: Vec<String>,
        timeout_seconds: Seconds,
    },
    Verify {
        id: String,
    },
    Merge(Merge),
    /// Channels of base versions.
    Channel(Box<channel::Request>),
    StoreStat,
    StoreVerify,
    StoreRebuild,
    Bench(Bench),
    BenchMerge(Box<BenchMerge>),
    /// Ends the daemon.
    Stop,
}

impl Request {
    /// Answered at once from what is known here: never waits for a place, so that a daemon answers whatever else it does.
    pub fn is_small(&self) -> bool {
        match self {
            Self::Status | Self::Peers | Self::BaseList | Self::Show { .. } | Self::StoreStat | Self::Stop => true,
            Self::Channel(request) => matches!(**request, channel::Request::Show { .. } | channel::Request::List),
            _ => false,
        }
    }

    /// The folder that it is to write for a person. A run looks itself what it has left there.
    pub fn out(&self) -> Option<&Path> {
        match self {
            Self::Merge(merge) => Some(&merge.out),
            Self::Pull(pull) => pull.out.as_deref(),
            Self::Channel(request) => match &**request {
                channel::Request::Export { out, .. } => Some(out),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it only looks: it leaves nothing in a home but what spares the next look some work. Such a request is
    /// answered where there is no home yet, and makes none.
    pub fn only_looks(&self) -> bool {
        match self {
            Self::Status
            | Self::Peers
            | Self::BaseList
            | Self::BaseShow { .. }
            | Self::Eval(_)
            | Self::Generate(_)
            | Self::DataCheck(_)
            | Self::Search(_)
            | Self::Show { .. }
            | Self::Heard { .. }
            | Self::Verify { .. }
            | Self::StoreStat
            | Self::StoreVerify
            | Self::Bench(_)
            | Self::BenchMerge(_) => true,
            Self::Channel(request) => matches!(**request, channel::Request::Show { .. } | channel::Request::List),
            Self::BaseAdd { .. }
            | Self::BaseFetch(_)
            | Self::Train(_)
            | Self::Publish(_)
            | Self::PublishBase(_)
            | Self::Pull(_)
            | Self::Fetch { .. }
            | Self::Merge(_)
            | Self::StoreRebuild
            | Self::Stop => false,
        }
    }
}

/// An adapter with its weight, e.g. `sql-helper@0.5`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedRef {
    pub reference: String,
    pub weight: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Train {
    pub base: String,
    pub data: PathBuf,
    /// Rows to measure loss and exact match on after the run.
    pub held_out: Option<PathBuf>,
    /// Prompts that the base answers itself, as rows beside those of `data`.
    pub rehearsal: Option<PathBuf>,
    /// Adapter to go on from.
    pub from: Option<String>,
    pub out: PathBuf,
    pub settings: TrainSettings,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Eval {
    pub base: String,
    pub adapters: Vec<WeightedRef>,
    pub data: PathBuf,
    pub threads: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generate {
    pub base: String,
    pub adapters: Vec<WeightedRef>,
    pub prompt: String,
    /// The prompt is a user's message, written by the base's chat template.
    #[serde(default)]
    pub chat: bool,
    pub max_new_tokens: usize,
    pub threads: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataCheck {
    pub base: String,
    pub data: PathBuf,
    pub settings: CheckSettings,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Publish {
    pub folder: PathBuf,
    pub name: String,
    /// Needed unless the folder says what it was trained on.
    pub base: Option<String>,
    pub licence: String,
    pub description: String,
    /// Rows to measure the adapter on, each with the name that its figures get. The rows stay here.
    #[serde(default)]
    pub evaluate: Vec<(String, PathBuf)>,
}

/// The files of a base, for whoever asks for it by its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishBase {
    pub base: String,
    pub name: String,
    pub licence: String,
    pub description: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaseFetch {
    /// Its id, or the start of one that was heard of.
    pub base: String,
    /// What to call it here; its publisher's name for it if that is free.
    pub name: Option<String>,
    pub timeout_seconds: Seconds,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pull {
    pub reference: String,
    pub out: Option<PathBuf>,
    /// Write the folder also if the adapter's base is not here to hold it against. It needs `out`.
    #[serde(default)]
    pub without_base: bool,
    /// How long to look for providers and wait for bytes.
    pub timeout_seconds: Seconds,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Merge {
    pub base: String,
    pub adapters: Vec<WeightedRef>,
    pub into: MergeInto,
    pub out: PathBuf,
    pub threads: usize,
}

/// What adapters are merged into.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeInto {
    /// One adapter. Rows to choose the weights by, if they are not to be those that were given.
    Adapter { method: Method, weights_by: Option<PathBuf> },
    /// The base (a new base folder), by a recipe. Its float type is that of the base if not said.
    Base { dtype: Option<String> },
}

/// Measures a merge. Shapes are those of a base, or of a `config.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchMerge {
    pub base: Option<String>,
    pub shape: Option<PathBuf>,
    pub settings: BenchMergeSettings,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bench {
    pub base: String,
    pub work: BenchWork,
}

/// What is reported while a request runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A new phase begins.
    Phase { text: String },
    /// So much of something is done.
    Count { what: String, done: u64, total: u64, unit: Unit },
    /// An optimiser step is done.
    Step { step: u64, steps: u64, loss: f64, tokens_per_second: f64, seconds_left: f64 },
    /// The next piece of generated text.
    Text { text: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Bytes,
    Items,
}

/// One line from the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Progress(Progress),
    Done(Value),
    Failed(Failure),
}

/// One provider's part of a pull.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PulledFrom {
    pub peer: String,
    pub bytes: u64,
}

/// The answer to [`Request::Fetch`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    pub schema: String,
    pub fetched_bytes: u64,
    pub fetched_from: Vec<PulledFrom>,
    /// Good shards that came twice.
    pub wasted_bytes: u64,
    /// Peers that sent wrong bytes.
    pub blamed: Vec<String>,
    pub phases: Phases,
}

/// The answer to [`Request::Pull`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pulled {
    pub schema: String,
    pub manifest: ManifestId,
    pub name: String,
    pub folder: PathBuf,
    pub fetched_bytes: u64,
    pub fetched_from: Vec<PulledFrom>,
    /// The adapter's base, if that is not here, so that the adapter was not held against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_held_against: Option<BaseId>,
}
