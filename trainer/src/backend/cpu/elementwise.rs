//! Rotary positions and SwiGLU, forward and backward, a row at a time.

use super::element::{Element, convert};
use super::instructions::Instructions;
use super::rows::{RowLoop, each, each_pair};
use crate::backend::real::exponentials;

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

/// Values that take each step together: enough that none waits for the one before, few enough for the first cache.
const BLOCK: usize = 128;

/// `e^-x` of each.
#[inline(always)]
fn falling<E: Element>(x: &[E; BLOCK]) -> [f32; BLOCK] {
    let mut values = [0.0; BLOCK];
    for (value, x) in values.iter_mut().zip(x) {
        *value = -x.widen();
    }
    exponentials(&mut values);
    values
}

/// The first values of a block that a row's end cuts off.
#[inline(always)]
fn pad<E: Element>(values: &[E]) -> [E; BLOCK] {
    let mut block = [E::ZERO; BLOCK];
    block[..values.len()].copy_from_slice(values);
    block
}

struct SwiGlu<'a, E> {
    gate: &'a [E],
    up: &'a [E],
}

#[inline(always)]
fn swiglu_block<E: Element>(gate: &[E; BLOCK], up: &[E; BLOCK], out: &mut [E; BLOCK]) {
    let mut product = falling(gate);
    for ((product, gate), up) in product.iter_mut().zip(gate).zip(up) {
        *product = gate.widen() / (1.0 + *product) * up.widen();
    }
    convert(&product, out);
}

impl<E: Element> RowLoop<&mut [E]> for SwiGlu<'_, E> {
    #[inline(always)]
    fn row(&self, index: usize, out: &mut [E]) {
        let cols = out.len();
        let (gate, gate_rest) = self.gate[index * cols..][..cols].as_chunks();
        let (up, up_rest) = self.up[index * cols..][..cols].as_chunks();
        let (out, out_rest) = out.as_chunks_mut();
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            swiglu_block(gate, up, out);
        }
        if !out_rest.is_empty() {
            let mut out = [E::ZERO; BLOCK];
            swiglu_block(&pad(gate_rest), &pad(up_rest), &mut out);
            out_rest.copy_from_slice(&out[..out_rest.len()]);
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

#[inline(always)]
fn swiglu_grad_block<D: Element, E: Element>(gates: &mut [E; BLOCK], ups: &mut [E; BLOCK], dy: &[D; BLOCK]) {
    let mut d_gate = falling(gates);
    let mut d_up = [0.0; BLOCK];
    let outs = d_gate.iter_mut().zip(&mut d_up);
    for ((((d_gate, d_up), gate), up), dy) in outs.zip(gates.iter()).zip(ups.iter()).zip(dy) {
        let (gate, s) = (gate.widen(), 1.0 / (1.0 + *d_gate));
        let ds = dy.widen() * s;
        *d_gate = ds * up.widen() * (1.0 + (gate - gate * s));
        *d_up = ds * gate;
    }
    convert(&d_gate, gates);
    convert(&d_up, ups);
}

impl<D: Element, E: Element> RowLoop<(&mut [E], &mut [E])> for SwiGluGrad<'_, D> {
    #[inline(always)]
    fn row(&self, index: usize, (gate, up): (&mut [E], &mut [E])) {
        let (dy, dy_rest) = self.dy[index * gate.len()..][..gate.len()].as_chunks();
        let (gate, gate_rest) = gate.as_chunks_mut();
        let (up, up_rest) = up.as_chunks_mut();
        for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
            swiglu_grad_block(gate, up, dy);
        }
        if !gate_rest.is_empty() {
            let (mut gate, mut up) = (pad(gate_rest), pad(up_rest));
            swiglu_grad_block(&mut gate, &mut up, &pad(dy_rest));
            gate_rest.copy_from_slice(&gate[..gate_rest.len()]);
            up_rest.copy_from_slice(&up[..up_rest.len()]);
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
