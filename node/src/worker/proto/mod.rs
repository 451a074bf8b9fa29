//! Jobs, with every reference already resolved to files: the worker opens no store and no network.

pub mod choose;

use std::path::PathBuf;

use potluck_protocol::id::ManifestId;
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_trainer::data::tokenise::Overlong;
use serde::{Deserialize, Serialize};

mod bench;
mod engine;
mod flags;
mod merge;
mod train;

pub use bench::{BenchGenerateSettings, BenchStepSettings, BenchTokens, BenchWork};
pub use engine::{BackendName, Engine};
pub use flags::{Auto, named};
pub use merge::{BenchMergeSettings, BenchMergeTask, BenchShape, MergeSource, MergeTask};
pub use train::{Layers, TrainSettings, TrainTask};

/// One job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Threads for the numerics. The result does not depend on it.
    pub threads: usize,
    pub task: Task,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Opens a base, checks it whole and computes its id.
    Identify {
        base: BaseSource,
    },
    Train(Box<TrainTask>),
    Eval {
        base: BaseSource,
        adapters: Vec<AdapterSource>,
        data: PathBuf,
    },
    Generate {
        base: BaseSource,
        adapters: Vec<AdapterSource>,
        prompt: String,
        /// The prompt is a user's message, written by the base's chat template.
        chat: bool,
        max_new_tokens: usize,
    },
    /// Looks at rows as training would read them.
    CheckData {
        base: BaseSource,
        data: PathBuf,
        settings: CheckSettings,
    },
    Merge(Box<MergeTask>),
    /// Runs a recipe. Without `out` only the digest is made.
    Fold {
        base: BaseSource,
        recipe: Recipe,
        /// The PEFT folder of each of the recipe's inputs, in their order.
        folders: Vec<PathBuf>,
        out: Option<PathBuf>,
    },
    /// Judges what was proposed to a channel.
    Choose(Box<choose::ChooseTask>),
    /// Whether a base is the same model as another one, with weights that are nearly the same.
    CompareView {
        view: BaseSource,
        original: BaseSource,
    },
    /// Checks a PEFT folder against a base and writes it in the portable profile.
    Normalise {
        base: BaseSource,
        folder: PathBuf,
        out: PathBuf,
    },
    Bench {
        base: BaseSource,
        work: BenchWork,
    },
    BenchMerge(Box<BenchMergeTask>),
}

impl Task {
    /// Whether it may end anywhere: it only reads, or writes into a folder that its caller removes. The others end by
    /// themselves once they are cancelled; a training run from where it has begun to keep something.
    pub fn may_end_anywhere(&self) -> bool {
        match self {
            Self::Identify { .. }
            | Self::Train(_)
            | Self::Eval { .. }
            | Self::Generate { .. }
            | Self::CheckData { .. }
            | Self::Choose(_)
            | Self::CompareView { .. }
            | Self::Normalise { .. }
            | Self::Bench { .. } => true,
            Self::Merge(_) | Self::Fold { .. } | Self::BenchMerge(_) => false,
        }
    }
}

/// Where a base's files are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseSource {
    /// The one inside this program.
    Tiny,
    Path(PathBuf),
}

/// A PEFT folder and its weight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdapterSource {
    pub folder: PathBuf,
    pub weight: f32,
}

/// An input of a recipe and the PEFT folder that holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoldSource {
    pub id: ManifestId,
    pub folder: PathBuf,
    pub weight: Weight,
}

/// How `potluck data check` reads rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckSettings {
    pub max_length: usize,
    pub overlong: Overlong,
    /// Tokens of a micro-batch, for the estimate of packing.
    pub batch_tokens: usize,
    /// Rows to show.
    pub preview: usize,
}

/// Loss and exact match over rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub samples: u64,
    /// Share of greedy answers that equal the completion (of chats: the last answer), 0 to 1; of plain texts none.
    pub exact_match: Option<f64>,
    /// Mean loss per completion token, in nats; not finite where the adapters are too heavy for the base.
    #[serde(deserialize_with = "crate::ipc::number")]
    pub loss: f64,
}
