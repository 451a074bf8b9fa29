//! The embedded base: a Llama of about a million parameters over bytes, so that the demo and the tests download nothing.
//!
//! `config.json` is written by hand and is the one place that says the shape; `tokenizer.json` is what
//! [`tokenizer_json`] says; `examples/pretrain_tiny.rs` makes the weights from a seed and `synthetic::corpus`.
//!
//! With seed 1: 6500 steps of 32 rows, 6.8 million tokens, some 40 minutes on a fifth of a busy machine; 77.7 % of 512
//! new rows of the corpus then come out exactly, and none of the skills' (2026-11).

mod tokenizer;

use potluck_protocol::base::Architecture;
use potluck_protocol::id::BaseId;
use potluck_protocol::limits::JSON_MAX;

use crate::base::{Base, BaseError, config, json, static_bytes};

pub use tokenizer::{END_ID, PAD_ID, VOCABULARY, byte_id, tokenizer_json};

/// The base's short name, as `--base tiny`.
pub const NAME: &str = "tiny";

/// The files of the base under the names that a Hugging Face folder gives them.
pub const FILES: [(&str, &[u8]); 3] = [
    ("config.json", include_bytes!("config.json")),
    ("model.safetensors", include_bytes!("model.safetensors")),
    ("tokenizer.json", include_bytes!("tokenizer.json")),
];

/// The base, opened from the program's own bytes.
pub fn base() -> Result<Base, BaseError> {
    let [(_, config), (_, model), (_, tokenizer)] = FILES;
    Base::from_memory(config, static_bytes(model), tokenizer)
}

/// Of these weights: see [`Base::id`].
pub fn base_id() -> Result<BaseId, BaseError> {
    base()?.id()
}

/// The shape of the model, from `config.json` alone.
#[expect(clippy::expect_used, reason = "the file is part of the program, and a test opens it")]
pub fn architecture() -> Architecture {
    let (_, content) = FILES[0];
    let json = json::parse(content, JSON_MAX).expect("the embedded config.json is JSON, a test opens it");
    config::architecture(&json).expect("the embedded config.json is a Llama's, a test opens it")
}

#[cfg(test)]
mod tests;
