//! Jobs, with every reference already resolved to files: the worker opens no store and no network.

pub mod choose;

use std::path::PathBuf;

use potluck_trainer::data::tokenise::Overlong;
use potluck_trainer::fit::config::Train;
use potluck_trainer::fit::watch::{EarlyStopping, Keep};
use potluck_trainer::lora::config::Targets;
use potluck_trainer::model::block::Recompute;
use serde::{Deserialize, Serialize};

mod bench;
mod merge;

pub use bench::{BenchGenerateSettings, BenchStepSettings, BenchTokens, BenchWork, RecomputeName};
pub use merge::{BenchMergeSettings, BenchMergeTask, BenchShape, MergeSource, MergeTask};

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
    /// Rule `fold-f32/1`. Adapters in the recipe's order; weights in 1/65536. Without `out` only the digest is made.
    Fold {
        base: BaseSource,
        adapters: Vec<FoldSource>,
        dtype: FloatType,
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

/// A PEFT folder and its weight in a recipe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FoldSource {
    /// Decides the order of the sum.
    pub id: potluck_protocol::id::ManifestId,
    pub folder: PathBuf,
    /// In 1/65536.
    pub weight: i32,
}

/// The float type of a folded base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FloatType {
    F32,
    F16,
    Bf16,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainTask {
    pub base: BaseSource,
    /// Noted in the adapter's folder.
    pub base_name: String,
    pub base_id: potluck_protocol::id::BaseId,
    pub data: PathBuf,
    pub held_out: Option<PathBuf>,
    /// Prompts that the base answers itself, as rows beside those of `data`.
    pub rehearsal: Option<PathBuf>,
    /// A PEFT folder to go on from; it decides rank and modules.
    pub from: Option<PathBuf>,
    /// The PEFT folder to write; it must not exist. `OUT.run` beside it holds the run while it runs.
    pub out: PathBuf,
    pub settings: TrainSettings,
}

/// A LoRA run. Field names are PEFT's and the Hugging Face trainer's where those have one. Missing ones take their
/// defaults, so that `--config` may say only what differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    pub r: u32,
    /// `None` for twice the rank.
    pub lora_alpha: Option<f32>,
    pub use_rslora: bool,
    pub lora_dropout: f32,
    pub target_modules: Targets,
    pub exclude_modules: Vec<String>,
    pub layers_to_transform: Option<Vec<u32>>,
    /// Which factors are trained.
    pub train: Train,
    pub learning_rate: f64,
    /// Optimiser steps; the data is gone through as often as that takes.
    pub max_steps: u64,
    pub batch_size: usize,
    pub gradient_accumulation: usize,
    /// Cuts a step into micro-batches of so many tokens instead of `batch_size` rows.
    pub micro_batch_tokens: Option<usize>,
    pub recompute: Recompute,
    /// What matrix products multiply; parameters, gradients and sums are f32 in any case.
    pub dtype: EngineType,
    pub warmup_steps: u64,
    pub schedule: ScheduleName,
    pub max_grad_norm: f64,
    pub weight_decay: f64,
    pub seed: u64,
    /// Longest row in tokens.
    pub max_length: usize,
    /// What becomes of a longer one.
    #[serde(default)]
    pub overlong: OverlongRows,
    /// Tokens of a rehearsed answer.
    pub rehearsal_tokens: usize,
    /// Steps between checkpoints; 0 for none but the last.
    pub checkpoint_every: u64,
    /// Steps between evaluations on the held-out rows; 0 for one when the run is over.
    pub eval_every: u64,
    pub early_stopping: Option<EarlyStopping>,
    pub keep: Keep,
    pub threads: usize,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            r: 16,
            lora_alpha: None,
            use_rslora: false,
            lora_dropout: 0.0,
            target_modules: Targets::AllLinear,
            exclude_modules: Vec::new(),
            layers_to_transform: None,
            train: Train::Both,
            learning_rate: 2e-4,
            max_steps: 200,
            batch_size: 8,
            gradient_accumulation: 1,
            micro_batch_tokens: None,
            recompute: Recompute::None,
            dtype: EngineType::Auto,
            warmup_steps: 10,
            schedule: ScheduleName::Cosine,
            max_grad_norm: 1.0,
            weight_decay: 0.0,
            seed: 0,
            max_length: 1024,
            overlong: OverlongRows::Refuse,
            rehearsal_tokens: 20,
            checkpoint_every: 50,
            eval_every: 0,
            early_stopping: None,
            keep: Keep::Last,
            threads: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    Constant,
    Linear,
    Cosine,
}

/// What becomes of a row over the length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OverlongRows {
    /// It is an error that names it
    #[default]
    Refuse,
    /// A prompt loses its start, a chat its end; a completion is never cut
    Cut,
}

impl From<OverlongRows> for Overlong {
    fn from(rows: OverlongRows) -> Self {
        match rows {
            OverlongRows::Refuse => Self::Refuse,
            OverlongRows::Cut => Self::Cut,
        }
    }
}

/// How `potluck data check` reads rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CheckSettings {
    pub max_length: usize,
    pub overlong: OverlongRows,
    /// Tokens of a micro-batch, for the estimate of packing.
    pub batch_tokens: usize,
    /// Rows to show.
    pub preview: usize,
}

/// What the numerics run on: which backend, in which float type, with which of the processor's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Engine {
    /// Whose arithmetic
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendName,
    /// Float type of weights and activations; factors, gradients and the optimiser are f32 in both
    #[arg(long, value_enum, default_value_t)]
    pub dtype: EngineType,
    /// Highest instruction set of the cpu backend; the results of each are its own
    #[arg(long, value_enum, default_value_t)]
    pub instructions: Instructions,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BackendName {
    /// Kernels of our own
    #[default]
    Cpu,
    /// candle's matrix products: the readable reference
    Candle,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EngineType {
    /// bf16 to train where the processor multiplies it, f32 otherwise
    #[default]
    Auto,
    F32,
    Bf16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Instructions {
    /// The best that the processor has
    #[default]
    Auto,
    /// What every processor has
    Portable,
    /// aarch64
    Neon,
    Avx2,
    /// AVX-512 F, BW, DQ and VL
    Avx512,
    /// AVX-512 with products of bf16
    #[serde(rename = "avx512-bf16")]
    #[value(name = "avx512-bf16")]
    Avx512Bf16,
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
