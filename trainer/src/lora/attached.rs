//! Adapters on a model: the LoRA pairs that act on each linear layer of each block.

use potluck_protocol::base::Architecture;
use potluck_protocol::limits::RANK_MAX;

use super::LoraError;
use super::adapter::{Adapter, AdapterTensor, Factor};
use super::layout::{Layout, place};
use crate::backend::real::Real;
use crate::backend::{Backend, LoraPair, Trains};
use crate::model::block::Pairs;
use crate::model::decoder::no_pairs;

/// Any number of adapters, each with its weight, acting together. Their effects add up.
pub struct Attached<B: Backend> {
    layers: Vec<Pairs<B::Buf>>,
}

impl<B: Backend> Attached<B> {
    /// The base alone.
    pub fn none(architecture: &Architecture) -> Self {
        Self { layers: (0..architecture.num_hidden_layers).map(|_| no_pairs()).collect() }
    }

    /// Adapters with their weights: each update is multiplied by `weight * lora_alpha / r`. Names, pairing and shapes
    /// are checked against the architecture.
    pub fn load(backend: &B, architecture: &Architecture, adapters: &[(&Adapter, f32)]) -> Result<Self, LoraError> {
        let mut attached = Self::none(architecture);
        for (adapter, weight) in adapters {
            let (r, lora_alpha) = (adapter.config.r, adapter.config.lora_alpha);
            if !(1..=RANK_MAX as usize).contains(&r) || !lora_alpha.is_finite() {
                return Err(LoraError::Settings { r, lora_alpha, max: RANK_MAX as usize });
            }
            let scale = f64::from(adapter.config.scale()) * f64::from(*weight);
            for name in adapter.tensors.keys() {
                let Some((module, factor)) = Factor::parse(name) else {
                    return Err(LoraError::Unknown { name: name.clone() });
                };
                if factor == Factor::A {
                    attached.push(backend, architecture, adapter, module, scale)?;
                } else if adapter.factor(module, Factor::A).is_none() {
                    return Err(unpaired(module, Factor::A));
                }
            }
        }
        Ok(attached)
    }

    /// The factors of a flat buffer as they are now. They may share its memory, so they are let go before it changes.
    pub fn views(backend: &B, architecture: &Architecture, layout: &Layout, flat: &B::Buf) -> Result<Self, LoraError> {
        let mut attached = Self::none(architecture);
        let scale = f64::from(layout.config.scale());
        for module in &layout.modules {
            let view = |index: usize| {
                let slot = &layout.slots[index];
                backend.view(flat, slot.offset, slot.shape[0], slot.shape[1])
            };
            let pair = LoraPair { a: view(module.a)?, b: view(module.b)?, scale, dropout: None, trains: Trains::BOTH };
            attached.layers[module.layer][module.linear].push(pair);
        }
        Ok(attached)
    }

    pub fn pairs(&self, layer: usize) -> &Pairs<B::Buf> {
        &self.layers[layer]
    }

    fn push(
        &mut self,
        backend: &B,
        architecture: &Architecture,
        adapter: &Adapter,
        module: &str,
        scale: f64,
    ) -> Result<(), LoraError> {
        let unknown = || LoraError::Unknown { name: Factor::A.peft_name(module) };
        let (out, inner) = architecture.module_shape(module).ok_or_else(unknown)?;
        let (layer, linear) = place(module).ok_or_else(unknown)?;
        let r = adapter.config.r;
        let factor = |factor: Factor, expected: [usize; 2]| {
            let tensor = adapter.factor(module, factor).ok_or_else(|| unpaired(module, factor))?;
            check(tensor, &factor.peft_name(module), expected, r)?;
            let values = tensor.values.iter().map(|&value| B::Real::of(value.into())).collect();
            Ok::<_, LoraError>(backend.buffer(values, expected[0], expected[1])?)
        };
        let a = factor(Factor::A, [r, inner as usize])?;
        let b = factor(Factor::B, [out as usize, r])?;
        self.layers[layer][linear].push(LoraPair { a, b, scale, dropout: None, trains: Trains::BOTH });
        Ok(())
    }
}

fn unpaired(module: &str, missing: Factor) -> LoraError {
    LoraError::Unpaired { module: module.to_owned(), missing: missing.peft_name(module) }
}

fn check(tensor: &AdapterTensor, name: &str, expected: [usize; 2], r: usize) -> Result<(), LoraError> {
    if tensor.shape != expected {
        return Err(LoraError::Shape { name: name.to_owned(), got: tensor.shape, expected, r });
    }
    let got = tensor.values.len();
    if got != expected[0] * expected[1] {
        return Err(LoraError::Values { name: name.to_owned(), got, shape: expected });
    }
    Ok(())
}
