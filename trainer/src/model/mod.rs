//! The decoder: weights in, hidden states and gradients out, by an explicit schedule and no tape.
//!
//! Reading order: [`batch`] (rows and their positions), `block` (one layer's
//! forward and backward), [`decoder`] (the whole model), [`cache`] (keys and values kept between tokens).

pub mod batch;
pub mod block;
pub mod cache;
pub mod decoder;
pub mod rope;

use crate::backend::BackendError;
use crate::weights::SourceError;

/// A model that could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum ModelError {
    #[error("the base has no usable tensor `{name}`: {source}")]
    Tensor { name: String, source: SourceError },
    #[error("tensor `{name}` has shape {got:?}, but this architecture needs {expected:?}")]
    Shape { name: String, got: Vec<usize>, expected: Vec<usize> },
    #[error("the base's architecture is not one that this decoder runs: {0}")]
    Architecture(String),
    #[error("sequence {sequence} has {got} tokens where 1 to {max} fit")]
    Length { sequence: usize, got: usize, max: usize },
    #[error("token {id} is not in the vocabulary of {vocabulary}")]
    Token { id: u32, vocabulary: usize },
    /// Not a fault: see [`decoder::Model::stopped_by`].
    #[error("stopped")]
    Stopped,
    #[error(transparent)]
    Backend(#[from] BackendError),
}
