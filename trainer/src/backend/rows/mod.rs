//! Row-wise kernels on slices, shared by the backends that run on the host. Threads take whole rows of the output.

pub mod adamw;
pub mod norm;
pub mod rope;
pub mod softmax;
pub mod swiglu;

use rayon::prelude::*;

use super::real::Real;

/// Values that a thread takes at a time: large enough to pay for the hand-over.
const GRAIN: usize = 1 << 14;

/// Calls `f(row, values)` for each row of a matrix.
pub fn for_rows<T: Real>(out: &mut [T], cols: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let rows = (GRAIN / cols.max(1)).max(1);
    out.par_chunks_mut((rows * cols).max(1)).enumerate().for_each(|(chunk, block)| {
        for (index, row) in block.chunks_exact_mut(cols).enumerate() {
            f(chunk * rows + index, row);
        }
    });
}

/// Calls `f(row, left, right)` for each row of two matrices with as many rows.
pub fn for_row_pairs<T: Real>(
    left: (&mut [T], usize),
    right: (&mut [T], usize),
    f: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    let (left, left_cols) = left;
    let (right, right_cols) = right;
    let rows = (GRAIN / left_cols.max(right_cols).max(1)).max(1);
    let blocks = left.par_chunks_mut((rows * left_cols).max(1)).zip(right.par_chunks_mut((rows * right_cols).max(1)));
    blocks.enumerate().for_each(|(chunk, (a, b))| {
        let pairs = a.chunks_exact_mut(left_cols).zip(b.chunks_exact_mut(right_cols));
        for (index, (a, b)) in pairs.enumerate() {
            f(chunk * rows + index, a, b);
        }
    });
}

/// `x += scale * y`.
pub fn add_scaled<T: Real>(x: &mut [T], y: &[T], scale: T) {
    x.par_chunks_mut(GRAIN).zip(y.par_chunks(GRAIN)).for_each(|(x, y)| axpy(x, scale, y));
}

/// `x += scale * y` on this thread.
#[inline]
pub fn axpy<T: Real>(x: &mut [T], scale: T, y: &[T]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x += scale * y;
    }
}

/// The sum of squares in `f64`: partial sums of fixed chunks, added in order.
pub fn sum_squares<T: Real>(x: &[T]) -> f64 {
    let partial = |chunk: &[T]| chunk.iter().map(|value| value.wide() * value.wide()).sum::<f64>();
    let partials: Vec<f64> = x.par_chunks(GRAIN).map(partial).collect();
    partials.iter().sum()
}
