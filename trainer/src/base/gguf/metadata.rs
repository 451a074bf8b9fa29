//! Architecture and special tokens from a file's metadata.

use potluck_protocol::base::{Architecture, F32Bits, Family};

use super::header::Gguf;
use super::value::Value;
use super::{GgufError, shorten};
use crate::base::config::SpecialTokens;

/// Keys under `llama.` that change nothing, or that [`architecture`] reads. Any other could change what the model
/// computes (rope scaling, experts, sliding windows, logit scales), and is refused.
const KNOWN: [&str; 14] = [
    "llama.attention.head_count",
    "llama.attention.head_count_kv",
    "llama.attention.key_length",
    "llama.attention.layer_norm_rms_epsilon",
    "llama.attention.value_length",
    "llama.block_count",
    "llama.context_length",
    "llama.embedding_length",
    "llama.feed_forward_length",
    "llama.rope.dimension_count",
    "llama.rope.freq_base",
    "llama.rope.scaling.type",
    "llama.tensor_data_layout",
    "llama.vocab_size",
];

/// What the metadata and the table of tensors say about the model.
pub fn architecture(gguf: &Gguf) -> Result<Architecture, GgufError> {
    refuse_unsupported(gguf)?;
    let hidden = size(gguf, "llama.embedding_length")?;
    let heads = size(gguf, "llama.attention.head_count")?;
    let number = |key| gguf.get_as(key, Value::as_u32);
    let head_dim = number("llama.attention.key_length")?.unwrap_or(hidden / heads.max(1));
    for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
        if let Some(found) = number(key)?.filter(|&found| found != head_dim) {
            return Err(unsupported(key, found.to_string(), "the dimension of a head"));
        }
    }
    let architecture = Architecture {
        family: Family::Llama,
        vocab_size: vocabulary(gguf)?,
        hidden_size: hidden,
        intermediate_size: size(gguf, "llama.feed_forward_length")?,
        num_hidden_layers: size(gguf, "llama.block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: number("llama.attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        rms_norm_eps: float(gguf, "llama.attention.layer_norm_rms_epsilon", None)?,
        // llama.cpp's default.
        rope_theta: float(gguf, "llama.rope.freq_base", Some(10_000.0))?,
        tie_word_embeddings: !gguf.tensors.iter().any(|tensor| tensor.name == "output.weight"),
    };
    architecture.check()?;
    Ok(architecture)
}

/// How many positions the model was made for.
pub fn positions(gguf: &Gguf) -> Result<Option<u32>, GgufError> {
    gguf.get_as("llama.context_length", Value::as_u32)
}

fn refuse_unsupported(gguf: &Gguf) -> Result<(), GgufError> {
    let text = |key| gguf.get_as(key, Value::as_str);
    let number = |key| gguf.get_as(key, Value::as_u32);
    if let Some(count) = number("split.count")?.filter(|&count| count > 1) {
        let number = number("split.no")?.unwrap_or_default().saturating_add(1);
        return Err(GgufError::Split { number, count });
    }
    if let Some(kind) = text("general.type")?.filter(|&kind| kind != "model") {
        return Err(GgufError::NoModel(shorten(kind)));
    }
    let family = text("general.architecture")?.ok_or(GgufError::KeyMissing("general.architecture"))?;
    if family != "llama" {
        return Err(unsupported("general.architecture", format!("\"{}\"", shorten(family)), "\"llama\""));
    }
    if let Some(found) = text("llama.rope.scaling.type")?.filter(|&found| found != "none") {
        return Err(unsupported("llama.rope.scaling.type", shorten(found), "\"none\""));
    }
    for (key, value) in &gguf.metadata {
        if key.starts_with("llama.") && !KNOWN.contains(key) {
            return Err(unsupported(key, value.describe(), "its absence"));
        }
    }
    Ok(())
}

fn unsupported(key: &str, found: String, supported: &'static str) -> GgufError {
    GgufError::Unsupported { key: shorten(key), found, supported }
}

fn size(gguf: &Gguf, key: &'static str) -> Result<u32, GgufError> {
    gguf.get_as(key, Value::as_u32)?.ok_or(GgufError::KeyMissing(key))
}

fn float(gguf: &Gguf, key: &'static str, default: Option<f64>) -> Result<F32Bits, GgufError> {
    let found = gguf.get_as(key, Value::as_f64)?.or(default).ok_or(GgufError::KeyMissing(key))?;
    let wrong = || GgufError::Value { key: key.to_owned(), reason: "the value is not finite" };
    F32Bits::new(found as f32).ok_or_else(wrong)
}

/// Rows of the embedding: files leave `llama.vocab_size` out, and the list of tokens may be shorter.
fn vocabulary(gguf: &Gguf) -> Result<u32, GgufError> {
    let embedding = gguf.tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
    let rows = embedding.and_then(|tensor| tensor.shape.first()).and_then(|&rows| u32::try_from(rows).ok());
    let missing = || GgufError::Tensor { name: "token_embd.weight".to_owned(), reason: "it is missing or too long" };
    rows.ok_or_else(missing)
}

/// Token ids; the end of a turn counts as an end of text.
pub fn special_tokens(gguf: &Gguf) -> Result<SpecialTokens, GgufError> {
    let id = |key| gguf.get_as(key, Value::as_u32);
    let ends = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    let mut eos = Vec::new();
    for key in ends {
        eos.extend(id(key)?.filter(|found| !eos.contains(found)));
    }
    Ok(SpecialTokens { bos: id("tokenizer.ggml.bos_token_id")?, eos })
}

/// The source of the chat template, if the file has one.
pub fn chat_template<'a>(gguf: &Gguf<'a>) -> Result<Option<&'a str>, GgufError> {
    gguf.get_as("tokenizer.chat_template", Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{self, Meta};
    use super::*;

    #[test]
    fn a_small_file_is_understood() {
        let bytes = sample::llama();
        let gguf = Gguf::parse(&bytes).unwrap();
        let found = architecture(&gguf).unwrap();
        assert_eq!((found.hidden_size, found.num_hidden_layers, found.head_dim), (32, 1, 16));
        assert!(found.tie_word_embeddings);
        assert_eq!(special_tokens(&gguf).unwrap(), SpecialTokens { bos: Some(0), eos: vec![1] });
    }

    #[test]
    fn the_chat_template_is_a_text() {
        let template = |bytes: &[u8]| chat_template(&Gguf::parse(bytes).unwrap()).map(|found| found.map(str::to_owned));
        assert_eq!(template(&sample::llama()), Ok(None));
        let with = |value| template(&sample::llama_with("tokenizer.chat_template", value));
        assert_eq!(with(Meta::Text("{{ messages }}")), Ok(Some("{{ messages }}".to_owned())));
        assert!(with(Meta::U32(1)).unwrap_err().to_string().contains("chat_template"));
    }

    #[test]
    fn wrongly_typed_and_unsupported_gguf_metadata_is_named() {
        let cases = [
            ("general.architecture", Meta::Text("gemma"), "only \"llama\""),
            ("llama.rope.scaling.type", Meta::Text("linear"), "only \"none\""),
            ("llama.expert_count", Meta::U32(8), "llama.expert_count"),
            ("llama.rope.dimension_count", Meta::U32(8), "dimension of a head"),
            ("llama.block_count", Meta::Text("one"), "wrong type"),
            ("llama.attention.head_count_kv", Meta::U32(0), "num_key_value_heads is 0"),
            ("llama.attention.layer_norm_rms_epsilon", Meta::F32(f32::NAN), "not finite"),
        ];
        for (key, value, expected) in cases {
            let bytes = sample::llama_with(key, value);
            let error = Gguf::parse(&bytes).and_then(|gguf| architecture(&gguf)).expect_err(key).to_string();
            assert!(error.contains(expected), "{key}: {error}");
        }
    }
}
