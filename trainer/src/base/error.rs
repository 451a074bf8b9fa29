//! Why a base cannot be opened or written.

use std::io;
use std::path::{Path, PathBuf};

use potluck_protocol::codec::CodecError;
use potluck_protocol::safetensors::LayoutError;

use super::config::ConfigError;
use super::gguf::GgufError;
use super::inventory::InventoryError;
use super::json::JsonError;
use super::tokenizer::TokenizerError;

/// Each variant names the file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum BaseError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: no base here; a folder with config.json, tokenizer.json and *.safetensors, or a .gguf file is wanted", path.display())]
    NotABase { path: PathBuf },
    #[error("{}: no *.safetensors in this folder{}", path.display(), pickle_hint(*pickles))]
    NoWeights { path: PathBuf, pickles: bool },
    #[error("{}: no tokenizer.json in this folder: without it there is no way from text to tokens", path.display())]
    NoTokenizer { path: PathBuf },
    #[error("{file} is a Git LFS pointer: the few lines that stand for a file which was not fetched")]
    LfsPointer { file: String },
    #[error("{file}: {error}")]
    Json { file: String, error: JsonError },
    #[error("{file}: {error}")]
    Config { file: String, error: ConfigError },
    #[error("{file}: {error}")]
    Layout { file: String, error: LayoutError },
    #[error("{file}: {error}")]
    Gguf { file: String, error: GgufError },
    #[error("{file}: {reason}")]
    Index { file: String, reason: String },
    #[error("{file}: {error}")]
    Inventory { file: String, error: InventoryError },
    #[error("{file}: {error}")]
    Tokenizer { file: String, error: TokenizerError },
    #[error(
        "the tensor `{tensor}` holds a value that is not finite (NaN or infinity), first in row {row}: the file is damaged, get it again"
    )]
    NotFinite { tensor: String, row: usize },
    #[error("{}: more than {max} templates", path.display())]
    TooManyTemplates { path: PathBuf, max: usize },
    #[error("the base has no identity: {0}")]
    Identity(#[from] CodecError),
}

fn pickle_hint(pickles: bool) -> &'static str {
    if pickles {
        "; its *.bin files are pickles, which run code when opened: save the model with safetensors"
    } else {
        ""
    }
}

impl BaseError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}
