//! Softmax over rows: of attention's scores, and of logits with their cross-entropy.

use crate::backend::real::Real;

const LANES: usize = 16;

/// The greatest value; NaN is passed over (it shows in the sum).
#[inline]
fn greatest<T: Real>(row: &[T]) -> T {
    let pick = |a: T, b: T| if b > a { b } else { a };
    let start = row.first().copied().unwrap_or(T::ZERO);
    let mut lanes = [start; LANES];
    let chunks = row.chunks_exact(LANES);
    let tail = chunks.remainder().iter().fold(start, |max, &x| pick(max, x));
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = pick(lanes[lane], chunk[lane]);
        }
    }
    lanes.iter().fold(tail, |max, &x| pick(max, x))
}

/// `x = e^(scale x - shift)` in place; returns the sum, in a fixed order.
#[inline]
fn exponentials<T: Real>(row: &mut [T], scale: T, shift: T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let mut chunks = row.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            chunk[lane] = (chunk[lane] * scale - shift).exponential();
            lanes[lane] += chunk[lane];
        }
    }
    let mut tail = T::ZERO;
    for x in chunks.into_remainder() {
        *x = (*x * scale - shift).exponential();
        tail += *x;
    }
    lanes.iter().fold(tail, |sum, &lane| sum + lane)
}

/// Turns scores into `softmax(scale * scores)`; returns the log-sum-exp of the scaled scores.
pub fn normalise<T: Real>(row: &mut [T], scale: T) -> T {
    let shift = greatest(row) * scale;
    let sum = exponentials(row, scale, shift);
    let inverse = T::ONE / sum;
    row.iter_mut().for_each(|x| *x *= inverse);
    shift + T::of(sum.wide().ln())
}

/// Turns scores into the probabilities that a known log-sum-exp gives them.
pub fn probabilities<T: Real>(row: &mut [T], scale: T, lse: T) {
    exponentials(row, scale, lse);
}

/// Turns logits into the gradient of `grad * -ln p(target)`; returns `-ln p(target)`.
pub fn cross_entropy<T: Real>(logits: &mut [T], target: usize, grad: f64) -> f64 {
    let label = logits[target];
    let shift = greatest(logits);
    let sum = exponentials(logits, T::ONE, shift);
    let factor = T::of(grad) / sum;
    logits.iter_mut().for_each(|x| *x *= factor);
    logits[target] += T::of(-grad);
    sum.wide().ln() + (shift.wide() - label.wide())
}

/// The index of the greatest value, the lowest among equals.
pub fn argmax<T: Real>(row: &[T]) -> usize {
    let max = greatest(row);
    row.iter().position(|&x| x == max).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_is_the_textbook_formula() {
        let mut logits: Vec<f64> = (0..37).map(|i| f64::from(i * i % 11) - 4.0).collect();
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        let softmax: Vec<f64> = logits.iter().map(|x| x.exp() / sum).collect();
        let loss = cross_entropy(&mut logits, 5, 1.0);
        assert!((loss + softmax[5].ln()).abs() < 1e-12);
        for (i, (&grad, &p)) in logits.iter().zip(&softmax).enumerate() {
            let expected = p - f64::from(u8::from(i == 5));
            assert!((grad - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn a_nan_logit_makes_the_loss_nan() {
        let mut logits = vec![0.0f32; 20];
        logits[7] = f32::NAN;
        assert!(cross_entropy(&mut logits, 1, 1.0).is_nan());
    }

    #[test]
    fn argmax_takes_the_lowest_among_equals() {
        assert_eq!(argmax(&[0.0f32, 3.0, 1.0, 3.0]), 1);
    }
}
