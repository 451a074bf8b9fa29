//! Bases from strangers: GGUF files, and the configuration of a Hugging Face folder.

use std::sync::Arc;

use potluck_protocol::limits::JSON_MAX;
use potluck_protocol::tensor::DType;
use potluck_trainer::base::{Base, Place, config, indexed_files, json};

use super::{Form, Memory, Outcome, Target, hold, seeds};

/// Texts that a tokenizer of strangers is given: pieces of words, blanks, what looks like a token, many scripts.
pub const TEXTS: [&str; 5] = ["", " Hello  world\n", "a  1 23 456's", "<s>x</s><|im_end|>", "é ﬁ İ 日本 🙂\u{301}"];

/// Keys and values of GGUF files.
#[rustfmt::skip]
const GGUF_WORDS: &[&str] = &[
    "llama", "general.architecture", "general.alignment", "llama.block_count", "llama.attention.head_count",
    "llama.attention.head_count_kv", "llama.attention.key_length", "llama.embedding_length", "llama.vocab_size",
    "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.merges",
    "tokenizer.ggml.add_bos_token", "tokenizer.chat_template", "llama-bpe", "gpt-2", "token_embd.weight",
    "output.weight", "blk.0.attn_q.weight", "a b",
];

/// Fields of configurations.
#[rustfmt::skip]
const CONFIG_WORDS: &[&str] = &[
    "model_type", "llama", "architectures", "LlamaForCausalLM", "eos_token_id", "bos_token_id", "head_dim",
    "hidden_size", "num_attention_heads", "num_key_value_heads", "vocab_size", "rope_parameters", "rope_scaling",
    "rope_theta", "default", "weight_map", "m-1.safetensors", "../m.safetensors", "max_position_embeddings",
];

pub fn targets() -> [Target; 2] {
    [
        Target {
            name: "gguf",
            about: "a base in one GGUF file: header, metadata, tokenizer, tensors",
            form: Form::Bytes,
            words: GGUF_WORDS,
            seeds: || {
                let names = ["gguf/tiny.gguf", "cases/gguf-hints/lora.gguf", "cases/gguf-hints/rope-linear.gguf"];
                names.map(seeds::fixture).into()
            },
            // A tokenizer is held as text, as values and as tables of its library.
            memory: Memory::new(100, 16 << 20),
            short: 60,
            run: gguf,
        },
        Target {
            name: "config",
            about: "config.json, generation_config.json and the index of split weights",
            form: Form::Json,
            words: CONFIG_WORDS,
            seeds: || {
                let names = ["peft/base/config.json", "peft/base/generation_config.json"];
                let mut all: Vec<_> = names.map(seeds::fixture).into();
                all.push(br#"{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#.to_vec());
                all.push(br#"{"model_type":"llama","vocab_size":4,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"rope_parameters":{"rope_theta":1e4,"rope_type":"default"},"eos_token_id":[1,2]}"#.to_vec());
                all
            },
            memory: JSON,
            short: 3000,
            run: configuration,
        },
    ]
}

/// `[` costs a byte and is a value, which is twice as large while its list grows; then the text is written again.
pub const JSON: Memory = Memory::new(300, 64 << 10);

fn gguf(bytes: &[u8]) -> Result<Outcome, String> {
    let base = match Base::from_gguf("x.gguf", Arc::new(bytes.to_vec())) {
        Ok(base) => base,
        Err(error) => return Outcome::refused(error),
    };
    hold(base.architecture().check().is_ok(), || "an architecture beyond its bounds".to_owned())?;
    let tokenizer = base.tokenizer();
    for text in TEXTS {
        for place in [Place::Start, Place::Inside] {
            match tokenizer.encode(text, place) {
                Ok(encoded) => {
                    let rows = base.architecture().vocab_size;
                    hold(encoded.ids.iter().all(|&id| id < rows), || "an id without a row".to_owned())?;
                    let _text = tokenizer.decode(&encoded.ids);
                }
                Err(error) => return Outcome::accepted(error.to_string()),
            }
        }
    }
    for (name, shape) in base.architecture().tensors() {
        let tensor = base.tensor(&name).map_err(|error| error.to_string())?;
        let same = tensor.shape.iter().map(|&size| size as u64).eq(shape);
        hold(same, || format!("`{name}` has another shape than the architecture says"))?;
    }
    let _finite = base.check_finite();
    hold(base.id().is_ok(), || "a base without an id".to_owned())?;
    Outcome::accepted("base")
}

fn configuration(bytes: &[u8]) -> Result<Outcome, String> {
    let value = match json::parse(bytes, JSON_MAX) {
        Ok(value) => value,
        Err(error) => return Outcome::refused(error),
    };
    let canonical = json::canonical(&value);
    let again = json::parse(&canonical, usize::MAX).map_err(|error| format!("canonical JSON is not read: {error}"))?;
    hold(json::canonical(&again) == canonical, || "canonical JSON is not canonical".to_owned())?;
    if let Ok(files) = indexed_files(&value) {
        let plain = files.iter().all(|file| !file.contains(['/', '\\']) && !file.starts_with('.'));
        hold(plain, || "an index leads out of its folder".to_owned())?;
        return Outcome::accepted("index");
    }
    let special = match config::special_tokens(&value) {
        Ok(special) => special,
        Err(error) => return Outcome::refused(error),
    };
    let positions = config::positions(&value);
    let architecture = match config::architecture(&value) {
        Ok(architecture) => architecture,
        Err(error) => return Outcome::refused(error),
    };
    let written = config::to_json(&architecture, &special, positions.unwrap_or_default(), DType::F32);
    let again = json::parse(written.as_bytes(), usize::MAX).map_err(|error| error.to_string())?;
    hold(config::architecture(&again).as_ref() == Ok(&architecture), || "it is written as another model".to_owned())?;
    hold(config::special_tokens(&again) == Ok(special), || "it is written with other tokens".to_owned())?;
    Outcome::accepted("model")
}
