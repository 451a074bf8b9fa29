//! A `tokenizer.json` from the vocabulary in a GGUF file.
//!
//! Only byte-level BPE (`tokenizer.ggml.model = gpt2`) and only the pre-tokenizers named here: a wrong one gives wrong
//! ids without an error. candle's reader takes `smollm` for GPT-2 with a space put before the text, transformers'
//! reader leaves out the splitting of digits; what counts is what the model was trained with (llama.cpp,
//! `llama-vocab.cpp`, and the `tokenizer.json` of the original models).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::TokenizerError;
use crate::base::config::SpecialTokens;
use crate::base::gguf::{Gguf, Value as GgufValue};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const PRE: &str = "tokenizer.ggml.pre";

/// `pre_tokenizer` of Llama 3's `tokenizer.json`.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `enum llama_token_type`.
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;

/// How text is split before BPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pre {
    Gpt2,
    /// Each digit on its own, then as GPT-2.
    SmolLm,
    Llama3,
}

impl Pre {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "gpt-2" | "gpt2" => Self::Gpt2,
            "smollm" => Self::SmolLm,
            "llama3" | "llama-v3" | "llama-bpe" => Self::Llama3,
            _ => return None,
        })
    }

    fn to_json(self) -> Value {
        let bytes = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
        let split = match self {
            Self::Gpt2 => return bytes(true),
            Self::SmolLm => json!({"type": "Digits", "individual_digits": true}),
            Self::Llama3 => {
                json!({"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": false})
            }
        };
        json!({"type": "Sequence", "pretokenizers": [split, bytes(self == Self::SmolLm)]})
    }
}

/// What a file says of its tokenizer.
pub struct Vocabulary<'a> {
    name: &'a str,
    pre: Pre,
    tokens: Vec<&'a str>,
    types: Vec<u32>,
    merges: Vec<(&'a str, &'a str)>,
    /// The begin-of-text token, if it is put before every text.
    prefix: Option<u32>,
}

impl<'a> Vocabulary<'a> {
    pub fn read(gguf: &Gguf<'a>, special: &SpecialTokens) -> Result<Self, TokenizerError> {
        let text = |key: &'static str| gguf.get_as(key, GgufValue::as_str).map_err(|error| metadata(key, error));
        let unsupported = |key, found: Option<&str>, supported| {
            let found = found
                .map_or("missing".to_owned(), |found| format!("\"{}\"", found.chars().take(40).collect::<String>()));
            TokenizerError::Unsupported { key, found, supported }
        };
        let model = text("tokenizer.ggml.model")?;
        if model != Some("gpt2") {
            return Err(unsupported("tokenizer.ggml.model", model, "byte-level BPE vocabularies (\"gpt2\")"));
        }
        let name = text(PRE)?;
        let pre = name
            .and_then(Pre::parse)
            .ok_or_else(|| unsupported(PRE, name, "\"gpt-2\", \"smollm\" and \"llama-bpe\""))?;
        let tokens: Vec<_> = strings(gguf, TOKENS)?;
        if tokens.iter().collect::<BTreeSet<_>>().len() != tokens.len() {
            return Err(metadata(TOKENS, "a token occurs twice"));
        }
        let split = |merge: &'a str| merge.split_once(' ').ok_or_else(|| metadata(MERGES, "an entry is no pair"));
        let merges = strings(gguf, MERGES)?.into_iter().map(split).collect::<Result<_, _>>()?;
        let types = types(gguf, tokens.len())?;
        let adds = gguf.get_as("tokenizer.ggml.add_bos_token", GgufValue::as_bool);
        // llama.cpp's default for this pre-tokenizer.
        let adds = adds.map_err(|error| metadata(PRE, error))?.unwrap_or(pre == Pre::Llama3);
        let prefix = special.bos.filter(|&id| adds && (id as usize) < tokens.len());
        Ok(Self { name: name.unwrap_or_default(), pre, tokens, types, merges, prefix })
    }

    /// Everything that it says, framed, for the digest.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let string = |out: &mut Vec<u8>, text: &str| {
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        string(&mut out, self.name);
        out.extend_from_slice(&self.prefix.map_or(u64::MAX, u64::from).to_le_bytes());
        out.extend_from_slice(&(self.tokens.len() as u64).to_le_bytes());
        for (token, kind) in self.tokens.iter().zip(&self.types) {
            string(&mut out, token);
            out.extend_from_slice(&kind.to_le_bytes());
        }
        for (left, right) in &self.merges {
            string(&mut out, left);
            string(&mut out, right);
        }
        out
    }

    pub fn to_json(&self) -> Value {
        let vocab: Map<String, Value> =
            self.tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect();
        let merges: Vec<Value> = self.merges.iter().map(|(left, right)| json!([left, right])).collect();
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.added_tokens(),
            "normalizer": null,
            "pre_tokenizer": self.pre.to_json(),
            "post_processor": self.post_processor(),
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": self.pre == Pre::Llama3, "vocab": vocab, "merges": merges,
            },
        })
    }

    /// Tokens that are found in the text as they stand: control tokens, left out when decoding, and user-defined ones.
    fn added_tokens(&self) -> Vec<Value> {
        let kinds = self.tokens.iter().zip(&self.types).enumerate();
        let added = kinds.filter(|(_, (_, kind))| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED));
        added
            .map(|(id, (token, kind))| {
                json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                       "normalized": false, "special": *kind != USER_DEFINED})
            })
            .collect()
    }

    fn post_processor(&self) -> Value {
        let Some(token) = self.prefix.and_then(|id| self.tokens.get(id as usize)) else { return Value::Null };
        let (bos, text) =
            (json!({"SpecialToken": {"id": token, "type_id": 0}}), json!({"Sequence": {"id": "A", "type_id": 0}}));
        let second = json!({"Sequence": {"id": "B", "type_id": 1}});
        json!({
            "type": "TemplateProcessing", "single": [bos, text], "pair": [bos, text, second],
            "special_tokens": {*token: {"id": token, "ids": [self.prefix], "tokens": [token]}},
        })
    }
}

fn metadata(key: &'static str, reason: impl ToString) -> TokenizerError {
    TokenizerError::Metadata { key, reason: reason.to_string() }
}

fn strings<'a>(gguf: &Gguf<'a>, key: &'static str) -> Result<Vec<&'a str>, TokenizerError> {
    let array = gguf.get(key).and_then(GgufValue::as_array).and_then(|array| array.strings());
    array.map(Iterator::collect).ok_or_else(|| metadata(key, "a list of strings is missing"))
}

/// The kind of each token; all normal if the file has none.
fn types(gguf: &Gguf, tokens: usize) -> Result<Vec<u32>, TokenizerError> {
    let Some(array) = gguf.get_as(TYPES, GgufValue::as_array).map_err(|error| metadata(TYPES, error))? else {
        return Ok(vec![1; tokens]);
    };
    let types: Option<Vec<u32>> = array.iter().map(|kind| kind.as_u32()).collect();
    types.filter(|types| types.len() == tokens).ok_or_else(|| metadata(TYPES, "not one number a token"))
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use crate::base::gguf::sample::{self, Meta};
    use crate::base::gguf::{Gguf, special_tokens};

    fn tokenizer(file: &[u8]) -> Result<Tokenizer, super::TokenizerError> {
        let gguf = Gguf::parse(file).unwrap();
        Tokenizer::from_gguf(&gguf, special_tokens(&gguf).unwrap(), 64)
    }

    #[test]
    fn smollm_splits_digits_and_puts_no_space_before_the_text() {
        let tokenizer = tokenizer(&sample::llama()).unwrap();
        let one = tokenizer.encode_prompt("1").unwrap()[0];
        assert_eq!(tokenizer.encode_prompt("11").unwrap(), [one, one]);
        assert_eq!(tokenizer.encode_prompt("ab a").unwrap(), [3, 4]);
        assert_eq!(tokenizer.encode_prompt("<s>ab</s>").unwrap(), [0, 3, 1], "control tokens are found in the text");
        assert_eq!(tokenizer.decode(&[0, 3, 4, 1]).unwrap(), "ab a");
    }

    #[test]
    fn each_pre_tokenizer_loads_and_others_are_refused() {
        for pre in ["gpt-2", "smollm", "llama-bpe"] {
            let tokenizer = tokenizer(&sample::llama_with("tokenizer.ggml.pre", Meta::Text(pre))).unwrap();
            let with_prefix = tokenizer.encode_prompt("ab").unwrap().len() == 2;
            assert_eq!(with_prefix, pre == "llama-bpe", "{pre}");
        }
        for (key, value, expected) in [
            ("tokenizer.ggml.pre", "deepseek-llm", "\"deepseek-llm\""),
            ("tokenizer.ggml.model", "llama", "byte-level BPE"),
            ("tokenizer.ggml.tokens", "x", "list of strings"),
            ("tokenizer.ggml.token_type", "x", "wrong type"),
            ("tokenizer.ggml.merges", "x", "list of strings"),
        ] {
            let error = tokenizer(&sample::llama_with(key, Meta::Text(value))).unwrap_err().to_string();
            assert!(error.contains(expected), "{key}: {error}");
        }
    }
}
