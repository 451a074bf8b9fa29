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
pub use metadata::{architecture, chat_template, positions, special_tokens};
pub use names::tensors;
pub use value::{Array, Value};

use potluck_protocol::codec::Malformed;

/// Why a file is no GGUF file that potluck takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
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
    #[error("the tensor `{name}` has ggml type {}, which is not supported", ggml_type(*code))]
    TensorType { name: String, code: u32 },
    #[error("this is piece {number} of {count} of a model that was split (`split.count`)")]
    Split { number: u32, count: u32 },
    #[error("this is no model: its `general.type` is {0}")]
    NoModel(String),
    #[error("the sizes do not fit together: {0}")]
    Sizes(#[from] Malformed),
}

impl GgufError {
    /// Whether the file is whole and well, and something that potluck does not take.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Version(_)
                | Self::Unsupported { .. }
                | Self::TensorType { .. }
                | Self::Split { .. }
                | Self::NoModel(_)
        )
    }
}

/// `enum ggml_type`, ggml.h.
fn ggml_type(code: u32) -> String {
    let name = match code {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        30 => "BF16",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("{code} (unknown)"),
    };
    name.to_owned()
}

/// The start of a name or key from a file, for an error message.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
