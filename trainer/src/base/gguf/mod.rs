//! GGUF files of the llama architecture: read strictly, given out under Hugging Face names and in its layout.
//!
//! Goals: no length is believed before it is compared with the file's, so that memory stays within a small multiple
//! of the number of tensors, whatever the file says; quantised tensors stay in their blocks. Non-goals: to write GGUF,
//! big-endian files, version 1. candle's reader is not used because it takes any value up to 1 GiB for a length.
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod cursor;
mod header;
mod metadata;
mod names;
mod value;

#[cfg(test)]
pub(crate) mod sample;

pub use header::{Gguf, TensorInfo};
pub use metadata::{architecture, chat_template, special_tokens};
pub use names::tensors;
pub use value::{Array, Value};

use potluck_protocol::codec::Malformed;

/// Why a file is no GGUF file that potluck takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    #[error("not a GGUF file: it does not start with `GGUF`")]
    Magic,
    #[error("GGUF version {0}, only 2 and 3 (little-endian) are supported")]
    Version(u32),
    #[error("the file ends inside {what}: it is cut off, get it again")]
    CutOff { what: &'static str },
    #[error("{what}: {found}, at most {max} are allowed")]
    TooMany { what: &'static str, found: u64, max: u64 },
    #[error("{what} is not valid UTF-8")]
    Utf8 { what: &'static str },
    #[error("`{key}`: {reason}")]
    Value { key: String, reason: &'static str },
    #[error("the metadata key `{0}` occurs twice")]
    KeyTwice(String),
    #[error("the metadata key `{0}` is missing")]
    KeyMissing(&'static str),
    #[error("`{key}` is {found}, which is not supported: only {supported} is")]
    Unsupported { key: String, found: String, supported: &'static str },
    #[error("the tensor `{name}`: {reason}")]
    Tensor { name: String, reason: &'static str },
    #[error("the tensor `{name}` has ggml type {code}, which is not supported")]
    TensorType { name: String, code: u32 },
    #[error("the sizes do not fit together: {0}")]
    Sizes(#[from] Malformed),
}

/// The start of a name or key from a file, for an error message.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
