//! `silu(gate) * up` (Shazeer 2020), forward and backward. With `s = sigmoid(gate)`: `silu' = s (1 + gate (1 - s))`.

use super::{for_row_pairs, for_rows};
use crate::backend::real::Real;

#[inline(always)]
fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exponential())
}

pub fn forward<T: Real>(gate: &[T], up: &[T], cols: usize) -> Vec<T> {
    let mut out = vec![T::ZERO; gate.len()];
    for_rows(&mut out, cols, |row, out| {
        let (gate, up) = (&gate[row * cols..][..cols], &up[row * cols..][..cols]);
        for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate * sigmoid(gate) * up;
        }
    });
    out
}

/// Returns the gradients in `gate` and in `up`.
pub fn backward<T: Real>(dy: &[T], gate: &[T], up: &[T], cols: usize) -> [Vec<T>; 2] {
    let mut d_gate = vec![T::ZERO; gate.len()];
    let mut d_up = vec![T::ZERO; gate.len()];
    for_row_pairs(&mut d_gate, &mut d_up, cols, |row, d_gate, d_up| {
        let at = row * cols;
        let (dy, gate, up) = (&dy[at..][..cols], &gate[at..][..cols], &up[at..][..cols]);
        for i in 0..cols {
            let s = sigmoid(gate[i]);
            d_up[i] = dy[i] * gate[i] * s;
            d_gate[i] = dy[i] * up[i] * s * (T::ONE + gate[i] * (T::ONE - s));
        }
    });
    [d_gate, d_up]
}
