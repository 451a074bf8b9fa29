//! A Hugging Face folder: `config.json`, `tokenizer.json`, weights in one or several safetensors files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use potluck_protocol::limits::JSON_MAX;
use potluck_protocol::safetensors::Layout;
use serde_json::Value;

use super::config::{self, ConfigError, SpecialTokens};
use super::inventory::InventoryError;
use super::json;
use super::stored::Stored;
use super::tokenizer::template::{self, TemplateFiles};
use super::tokenizer::{Assembled, Files, TOKENIZER_MAX, Tokenizer, TokenizerError, assemble};
use super::{Base, BaseError, lfs, mapped};
use crate::files;
use crate::tensor::{Bytes, HostTensor};

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";
/// Files of older tokenizers.
const LEGACY: [&str; 2] = [SPECIAL_TOKENS_MAP, ADDED_TOKENS];
const TEMPLATE: &str = "chat_template.jinja";
const TEMPLATES: &str = "additional_chat_templates";
const JINJA: &str = ".jinja";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// An index names every tensor of the model: some hundred bytes each.
const INDEX_MAX: usize = 16 * JSON_MAX;

/// Templates of one folder beside the default one.
const TEMPLATES_MAX: usize = 64;

/// Files of one model: the most sharded in use have some hundred.
const FILES_MAX: usize = 1024;

pub fn open(path: &Path) -> Result<Base, BaseError> {
    let config = read_json(&path.join(CONFIG), JSON_MAX)?;
    let wrong = |error| BaseError::Config { file: "config.json".to_owned(), error };
    let architecture = config::architecture(&config).map_err(wrong)?;
    let positions = config::positions(&config).map_err(wrong)?;
    let tokenizer = tokenizer_of(path, &config, architecture.vocab_size)?;
    let mut tensors = BTreeMap::new();
    for file in weight_files(path)? {
        let bytes = mapped::map(&path.join(&file)).map_err(BaseError::io(&path.join(&file)))?;
        collect(&file, bytes, &mut tensors)?;
    }
    Ok(Base::assemble("config.json", architecture, tokenizer, tensors)?.with_positions(positions))
}

/// The tokenizer of a folder without its weights.
pub fn tokenizer(path: &Path) -> Result<Tokenizer, BaseError> {
    let config = read_json(&path.join(CONFIG), JSON_MAX)?;
    let vocabulary = config::vocabulary(&config);
    let vocabulary = vocabulary.map_err(|error| BaseError::Config { file: CONFIG.to_owned(), error })?;
    tokenizer_of(path, &config, vocabulary)
}

/// The names of the files that `open` reads: configuration, tokenizer, template and weights. Nothing else in the folder
/// belongs to the base.
pub fn files(path: &Path) -> Result<Vec<String>, BaseError> {
    let mut files: Vec<String> = weight_files(path)?.into_iter().collect();
    let small = [CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG, TEMPLATE];
    let legacy = if reads_legacy(path) { &LEGACY[..] } else { &[] };
    let small = small.into_iter().chain(legacy.iter().copied());
    files.extend(small.filter(|name| path.join(name).is_file()).map(str::to_owned));
    // An index beside a single file is not read.
    if path.join(INDEX).is_file() && !path.join(SINGLE).is_file() {
        files.push(INDEX.to_owned());
    }
    files.extend(additional_templates(path)?.into_iter().map(|name| format!("{TEMPLATES}/{name}")));
    files.sort();
    Ok(files)
}

/// The tokenizer of all files that say something of it, with the chat template if there is one.
fn tokenizer_of(path: &Path, config: &Value, vocabulary: u32) -> Result<Tokenizer, BaseError> {
    let special = special_tokens(path, config)?;
    if !path.join(TOKENIZER).is_file() {
        return Err(BaseError::NoTokenizer { path: path.to_owned() });
    }
    let legacy = |name: &str| {
        if reads_legacy(path) { optional_json(&path.join(name), TOKENIZER_MAX) } else { Ok(None) }
    };
    let files = Files {
        config: config.clone(),
        tokenizer: read_bounded(&path.join(TOKENIZER), TOKENIZER_MAX)?,
        tokenizer_config: optional_json(&path.join(TOKENIZER_CONFIG), TOKENIZER_MAX)?.unwrap_or_default(),
        special_tokens_map: legacy(SPECIAL_TOKENS_MAP)?,
        added_tokens: legacy(ADDED_TOKENS)?,
    };
    let wrong = |file: &str| {
        let file = file.to_owned();
        |error| BaseError::Tokenizer { file, error }
    };
    let Assembled { tokenizer, named, rebuilt } = assemble(&files, vocabulary).map_err(wrong(TOKENIZER_CONFIG))?;
    let tokenizer = Tokenizer::from_value(&tokenizer, special, vocabulary).map_err(wrong(TOKENIZER))?;
    let tokenizer = tokenizer.with_stops(stops(path, vocabulary)?);
    let template = template::from_folder(&files.tokenizer_config, template_files(path)?, named.clone());
    let tokenizer = tokenizer.with_named(named, rebuilt);
    Ok(match template.map_err(wrong(TOKENIZER_CONFIG))? {
        Some(template) => tokenizer.with_template(template),
        None => tokenizer,
    })
}

/// Whether the files of older tokenizers count: not where `tokenizer_config.json` lists the added tokens itself.
fn reads_legacy(path: &Path) -> bool {
    let config = optional_json(&path.join(TOKENIZER_CONFIG), TOKENIZER_MAX);
    // What cannot be read is said by whoever reads it for what it says.
    !config.is_ok_and(|config| config.is_some_and(|config| config.get("added_tokens_decoder").is_some()))
}

/// `chat_template.jinja` and the templates of `additional_chat_templates`.
fn template_files(path: &Path) -> Result<TemplateFiles, BaseError> {
    let mut files = TemplateFiles::default();
    if path.join(TEMPLATE).is_file() {
        files.default = Some(read_bounded(&path.join(TEMPLATE), template::SOURCE_MAX)?);
    }
    for file in additional_templates(path)? {
        let name = file.strip_suffix(JINJA).unwrap_or(&file).to_owned();
        let bytes = read_bounded(&path.join(TEMPLATES).join(&file), template::SOURCE_MAX)?;
        files.additional.insert(name, bytes);
    }
    Ok(files)
}

/// The names of the files in `additional_chat_templates`.
fn additional_templates(path: &Path) -> Result<Vec<String>, BaseError> {
    let folder = path.join(TEMPLATES);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(BaseError::io(&folder))? {
        let name = entry.map_err(BaseError::io(&folder))?.file_name();
        names.extend(name.to_str().filter(|name| name.ends_with(JINJA)).map(str::to_owned));
        if names.len() > TEMPLATES_MAX {
            return Err(BaseError::TooManyTemplates { path: folder, max: TEMPLATES_MAX });
        }
    }
    names.sort();
    Ok(names)
}

fn optional_json(path: &Path, max: usize) -> Result<Option<Value>, BaseError> {
    path.is_file().then(|| read_json(path, max)).transpose()
}

/// Adds the tensors of one safetensors file.
pub fn collect(file: &str, bytes: Bytes, tensors: &mut BTreeMap<String, Stored>) -> Result<(), BaseError> {
    let wrong = |error| BaseError::Layout { file: file.to_owned(), error };
    let content = (*bytes).as_ref();
    lfs::refuse_pointer(file, content)?;
    let layout = Layout::parse(content, content.len()).map_err(wrong)?;
    for view in layout.tensors {
        let name = view.name.clone();
        // The layout was checked against the length of these very bytes.
        let tensor = HostTensor::new(view.dtype, view.shape, bytes.clone(), view.begin..view.end);
        let fresh = tensor.is_some_and(|tensor| tensors.insert(view.name, Stored::Plain(tensor)).is_none());
        if !fresh {
            return Err(BaseError::Inventory { file: file.to_owned(), error: InventoryError::Twice { name } });
        }
    }
    Ok(())
}

/// Every token at which `generation_config.json` ends generation: transformers' `generate` reads this file before
/// `config.json`.
fn stops(path: &Path, vocabulary: u32) -> Result<Vec<u32>, BaseError> {
    if !path.join(GENERATION).is_file() {
        return Ok(Vec::new());
    }
    let config = read_json(&path.join(GENERATION), JSON_MAX)?;
    let wrong = |error| BaseError::Config { file: GENERATION.to_owned(), error };
    let eos = config::special_tokens(&config).map_err(wrong)?.eos;
    match eos.iter().find(|&&id| id >= vocabulary) {
        Some(&id) => {
            let error = TokenizerError::BeyondVocabulary { id, vocabulary };
            Err(BaseError::Tokenizer { file: GENERATION.to_owned(), error })
        }
        None => Ok(eos),
    }
}

/// From `config.json`, and where it has no end-of-text token, from `generation_config.json`.
fn special_tokens(path: &Path, config: &Value) -> Result<SpecialTokens, BaseError> {
    let read = |file: &str, value: &Value| {
        config::special_tokens(value).map_err(|error: ConfigError| BaseError::Config { file: file.to_owned(), error })
    };
    let special = read("config.json", config)?;
    if special.eos.is_empty() && path.join(GENERATION).is_file() {
        let other = read(GENERATION, &read_json(&path.join(GENERATION), JSON_MAX)?)?;
        return Ok(SpecialTokens { bos: special.bos.or(other.bos), eos: other.eos });
    }
    Ok(special)
}

/// The names of the weight files: `model.safetensors` if it is there, else those of the index, as in transformers
/// (`_get_resolved_checkpoint_files`), else all.
fn weight_files(path: &Path) -> Result<BTreeSet<String>, BaseError> {
    if path.join(SINGLE).is_file() {
        return Ok([SINGLE.to_owned()].into());
    }
    if path.join(INDEX).is_file() {
        return indexed_files(&read_json(&path.join(INDEX), INDEX_MAX)?);
    }
    let (mut files, mut pickles) = (BTreeSet::new(), false);
    for entry in fs::read_dir(path).map_err(BaseError::io(path))? {
        let name = entry.map_err(BaseError::io(path))?.file_name();
        let Some(name) = name.to_str() else { continue };
        pickles |= name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth");
        if name.ends_with(".safetensors") && files.len() < FILES_MAX {
            files.insert(name.to_owned());
        }
    }
    if files.is_empty() { Err(BaseError::NoWeights { path: path.to_owned(), pickles }) } else { Ok(files) }
}

/// The files that an index names: plain names in the same folder. // I13
pub fn indexed_files(index: &Value) -> Result<BTreeSet<String>, BaseError> {
    let wrong = |reason: String| BaseError::Index { file: INDEX.to_owned(), reason };
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("`weight_map` is missing or no object".to_owned()))?;
    let mut files = BTreeSet::new();
    for file in map.values() {
        let name = file.as_str().filter(|name| is_plain(name));
        let name = name.ok_or_else(|| wrong(format!("{} is no file name of this folder", json::describe(file))))?;
        files.insert(name.to_owned());
        if files.len() > FILES_MAX {
            return Err(wrong(format!("more than {FILES_MAX} files")));
        }
    }
    if files.is_empty() { Err(wrong("`weight_map` is empty".to_owned())) } else { Ok(files) }
}

fn is_plain(name: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= 255 && name.ends_with(".safetensors") && !name.starts_with('.') && name.bytes().all(safe)
}

fn read_json(path: &Path, max: usize) -> Result<Value, BaseError> {
    let bytes = read_bounded(path, max)?;
    let file = path.file_name().map(PathBuf::from).unwrap_or_default().display().to_string();
    json::parse(&bytes, max).map_err(|error| BaseError::Json { file, error })
}

/// At most `max + 1` bytes, so that the parser sees that there are too many.
fn read_bounded(path: &Path, max: usize) -> Result<Vec<u8>, BaseError> {
    let mut bytes = Vec::new();
    let file = files::open(path).map_err(BaseError::io(path))?;
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(BaseError::io(path))?;
    lfs::refuse_pointer(&path.file_name().unwrap_or_default().to_string_lossy(), &bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_files_of_this_folder_only() {
        for name in [
            "../model.safetensors",
            "/etc/model.safetensors",
            "a/b.safetensors",
            "..\\m.safetensors",
            "model.bin",
            ".safetensors",
            "",
        ] {
            let index = serde_json::json!({"weight_map": {"a": name}});
            assert!(matches!(indexed_files(&index), Err(BaseError::Index { .. })), "{name}");
        }
        for wrong in
            [serde_json::json!({}), serde_json::json!({"weight_map": {}}), serde_json::json!({"weight_map": {"a": 1}})]
        {
            assert!(indexed_files(&wrong).is_err());
        }
        let index = serde_json::json!({"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"}});
        assert_eq!(indexed_files(&index).unwrap().len(), 2);
    }
}
