//! Jobs, with every reference already resolved to files: the worker opens no store and no network.

pub mod choose;

use std::path::PathBuf;

use potluck_protocol::id::{BaseId, ManifestId};
use potluck_protocol::recipe::{Recipe, Weight};
use potluck_trainer::data::tokenise::Overlong;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::json_forms;

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
    /// What is to be done.
    pub task: Task,
}

/// What a worker can be asked for; the answer's type stands in `worker::answers`, here beside its task, or in the trainer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Opens a base, checks it whole and computes its id.
    Identify {
        /// Where it is.
        base: BaseSource,
    },
    /// Says what the head of a base's files tells. No weight is read.
    Describe {
        /// Where it is.
        base: BaseSource,
    },
    /// Trains an adapter, or goes on with a run that was stopped.
    Train(Box<TrainTask>),
    /// Loss and exact match over the rows of a file.
    Eval {
        /// What is measured.
        base: BaseSource,
        /// Act together on it; none for the base alone.
        adapters: Vec<AdapterSource>,
        /// Rows: JSON lines.
        data: PathBuf,
    },
    /// Continues a prompt greedily.
    Generate {
        /// What generates.
        base: BaseSource,
        /// Act together on it; none for the base alone.
        adapters: Vec<AdapterSource>,
        /// As a person typed it.
        prompt: String,
        /// The prompt is a user's message, written by the base's chat template.
        chat: bool,
        /// The answer is cut there.
        max_new_tokens: usize,
    },
    /// Looks at rows as training would read them.
    CheckData {
        /// Its tokenizer and template read the rows.
        base: BaseSource,
        /// Rows: JSON lines.
        data: PathBuf,
        /// How they are read and shown.
        settings: CheckSettings,
    },
    /// Several adapters into one.
    Merge(Box<MergeTask>),
    /// Runs a recipe. Without `out` only the digest is made.
    Fold {
        /// The recipe's parent.
        base: BaseSource,
        /// What is folded, and the type of the result.
        recipe: Recipe,
        /// The PEFT folder of each of the recipe's inputs, in their order.
        folders: Vec<PathBuf>,
        /// The folder to write; it must not exist.
        out: Option<PathBuf>,
    },
    /// Judges what was proposed to a channel.
    Choose(Box<choose::ChooseTask>),
    /// Whether a base is the same model as another one, with weights that are nearly the same.
    CompareView {
        /// What may be a view.
        view: BaseSource,
        /// What it would be a view of.
        original: BaseSource,
    },
    /// Checks a PEFT folder against a base and writes it as it is published: in the portable profile, with the base's name.
    Normalise {
        /// What the adapter is for.
        base: BaseSource,
        /// The id of that base.
        of: BaseId,
        /// The PEFT folder to read.
        folder: PathBuf,
        /// The PEFT folder to write; it must not exist.
        out: PathBuf,
    },
    /// Measures this machine.
    Bench {
        /// What it runs.
        base: BaseSource,
        /// What is measured.
        work: BenchWork,
    },
    /// Measures a merge of adapters.
    BenchMerge(Box<BenchMergeTask>),
}

impl Task {
    /// Whether it may end anywhere: it only reads, or writes into a folder that its caller removes. The others end by
    /// themselves once they are cancelled; a training run from where it has begun to keep something.
    pub fn may_end_anywhere(&self) -> bool {
        match self {
            Self::Identify { .. }
            | Self::Describe { .. }
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
    /// A Hugging Face folder or a `.gguf` file.
    Path(PathBuf),
}

/// A PEFT folder and its weight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdapterSource {
    /// As PEFT writes it.
    pub folder: PathBuf,
    /// What its update is multiplied with.
    pub weight: f32,
}

/// An input of a recipe and the PEFT folder that holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoldSource {
    /// Its place in the recipe's order.
    pub id: ManifestId,
    /// As PEFT writes it.
    pub folder: PathBuf,
    /// What its update is multiplied with, in 1/65536.
    pub weight: Weight,
}

/// How `potluck data check` reads rows.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CheckSettings {
    /// Longest sample in tokens.
    pub max_length: usize,
    /// What becomes of a longer row.
    #[schema(value_type = json_forms::Overlong)]
    pub overlong: Overlong,
    /// Tokens of a micro-batch, for the estimate of packing.
    pub batch_tokens: usize,
    /// Rows to show.
    pub preview: usize,
}

/// Loss and exact match over rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measured {
    /// How many rows there were.
    pub samples: u64,
    /// Share of greedy answers that equal the completion (of chats: the last answer), 0 to 1; of plain texts none.
    pub exact_match: Option<f64>,
    /// Mean loss per completion token, in nats; not finite where the adapters are too heavy for the base.
    #[serde(deserialize_with = "crate::ipc::number")]
    #[schema(value_type = Option<f64>, required)]
    pub loss: f64,
}
