//! What training changes: parameters, moments, and the gradients of the step under way.

use std::sync::Arc;

use super::FitError;
use crate::backend::real::Real;
use crate::backend::{AdamWState, AdamWStep, Backend, LoraGrad, Target};
use crate::lora::attached::Attached;
use crate::lora::layout::Layout;
use crate::model::batch::Batch;
use crate::model::block::Recompute;
use crate::model::decoder::{Model, Training};
use crate::random::splitmix64;

/// Sets the draws of dropout apart from those of the order.
const DROPOUT: u64 = 0x6472_6f70_6f75_7400;

/// Trainable factors of one adapter on one model. Everything is flat, where [`Layout`] says.
pub struct TrainState<'a, B: Backend> {
    model: &'a Model<B>,
    layout: Layout,
    /// The trained factors.
    params: B::Buf,
    /// The others, as they were at the start.
    frozen: Option<B::Buf>,
    frozen_host: Vec<f32>,
    first: B::Buf,
    second: B::Buf,
    grads: B::Buf,
    recompute: Recompute,
}

/// Parameters and moments on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostState {
    /// All factors, trained ones first.
    pub params: Vec<f32>,
    /// Of trained factors only.
    pub first: Vec<f32>,
    /// Running means of squared gradients, of trained factors only.
    pub second: Vec<f32>,
}

impl HostState {
    /// A start: these parameters, of which the first `trained` have moments, all zero.
    pub fn fresh(params: Vec<f32>, trained: usize) -> Self {
        Self { params, first: vec![0.0; trained], second: vec![0.0; trained] }
    }
}

/// What dropout is drawn from in one pass over a micro-batch: a key for the step, and a name for each row that does not
/// depend on how the step is cut.
#[derive(Clone, Debug)]
pub struct Dropped {
    key: u64,
    rows: Arc<[u64]>,
}

impl Dropped {
    /// For these samples, by their indices in the data, of so many rows each. A row's name is
    /// `sample * 2^32 + position`; a step sees no sample twice.
    pub fn new(seed: u64, step: u64, samples: &[usize], lengths: &[usize]) -> Self {
        let key = splitmix64(splitmix64(seed ^ DROPOUT).wrapping_add(step));
        let rows = samples.iter().zip(lengths).flat_map(|(&sample, &length)| {
            let first = (sample as u64) << 32;
            (0..length as u64).map(move |position| first | position)
        });
        Self { key, rows: rows.collect() }
    }
}

impl<'a, B: Backend> TrainState<'a, B> {
    /// Moves a start to the model's backend; `start` lies as `layout` says.
    pub fn new(model: &'a Model<B>, layout: Layout, start: &HostState, recompute: Recompute) -> Result<Self, FitError> {
        let backend = model.backend();
        let load = |values: &[f32]| {
            let values: Vec<B::Real> = values.iter().map(|&value| B::Real::of(value.into())).collect();
            let len = values.len();
            backend.buffer(values, 1, len)
        };
        let (trained, still) = start.params.split_at(layout.trained);
        let params = load(trained)?;
        let frozen = if still.is_empty() { None } else { Some(load(still)?) };
        let (first, second, grads) = (load(&start.first)?, load(&start.second)?, load(&vec![0.0; layout.trained])?);
        Ok(Self { model, params, frozen, frozen_host: still.to_vec(), layout, first, second, grads, recompute })
    }

    /// Adds the gradients of `scale * sum(losses)` of a micro-batch; returns the losses, one for each target. Nothing is
    /// dropped.
    pub fn accumulate(&mut self, batch: &Batch, targets: &[Target], scale: f64) -> Result<Vec<f64>, FitError> {
        let adapters = self.adapters()?;
        self.accumulate_with(&adapters, batch, targets, scale)
    }

    /// The same with the layout's `lora_dropout`.
    pub fn accumulate_dropped(
        &mut self,
        batch: &Batch,
        targets: &[Target],
        scale: f64,
        dropped: &Dropped,
    ) -> Result<Vec<f64>, FitError> {
        let p = self.layout.config.lora_dropout;
        let adapters = self.adapters()?;
        let adapters = if p > 0.0 { adapters.with_dropout(p, dropped.key, &dropped.rows) } else { adapters };
        self.accumulate_with(&adapters, batch, targets, scale)
    }

    fn accumulate_with(
        &mut self,
        adapters: &Attached<B>,
        batch: &Batch,
        targets: &[Target],
        scale: f64,
    ) -> Result<Vec<f64>, FitError> {
        let (backend, layout, grads) = (self.model.backend(), &self.layout, &mut self.grads);
        let mut sink = |layer: usize, linear: usize, _pair: usize, grad: LoraGrad<B::Buf>| {
            let place = layout.modules.iter().find(|module| module.layer == layer && module.linear == linear);
            let Some(module) = place else { return Ok(()) };
            for (slot, grad) in [(module.a, grad.a), (module.b, grad.b)] {
                if let Some(grad) = grad {
                    backend.accumulate(grads, layout.slots[slot].offset, &grad)?;
                }
            }
            Ok(())
        };
        let training = Training { scale, recompute: self.recompute, sink: &mut sink };
        Ok(self.model.losses_and_gradients(batch, targets, adapters, training)?)
    }

    /// The norm over all trained factors, before clipping.
    pub fn grad_norm(&self) -> Result<f64, FitError> {
        Ok(self.model.backend().sum_squares(&self.grads)?.sqrt())
    }

    /// The accumulated gradients, flat.
    pub fn gradients(&self) -> Result<Vec<B::Real>, FitError> {
        Ok(self.model.backend().read(&self.grads)?)
    }

    /// The trained factors that have never had a gradient: their first moments are zero.
    pub fn untouched(&self) -> Result<Vec<String>, FitError> {
        let (backend, mut names) = (self.model.backend(), Vec::new());
        for slot in self.layout.slots.iter().filter(|slot| slot.trained) {
            let view = backend.view(&self.first, slot.offset, slot.shape[0], slot.shape[1])?;
            if backend.sum_squares(&view)? == 0.0 {
                names.push(slot.name.clone());
            }
        }
        Ok(names)
    }

    /// Applies the accumulated gradients and clears them.
    pub fn update(&mut self, step: &AdamWStep) -> Result<(), FitError> {
        let backend = self.model.backend();
        let state = AdamWState { params: &mut self.params, first: &mut self.first, second: &mut self.second };
        backend.adamw(state, &self.grads, step)?;
        self.clear()
    }

    /// Forgets accumulated gradients.
    pub fn clear(&mut self) -> Result<(), FitError> {
        Ok(self.model.backend().fill_zero(&mut self.grads)?)
    }

    /// Where each factor lies in the flat buffers.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The adapter as it is now, for a forward pass; let go before [`Self::update`], which changes what it views.
    pub fn adapters(&self) -> Result<Attached<B>, FitError> {
        Ok(Attached::views(
            self.model.backend(),
            self.model.architecture(),
            &self.layout,
            &self.params,
            self.frozen.as_ref(),
        )?)
    }

    /// A copy of parameters and moments, in `f32`.
    pub fn host(&self) -> Result<HostState, FitError> {
        let read = |x: &B::Buf| -> Result<Vec<f32>, FitError> {
            Ok(self.model.backend().read(x)?.iter().map(|value| value.wide() as f32).collect())
        };
        let params = [read(&self.params)?, self.frozen_host.clone()].concat();
        Ok(HostState { params, first: read(&self.first)?, second: read(&self.second)? })
    }
}
