//! Settings of a LoRA adapter, with PEFT's names and meaning.

use potluck_protocol::base::{Architecture, LINEARS};
use serde::{Deserialize, Serialize};

use super::LoraError;
pub use super::targets::Targets;

/// A module's path and its `(out, in)`.
pub type Module = (String, (usize, usize));

/// Rank, scale and places of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the update, the same in every module.
    pub r: usize,
    /// The update is scaled by `lora_alpha / r`, or by `lora_alpha / sqrt(r)` with [`Self::use_rslora`].
    pub lora_alpha: f32,
    /// Rank-stabilised scale (Kalajdzievski 2023, arXiv 2312.03732).
    pub use_rslora: bool,
    /// Share of each pair's input that is dropped in training, from 0 to below 1.
    pub lora_dropout: f32,
    /// Modules that get a pair.
    pub target_modules: Targets,
    /// Names, as in [`Targets::Names`], of modules that get none although they are targets.
    pub exclude_modules: Vec<String>,
    /// Only these layers, from 0; `None` for all.
    pub layers_to_transform: Option<Vec<u32>>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self::new(16, 32.0, Targets::AllLinear)
    }
}

impl LoraConfig {
    /// Plain LoRA: everything else switched off.
    pub fn new(r: usize, lora_alpha: f32, target_modules: Targets) -> Self {
        Self {
            r,
            lora_alpha,
            use_rslora: false,
            lora_dropout: 0.0,
            target_modules,
            exclude_modules: Vec::new(),
            layers_to_transform: None,
        }
    }

    /// What `B A` is multiplied with.
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        f64::from(self.lora_alpha) / if self.use_rslora { r.sqrt() } else { r }
    }

    /// The selected modules of a model with their `(out, in)`, sorted by path.
    pub fn modules(&self, architecture: &Architecture) -> Result<Vec<Module>, LoraError> {
        let (targets, excluded) = (self.target_modules.matcher()?, Targets::Names(self.exclude_modules.clone()));
        let excluded = excluded.matcher()?;
        let layers = self.layers(architecture.num_hidden_layers)?;
        let paths =
            layers.iter().flat_map(|layer| LINEARS.iter().map(move |name| format!("model.layers.{layer}.{name}")));
        let selected = paths.filter(|path| targets.selects(path) && !excluded.selects(path));
        let mut modules: Vec<_> = selected
            .filter_map(|path| {
                let (out, inner) = architecture.module_shape(&path)?;
                Some((path, (out as usize, inner as usize)))
            })
            .collect();
        modules.sort();
        Ok(modules)
    }

    /// Layers that get pairs, ascending.
    fn layers(&self, count: u32) -> Result<Vec<u32>, LoraError> {
        let Some(chosen) = &self.layers_to_transform else { return Ok((0..count).collect()) };
        if let Some(&layer) = chosen.iter().find(|layer| **layer >= count) {
            return Err(LoraError::Layer { layer, last: count.saturating_sub(1) });
        }
        let mut layers = chosen.clone();
        layers.sort_unstable();
        layers.dedup();
        Ok(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small::architecture;

    fn paths(config: &LoraConfig) -> Vec<String> {
        config.modules(&architecture()).unwrap().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn rank_stabilised_scales_divide_by_the_root() {
        let plain = LoraConfig::new(16, 8.0, Targets::AllLinear);
        assert_eq!((plain.scale(), LoraConfig { use_rslora: true, ..plain }.scale()), (0.5, 2.0));
    }

    #[test]
    fn layers_and_exclusions_narrow_the_targets() {
        let names = Targets::Names(vec!["q_proj".to_owned(), "down_proj".to_owned()]);
        let config = LoraConfig::new(4, 4.0, names);
        let all = paths(&config);
        assert_eq!(all.len(), 2 * architecture().num_hidden_layers as usize);
        let narrowed = LoraConfig {
            exclude_modules: vec!["mlp.down_proj".to_owned()],
            layers_to_transform: Some(vec![1, 1]),
            ..config.clone()
        };
        assert_eq!(paths(&narrowed), ["model.layers.1.self_attn.q_proj"]);
        let beyond = LoraConfig { layers_to_transform: Some(vec![0, 99]), ..config };
        let error = beyond.modules(&architecture()).unwrap_err();
        assert!(matches!(error, LoraError::Layer { layer: 99, .. }), "{error}");
    }

    #[test]
    fn missing_fields_take_their_defaults_and_unknown_ones_are_refused() {
        let config: LoraConfig = serde_json::from_str(r#"{"r":4,"use_rslora":true}"#).unwrap();
        assert_eq!(config, LoraConfig { r: 4, use_rslora: true, ..LoraConfig::default() });
        assert!(serde_json::from_str::<LoraConfig>(r#"{"rank":4}"#).is_err());
    }
}
