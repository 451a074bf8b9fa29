//! What `potluck bench` measures of training and generation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Engine;

/// What is computed again in the backward pass instead of being kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RecomputeName {
    /// Nothing: most memory, least arithmetic
    #[default]
    None,
    /// The two outputs of the MLP's first half, about half of what is kept
    Selective,
    /// All but each block's input: least memory, nearly every product of the forward pass twice
    Full,
}

/// What `potluck bench` measures.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchWork {
    Step(BenchStepSettings),
    Generate(BenchGenerateSettings),
}

impl BenchWork {
    pub fn threads(&self) -> usize {
        match self {
            Self::Step(settings) => settings.threads,
            Self::Generate(settings) => settings.threads,
        }
    }
}

/// Whole training steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchStepSettings {
    pub engine: Engine,
    pub recompute: RecomputeName,
    pub tokens: BenchTokens,
    pub rank: u32,
    /// As many as the file has, if not said.
    pub steps: Option<usize>,
    /// Moves the draw of the first factors.
    pub seed: u64,
    pub threads: usize,
}

/// What the steps train on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchTokens {
    /// One batch of made-up tokens, the same in every step.
    Hashed { batch: usize, seq: usize },
    /// A JSON array of steps; a step is an array of sequences, a sequence an array of token ids.
    File(PathBuf),
}

/// Reading a prompt and greedy generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BenchGenerateSettings {
    pub engine: Engine,
    pub prompt_tokens: usize,
    pub new_tokens: usize,
    /// Where the prompt's tokens come from; made up if not said.
    pub tokens: Option<PathBuf>,
    pub threads: usize,
}
