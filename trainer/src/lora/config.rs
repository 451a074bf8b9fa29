//! PEFT's settings of a LoRA adapter, as far as this trainer knows them.

use potluck_protocol::base::{Architecture, LINEARS};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// PEFT's keyword for every linear layer but the output projection.
const ALL_LINEAR: &str = "all-linear";

/// Which modules get an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every linear layer of every block; not `lm_head`.
    AllLinear,
    /// Module names such as `q_proj`. As in PEFT, a name selects each module whose path equals it or ends in
    /// `.` and it.
    Names(Vec<String>),
}

impl Targets {
    /// Whether the module at this path (e.g. `model.layers.0.self_attn.q_proj`) is selected.
    pub fn select(&self, module: &str) -> bool {
        let Self::Names(names) = self else { return true };
        names.iter().any(|name| module == name || module.strip_suffix(name.as_str()).is_some_and(|p| p.ends_with('.')))
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AllLinear => serializer.serialize_str(ALL_LINEAR),
            Self::Names(names) => names.serialize(serializer),
        }
    }
}

/// What PEFT allows in JSON: a keyword (or one name), or a list of names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Word(word) if word == ALL_LINEAR => Self::AllLinear,
            Written::Word(word) => Self::Names(vec![word]),
            Written::List(names) => Self::Names(names),
        })
    }
}

/// Rank, scale and places of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rank of the update, the same in every module.
    pub r: usize,
    /// The update is scaled by `lora_alpha / r`.
    pub lora_alpha: f32,
    pub target_modules: Targets,
}

impl LoraConfig {
    pub fn scale(&self) -> f32 {
        self.lora_alpha / self.r as f32
    }

    /// The selected modules of a model with their `(out, in)`, sorted by path.
    pub fn modules(&self, architecture: &Architecture) -> Vec<(String, (usize, usize))> {
        let layers = 0..architecture.num_hidden_layers;
        let paths = layers.flat_map(|layer| LINEARS.iter().map(move |linear| format!("model.layers.{layer}.{linear}")));
        let selected = paths.filter(|path| self.target_modules.select(path));
        let mut modules: Vec<_> = selected
            .filter_map(|path| {
                let (out, inner) = architecture.module_shape(&path)?;
                Some((path, (out as usize, inner as usize)))
            })
            .collect();
        modules.sort();
        modules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole_path_segments() {
        let targets = Targets::Names(vec!["q_proj".to_owned(), "mlp.up_proj".to_owned()]);
        assert!(targets.select("model.layers.0.self_attn.q_proj"));
        assert!(targets.select("model.layers.12.mlp.up_proj"));
        assert!(!targets.select("model.layers.0.self_attn.k_proj"));
        assert!(!targets.select("model.layers.0.self_attn.xq_proj"));
    }

    #[test]
    fn targets_are_written_as_peft_writes_them() {
        let check = |targets: Targets, json: &str| {
            assert_eq!(serde_json::to_string(&targets).unwrap(), json);
            assert_eq!(serde_json::from_str::<Targets>(json).unwrap(), targets);
        };
        check(Targets::AllLinear, r#""all-linear""#);
        check(Targets::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]), r#"["q_proj","v_proj"]"#);
    }
}
