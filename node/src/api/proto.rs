//! Everything that can be asked of a node. On the socket a request is one line of JSON.

use std::path::{Path, PathBuf};

use potluck_protocol::id::ManifestId;
use potluck_trainer::merge::Method;
use serde::{Deserialize, Serialize};

use super::channel;
use super::search::Search;
pub use crate::ipc::{Progress, Unit};
use crate::seconds::Seconds;
use crate::worker::proto::{BenchMergeSettings, BenchWork, CheckSettings, TrainSettings};

/// A request. Paths are absolute: the daemon has a working folder of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    Status,
    Peers,
    BaseAdd(BaseAdd),
    /// Fetches a base from the swarm by its id.
    BaseFetch(BaseFetch),
    BaseList,
    BaseShow(BaseShow),
    Train(Box<Train>),
    Eval(Eval),
    Generate(Generate),
    DataCheck(DataCheck),
    Publish(Publish),
    PublishBase(PublishBase),
    Search(Box<Search>),
    Show(Show),
    Pull(Pull),
    /// Makes a manifest and its shards present, without inspecting or exporting anything.
    Fetch(Fetch),
    /// Waits until these adapters of a base have been heard of.
    Heard(Heard),
    Verify(Verify),
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
            Self::Status | Self::Peers | Self::BaseList | Self::Show(_) | Self::StoreStat | Self::Stop => true,
            Self::Channel(request) => matches!(**request, channel::Request::Show(_) | channel::Request::List),
            _ => false,
        }
    }

    /// The folder that it is to write for a person. A run looks itself what it has left there.
    pub fn out(&self) -> Option<&Path> {
        match self {
            Self::Merge(merge) => Some(&merge.out),
            Self::Pull(pull) => pull.out.as_deref(),
            Self::Channel(request) => match &**request {
                channel::Request::Export(export) => Some(&export.out),
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
            | Self::BaseShow(_)
            | Self::Eval(_)
            | Self::Generate(_)
            | Self::DataCheck(_)
            | Self::Search(_)
            | Self::Show(_)
            | Self::Heard(_)
            | Self::Verify(_)
            | Self::StoreStat
            | Self::StoreVerify
            | Self::Bench(_)
            | Self::BenchMerge(_) => true,
            Self::Channel(request) => matches!(**request, channel::Request::Show(_) | channel::Request::List),
            Self::BaseAdd(_)
            | Self::BaseFetch(_)
            | Self::Train(_)
            | Self::Publish(_)
            | Self::PublishBase(_)
            | Self::Pull(_)
            | Self::Fetch(_)
            | Self::Merge(_)
            | Self::StoreRebuild
            | Self::Stop => false,
        }
    }
}

/// Checks a base whole and remembers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaseAdd {
    /// A folder of safetensors, or a .gguf file.
    pub path: PathBuf,
    /// What to call it here; the file's or folder's own name if not said.
    pub name: Option<String>,
    /// The base that it is a view of, e.g. a quantised file of it.
    #[serde(default)]
    pub view_of: Option<String>,
}

/// One base, read whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BaseShow {
    /// A path, a name or an id.
    pub base: String,
}

/// All that is known of one thing that was published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Show {
    /// A name, an id or the start of one.
    pub reference: String,
}

/// Makes a manifest and its shards present.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// Which.
    pub manifest: ManifestId,
    /// How long to look for providers and wait for bytes.
    pub timeout_seconds: Seconds,
}

/// Waits until adapters have been heard of, or are here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heard {
    /// Id of the base whose announcements are looked at.
    pub base: String,
    /// Manifest ids.
    pub adapters: Vec<String>,
    /// How long to wait.
    pub timeout_seconds: Seconds,
}

/// Checks again what is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verify {
    /// A name, an id or the start of one: of an adapter, a base, a recipe, a channel or a version.
    pub id: String,
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
