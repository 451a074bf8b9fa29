//! Threads over rows: each takes whole rows of the output, compiled for the backend's instructions.

use rayon::prelude::*;

use super::element::LANES;
use super::instructions::Instructions;

/// Values that a thread takes at a time. Less than twice as much stays on the calling thread.
const GRAIN: usize = 1 << 15;

/// What is done with a row: its number and its slice of the output.
pub trait RowLoop<O>: Sync {
    fn row(&self, index: usize, out: O);
}

struct Block<'a, L, I> {
    work: &'a L,
    first: usize,
    outs: I,
}

impl<O, L: RowLoop<O>, I: Iterator<Item = O>> pulp::NullaryFnOnce for Block<'_, L, I> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (index, out) in self.outs.enumerate() {
            self.work.row(self.first + index, out);
        }
    }
}

/// Rows of a block for rows of `cols` values.
fn block(cols: usize) -> usize {
    (GRAIN / cols.max(1)).max(1)
}

/// Calls `work.row(index, row)` for each row of a matrix.
pub fn each<E: Send>(instructions: Instructions, out: &mut [E], cols: usize, work: &impl for<'r> RowLoop<&'r mut [E]>) {
    if cols == 0 {
        return;
    }
    let rows = block(cols);
    let run = |(index, out): (usize, &mut [E])| {
        instructions.vectorise(Block { work, first: index * rows, outs: out.chunks_exact_mut(cols) });
    };
    if out.len() < 2 * GRAIN {
        out.chunks_mut(rows * cols).enumerate().for_each(run);
    } else {
        out.par_chunks_mut(rows * cols).enumerate().for_each(run);
    }
}

/// Calls `work.row(index, (left, right))` for each row of two matrices.
pub fn each_pair<E: Send, F: Send>(
    instructions: Instructions,
    (left, left_cols): (&mut [E], usize),
    (right, right_cols): (&mut [F], usize),
    work: &impl for<'r> RowLoop<(&'r mut [E], &'r mut [F])>,
) {
    if left_cols == 0 || right_cols == 0 {
        return;
    }
    let rows = block(left_cols.max(right_cols));
    let run = |(index, (left, right)): (usize, (&mut [E], &mut [F]))| {
        let outs = left.chunks_exact_mut(left_cols).zip(right.chunks_exact_mut(right_cols));
        instructions.vectorise(Block { work, first: index * rows, outs });
    };
    if left.len().max(right.len()) < 2 * GRAIN {
        let rights = right.chunks_mut(rows * right_cols);
        left.chunks_mut(rows * left_cols).zip(rights).enumerate().for_each(run);
    } else {
        let rights = right.par_chunks_mut(rows * right_cols);
        left.par_chunks_mut(rows * left_cols).zip(rights).enumerate().for_each(run);
    }
}

/// Lanes of a sum over a row: a fixed number, so that the order of additions is the same on all instructions.
pub type Lanes = [f32; LANES];

/// The sum of `f(a[i], b[i])`, by lanes and then by halves.
#[inline(always)]
pub fn sum<A: Copy, B: Copy>(a: &[A], b: &[B], f: impl Fn(A, B) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += f(a, b);
    }
    fold(lanes)
}

/// The sum of all lanes, by halves.
#[inline(always)]
pub fn fold(mut lanes: Lanes) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    lanes[0]
}
