//! RMSNorm (Zhang and Sennrich 2019), forward and backward.

use super::for_rows;
use crate::backend::real::{Real, dot};

/// `1 / sqrt(mean(x^2) + eps)`
fn inverse_rms<T: Real>(row: &[T], eps: T) -> T {
    let mean = dot(row, row) / T::of(row.len() as f64);
    T::ONE / (mean + eps).square_root()
}

/// `y = x * inverse_rms(x) * w`
pub fn forward<T: Real>(x: &[T], w: &[T], eps: f64) -> Vec<T> {
    let cols = w.len();
    let mut out = vec![T::ZERO; x.len()];
    for_rows(&mut out, cols, |row, out| {
        let x = &x[row * cols..][..cols];
        let factor = inverse_rms(x, T::of(eps));
        for ((out, &x), &w) in out.iter_mut().zip(x).zip(w) {
            *out = x * factor * w;
        }
    });
    out
}

/// With `g = dy * w` and `f = inverse_rms(x)`: `dx = f g - x f^3 mean(g x)`.
pub fn backward<T: Real>(dy: &[T], x: &[T], w: &[T], eps: f64) -> Vec<T> {
    let cols = w.len();
    let mut out = vec![T::ZERO; x.len()];
    for_rows(&mut out, cols, |row, out| {
        let (x, dy) = (&x[row * cols..][..cols], &dy[row * cols..][..cols]);
        let factor = inverse_rms(x, T::of(eps));
        for ((out, &dy), &w) in out.iter_mut().zip(dy).zip(w) {
            *out = dy * w;
        }
        let pull = dot(out, x) / T::of(cols as f64) * factor * factor * factor;
        for (out, &x) in out.iter_mut().zip(x) {
            *out = factor * *out - pull * x;
        }
    });
    out
}
