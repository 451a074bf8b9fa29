//! Rotary positions and SwiGLU, forward and backward, a row at a time.

use super::element::Element;
use super::instructions::Instructions;
use super::rows::{RowLoop, each, each_pair};
use crate::backend::real::Real;

struct Rotate<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    half: usize,
    inverse: bool,
}

impl<E: Element> RowLoop<&mut [E]> for Rotate<'_> {
    #[inline(always)]
    fn row(&self, index: usize, x: &mut [E]) {
        let half = self.half;
        let (cos, sin) = (&self.cos[index * half..][..half], &self.sin[index * half..][..half]);
        let sign = if self.inverse { -1.0 } else { 1.0 };
        for head in x.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for i in 0..half {
                let (a, b, s) = (low[i].widen(), high[i].widen(), sin[i] * sign);
                low[i] = E::narrow(a * cos[i] - b * s);
                high[i] = E::narrow(b * cos[i] + a * s);
            }
        }
    }
}

/// Rotates each head's halves by the row's angles (`[rows, half]`), or back.
pub fn rotate<E: Element>(
    instructions: Instructions,
    x: &mut [E],
    cols: usize,
    half: usize,
    (cos, sin): (&[f32], &[f32]),
    inverse: bool,
) {
    each(instructions, x, cols, &Rotate { cos, sin, half, inverse });
}

/// `1 / (1 + e^-x)`
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exponential())
}

struct SwiGlu<'a, E> {
    gate: &'a [E],
    up: &'a [E],
}

impl<E: Element> RowLoop<&mut [E]> for SwiGlu<'_, E> {
    #[inline(always)]
    fn row(&self, index: usize, out: &mut [E]) {
        let cols = out.len();
        let (gate, up) = (&self.gate[index * cols..][..cols], &self.up[index * cols..][..cols]);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            let gate = gate.widen();
            *out = E::narrow(gate * sigmoid(gate) * up.widen());
        }
    }
}

/// `silu(gate) * up`
pub fn swiglu<E: Element>(instructions: Instructions, gate: &[E], up: &[E], cols: usize, out: &mut [E]) {
    each(instructions, out, cols, &SwiGlu { gate, up });
}

struct SwiGluGrad<'a, D> {
    dy: &'a [D],
}

impl<D: Element, E: Element> RowLoop<(&mut [E], &mut [E])> for SwiGluGrad<'_, D> {
    #[inline(always)]
    fn row(&self, index: usize, (gates, ups): (&mut [E], &mut [E])) {
        let dys = &self.dy[index * gates.len()..][..gates.len()];
        for ((gate, up), dy) in gates.iter_mut().zip(ups).zip(dys) {
            let (g, u, dy) = (gate.widen(), up.widen(), dy.widen());
            let s = sigmoid(g);
            *gate = E::narrow(dy * u * s * (1.0 + g * (1.0 - s)));
            *up = E::narrow(dy * g * s);
        }
    }
}

/// Gradients in `gate` and `up`, written over them.
pub fn swiglu_grad<D: Element, E: Element>(
    instructions: Instructions,
    dy: &[D],
    gate: &mut [E],
    up: &mut [E],
    cols: usize,
) {
    each_pair(instructions, (gate, cols), (up, cols), &SwiGluGrad { dy });
}
