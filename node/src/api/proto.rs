//! Everything that can be asked of a node. On the socket a request is one line of JSON.

use std::path::{Path, PathBuf};

use potluck_protocol::id::ManifestId;
use potluck_trainer::merge::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::channel;
use super::search::Search;
pub use crate::ipc::{Progress, Unit};
use crate::json_forms;
use crate::seconds::Seconds;
use crate::worker::proto::{BenchMergeSettings, BenchWork, CheckSettings, TrainSettings};

/// A request. Paths are absolute: the daemon has a working folder of its own.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Request {
    /// What the node is and does.
    Status,
    /// The connected peers.
    Peers,
    /// Checks a base of this machine whole and remembers it.
    BaseAdd(BaseAdd),
    /// Fetches a base from the swarm by its id.
    BaseFetch(BaseFetch),
    /// The bases that can be used by name.
    BaseList,
    /// One base, read whole.
    BaseShow(BaseShow),
    /// Trains a LoRA adapter.
    Train(Box<Train>),
    /// Measures loss and exact match.
    Eval(Eval),
    /// Continues a prompt, greedily.
    Generate(Generate),
    /// Reads rows as training would.
    DataCheck(DataCheck),
    /// Signs an adapter and announces it.
    Publish(Publish),
    /// Signs the files of a base and announces them.
    PublishBase(PublishBase),
    /// What peers offer.
    Search(Box<Search>),
    /// All that is known of one thing that was published.
    Show(Show),
    /// Fetches an adapter or a base, checks it and writes it as a folder.
    Pull(Pull),
    /// Makes a manifest and its shards present, without inspecting or exporting anything.
    Fetch(Fetch),
    /// Waits until these adapters of a base have been heard of.
    Heard(Heard),
    /// Checks again what is here.
    Verify(Verify),
    /// Combines adapters, into one or into their base.
    Merge(Merge),
    /// Channels of base versions.
    Channel(Box<channel::Request>),
    /// Counts what is in the store.
    StoreStat,
    /// Hashes everything in the store again.
    StoreVerify,
    /// Makes the store's index anew.
    StoreRebuild,
    /// Measures training or generation.
    Bench(Bench),
    /// Measures a merge.
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = BaseAddRequest)]
pub struct BaseAdd {
    /// A folder of safetensors, or a .gguf file.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// What to call it here; the file's or folder's own name if not said.
    pub name: Option<String>,
    /// The base that it is a view of, e.g. a quantised file of it.
    #[serde(default)]
    pub view_of: Option<String>,
}

/// One base, read whole.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = BaseShowRequest)]
pub struct BaseShow {
    /// A path, a name or an id.
    pub base: String,
}

/// All that is known of one thing that was published.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ShowRequest)]
pub struct Show {
    /// A name, an id or the start of one.
    pub reference: String,
}

/// Makes a manifest and its shards present.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = FetchRequest)]
pub struct Fetch {
    /// Which.
    #[schema(value_type = json_forms::ManifestId)]
    pub manifest: ManifestId,
    /// How long to look for providers and wait for bytes.
    pub timeout_seconds: Seconds,
}

/// Waits until adapters have been heard of, or are here.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = HeardRequest)]
pub struct Heard {
    /// Id of the base whose announcements are looked at.
    pub base: String,
    /// Manifest ids.
    pub adapters: Vec<String>,
    /// How long to wait.
    pub timeout_seconds: Seconds,
}

/// Checks again what is here.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = VerifyRequest)]
pub struct Verify {
    /// A name, an id or the start of one: of an adapter, a base, a recipe, a channel or a version.
    pub id: String,
}

/// An adapter with its weight, e.g. `sql-helper@0.5`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WeightedRef {
    /// A folder, a name or an id.
    pub reference: String,
    /// 1 for the adapter as it is.
    pub weight: f64,
}

/// A training run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = TrainRequest)]
pub struct Train {
    /// A path, a name or an id.
    pub base: String,
    /// Training rows.
    #[schema(value_type = String)]
    pub data: PathBuf,
    /// Rows to measure loss and exact match on after the run.
    #[schema(value_type = Option<String>)]
    pub held_out: Option<PathBuf>,
    /// Prompts that the base answers itself, as rows beside those of `data`.
    #[schema(value_type = Option<String>)]
    pub rehearsal: Option<PathBuf>,
    /// Adapter to go on from.
    pub from: Option<String>,
    /// The PEFT folder to write.
    #[schema(value_type = String)]
    pub out: PathBuf,
    /// As `training.json` holds them.
    pub settings: TrainSettings,
}

/// A measurement on rows.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = EvalRequest)]
pub struct Eval {
    /// A path, a name or an id; also a channel or a version.
    pub base: String,
    /// Applied together.
    pub adapters: Vec<WeightedRef>,
    /// Rows to measure on.
    #[schema(value_type = String)]
    pub data: PathBuf,
    /// The result does not depend on it.
    pub threads: usize,
}

/// A prompt to continue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = GenerateRequest)]
pub struct Generate {
    /// A path, a name or an id; also a channel or a version.
    pub base: String,
    /// Applied together.
    pub adapters: Vec<WeightedRef>,
    /// The text to continue.
    pub prompt: String,
    /// The prompt is a user's message, written by the base's chat template.
    #[serde(default)]
    pub chat: bool,
    /// Of the longest answer.
    pub max_new_tokens: usize,
    /// The result does not depend on it.
    pub threads: usize,
}

/// Rows to be looked at before they are trained on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = DataCheckRequest)]
pub struct DataCheck {
    /// Whose tokenizer and chat template are used.
    pub base: String,
    /// The rows.
    #[schema(value_type = String)]
    pub data: PathBuf,
    /// How they are read.
    pub settings: CheckSettings,
}

/// An adapter to sign and announce.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PublishRequest)]
pub struct Publish {
    /// A PEFT folder.
    #[schema(value_type = String)]
    pub folder: PathBuf,
    /// Name of the channel.
    pub name: String,
    /// Needed unless the folder says what it was trained on.
    pub base: Option<String>,
    /// SPDX; empty for none.
    pub licence: String,
    /// For people.
    pub description: String,
    /// Rows to measure the adapter on, each with the name that its figures get. The rows stay here.
    #[serde(default)]
    #[schema(value_type = Vec<(String, String)>)]
    pub evaluate: Vec<(String, PathBuf)>,
}

/// The files of a base, for whoever asks for it by its id.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PublishBaseRequest)]
pub struct PublishBase {
    /// A path, a name or an id.
    pub base: String,
    /// Name of the channel.
    pub name: String,
    /// SPDX; a base needs one.
    pub licence: String,
    /// For people.
    pub description: String,
}

/// A base to be fetched from the swarm.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = BaseFetchRequest)]
pub struct BaseFetch {
    /// Its id, or the start of one that was heard of.
    pub base: String,
    /// What to call it here; its publisher's name for it if that is free.
    pub name: Option<String>,
    /// How long to look for providers and wait for bytes.
    pub timeout_seconds: Seconds,
}

/// Something to be fetched, checked and written as a folder.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PullRequest)]
pub struct Pull {
    /// An id, or the name or the start of an id that was heard of.
    pub reference: String,
    /// The folder to write; inside the home if not said.
    #[schema(value_type = Option<String>)]
    pub out: Option<PathBuf>,
    /// Write the folder also if the adapter's base is not here to hold it against. It needs `out`.
    #[serde(default)]
    pub without_base: bool,
    /// How long to look for providers and wait for bytes.
    pub timeout_seconds: Seconds,
}

/// Adapters to be combined.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = MergeRequest)]
pub struct Merge {
    /// The base that they are of: a path, a name or an id.
    pub base: String,
    /// At least one.
    pub adapters: Vec<WeightedRef>,
    /// What becomes of them.
    pub into: MergeInto,
    /// The folder to write.
    #[schema(value_type = String)]
    pub out: PathBuf,
    /// The result does not depend on it.
    pub threads: usize,
}

/// What adapters are merged into.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MergeInto {
    /// One adapter. Rows to choose the weights by, if they are not to be those that were given.
    Adapter {
        /// Merge method.
        #[schema(value_type = json_forms::Method)]
        method: Method,
        /// JSON lines. The weights that were given are where the search begins.
        #[schema(value_type = Option<String>)]
        weights_by: Option<PathBuf>,
    },
    /// The base (a new base folder), by a recipe. Its float type is that of the base if not said.
    Base {
        /// `f32`, `f16` or `bf16`.
        dtype: Option<String>,
    },
}

/// Measures a merge. Shapes are those of a base, or of a `config.json`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = BenchMergeRequest)]
pub struct BenchMerge {
    /// A path, a name or an id.
    pub base: Option<String>,
    /// A `config.json`, if no base is given.
    #[schema(value_type = Option<String>)]
    pub shape: Option<PathBuf>,
    /// What to measure.
    pub settings: BenchMergeSettings,
}

/// A measurement of training or generation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = BenchRequest)]
pub struct Bench {
    /// A path, a name or an id.
    pub base: String,
    /// What to measure.
    pub work: BenchWork,
}
