//! Why adapters cannot be merged.

use std::io;

use potluck_protocol::limits::RANK_MAX;

use super::limits::STACKED_RANK_MAX;
use super::method::MethodError;
use crate::lora::factors::FactorsError;

/// Why adapters are not merged.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum MergeError {
    #[error("there is no adapter to merge")]
    Nothing,
    #[error(transparent)]
    Method(#[from] MethodError),
    #[error("the ranks add up to {rank}, at most {RANK_MAX} fit one adapter")]
    Rank { rank: usize },
    #[error("the ranks add up to {rank}, at most {STACKED_RANK_MAX} are merged at once: merge some of them first")]
    Stacked { rank: usize },
    #[error("adapter {index} (from 1): `{module}` does not fit the base, or lacks a factor")]
    Module { index: usize, module: String },
    #[error("adapter {index} (from 1): {error}")]
    Factors { index: usize, error: FactorsError },
    #[error("`{module}` is not finite in the result: a weight or scale is too large")]
    NotFinite { module: String },
    #[error("the decomposition of `{module}` does not converge")]
    Decomposition { module: String },
    #[error("the result cannot be written: {0}")]
    Sink(#[from] io::Error),
    #[error("stopped")]
    Stopped,
}
