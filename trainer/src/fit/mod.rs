//! Training an adapter: settings ([`config`]), order of samples and micro-batches ([`order`]), what changes ([`state`]),
//! the loop ([`run`]), what makes a run the same ([`identity`]), its state on disk ([`checkpoint`], [`exact`]), its folder
//! ([`folder`]) and metrics (`metrics`), what it reports ([`progress`]), the watch over held-out loss ([`watch`]) and the
//! alarm for factors that do not train ([`alarm`]).

pub mod config;
pub mod order;

pub mod state;

pub mod run;

pub mod checkpoint;
pub mod exact;
pub mod folder;
pub mod identity;
mod keeper;
mod metrics;
pub mod progress;

pub mod alarm;
pub mod watch;

use crate::backend::BackendError;
use crate::evaluate::EvaluateError;
use crate::lora::LoraError;
use crate::model::ModelError;
use checkpoint::CheckpointError;
use folder::FolderError;

/// A run that could not start or go on. The last checkpoint, if any, is as it was.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
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
    #[error("there are no held-out samples to evaluate on")]
    NoHeldOut,
    #[error("held-out sample {sample} has no completion token to measure")]
    UnlabelledHeldOut { sample: usize },
    #[error("after step {step} the held-out loss is not finite; a lower learning rate may help")]
    NonFiniteHeldOut { step: u64 },
    #[error("after step {step} the adapter `{name}` holds values that are not finite; a lower learning rate may help")]
    NonFiniteFactor { step: u64, name: String },
    #[error(
        "`{name}` is zero, so training lora_A alone would change nothing: start from an adapter that has been trained"
    )]
    ZeroB { name: String },
    #[error("the run's metrics cannot be written: {0}")]
    Metrics(std::io::Error),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Lora(#[from] LoraError),
}

/// Of the held-out samples.
impl From<EvaluateError> for FitError {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::NoSamples => Self::NoHeldOut,
            EvaluateError::Unlabelled { sample } => Self::UnlabelledHeldOut { sample },
            EvaluateError::Model(error) => Self::Model(error),
        }
    }
}

impl From<BackendError> for FitError {
    fn from(error: BackendError) -> Self {
        Self::Model(error.into())
    }
}
