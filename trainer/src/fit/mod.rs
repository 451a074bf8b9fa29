//! Training an adapter: settings ([`config`]), order of samples ([`order`]), what changes ([`state`]), the loop ([`run`])
//! and the alarm for factors that do not train (`alarm`).

mod alarm;
pub mod config;
pub mod order;
pub mod run;
pub mod state;

use crate::backend::BackendError;
use crate::checkpoint::CheckpointError;
use crate::lora::LoraError;
use crate::model::ModelError;

/// A run that could not start or go on. The last checkpoint, if any, is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    #[error("the setting `{field}` must be {need}")]
    Setting { field: &'static str, need: &'static str },
    #[error("there are no samples to train on")]
    NoSamples,
    #[error("sample {sample} has no completion token to learn (its prompt may fill the whole length)")]
    Unlabelled { sample: usize },
    #[error(
        "step {step}: the loss or its gradient is not finite, in samples {samples:?}; a lower learning rate may help"
    )]
    NonFinite { step: u64, samples: Vec<usize> },
    #[error("after {steps} steps {} factors have had no gradient at all, among them `{}`: the adapter is not training", names.len(), names.first().map_or("", String::as_str))]
    DeadFactors { steps: u64, names: Vec<String> },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Lora(#[from] LoraError),
}

impl From<BackendError> for FitError {
    fn from(error: BackendError) -> Self {
        Self::Model(error.into())
    }
}
