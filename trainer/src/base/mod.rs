//! Frozen bases: opening them from a Hugging Face folder, a GGUF file or memory, their identity, and writing them.
//!
//! Goals: whatever a file says is checked before it is believed; weights stay mapped and, if quantised, in their
//! blocks; one layout (Hugging Face's names and row order) for whoever reads. Non-goals: pickles, remote code, any
//! family but Llama.

pub mod config;
mod error;
mod folder;
pub mod gguf;
pub(crate) mod identity;
mod inventory;
pub mod json;
pub mod lfs;
pub(crate) mod mapped;
pub mod safetensors;
pub mod sink;
pub(crate) mod stored;
pub mod tokenizer;
pub mod write;

#[cfg(test)]
pub(crate) mod small;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use error::BaseError;
pub use folder::{files as folder_files, indexed_files, tokenizer as folder_tokenizer};
pub use inventory::InventoryError;
use potluck_protocol::base::Architecture;
use potluck_protocol::limits::JSON_MAX;
use rayon::prelude::*;
pub use tokenizer::{AddedToken, Encoded, Joined, Place, Template, Tokenizer, TokenizerError};

use crate::tensor::{Bytes, HostTensor, dequantise};
use crate::weights::{SourceError, Weights};
use stored::Stored;

/// A base model: its architecture, its tokenizer, and all its tensors, checked against each other.
#[derive(Clone, Debug)]
pub struct Base {
    architecture: Architecture,
    tokenizer: Tokenizer,
    /// How many it was made for.
    positions: Option<u32>,
    /// Exactly [`Architecture::tensors`].
    tensors: BTreeMap<String, Stored>,
}

/// A tensor was asked for that the architecture does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the base has no tensor `{0}`")]
pub struct NoSuchTensor(pub String);

impl Base {
    /// Opens a folder or a `.gguf` file. Headers are checked, values are not: see [`Base::check_finite`].
    pub fn open(path: &Path) -> Result<Self, BaseError> {
        if path.join("config.json").is_file() {
            return folder::open(path);
        }
        let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        if is_gguf && path.is_file() {
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            return Self::from_gguf(&file, mapped::map(path).map_err(BaseError::io(path))?);
        }
        Err(BaseError::NotABase { path: path.to_owned() })
    }

    /// From the bytes of a GGUF file; `file` names it in errors.
    pub fn from_gguf(file: &str, bytes: Bytes) -> Result<Self, BaseError> {
        let wrong = |error| BaseError::Gguf { file: file.to_owned(), error };
        let content = (*bytes).as_ref();
        lfs::refuse_pointer(file, content)?;
        let gguf = gguf::Gguf::parse(content).map_err(wrong)?;
        let architecture = gguf::architecture(&gguf).map_err(wrong)?;
        let special = gguf::special_tokens(&gguf).map_err(wrong)?;
        let mut tokenizer = Tokenizer::from_gguf(&gguf, special, architecture.vocab_size)
            .map_err(|error| BaseError::Tokenizer { file: file.to_owned(), error })?;
        if let Some(source) = gguf::chat_template(&gguf).map_err(wrong)? {
            let template = Template { tokens: tokenizer.template_tokens(), ..Template::new(source.to_owned()) };
            tokenizer = tokenizer.with_template(template);
        }
        let tensors = gguf::tensors(&gguf, &bytes, &architecture).map_err(wrong)?;
        let positions = gguf::positions(&gguf).map_err(wrong)?;
        Ok(Self::assemble(file, architecture, tokenizer, tensors)?.with_positions(positions))
    }

    /// From the contents of `config.json`, `model.safetensors` and `tokenizer.json`.
    pub fn from_memory(config: &[u8], model: Bytes, tokenizer: &[u8]) -> Result<Self, BaseError> {
        let file = || "config.json".to_owned();
        let config = json::parse(config, JSON_MAX).map_err(|error| BaseError::Json { file: file(), error })?;
        let wrong = |error| BaseError::Config { file: file(), error };
        let architecture = config::architecture(&config).map_err(wrong)?;
        let special = config::special_tokens(&config).map_err(wrong)?;
        let tokenizer = Tokenizer::from_json(tokenizer, special, architecture.vocab_size)
            .map_err(|error| BaseError::Tokenizer { file: "tokenizer.json".to_owned(), error })?;
        let mut tensors = BTreeMap::new();
        folder::collect("model.safetensors", model, &mut tensors)?;
        let positions = config::positions(&config).map_err(wrong)?;
        Ok(Self::assemble("model.safetensors", architecture, tokenizer, tensors)?.with_positions(positions))
    }

    /// From tensors that were made here, such as the result of a fold.
    pub fn from_tensors(
        architecture: Architecture,
        tokenizer: Tokenizer,
        tensors: BTreeMap<String, HostTensor>,
    ) -> Result<Self, BaseError> {
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, Stored::Plain(tensor))).collect();
        Self::assemble("tensors in memory", architecture, tokenizer, tensors)
    }

    fn assemble(
        file: &str,
        architecture: Architecture,
        tokenizer: Tokenizer,
        tensors: BTreeMap<String, Stored>,
    ) -> Result<Self, BaseError> {
        let wrong = |error| BaseError::Inventory { file: file.to_owned(), error };
        let tensors = inventory::settle(&architecture, tensors).map_err(wrong)?;
        Ok(Self { architecture, tokenizer, positions: None, tensors })
    }

    /// The shape of the model.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The tokenizer, with its special tokens and its chat template.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How many positions the base was made for, where it says so: what lies behind them it has never seen. No part of its
    /// identity, as nothing is computed from it.
    pub fn positions(&self) -> Option<u32> {
        self.positions
    }

    #[must_use]
    fn with_positions(self, positions: Option<u32>) -> Self {
        Self { positions, ..self }
    }

    /// The tensor of a Hugging Face name in Hugging Face layout. Quantised tensors keep their blocks.
    pub fn tensor(&self, name: &str) -> Result<HostTensor, NoSuchTensor> {
        self.tensors.get(name).map(Stored::get).ok_or_else(|| NoSuchTensor(name.to_owned()))
    }

    /// The tensor where it lies, for whoever reads it in pieces.
    pub(crate) fn stored(&self, name: &str) -> Result<&Stored, NoSuchTensor> {
        self.tensors.get(name).ok_or_else(|| NoSuchTensor(name.to_owned()))
    }

    /// Refuses NaN and infinities. Reads all weights once.
    pub fn check_finite(&self) -> Result<(), BaseError> {
        self.tensors.par_iter().try_for_each(|(name, stored)| {
            let tensor = stored.get();
            match first_not_finite(&tensor) {
                None => Ok(()),
                Some(row) => Err(BaseError::NotFinite { tensor: name.clone(), row }),
            }
        })
    }
}

/// The first row with a value that is not finite.
fn first_not_finite(tensor: &HostTensor) -> Option<usize> {
    let columns = tensor.shape.last().copied().unwrap_or(1).max(1);
    let row_len = tensor.dtype.bytes(&[columns])?.max(1);
    let mut values = vec![0.0; columns];
    tensor.bytes().chunks_exact(row_len).position(|row| {
        dequantise::sequential(tensor.dtype, row, &mut values);
        values.iter().any(|value| !value.is_finite())
    })
}

impl Weights for Base {
    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn tensor(&self, hf_name: &str) -> Result<HostTensor, SourceError> {
        Ok(Base::tensor(self, hf_name)?)
    }
}

/// Bytes that live as long as the program, e.g. an embedded base.
pub fn static_bytes(bytes: &'static [u8]) -> Bytes {
    Arc::new(bytes)
}
