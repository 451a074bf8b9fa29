//! What `potluck bench` measures of training and generation.

use std::path::PathBuf;

use potluck_trainer::model::block::Recompute;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Engine;
use crate::json_forms;

/// What `potluck bench` measures.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BenchWork {
    /// Whole training steps.
    Step(BenchStepSettings),
    /// Reading a prompt, and generation.
    Generate(BenchGenerateSettings),
}

impl BenchWork {
    /// Threads of the worker.
    pub fn threads(&self) -> usize {
        match self {
            Self::Step(settings) => settings.threads,
            Self::Generate(settings) => settings.threads,
        }
    }
}

/// Whole training steps.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BenchStepSettings {
    /// What computes.
    pub engine: Engine,
    /// What the backward pass computes again.
    #[schema(value_type = json_forms::Recompute)]
    pub recompute: Recompute,
    /// What is trained on.
    pub tokens: BenchTokens,
    /// LoRA rank on all linear layers.
    pub rank: u32,
    /// As many as the file has, if not said.
    pub steps: Option<usize>,
    /// Moves the draw of the first factors.
    pub seed: u64,
    /// The result's speed, not its value, depends on it.
    pub threads: usize,
}

/// What the steps train on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BenchTokens {
    /// One batch of made-up tokens, the same in every step.
    Hashed {
        /// Sequences.
        batch: usize,
        /// Tokens of each.
        seq: usize,
    },
    /// A JSON array of steps; a step is an array of sequences, a sequence an array of token ids.
    #[schema(value_type = String)]
    File(PathBuf),
}

/// Reading a prompt and greedy generation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BenchGenerateSettings {
    /// What computes.
    pub engine: Engine,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens to generate.
    pub new_tokens: usize,
    /// Where the prompt's tokens come from; made up if not said.
    #[schema(value_type = Option<String>)]
    pub tokens: Option<PathBuf>,
    /// The result's speed, not its value, depends on it.
    pub threads: usize,
}
