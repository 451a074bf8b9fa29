//! The optimiser's settings: AdamW, its learning-rate schedule, and clipping.

pub mod schedule;

use serde::{Deserialize, Serialize};

use crate::backend::AdamWStep;

/// AdamW as `torch.optim.AdamW` has it: decoupled weight decay, bias-corrected moments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Peak learning rate, before the schedule.
    pub lr: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the root of the second moment, against division by zero.
    pub eps: f64,
    /// Decoupled: taken off the parameters, not added to the gradients.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { lr: 2e-4, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamW {
    /// The update number `step` (from 1) at a learning rate, with gradients multiplied by `grad_scale`.
    pub fn step(&self, step: u64, lr: f64, grad_scale: f64) -> AdamWStep {
        let Self { beta1, beta2, eps, weight_decay, .. } = *self;
        AdamWStep { lr, beta1, beta2, eps, weight_decay, step, grad_scale }
    }
}

/// The factor that brings a gradient's norm down to `max`, as `torch.nn.utils.clip_grad_norm_` computes it.
pub fn clip_factor(norm: f64, max: Option<f64>) -> f64 {
    max.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::candle::CandleBackend;
    use crate::backend::{AdamWState, Backend};

    #[test]
    fn clipping_only_shrinks() {
        assert_eq!(clip_factor(10.0, None), 1.0);
        assert_eq!(clip_factor(0.5, Some(1.0)), 1.0);
        assert!((clip_factor(4.0, Some(1.0)) - 0.25).abs() < 1e-6);
    }

    /// Two updates by the formulas of the paper, written out for one parameter.
    #[test]
    fn two_updates_match_the_formulas() {
        let backend = CandleBackend::<f64>::new();
        let settings = AdamW { lr: 0.1, weight_decay: 0.01, ..AdamW::default() };
        let one = |value: f64| backend.buffer(vec![value], 1, 1).unwrap();
        let (mut params, mut first, mut second) = (one(2.0), one(0.0), one(0.0));
        let (mut p, mut m, mut v) = (2.0, 0.0, 0.0);
        for (t, g) in [(1, 0.5), (2, -0.25)] {
            let state = AdamWState { params: &mut params, first: &mut first, second: &mut second };
            backend.adamw(state, &one(2.0 * g), &settings.step(t, settings.lr, 0.5)).unwrap();
            p *= 1.0 - 0.1 * 0.01;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t as i32)), v / (1.0 - 0.999f64.powi(t as i32)));
            p -= 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
        }
        let got = backend.read(&params).unwrap()[0];
        assert!((got - p).abs() < 1e-12, "{got} {p}");
    }
}
