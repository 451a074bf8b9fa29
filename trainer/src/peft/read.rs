//! Reading an adapter whole: names, ranks and shapes against the architecture, finite values, the scale folded into B.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::{ADAPTER_BYTES_MAX, JSON_MAX};
use potluck_protocol::safetensors::Layout;

use super::aim::Aim;
use super::plan::Plan;
use super::{CONFIG_FILE, MODEL_FILE, PeftError};
use crate::base::lfs;
use crate::files;
use crate::lora::adapter::{Adapter, AdapterTensor, Factor};
use crate::lora::config::LoraConfig;
use crate::peft::write::target_modules;

/// What MLX writes.
const MLX_FILE: &str = "adapters.safetensors";

/// Files that older PEFT writes instead of safetensors.
const PICKLE_FILE: &str = "adapter_model.bin";

/// Reads a folder that PEFT or potluck wrote, for a base of this architecture.
pub fn read(folder: &Path, architecture: &Architecture) -> Result<Adapter, PeftError> {
    refuse_pickle(folder)?;
    let config = read_config(folder)?;
    let path = folder.join(MODEL_FILE);
    let (file, len) = open_bounded(&path, ADAPTER_BYTES_MAX)?;
    let adapter = check(&config, &read_all(file, len, &path)?, architecture)?;
    if let Some(aim) = Aim::parse(&config)? {
        let modules = adapter.tensors.keys().filter_map(|name| Some(Factor::parse(name)?.0));
        aim.check(modules, architecture)?;
    }
    Ok(adapter)
}

/// The adapter in the portable profile, if the contents of both files fit each other and the architecture. Pure: this
/// is what makes an adapter from the network well-formed.
pub fn check(config: &[u8], model: &[u8], architecture: &Architecture) -> Result<Adapter, PeftError> {
    let Plan { modules, rank } = Plan::new(config, Layout::parse(model, model.len())?, architecture)?;
    let mut tensors = BTreeMap::new();
    for (module, placed) in &modules {
        let a = placed.a(&model[placed.a.begin..placed.a.end], rank)?;
        let b = placed.b(&model[placed.b.begin..placed.b.end], rank)?;
        let (inner, out) = (placed.a.shape[1], placed.b.shape[0]);
        tensors.insert(Factor::A.peft_name(module), AdapterTensor { shape: [rank, inner], values: a });
        tensors.insert(Factor::B.peft_name(module), AdapterTensor { shape: [out, rank], values: b });
    }
    let target_modules = target_modules(&modules.into_keys().collect::<BTreeSet<_>>(), architecture);
    Ok(Adapter { config: LoraConfig::new(rank, rank as f32, target_modules), tensors })
}

/// What a file in the place of a folder is, by its first bytes.
fn kind_of(path: &Path) -> &'static str {
    if let Some(special) = files::special_kind(path) {
        return special;
    }
    let mut begin = Vec::new();
    // What cannot be read is only a file.
    let _unreadable = files::open(path).and_then(|file| file.take(64).read_to_end(&mut begin));
    match begin.as_slice() {
        begin if lfs::is_pointer(begin) => "a Git LFS pointer",
        [b'G', b'G', b'U', b'F', ..] => "a GGUF file",
        [b'P', b'K', ..] | [0x80, _, ..] => "a pickle or an archive",
        [_, _, _, _, 0, 0, 0, 0, b'{', ..] => "a safetensors file",
        _ => "a file",
    }
}

/// An adapter that is there as a pickle only is not opened.
pub(super) fn refuse_pickle(folder: &Path) -> Result<(), PeftError> {
    if folder.exists() && !folder.is_dir() {
        return Err(PeftError::NoFolder { path: folder.to_owned(), what: kind_of(folder) });
    }
    let mlx = folder.join(MLX_FILE);
    if !folder.join(MODEL_FILE).exists() && mlx.exists() {
        return Err(PeftError::NoFolder { path: mlx, what: "an adapter of MLX" });
    }
    let pickle = folder.join(PICKLE_FILE);
    if !folder.join(MODEL_FILE).exists() && pickle.exists() {
        return Err(PeftError::Pickle { path: pickle });
    }
    Ok(())
}

/// The bytes of `adapter_config.json`.
pub(super) fn read_config(folder: &Path) -> Result<Vec<u8>, PeftError> {
    let path = folder.join(CONFIG_FILE);
    let (file, len) = open_bounded(&path, JSON_MAX as u64)?;
    read_all(file, len, &path)
}

/// A file of at most `max` bytes, and its length.
pub(super) fn open_bounded(path: &Path, max: u64) -> Result<(File, u64), PeftError> {
    let io = |error| PeftError::Io { path: path.to_owned(), error };
    let file = files::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    if len > max {
        return Err(PeftError::TooLong { path: path.to_owned(), len, max });
    }
    Ok((file, len))
}

fn read_all(file: File, len: u64, path: &Path) -> Result<Vec<u8>, PeftError> {
    let mut bytes = Vec::with_capacity(len as usize);
    // What is appended meanwhile does not belong to it.
    file.take(len).read_to_end(&mut bytes).map_err(|error| PeftError::Io { path: path.to_owned(), error })?;
    if lfs::is_pointer(&bytes) {
        return Err(PeftError::LfsPointer { path: path.to_owned() });
    }
    Ok(bytes)
}
