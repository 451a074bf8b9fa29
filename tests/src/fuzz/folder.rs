//! The tokenizer of a folder from a stranger: `tokenizer.json` with the small files that say something of it.

use std::cell::OnceCell;
use std::fs;

use potluck_trainer::base::{Place, Tokenizer, folder_tokenizer};
use serde_json::{Map, Value, json};

use super::model::TEXTS;
use super::{Form, Memory, Outcome, Target, hold, seeds};

/// The names of the files, by which an input that is one JSON object holds them. A text is a file's content itself.
const FILES: [&str; 7] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// What a tokenizer is made of.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "type", "Sequence", "Replace", "Prepend", "Strip", "NFC", "NFKD", "Lowercase", "Nmt", "Precompiled",
    "precompiled_charsmap", "ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "WhitespaceSplit",
    "FixedLength", "length", "TemplateProcessing", "RobertaProcessing", "BertProcessing", "WordPiece", "WordLevel",
    "Unigram", "BPE", "CTC", "Fuse", "ByteFallback", "normalizers", "pretokenizers", "processors", "decoders",
    "pattern", "Regex", "String", "(?=a)", "(a*)*b", "\\p{L}+", "content", "prepend", "add_prefix_space",
    "prepend_scheme", "behavior", "Isolated", "MergedWithPrevious", "vocab", "merges", "unk_token", "unk_id",
    "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges", "added_tokens",
    "added_tokens_decoder", "special", "lstrip", "rstrip", "single_word", "normalized", "tokenizer_class",
    "LlamaTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer", "GemmaTokenizer", "extra_special_tokens",
    "additional_special_tokens", "bos_token", "chat_template", "<s>", "▁", "<0x0A>", "A", "B",
];

pub fn target() -> Target {
    Target {
        name: "tokenizer",
        about: "tokenizer.json, tokenizer_config.json and the older files beside them",
        form: Form::Json,
        words: WORDS,
        seeds: inputs,
        // The library holds vocabulary and merges in several tables; a trie of added tokens is about 1 KiB a letter.
        memory: Memory::new(1500, 64 << 20),
        short: 200,
        run,
    }
}

thread_local! {
    /// The folder that is written anew for each input.
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let Ok(Value::Object(files)) = serde_json::from_slice::<Value>(bytes) else {
        return Outcome::refused("no files");
    };
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("a folder"));
        write(folder.path(), &files).expect("a folder takes files");
        match folder_tokenizer(folder.path()) {
            Ok(tokenizer) => read(&tokenizer),
            Err(error) => Outcome::refused(error.to_string().replace(&folder.path().display().to_string(), "")),
        }
    })
}

fn write(folder: &std::path::Path, files: &Map<String, Value>) -> std::io::Result<()> {
    for name in FILES {
        let path = folder.join(name);
        match files.get(name) {
            Some(Value::String(text)) => fs::write(path, text)?,
            Some(value) => fs::write(path, value.to_string())?,
            None if path.exists() => fs::remove_file(path)?,
            None => {}
        }
    }
    Ok(())
}

fn read(tokenizer: &Tokenizer) -> Result<Outcome, String> {
    let again = Tokenizer::from_json(tokenizer.json(), tokenizer.special().clone(), u32::MAX);
    let again = again.map_err(|error| format!("what it writes of itself is not read: {error}"))?;
    let _said =
        (tokenizer.config_json(), tokenizer.generation_json(), tokenizer.added_tokens(), tokenizer.begin_text());
    let mut failed = None;
    for text in TEXTS {
        match (tokenizer.encode_prompt(text), again.encode_prompt(text)) {
            (Ok(ids), Ok(other)) => {
                hold(ids == other, || format!("what it writes of itself reads {text:?} otherwise"))?;
                let _text = (tokenizer.decode(&ids), tokenizer.decode_all(&ids));
            }
            (Err(error), _) | (_, Err(error)) => failed = Some(error.to_string()),
        }
        for place in [Place::Start, Place::Inside] {
            let _ids = (tokenizer.encode(text, place), tokenizer.encode_verbatim(text, place));
        }
        let _joined = tokenizer.encode_joined(text, TEXTS[1]);
    }
    Outcome::accepted(failed.unwrap_or_else(|| "reads".to_owned()))
}

/// Folders as the fixtures have them.
fn inputs() -> Vec<Vec<u8>> {
    let config =
        json!({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 520, "eos_token_id": 2});
    let tokenizers = seeds::fixtures("corpus/tokenizers");
    let tokenizers: Vec<Value> = tokenizers.iter().map(|text| serde_json::from_slice(text).expect("JSON")).collect();
    let plain = tokenizers.iter().map(|tokenizer| json!({"config.json": config, "tokenizer.json": tokenizer}));
    let folders: Value = serde_json::from_slice(&seeds::fixture("folders.json")).expect("JSON");
    let cases = folders["cases"].as_array().expect("cases").iter().filter_map(|case| {
        let mut files = case["files"].as_object()?.clone();
        files.insert("config.json".to_owned(), config.clone());
        files.insert("tokenizer.json".to_owned(), tokenizers.get(files.len() % tokenizers.len())?.clone());
        Some(Value::Object(files))
    });
    plain.chain(cases).map(|files| files.to_string().into_bytes()).collect()
}
