//! AdamW over flat parameters, in the order of operations of `torch.optim.AdamW`.

use super::for_chunks;
use crate::backend::AdamWStep;
use crate::backend::real::Real;

/// `first = beta1 first + (1 - beta1) g`, with `g` the scaled gradient.
pub fn first_moment<T: Real>(first: &mut [T], grads: &[T], step: &AdamWStep) {
    let (keep, take) = (T::of(step.beta1), T::of((1.0 - step.beta1) * step.grad_scale));
    for_chunks(first, |range, first| {
        for (first, &grad) in first.iter_mut().zip(&grads[range]) {
            *first = keep * *first + take * grad;
        }
    });
}

/// `second = beta2 second + (1 - beta2) g^2`.
pub fn second_moment<T: Real>(second: &mut [T], grads: &[T], step: &AdamWStep) {
    let (keep, take, scale) = (T::of(step.beta2), T::of(1.0 - step.beta2), T::of(step.grad_scale));
    for_chunks(second, |range, second| {
        for (second, &grad) in second.iter_mut().zip(&grads[range]) {
            let grad = scale * grad;
            *second = keep * *second + take * grad * grad;
        }
    });
}

/// `p = p (1 - lr decay) - lr / c1 * first / (sqrt(second) / sqrt(c2) + eps)`, with `c = 1 - beta^step`.
pub fn update<T: Real>(params: &mut [T], first: &[T], second: &[T], step: &AdamWStep) {
    let exponent = i32::try_from(step.step).unwrap_or(i32::MAX);
    let size = T::of(step.lr / (1.0 - step.beta1.powi(exponent)));
    let root = T::of((1.0 - step.beta2.powi(exponent)).sqrt());
    let (shrink, eps) = (T::of(1.0 - step.lr * step.weight_decay), T::of(step.eps));
    for_chunks(params, |range, params| {
        let moments = first[range.clone()].iter().zip(&second[range]);
        for (param, (&first, &second)) in params.iter_mut().zip(moments) {
            *param = *param * shrink - size * first / (second.square_root() / root + eps);
        }
    });
}
