//! Where each factor lies in one flat buffer: those that are trained first, then the frozen ones, each sorted by PEFT
//! name, without gaps. So the optimiser sees one run of values, and frozen ones have neither gradient nor moments.

use std::collections::BTreeMap;

use potluck_protocol::base::{Architecture, LINEARS};
use potluck_protocol::limits::RANK_MAX;

use super::LoraError;
use super::adapter::{Adapter, AdapterTensor, Factor};
use super::config::LoraConfig;
use crate::backend::Trains;

/// One factor within the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// PEFT's name.
    pub name: String,
    /// First element in the flat buffer.
    pub offset: usize,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Whether it gets gradients and moments.
    pub trained: bool,
}

impl Slot {
    /// Elements.
    pub fn len(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its elements in the flat buffer.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Where a module's two factors are.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// From 0.
    pub layer: usize,
    /// Index in `protocol::base::LINEARS`.
    pub linear: usize,
    /// Indices in [`Layout::slots`].
    pub a: usize,
    /// Index of its `lora_B` in [`Layout::slots`].
    pub b: usize,
}

/// All factors of an adapter in one flat buffer.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Rank, scale and places of the adapter.
    pub config: LoraConfig,
    /// Which factors of every pair are trained.
    pub trains: Trains,
    /// Sorted by name, whatever is trained.
    pub slots: Vec<Slot>,
    /// Sorted by path.
    pub modules: Vec<Module>,
    /// Elements of the flat buffer.
    pub len: usize,
    /// Elements of it that are trained: the first ones.
    pub trained: usize,
}

impl Layout {
    /// With both factors of every pair trained.
    pub fn new(config: &LoraConfig, architecture: &Architecture) -> Result<Self, LoraError> {
        Self::training(config, architecture, Trains::BOTH)
    }

    /// With the factors that `trains` names trained. An error if the settings fit no module of this architecture.
    pub fn training(config: &LoraConfig, architecture: &Architecture, trains: Trains) -> Result<Self, LoraError> {
        let (r, lora_alpha) = (config.r, config.lora_alpha);
        if !(1..=RANK_MAX as usize).contains(&r) || !lora_alpha.is_finite() || lora_alpha <= 0.0 {
            return Err(LoraError::Settings { r, lora_alpha, max: RANK_MAX as usize });
        }
        if !(0.0..1.0).contains(&config.lora_dropout) {
            return Err(LoraError::Dropout(config.lora_dropout));
        }
        let paths = config.modules(architecture)?;
        if paths.is_empty() {
            return Err(LoraError::NoTarget { targets: config.target_modules.to_string() });
        }
        let mut slots: Vec<Slot> = Vec::with_capacity(2 * paths.len());
        for (path, (out, inner)) in &paths {
            for (factor, shape) in [(Factor::A, [r, *inner]), (Factor::B, [*out, r])] {
                let trained = if factor == Factor::A { trains.a } else { trains.b };
                slots.push(Slot { name: factor.peft_name(path), offset: 0, shape, trained });
            }
        }
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let trained = place_slots(&mut slots, true, 0);
        let len = place_slots(&mut slots, false, trained);
        let modules = paths.iter().filter_map(|(path, _)| module(path, &slots)).collect();
        Ok(Self { config: config.clone(), trains, slots, modules, len, trained })
    }

    /// The values of an adapter with this layout's modules and rank, whose scale becomes this layout's.
    pub fn flat(&self, adapter: &Adapter) -> Result<Vec<f32>, LoraError> {
        let unscale = adapter.config.scale() / self.config.scale();
        let mut flat = vec![0.0; self.len];
        for slot in &self.slots {
            let tensor = adapter.tensors.get(&slot.name);
            let tensor = tensor.ok_or_else(|| LoraError::Absent { name: slot.name.clone() })?;
            if tensor.shape != slot.shape {
                let (name, got, expected) = (slot.name.clone(), tensor.shape, slot.shape);
                return Err(LoraError::Shape { name, got, expected, r: self.config.r });
            }
            let factor = Factor::parse(&slot.name).map(|(_, factor)| factor);
            let by = if factor == Some(Factor::B) { unscale } else { 1.0 };
            let values = tensor.values.iter().map(|&value| (f64::from(value) * by) as f32);
            flat[slot.range()].iter_mut().zip(values).for_each(|(to, value)| *to = value);
        }
        Ok(flat)
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

/// Gives the trained or the frozen slots their offsets, from `offset` on; returns where they end.
fn place_slots(slots: &mut [Slot], trained: bool, mut offset: usize) -> usize {
    for slot in slots.iter_mut().filter(|slot| slot.trained == trained) {
        slot.offset = offset;
        offset += slot.len();
    }
    offset
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small::architecture;
    use crate::lora::config::Targets;

    #[test]
    fn trained_factors_lie_first_and_names_keep_their_order() {
        let config = LoraConfig::new(2, 4.0, Targets::AllLinear);
        let both = Layout::new(&config, &architecture()).unwrap();
        assert_eq!((both.trained, both.slots.len()), (both.len, 28));
        let only_b = Layout::training(&config, &architecture(), Trains { a: false, b: true }).unwrap();
        assert_eq!(only_b.len, both.len);
        let names = |layout: &Layout| layout.slots.iter().map(|slot| slot.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&only_b), names(&both));
        for slot in &only_b.slots {
            assert_eq!(slot.name.contains("lora_B"), slot.range().end <= only_b.trained, "{}", slot.name);
        }
        let mut ranges: Vec<_> = only_b.slots.iter().map(Slot::range).collect();
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
    }

    #[test]
    fn an_adapter_comes_back_from_its_flat_buffer() {
        let config = LoraConfig { use_rslora: true, ..LoraConfig::new(4, 8.0, Targets::AllLinear) };
        let layout = Layout::training(&config, &architecture(), Trains { a: true, b: false }).unwrap();
        let values: Vec<f32> = (0..layout.len).map(|i| i as f32 / 7.0).collect();
        assert_eq!(layout.flat(&layout.adapter(&values)).unwrap(), values);
        let mut wrong = layout.adapter(&values);
        let name = layout.slots[3].name.clone();
        wrong.tensors.remove(&name);
        assert!(matches!(layout.flat(&wrong), Err(LoraError::Absent { name: found }) if found == name));
    }

    #[test]
    fn a_dropout_of_one_is_refused() {
        let config = LoraConfig { lora_dropout: 1.0, ..LoraConfig::default() };
        assert!(matches!(Layout::new(&config, &architecture()), Err(LoraError::Dropout(_))));
    }
}
