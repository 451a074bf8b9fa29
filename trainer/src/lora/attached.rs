//! Adapters on a model: the LoRA pairs that act on each linear layer of each block.

use std::sync::Arc;

use potluck_protocol::base::{Architecture, LINEARS};
use potluck_protocol::limits::RANK_MAX;

use super::LoraError;
use super::adapter::{Adapter, AdapterTensor, Factor};
use super::layout::{Layout, Slot, place};
use crate::backend::real::Real;
use crate::backend::{Backend, Dropout, LoraPair, Trains};
use crate::random::splitmix64;

/// Linear layers of a block: [`LINEARS`], in that order.
pub const LINEAR_COUNT: usize = LINEARS.len();

/// The LoRA pairs that act on each linear layer of a block.
pub type Pairs<Buf> = [Vec<LoraPair<Buf>>; LINEAR_COUNT];

/// No pairs on any linear layer.
pub fn no_pairs<Buf>() -> Pairs<Buf> {
    std::array::from_fn(|_| Vec::new())
}

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
            let scale = adapter.config.scale() * f64::from(*weight);
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

    /// The factors of a layout as they are now: `trained` holds the first [`Layout::trained`] values, `frozen` the rest, if
    /// there are any. They may share the buffers' memory, so they are let go before those change.
    pub fn views(
        backend: &B,
        architecture: &Architecture,
        layout: &Layout,
        trained: &B::Buf,
        frozen: Option<&B::Buf>,
    ) -> Result<Self, LoraError> {
        let mut attached = Self::none(architecture);
        for module in &layout.modules {
            let view = |index: usize| {
                let Slot { offset, shape: [rows, cols], .. } = layout.slots[index];
                match frozen {
                    Some(frozen) if offset >= layout.trained => {
                        backend.view(frozen, offset - layout.trained, rows, cols)
                    }
                    _ => backend.view(trained, offset, rows, cols),
                }
            };
            let (a, b) = (view(module.a)?, view(module.b)?);
            let pair = LoraPair { a, b, scale: layout.config.scale(), dropout: None, trains: layout.trains };
            attached.layers[module.layer][module.linear].push(pair);
        }
        Ok(attached)
    }

    /// The same with a share `p` of every pair's input dropped. `rows` names the rows of the batch; each linear layer
    /// draws from a key of its own.
    #[must_use]
    pub fn with_dropout(mut self, p: f32, key: u64, rows: &Arc<[u64]>) -> Self {
        for (layer, linears) in (0u64..).zip(&mut self.layers) {
            for (linear, pairs) in (0u64..).zip(linears) {
                for pair in pairs {
                    let key = splitmix64(key.wrapping_add(layer * LINEAR_COUNT as u64 + linear));
                    pair.dropout = Some(Dropout { p, key, rows: Arc::clone(rows) });
                }
            }
        }
        self
    }

    /// The pairs of a layer, by linear layer; `layer` is below the model's number of layers.
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
