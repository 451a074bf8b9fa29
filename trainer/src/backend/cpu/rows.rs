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

/// What is done with some rows at once: the first one's number and their slice of the output.
pub trait BlockLoop<E>: Sync {
    fn block(&self, first: usize, outs: &mut [E]);
}

struct Block<'a, L, O> {
    work: &'a L,
    first: usize,
    outs: O,
}

impl<E, L: BlockLoop<E>> pulp::NullaryFnOnce for Block<'_, L, &mut [E]> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.work.block(self.first, self.outs);
    }
}

/// Row by row.
struct Rows<'a, L> {
    work: &'a L,
    cols: usize,
}

impl<E, L: for<'r> RowLoop<&'r mut [E]>> BlockLoop<E> for Rows<'_, L> {
    #[inline(always)]
    fn block(&self, first: usize, outs: &mut [E]) {
        for (index, out) in outs.chunks_exact_mut(self.cols).enumerate() {
            self.work.row(first + index, out);
        }
    }
}

struct Pairs<'a, L, I> {
    work: &'a L,
    first: usize,
    outs: I,
}

impl<O, L: RowLoop<O>, I: Iterator<Item = O>> pulp::NullaryFnOnce for Pairs<'_, L, I> {
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
    each_block(instructions, out, cols, &Rows { work, cols });
}

/// Calls `work.block(first, rows)` for runs of rows that are together the matrix.
pub fn each_block<E: Send>(instructions: Instructions, out: &mut [E], cols: usize, work: &impl BlockLoop<E>) {
    if cols == 0 {
        return;
    }
    let rows = block(cols);
    let run = |(index, outs): (usize, &mut [E])| {
        instructions.vectorise(Block { work, first: index * rows, outs });
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
        instructions.vectorise(Pairs { work, first: index * rows, outs });
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
pub fn fold(lanes: Lanes) -> f32 {
    let [sum] = folds(&mut [lanes]);
    sum
}

/// The [`fold`] of each, over its lanes. All at once: each alone is a chain of short steps.
#[inline(always)]
pub fn folds<const N: usize>(lanes: &mut [Lanes; N]) -> [f32; N] {
    let mut width = LANES / 2;
    while width > 0 {
        for lanes in lanes.iter_mut() {
            let (low, high) = lanes.split_at_mut(width);
            low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        }
        width /= 2;
    }
    let mut sums = [0.0; N];
    sums.iter_mut().zip(lanes).for_each(|(sum, lanes)| *sum = lanes[0]);
    sums
}
