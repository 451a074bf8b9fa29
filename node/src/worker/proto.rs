//! Jobs, with every reference already resolved to files: the worker opens no store and no network.

use std::path::PathBuf;

use potluck_trainer::data::tokenise::Overlong;
use serde::{Deserialize, Serialize};

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
    /// The exact sum of adapters, as one adapter of stacked ranks.
    Sum {
        base: BaseSource,
        adapters: Vec<AdapterSource>,
        out: PathBuf,
    },
    /// Rule `fold-f32/1`. Adapters in the recipe's order; weights in 1/65536. Without `out` only the digest is made.
    Fold {
        base: BaseSource,
        adapters: Vec<FoldSource>,
        dtype: FloatType,
        out: Option<PathBuf>,
    },
    /// Checks a PEFT folder against a base and writes it in the portable profile.
    Normalise {
        base: BaseSource,
        folder: PathBuf,
        out: PathBuf,
    },
    Bench {
        base: BaseSource,
        settings: BenchSettings,
    },
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
    /// The PEFT folder to write; it must not exist, or hold a checkpoint of the same run.
    pub out: PathBuf,
    pub settings: TrainSettings,
}

/// A LoRA run. Field names are PEFT's and the Hugging Face trainer's where those have one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    pub r: u32,
    pub lora_alpha: f32,
    /// Module names such as `q_proj`; empty for all linear layers.
    pub target_modules: Vec<String>,
    pub learning_rate: f64,
    /// Optimiser steps; the data is gone through as often as that takes.
    pub max_steps: u64,
    pub batch_size: usize,
    pub gradient_accumulation: usize,
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
    pub threads: usize,
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

/// The measured training step of `potluck bench step`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchSettings {
    pub batch: usize,
    pub seq: usize,
    pub rank: u32,
    pub steps: usize,
    pub threads: usize,
}

/// Loss and exact match over rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub samples: u64,
    /// Share of greedy answers that equal the completion (of chats: the last answer), 0 to 1; of plain texts none.
    pub accuracy: Option<f64>,
    /// Mean loss per completion token, in nats.
    pub loss: f64,
}
