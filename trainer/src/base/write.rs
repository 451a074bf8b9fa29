//! Writing a base as a Hugging Face folder, tensor by tensor.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use potluck_protocol::base::Architecture;
use potluck_protocol::tensor::DType;

use super::config;
use super::safetensors::{Entry, Writer};
use super::sink::{TensorSink, entries};
use super::tokenizer::Tokenizer;
use crate::files::StagedFolder;

/// A folder in the making: `config.json`, `model.safetensors`, `tokenizer.json`, `tokenizer_config.json`, and `generation_config.json` if more
/// tokens end generation than `config.json` says. It gets its
/// name when it is whole.
pub struct FolderWriter {
    folder: StagedFolder,
    model: Writer<BufWriter<File>>,
}

impl FolderWriter {
    /// `dtype` is a float type; tensors then come in the order of [`Architecture::tensors`]. `positions`: how many the base
    /// was made for, if it says so.
    pub fn create(
        path: &Path,
        architecture: &Architecture,
        tokenizer: &Tokenizer,
        positions: Option<u32>,
        dtype: DType,
    ) -> io::Result<Self> {
        let folder = StagedFolder::create(path)?;
        folder.write("config.json", config::to_json(architecture, tokenizer.special(), positions, dtype).as_bytes())?;
        if let Some(generation) = tokenizer.generation_json() {
            folder.write("generation_config.json", generation.as_bytes())?;
        }
        folder.write("tokenizer.json", tokenizer.json())?;
        folder.write("tokenizer_config.json", tokenizer.config_json().as_bytes())?;
        let file = BufWriter::with_capacity(1 << 20, folder.file("model.safetensors")?);
        let model = Writer::new(file, entries(architecture, dtype))?;
        Ok(Self { folder, model })
    }

    /// Every tensor was written: the folder appears under its name.
    pub fn finish(self) -> io::Result<()> {
        let mut file = self.model.finish()?;
        file.flush()?;
        file.get_ref().sync_all()?;
        drop(file);
        self.folder.commit()
    }
}

impl TensorSink for FolderWriter {
    fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        self.model.begin(entry)
    }

    fn rows(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.model.rows(bytes)
    }
}
