//! The embedded base: a Llama of about a million parameters over bytes, so that the demo and the tests download nothing.
//!
//! `examples/pretrain_tiny.rs` makes the three files from a seed and `synthetic::corpus`; it is the only way they are made.

mod open;
mod tokenizer;

use potluck_protocol::base::{Architecture, F32Bits, Family};
use serde_json::json;

pub use open::{base, base_id};
pub use tokenizer::{END_ID, PAD_ID, VOCABULARY, byte_id, tokenizer_json};

/// The base's short name, as `--base tiny`.
pub const NAME: &str = "tiny";

/// The files of the base under the names that a Hugging Face folder gives them.
pub const FILES: [(&str, &[u8]); 3] = [
    ("config.json", include_bytes!("config.json")),
    ("model.safetensors", include_bytes!("model.safetensors")),
    ("tokenizer.json", include_bytes!("tokenizer.json")),
];

/// Positions that pretraining goes up to are under a hundred; rotary positions go further, at some loss.
const MAX_POSITIONS: u32 = 512;

/// The shape of the model.
pub fn architecture() -> Architecture {
    let bits = |value| F32Bits::new(value).expect("a finite constant");
    Architecture {
        family: Family::Llama,
        vocab_size: VOCABULARY,
        hidden_size: 128,
        intermediate_size: 352,
        num_hidden_layers: 5,
        num_attention_heads: 4,
        num_key_value_heads: 4,
        head_dim: 32,
        rms_norm_eps: bits(1e-5),
        rope_theta: bits(10_000.0),
        tie_word_embeddings: true,
    }
}

/// `config.json` as `transformers` reads it.
pub fn config_json() -> String {
    let a = architecture();
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": a.vocab_size,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": a.num_hidden_layers,
        "num_attention_heads": a.num_attention_heads,
        "num_key_value_heads": a.num_key_value_heads,
        "head_dim": a.head_dim,
        "hidden_act": "silu",
        "attention_bias": false,
        "mlp_bias": false,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": MAX_POSITIONS,
        "tie_word_embeddings": a.tie_word_embeddings,
        "bos_token_id": null,
        "eos_token_id": END_ID,
        "pad_token_id": PAD_ID,
        "torch_dtype": "float32",
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests;
