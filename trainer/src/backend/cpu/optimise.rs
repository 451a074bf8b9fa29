//! Flat sums and the fused AdamW update (Loshchilov and Hutter 2019, as `torch.optim.AdamW` computes it).

use rayon::prelude::*;

use super::instructions::Instructions;
use crate::backend::AdamWStep;

/// Values that a thread takes at a time; sums are made of these parts in order, on any number of threads.
const PART: usize = 1 << 15;

struct Update<'a> {
    params: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    grads: &'a [f32],
    step: &'a AdamWStep,
}

impl pulp::NullaryFnOnce for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let AdamWStep { lr, beta1, beta2, eps, weight_decay, step, grad_scale } = *self.step;
        let (b1, b2, scale) = (beta1 as f32, beta2 as f32, grad_scale as f32);
        let (rest1, rest2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        let keep = (1.0 - lr * weight_decay) as f32;
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let rate = (lr / (1.0 - beta1.powi(exponent))) as f32;
        let root = (1.0 / (1.0 - beta2.powi(exponent)).sqrt()) as f32;
        let eps = eps as f32;
        let moments = self.first.iter_mut().zip(self.second);
        for ((param, (first, second)), grad) in self.params.iter_mut().zip(moments).zip(self.grads) {
            let grad = grad * scale;
            *first = b1 * *first + rest1 * grad;
            *second = b2 * *second + rest2 * (grad * grad);
            *param = *param * keep - rate * *first / (second.sqrt() * root + eps);
        }
    }
}

/// Parameters and moments after a step; all slices are of one length.
pub fn adamw(
    instructions: Instructions,
    params: &mut [f32],
    (first, second): (&mut [f32], &mut [f32]),
    grads: &[f32],
    step: &AdamWStep,
) {
    let parts = params.par_chunks_mut(PART).zip(first.par_chunks_mut(PART)).zip(second.par_chunks_mut(PART));
    parts.zip(grads.par_chunks(PART)).for_each(|(((params, first), second), grads)| {
        instructions.vectorise(Update { params, first, second, grads, step });
    });
}

struct Squares<'a>(&'a [f32]);

impl pulp::NullaryFnOnce for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn call(self) -> f64 {
        let mut lanes = [0.0f64; 16];
        let (chunks, rest) = self.0.as_chunks::<16>();
        for chunk in chunks {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(value) * f64::from(value);
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>()
    }
}

/// The sum of squares, in `f64`, part by part in order.
pub fn sum_squares(instructions: Instructions, values: &[f32]) -> f64 {
    let parts: Vec<f64> = values.par_chunks(PART).map(|part| instructions.vectorise(Squares(part))).collect();
    parts.iter().sum()
}
