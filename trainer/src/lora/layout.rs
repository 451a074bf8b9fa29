//! Where each factor lies in one flat buffer: sorted by PEFT name, without gaps.

use std::collections::BTreeMap;

use potluck_protocol::base::{Architecture, LINEARS};
use potluck_protocol::limits::RANK_MAX;

use super::LoraError;
use super::adapter::{Adapter, AdapterTensor, Factor};
use super::config::LoraConfig;

/// One factor within the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// PEFT's name.
    pub name: String,
    pub offset: usize,
    pub shape: [usize; 2],
}

impl Slot {
    pub fn len(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Where a module's two factors are.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    pub layer: usize,
    /// Index in `protocol::base::LINEARS`.
    pub linear: usize,
    /// Indices in [`Layout::slots`].
    pub a: usize,
    pub b: usize,
}

/// All factors of an adapter in one flat buffer.
#[derive(Clone, Debug)]
pub struct Layout {
    pub config: LoraConfig,
    pub slots: Vec<Slot>,
    pub modules: Vec<Module>,
    /// Elements of the flat buffer.
    pub len: usize,
}

impl Layout {
    pub fn new(config: &LoraConfig, architecture: &Architecture) -> Result<Self, LoraError> {
        let (r, lora_alpha) = (config.r, config.lora_alpha);
        if !(1..=RANK_MAX as usize).contains(&r) || !lora_alpha.is_finite() || lora_alpha <= 0.0 {
            return Err(LoraError::Settings { r, lora_alpha, max: RANK_MAX as usize });
        }
        let paths = config.modules(architecture);
        if paths.is_empty() {
            return Err(LoraError::NoTarget { targets: format!("{:?}", config.target_modules) });
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(2 * paths.len());
        for (path, (out, inner)) in &paths {
            for (factor, shape) in [(Factor::A, [r, *inner]), (Factor::B, [*out, r])] {
                slots.push(Slot { name: factor.peft_name(path), offset: 0, shape });
            }
        }
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let mut len = 0;
        for slot in &mut slots {
            slot.offset = len;
            len += slot.len();
        }
        let modules = paths.iter().filter_map(|(path, _)| module(path, &slots)).collect();
        Ok(Self { config: config.clone(), slots, modules, len })
    }

    /// The factors of a flat buffer under their names.
    pub fn adapter(&self, flat: &[f32]) -> Adapter {
        let tensors = self.slots.iter().map(|slot| {
            let values = flat[slot.range()].to_vec();
            (slot.name.clone(), AdapterTensor { shape: slot.shape, values })
        });
        Adapter { config: self.config.clone(), tensors: tensors.collect::<BTreeMap<_, _>>() }
    }
}

fn module(path: &str, slots: &[Slot]) -> Option<Module> {
    let find = |factor: Factor| {
        let name = factor.peft_name(path);
        slots.binary_search_by(|slot| slot.name.cmp(&name)).ok()
    };
    let (layer, linear) = place(path)?;
    Some(Module { layer, linear, a: find(Factor::A)?, b: find(Factor::B)? })
}

/// Layer and linear layer of a module's path, e.g. of `model.layers.3.mlp.up_proj`.
pub fn place(path: &str) -> Option<(usize, usize)> {
    let (layer, linear) = path.strip_prefix("model.layers.")?.split_once('.')?;
    Some((layer.parse().ok()?, LINEARS.iter().position(|name| *name == linear)?))
}
