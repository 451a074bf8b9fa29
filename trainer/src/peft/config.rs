//! `adapter_config.json`, against a list of what is allowed.
//!
//! PEFT adds keys with every release, most of them switched off. A key that is not known here may stand if it is off
//! (null, false, empty); switched on, it could change what the adapter computes, and is refused by name.

use potluck_protocol::limits::{JSON_MAX, RANK_MAX};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::PeftError;
use crate::base::json::{self as strict, describe};

/// Patterns of one table, and bytes of one: a table names modules.
const PATTERNS_MAX: usize = 4096;
const PATTERN_MAX: usize = 256;
/// Memory of one compiled pattern.
const PATTERN_SIZE_MAX: usize = 1 << 18;

/// Keys that change nothing when a finished adapter is applied, whatever their value.
const IGNORED: [&str; 19] = [
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "peft_type",
    "loftq_config",
    "eva_config",
    "ensure_weight_tying",
];

/// Initialisations that leave the base as it is. Others (PiSSA, OLoRA, CorDA, LoftQ) train against a changed base.
const INITIALISATIONS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// Rank and scale of each module.
#[derive(Debug)]
pub struct Settings {
    r: usize,
    lora_alpha: f64,
    use_rslora: bool,
    rank_pattern: Vec<(Regex, usize)>,
    alpha_pattern: Vec<(Regex, f64)>,
}

impl Settings {
    pub fn parse(bytes: &[u8]) -> Result<Self, PeftError> {
        let value = strict::parse(bytes, JSON_MAX)?;
        let fields = value.as_object().ok_or(PeftError::NotAnObject)?;
        refuse_unsupported(fields)?;
        Ok(Self {
            r: rank("r", fields.get("r").ok_or(PeftError::Missing { field: "r" })?)?,
            lora_alpha: alpha(
                "lora_alpha",
                fields.get("lora_alpha").ok_or(PeftError::Missing { field: "lora_alpha" })?,
            )?,
            use_rslora: flag(fields, "use_rslora")?,
            rank_pattern: patterns(fields, "rank_pattern", rank)?,
            alpha_pattern: patterns(fields, "alpha_pattern", alpha)?,
        })
    }

    /// The rank that the settings give the module at a path such as `model.layers.0.mlp.up_proj`.
    pub fn rank(&self, module: &str) -> usize {
        lookup(&self.rank_pattern, module).unwrap_or(self.r)
    }

    /// What `B A` is multiplied with: `alpha / r`, or `alpha / sqrt(r)` if rank-stabilised (arXiv 2312.03732).
    pub fn scale(&self, module: &str) -> f64 {
        let alpha = lookup(&self.alpha_pattern, module).unwrap_or(self.lora_alpha);
        let rank = self.rank(module) as f64;
        if self.use_rslora { alpha / rank.sqrt() } else { alpha / rank }
    }
}

/// The first pattern that matches, as PEFT's `get_pattern_key` does it.
fn lookup<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, value)| *value)
}

fn refuse_unsupported(fields: &Map<String, Value>) -> Result<(), PeftError> {
    let unsupported = |field: &str, found: &Value, supported| {
        Err(PeftError::Unsupported { field: field.to_owned(), found: describe(found), supported })
    };
    if fields.get("peft_type") != Some(&json!("LORA")) {
        return unsupported("peft_type", fields.get("peft_type").unwrap_or(&Value::Null), "only \"LORA\" is");
    }
    if let Some(found) = fields.get("task_type").filter(|found| !found.is_null() && **found != json!("CAUSAL_LM")) {
        return unsupported("task_type", found, "only \"CAUSAL_LM\" is");
    }
    if let Some(found) = fields.get("bias").filter(|found| **found != json!("none")) {
        return unsupported("bias", found, "only \"none\" is");
    }
    if let Some(found) = fields.get("init_lora_weights").filter(|found| !leaves_the_base(found)) {
        return unsupported("init_lora_weights", found, "it changes the base; convert the adapter to plain LoRA first");
    }
    for (field, found) in fields {
        let read = ["r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias"].contains(&field.as_str());
        if !read && !IGNORED.contains(&field.as_str()) && !is_off(found) {
            let field: String = field.chars().take(80).collect();
            return unsupported(&field, found, "only plain LoRA with this feature off is");
        }
    }
    Ok(())
}

fn leaves_the_base(init: &Value) -> bool {
    init.is_boolean() || init.is_null() || init.as_str().is_some_and(|name| INITIALISATIONS.contains(&name))
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn wrong(field: &str, found: &Value, wanted: &'static str) -> PeftError {
    PeftError::Field { field: field.to_owned(), found: describe(found), wanted }
}

fn rank(field: &str, found: &Value) -> Result<usize, PeftError> {
    let bounded = found.as_u64().filter(|rank| (1..=u64::from(RANK_MAX)).contains(rank));
    bounded.map(|rank| rank as usize).ok_or_else(|| wrong(field, found, "a rank from 1 to 1024"))
}

fn alpha(field: &str, found: &Value) -> Result<f64, PeftError> {
    let positive = found.as_f64().filter(|alpha| alpha.is_finite() && *alpha > 0.0);
    positive.ok_or_else(|| wrong(field, found, "a number above zero"))
}

fn flag(fields: &Map<String, Value>, field: &str) -> Result<bool, PeftError> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(found) => found.as_bool().ok_or_else(|| wrong(field, found, "true or false")),
    }
}

/// A table from patterns to values, in the order of the file, which decides between two that match.
fn patterns<T>(
    fields: &Map<String, Value>,
    field: &'static str,
    read: impl Fn(&str, &Value) -> Result<T, PeftError>,
) -> Result<Vec<(Regex, T)>, PeftError> {
    let table = match fields.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(found) => found.as_object().ok_or_else(|| wrong(field, found, "an object"))?,
    };
    if table.len() > PATTERNS_MAX {
        return Err(wrong(field, &json!(table.len()), "at most 4096 patterns"));
    }
    table.iter().map(|(pattern, value)| Ok((compile(field, pattern)?, read(field, value)?))).collect()
}

/// PEFT matches `(.*\.)?(PATTERN)$` from the start of the module's path. Rust's engine takes linear time, whatever
/// the pattern; Python's look-arounds and back references are refused.
fn compile(field: &'static str, pattern: &str) -> Result<Regex, PeftError> {
    let refused = |reason: String| PeftError::Pattern { field, pattern: pattern.chars().take(80).collect(), reason };
    if pattern.len() > PATTERN_MAX {
        return Err(refused(format!("longer than {PATTERN_MAX} bytes")));
    }
    let whole = RegexBuilder::new(&format!(r"^(?:.*\.)?(?:{pattern})$")).size_limit(PATTERN_SIZE_MAX).build();
    whole.map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(change: Value) -> Result<Settings, PeftError> {
        let mut config = json!({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16,
            "target_modules": ["q_proj"], "bias": "none", "use_dora": false, "modules_to_save": null,
            "loftq_config": {}, "megatron_core": "megatron.core", "qalora_group_size": 16});
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Settings::parse(config.to_string().as_bytes())
    }

    #[test]
    fn patterns_match_as_peft_matches_them() {
        let settings = parse(json!({
            "rank_pattern": {"layers.1.mlp.up_proj": 2, "^model.layers.0.*proj": 4, "up_proj": 16},
            "alpha_pattern": {"q_proj": 32.0, "proj": 1},
        }))
        .unwrap();
        let check = |module: &str, rank, scale| {
            assert_eq!((settings.rank(module), settings.scale(module)), (rank, scale), "{module}");
        };
        check("model.layers.1.mlp.up_proj", 2, 8.0);
        check("model.layers.2.mlp.up_proj", 16, 1.0);
        check("model.layers.0.self_attn.q_proj", 4, 8.0);
        check("model.layers.1.self_attn.q_proj", 8, 4.0);
        // `proj` alone is no whole segment.
        check("model.layers.1.self_attn.k_proj", 8, 2.0);
    }

    #[test]
    fn rank_stabilised_scales_divide_by_the_root() {
        let settings = parse(json!({"use_rslora": true, "r": 4, "lora_alpha": 8})).unwrap();
        assert_eq!(settings.scale("model.layers.0.mlp.up_proj"), 4.0);
    }

    #[test]
    fn what_is_not_plain_lora_is_refused_by_name() {
        let cases = [
            (json!({"peft_type": "IA3"}), "peft_type"),
            (json!({"task_type": "SEQ_CLS"}), "task_type"),
            (json!({"bias": "all"}), "bias"),
            (json!({"use_dora": true}), "use_dora"),
            (json!({"modules_to_save": ["lm_head"]}), "modules_to_save"),
            (json!({"fan_in_fan_out": true}), "fan_in_fan_out"),
            (json!({"lora_bias": true}), "lora_bias"),
            (json!({"layer_replication": [[0, 1]]}), "layer_replication"),
            (json!({"trainable_token_indices": [1]}), "trainable_token_indices"),
            (json!({"some_new_feature": 3}), "some_new_feature"),
            (json!({"init_lora_weights": "pissa"}), "changes the base"),
            (json!({"r": 0}), "rank from 1"),
            (json!({"r": 1025}), "rank from 1"),
            (json!({"r": "8"}), "rank from 1"),
            (json!({"lora_alpha": 0}), "above zero"),
            (json!({"lora_alpha": "x"}), "above zero"),
            (json!({"use_rslora": 1}), "true or false"),
            (json!({"rank_pattern": {"a": 0}}), "rank from 1"),
            (json!({"rank_pattern": [1]}), "an object"),
            (json!({"alpha_pattern": {"(": 1}}), "no regular expression"),
            (json!({"alpha_pattern": {"(?=a)": 1}}), "no regular expression"),
            (json!({"alpha_pattern": {"a".repeat(300): 1}}), "longer than"),
            (json!({"alpha_pattern": {"(a{1000}){1000}": 1}}), "no regular expression"),
        ];
        for (change, expected) in cases {
            let error = parse(change.clone()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{change}: {error}");
        }
        for missing in ["r", "lora_alpha"] {
            let error = parse(json!({missing: null})).unwrap_err().to_string();
            assert!(error.contains(missing), "{error}");
        }
        assert!(matches!(Settings::parse(b"[]"), Err(PeftError::NotAnObject)));
        assert!(matches!(Settings::parse(b"{\"r\":1,\"r\":2}"), Err(PeftError::Json(_))));
        assert!(matches!(Settings::parse(&vec![b' '; JSON_MAX + 1]), Err(PeftError::Json(_))));
    }
}
