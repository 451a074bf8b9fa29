//! Why a folder is no adapter that can be used.

use std::io;
use std::path::PathBuf;

use potluck_protocol::limits::RANK_MAX;
use potluck_protocol::safetensors::LayoutError;

use super::{CONFIG_FILE, MODEL_FILE};
use crate::base::json::JsonError;
use crate::lora::factors::FactorsError;

/// Why a PEFT folder is no adapter of a base.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum PeftError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is {what}, not an adapter's folder", path.display())]
    NoFolder { path: PathBuf, what: &'static str },
    #[error("{} is a Git LFS pointer: the few lines that stand for a file which was not fetched", path.display())]
    LfsPointer { path: PathBuf },
    #[error("{}: {len} bytes, at most {max} are allowed", path.display())]
    TooLong { path: PathBuf, len: u64, max: u64 },
    #[error("{}: this adapter is a pickle, which runs code when opened: save it with `safe_serialization=True`", path.display())]
    Pickle { path: PathBuf },
    #[error("{CONFIG_FILE}: {0}")]
    Json(#[from] JsonError),
    #[error("{CONFIG_FILE}: the file is no JSON object")]
    NotAnObject,
    #[error("{CONFIG_FILE}: `{field}` is missing")]
    Missing { field: &'static str },
    #[error("{CONFIG_FILE}: `{field}` is {found}, {wanted} was expected")]
    Field { field: String, found: String, wanted: &'static str },
    #[error("{CONFIG_FILE}: `{field}` is {found}, which is not supported: {supported}")]
    Unsupported { field: String, found: String, supported: &'static str },
    #[error("{CONFIG_FILE}: `{pattern}` in `{field}` is no regular expression that is taken: {reason}")]
    Pattern { field: &'static str, pattern: String, reason: String },
    #[error("{MODEL_FILE}: {0}")]
    Layout(#[from] LayoutError),
    #[error("{MODEL_FILE}: there are no tensors in it")]
    Empty,
    #[error(
        "{MODEL_FILE}: `{name}` is no LoRA factor of this base: names are base_model.model.<module>.lora_A.weight and .lora_B.weight"
    )]
    Name { name: String },
    #[error("{MODEL_FILE}: `{module}` has no {factor}")]
    Unpaired { module: String, factor: &'static str },
    #[error("{MODEL_FILE}: `{name}` has shape {found:?}, this base needs {wanted}")]
    Shape { name: String, found: Vec<usize>, wanted: String },
    #[error(
        "{CONFIG_FILE}: `{module}` is a target, and {MODEL_FILE} has no factors for it, which PEFT would draw by `init_lora_weights: false`: the adapter was not saved whole"
    )]
    Untrained { module: String },
    #[error("{MODEL_FILE}: `{module}` has factors, which PEFT would leave out: {CONFIG_FILE} does not aim at it")]
    NotTargeted { module: String },
    #[error("`{module}` has rank {found}, {CONFIG_FILE} says {wanted}")]
    Rank { module: String, found: usize, wanted: usize },
    #[error("`{module}` has rank {found}, 1 to {RANK_MAX} are allowed")]
    RankBounds { module: String, found: usize },
    #[error(
        "the ranks are too unequal: with {rank} in every module the adapter would take {padded} bytes, the file has {file}"
    )]
    Padding { rank: usize, padded: u64, file: usize },
    #[error("{MODEL_FILE}: `{name}` is {dtype}: F32, F16 and BF16 are supported")]
    Type { name: String, dtype: String },
    #[error(transparent)]
    Factors(#[from] FactorsError),
}
