//! `config.json` of a Hugging Face folder: which architecture it states, and what of it is not supported.
//!
//! Every field that changes what a `LlamaForCausalLM` computes is read or refused. Other fields (`use_cache`,
//! `torch_dtype`, dropout in training, versions) change nothing here and are passed over.

use potluck_protocol::base::{Architecture, F32Bits, Family};
use potluck_protocol::codec::Malformed;
use potluck_protocol::tensor::DType;
use serde_json::{Map, Value, json};

use super::json::describe;

/// Ids of tokens with a meaning for generation and training.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a text, where the model was taught so.
    pub bos: Option<u32>,
    /// The first ends a training completion, each of them ends generation.
    pub eos: Vec<u32>,
}

/// Why a configuration gives no model that the trainer knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum ConfigError {
    #[error("the file is no JSON object")]
    NotAnObject,
    #[error("`{field}` is missing")]
    Missing { field: &'static str },
    #[error("`{field}` is {found}, {wanted} was expected")]
    WrongType { field: &'static str, found: String, wanted: &'static str },
    #[error("`{field}` is {found}, which is not supported: only {supported} is")]
    Unsupported { field: String, found: String, supported: &'static str },
    #[error("the sizes do not fit together: {0}")]
    Sizes(#[from] Malformed),
}

/// The architecture of a parsed `config.json`.
pub fn architecture(config: &Value) -> Result<Architecture, ConfigError> {
    let fields = Fields(config.as_object().ok_or(ConfigError::NotAnObject)?);
    refuse_unsupported(&fields)?;
    let heads = fields.size("num_attention_heads")?;
    let hidden = fields.size("hidden_size")?;
    let architecture = Architecture {
        family: Family::Llama,
        vocab_size: fields.size("vocab_size")?,
        hidden_size: hidden,
        intermediate_size: fields.size("intermediate_size")?,
        num_hidden_layers: fields.size("num_hidden_layers")?,
        num_attention_heads: heads,
        num_key_value_heads: fields.optional_size("num_key_value_heads")?.unwrap_or(heads),
        head_dim: fields.optional_size("head_dim")?.unwrap_or(hidden / heads.max(1)),
        // Defaults of transformers' `LlamaConfig`.
        rms_norm_eps: fields.float("rms_norm_eps", 1e-6)?,
        rope_theta: rope_theta(&fields)?,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?,
    };
    architecture.check()?;
    Ok(architecture)
}

fn refuse_unsupported(fields: &Fields) -> Result<(), ConfigError> {
    let unsupported = |field: &str, found: &Value, supported| {
        Err(ConfigError::Unsupported { field: field.to_owned(), found: describe(found), supported })
    };
    match fields.get("architectures") {
        Some(names) if *names != json!(["LlamaForCausalLM"]) => {
            return unsupported("architectures", names, "[\"LlamaForCausalLM\"]");
        }
        _ => {}
    }
    match fields.get("model_type") {
        Some(Value::String(name)) if name == "llama" => {}
        found => return unsupported("model_type", found.unwrap_or(&Value::Null), "\"llama\""),
    }
    for field in ["attention_bias", "mlp_bias"] {
        if fields.flag(field)? {
            return unsupported(field, &Value::Bool(true), "false");
        }
    }
    for field in ["quantization_config", "sliding_window", "transformers_weights"] {
        if let Some(found) = fields.get(field) {
            return unsupported(field, found, "its absence");
        }
    }
    match fields.get("hidden_act") {
        Some(found) if found.as_str() != Some("silu") => unsupported("hidden_act", found, "\"silu\""),
        _ => Ok(()),
    }
}

/// `rope_theta`, or since transformers 5 `rope_parameters.rope_theta`. Scaled rotary positions are refused.
fn rope_theta(fields: &Fields) -> Result<F32Bits, ConfigError> {
    let mut theta = fields.float("rope_theta", 10_000.0)?;
    for name in ["rope_scaling", "rope_parameters"] {
        let Some(found) = fields.get(name) else { continue };
        let wrong = || ConfigError::WrongType { field: "rope_parameters", found: describe(found), wanted: "an object" };
        let rope = Fields(found.as_object().ok_or_else(wrong)?);
        for (key, value) in rope.0 {
            let plain = match key.as_str() {
                "rope_theta" => true,
                "rope_type" | "type" => value.as_str() == Some("default"),
                _ => value.is_null(),
            };
            if !plain {
                let field = format!("{name}.{key}");
                let supported = "the default rotary position without scaling";
                return Err(ConfigError::Unsupported { field, found: describe(value), supported });
            }
        }
        if rope.get("rope_theta").is_some() {
            theta = rope.float("rope_theta", 10_000.0)?;
        }
    }
    Ok(theta)
}

/// Rows of the embedding.
pub fn vocabulary(config: &Value) -> Result<u32, ConfigError> {
    Fields(config.as_object().ok_or(ConfigError::NotAnObject)?).size("vocab_size")
}

/// How many positions the model was made for, where the configuration says it. Nothing here is computed from it.
pub fn positions(config: &Value) -> Result<Option<u32>, ConfigError> {
    Fields(config.as_object().ok_or(ConfigError::NotAnObject)?).optional_size("max_position_embeddings")
}

/// The token ids that `config.json` or `generation_config.json` states; either may be missing.
pub fn special_tokens(config: &Value) -> Result<SpecialTokens, ConfigError> {
    let fields = Fields(config.as_object().ok_or(ConfigError::NotAnObject)?);
    let eos = match fields.get("eos_token_id") {
        None => Vec::new(),
        Some(Value::Array(ids)) => {
            let wrong = |found: &Value| fields.wrong("eos_token_id", found, "token ids");
            ids.iter().map(|id| as_u32(id).ok_or_else(|| wrong(id))).collect::<Result<_, _>>()?
        }
        Some(_) => fields.optional_size("eos_token_id")?.into_iter().collect(),
    };
    Ok(SpecialTokens { bos: fields.optional_size("bos_token_id")?, eos })
}

/// A `config.json` with the fields that transformers needs, keys sorted.
pub fn to_json(architecture: &Architecture, special: &SpecialTokens, positions: Option<u32>, dtype: DType) -> String {
    let theta = f64::from(architecture.rope_theta.get());
    let torch_dtype = match dtype {
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        _ => "float32",
    };
    let eos = match special.eos.as_slice() {
        [] => Value::Null,
        [one] => json!(one),
        several => json!(several),
    };
    let mut fields = json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "bos_token_id": special.bos,
        "eos_token_id": eos,
        "head_dim": architecture.head_dim,
        "hidden_act": "silu",
        "hidden_size": architecture.hidden_size,
        "intermediate_size": architecture.intermediate_size,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": architecture.num_attention_heads,
        "num_hidden_layers": architecture.num_hidden_layers,
        "num_key_value_heads": architecture.num_key_value_heads,
        "rms_norm_eps": f64::from(architecture.rms_norm_eps.get()),
        "rope_scaling": null,
        "rope_theta": theta,
        "tie_word_embeddings": architecture.tie_word_embeddings,
        "torch_dtype": torch_dtype,
        "vocab_size": architecture.vocab_size,
    });
    if let Some(positions) = positions {
        fields["max_position_embeddings"] = json!(positions);
    }
    format!("{fields:#}\n")
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// The field, unless it is absent or null.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, field: &'static str, found: &Value, wanted: &'static str) -> ConfigError {
        ConfigError::WrongType { field, found: describe(found), wanted }
    }

    fn optional_size(&self, field: &'static str) -> Result<Option<u32>, ConfigError> {
        let read = |found| as_u32(found).ok_or_else(|| self.wrong(field, found, "a whole number from 0 to 2^32 - 1"));
        self.get(field).map(read).transpose()
    }

    fn size(&self, field: &'static str) -> Result<u32, ConfigError> {
        self.optional_size(field)?.ok_or(ConfigError::Missing { field })
    }

    fn flag(&self, field: &'static str) -> Result<bool, ConfigError> {
        match self.get(field) {
            None => Ok(false),
            Some(found) => found.as_bool().ok_or_else(|| self.wrong(field, found, "true or false")),
        }
    }

    fn float(&self, field: &'static str, default: f32) -> Result<F32Bits, ConfigError> {
        let Some(found) = self.get(field) else {
            return F32Bits::new(default).ok_or(ConfigError::Missing { field });
        };
        let value = found.as_f64().and_then(|value| F32Bits::new(value as f32));
        value.ok_or_else(|| self.wrong(field, found, "a finite number"))
    }
}

fn as_u32(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|value| value.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smollm2() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "bos_token_id": 1,
            "eos_token_id": 2, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
            "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-5, "rope_scaling": null,
            "rope_theta": 100000, "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 49152,
            "use_cache": true, "max_position_embeddings": 8192, "pretraining_tp": 1
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut config = smollm2();
        config[field] = value;
        config
    }

    #[test]
    fn smollm2_is_understood_in_both_spellings_of_rope() {
        let read = architecture(&smollm2()).unwrap();
        assert_eq!((read.head_dim, read.num_key_value_heads, read.rope_theta.get()), (64, 3, 100_000.0));
        let mut five = with("rope_parameters", json!({"rope_theta": 100000.0, "rope_type": "default"}));
        five.as_object_mut().unwrap().remove("rope_theta");
        assert_eq!(architecture(&five), Ok(read));
        let special = special_tokens(&with("eos_token_id", json!([2, 7]))).unwrap();
        assert_eq!(special, SpecialTokens { bos: Some(1), eos: vec![2, 7] });
    }

    #[test]
    fn what_is_written_is_read_back() {
        let read = architecture(&smollm2()).unwrap();
        for (eos, positions) in [(vec![], None), (vec![2], Some(8192)), (vec![2, 3], Some(1))] {
            let special = SpecialTokens { bos: None, eos };
            let written: Value = serde_json::from_str(&to_json(&read, &special, positions, DType::BF16)).unwrap();
            assert_eq!(super::positions(&written), Ok(positions));
            assert_eq!(architecture(&written), Ok(read.clone()));
            assert_eq!(special_tokens(&written), Ok(special));
        }
    }

    #[test]
    fn an_unsupported_field_is_named() {
        let cases = [
            ("architectures", json!(["MistralForCausalLM"]), "LlamaForCausalLM"),
            ("model_type", json!("mistral"), "only \"llama\""),
            ("attention_bias", json!(true), "only false"),
            ("mlp_bias", json!(true), "only false"),
            ("mlp_bias", json!("no"), "true or false"),
            ("hidden_act", json!("gelu"), "only \"silu\""),
            ("rope_scaling", json!({"rope_type": "llama3", "factor": 32.0}), "rope_scaling.rope_type"),
            ("rope_parameters", json!({"rope_type": "default", "partial_rotary_factor": 0.5}), "partial_rotary_factor"),
            ("rope_parameters", json!(7), "an object"),
            ("rope_theta", json!("x"), "a finite number"),
            ("quantization_config", json!({"bits": 4}), "its absence"),
            ("transformers_weights", json!("other.safetensors"), "its absence"),
            ("hidden_size", json!(-5), "a whole number"),
            ("hidden_size", json!(576.5), "a whole number"),
            ("hidden_size", json!(4_294_967_296u64), "a whole number"),
            ("vocab_size", json!(0), "vocab_size is 0"),
            ("num_key_value_heads", json!(4), "no multiple"),
            ("head_dim", json!(63), "odd"),
            ("rms_norm_eps", json!(-1.0), "negative"),
            ("vocab_size", Value::Null, "`vocab_size` is missing"),
        ];
        for (field, value, expected) in cases {
            let error = architecture(&with(field, value)).expect_err(field).to_string();
            assert!(error.contains(expected), "{field}: {error}");
        }
        assert_eq!(architecture(&json!([])), Err(ConfigError::NotAnObject));
    }
}
