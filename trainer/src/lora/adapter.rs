//! An adapter on the host: settings and factors under the names that PEFT gives them.

use std::collections::BTreeMap;

use super::config::LoraConfig;

/// What PEFT puts before a module's path.
const PREFIX: &str = "base_model.model.";

/// Which of the two matrices of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Factor {
    /// `lora_A`, `[r, in]`.
    A,
    /// `lora_B`, `[out, r]`.
    B,
}

impl Factor {
    /// PEFT's name of this factor of the module at a path,
    /// e.g. `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub fn peft_name(self, module: &str) -> String {
        format!("{PREFIX}{module}{}", self.suffix())
    }

    /// The module's path and the factor that a PEFT name means; `None` for any other name.
    pub fn parse(peft_name: &str) -> Option<(&str, Self)> {
        let rest = peft_name.strip_prefix(PREFIX)?;
        [Self::A, Self::B].into_iter().find_map(|factor| Some((rest.strip_suffix(factor.suffix())?, factor)))
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::A => ".lora_A.weight",
            Self::B => ".lora_B.weight",
        }
    }
}

/// One factor's values, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterTensor {
    /// `[r, in]` for `lora_A`, `[out, r]` for `lora_B`.
    pub shape: [usize; 2],
    /// As many as the shape says.
    pub values: Vec<f32>,
}

/// An adapter as a PEFT folder holds it. The pairing and shapes of its tensors are checked where it meets a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// Rank and scale, and which modules have pairs.
    pub config: LoraConfig,
    /// By PEFT name, sorted.
    pub tensors: BTreeMap<String, AdapterTensor>,
}

impl Adapter {
    /// The factor of a module, if the adapter has it.
    pub fn factor(&self, module: &str, factor: Factor) -> Option<&AdapterTensor> {
        self.tensors.get(&factor.peft_name(module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peft_names_go_both_ways() {
        for factor in [Factor::A, Factor::B] {
            let name = factor.peft_name("model.layers.7.mlp.down_proj");
            assert_eq!(Factor::parse(&name), Some(("model.layers.7.mlp.down_proj", factor)));
        }
        assert_eq!(Factor::A.peft_name("m"), "base_model.model.m.lora_A.weight");
        assert_eq!(Factor::parse("model.layers.0.mlp.down_proj.weight"), None);
    }
}
