//! What training changes: parameters, moments, and the gradients of the step under way.

use super::FitError;
use crate::backend::real::Real;
use crate::backend::{AdamWState, AdamWStep, Backend, LoraGrad, Target};
use crate::lora::attached::Attached;
use crate::lora::layout::Layout;
use crate::model::batch::Batch;
use crate::model::block::Recompute;
use crate::model::decoder::{Model, Training};

/// Trainable factors of one adapter on one model. Everything is flat, in the order of [`Layout::slots`].
pub struct TrainState<'a, B: Backend> {
    model: &'a Model<B>,
    layout: Layout,
    params: B::Buf,
    first: B::Buf,
    second: B::Buf,
    grads: B::Buf,
    recompute: Recompute,
}

/// Parameters and moments on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostState {
    pub params: Vec<f32>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
}

impl HostState {
    /// A start: these parameters, no moments.
    pub fn fresh(params: Vec<f32>) -> Self {
        let zeros = vec![0.0; params.len()];
        Self { params, first: zeros.clone(), second: zeros }
    }
}

impl<'a, B: Backend> TrainState<'a, B> {
    pub fn new(model: &'a Model<B>, layout: Layout, start: &HostState, recompute: Recompute) -> Result<Self, FitError> {
        let backend = model.backend();
        let load = |values: &[f32]| {
            let values: Vec<B::Real> = values.iter().map(|&value| B::Real::of(value.into())).collect();
            backend.buffer(values, 1, layout.len)
        };
        let params = load(&start.params)?;
        let (first, second, grads) = (load(&start.first)?, load(&start.second)?, load(&vec![0.0; layout.len])?);
        Ok(Self { model, layout, params, first, second, grads, recompute })
    }

    /// Adds the gradients of `scale * sum(losses)` of a micro-batch; returns the losses, one for each target.
    pub fn accumulate(&mut self, batch: &Batch, targets: &[Target], scale: f64) -> Result<Vec<f64>, FitError> {
        let adapters = self.adapters()?;
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
        Ok(self.model.losses_and_gradients(batch, targets, &adapters, training)?)
    }

    pub fn grad_norm(&self) -> Result<f64, FitError> {
        Ok(self.model.backend().sum_squares(&self.grads)?.sqrt())
    }

    /// The accumulated gradients, flat.
    pub fn gradients(&self) -> Result<Vec<B::Real>, FitError> {
        Ok(self.model.backend().read(&self.grads)?)
    }

    /// Whether each factor's gradient, in the order of [`Layout::slots`], has any non-zero value.
    pub fn live(&self) -> Result<Vec<bool>, FitError> {
        let backend = self.model.backend();
        let live = self.layout.slots.iter().map(|slot| {
            let view = backend.view(&self.grads, slot.offset, slot.shape[0], slot.shape[1])?;
            Ok(backend.sum_squares(&view)? > 0.0)
        });
        live.collect()
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

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The adapter as it is now, for a forward pass; let go before [`Self::update`], which changes what it views.
    pub fn adapters(&self) -> Result<Attached<B>, FitError> {
        Ok(Attached::views(self.model.backend(), self.model.architecture(), &self.layout, &self.params)?)
    }

    pub fn host(&self) -> Result<HostState, FitError> {
        let read = |x: &B::Buf| -> Result<Vec<f32>, FitError> {
            Ok(self.model.backend().read(x)?.iter().map(|value| value.wide() as f32).collect())
        };
        Ok(HostState { params: read(&self.params)?, first: read(&self.first)?, second: read(&self.second)? })
    }
}
