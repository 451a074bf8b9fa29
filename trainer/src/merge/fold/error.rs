//! Why a recipe has no result.

use std::io;

use potluck_protocol::codec::CodecError;
use potluck_protocol::id::ManifestId;
use potluck_protocol::recipe::Weight;
use potluck_protocol::tensor::DType;

use crate::lora::factors::FactorsError;
use crate::weights::SourceError;

/// Why a recipe gives no base.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum FoldError {
    #[error("the result's type is {0:?}: F32, F16 and BF16 are possible")]
    Type(DType),
    #[error("the adapter {0} is there twice: add the weights first")]
    Twice(ManifestId),
    #[error("the adapter {id}: `{module}` does not fit the base, or lacks a factor")]
    Module { id: ManifestId, module: String },
    #[error("the adapter {id}: {error}")]
    Factors { id: ManifestId, error: FactorsError },
    #[error("the adapter {id} with weight {}: B of `{module}` is beyond what F32 can hold", weight.get())]
    Overflow { id: ManifestId, weight: Weight, module: String },
    #[error("`{tensor}` of the parent cannot be read: {error}")]
    Parent { tensor: String, error: SourceError },
    #[error("`{tensor}` of the parent holds a value that is not finite (NaN or infinity): row {row}, column {column}")]
    ParentNotFinite { tensor: String, row: usize, column: usize },
    #[error(
        "`{tensor}` becomes a value that is not finite in {dtype:?}: row {row}, column {column}; a weight or an adapter is too large"
    )]
    NotFinite { tensor: String, row: usize, column: usize, dtype: DType },
    #[error("the result has no identity: {0}")]
    Identity(#[from] CodecError),
    #[error("the result cannot be written: {0}")]
    Sink(#[from] io::Error),
}
