//! Products of so few rows that packing the other factor would be most of the work.

use super::output::finish;
use super::product::{Rows, Running, Scratch, Term, Values, typed};
use super::{RunThin, Thin, Tile};
use crate::backend::cpu::element::{Element, convert};

/// Steps that all rows go through before the next: their lines share few sets of the caches where rows are of such lengths.
const THIN_STEPS: usize = 512;

impl<T: Tile> Running<'_, '_, '_, T> {
    /// Few rows: the other factor is read as it lies, some steps at a time that stay cached for all rows.
    #[inline(always)]
    pub fn thin(self, run: RunThin<T>, height: usize) {
        let product = self.shared.product;
        let [Term { x, factor }] = &product.terms[..] else { return };
        let (Some(values), Some(stored)) = (x.elements::<T::Element>(), factor.elements::<T::Element>()) else {
            return;
        };
        let ((first, count), (top, rows)) = (self.task.cols, self.task.rows);
        // A last step that is not a whole group is added by itself.
        let grouped = factor.depth / T::GROUP * T::GROUP;
        self.scratch.partial.resize(rows * T::COLS, 0.0);
        let sums = &mut self.scratch.partial[..rows * T::COLS];
        for col in (first..first + count).step_by(T::COLS) {
            let cols = T::COLS.min(first + count - col);
            sums.fill(0.0);
            for from in (0..grouped).step_by(THIN_STEPS) {
                for (tile, sums) in sums.chunks_exact_mut(height * T::COLS).enumerate() {
                    let thin = Thin {
                        rows: height,
                        depth: THIN_STEPS.min(grouped - from),
                        x: &values[(top + tile * height) * x.stride + from..],
                        stride: x.stride,
                        factor: &stored[from * factor.stride + col..],
                        factor_stride: factor.stride,
                        cols,
                    };
                    run(self.tile, thin, sums);
                }
            }
            for k in grouped..factor.depth {
                let stored = &stored[k * factor.stride + col..][..cols];
                for (row, sums) in sums.chunks_exact_mut(T::COLS).enumerate() {
                    let x = values[(top + row) * x.stride + k].widen();
                    sums.iter_mut().zip(stored).for_each(|(sum, w)| *sum += x * w.widen());
                }
            }
            finish(self.tile, product, &self.shared.out, (top, rows), (col, cols), sums);
        }
    }

    /// Each stored row is widened once and multiplied with each row of `x`: for single tokens, where packing would be
    /// most of the work.
    #[inline(always)]
    pub fn few(self) {
        let product = self.shared.product;
        let Scratch { x: xs, widened: _, partial, .. } = self.scratch;
        let depth = product.depth();
        let (row, rows) = self.task.rows;
        let xs = typed::<f32>(xs, rows * depth);
        for (i, xs) in xs.chunks_exact_mut(depth).enumerate() {
            let mut at = 0;
            for term in &product.terms {
                widen_row(&term.x, row + i, &mut xs[at..at + term.factor.depth]);
                at += term.factor.depth;
            }
        }
        partial.resize(depth, 0.0);
        for col in self.task.cols.0..self.task.cols.0 + self.task.cols.1 {
            let mut at = 0;
            for term in &product.terms {
                term.factor.widen(col, 0, &mut partial[at..at + term.factor.depth]);
                at += term.factor.depth;
            }
            for (i, x) in xs.chunks_exact(depth).enumerate() {
                let mut sum = [dot(x, &partial[..depth])];
                finish(self.tile, product, &self.shared.out, (row + i, 1), (col, 1), &mut sum);
            }
        }
    }
}

/// Lanes of a sum over a row: a fixed number, so that the order of additions is the same on all instructions.
const LANES: usize = 64;

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a * b;
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn widen_row(x: &Rows<'_>, row: usize, to: &mut [f32]) {
    let at = row * x.stride;
    match x.values {
        Values::F32(values) => to.copy_from_slice(&values[at..at + to.len()]),
        Values::Bf16(values) => convert(&values[at..at + to.len()], to),
    }
}
