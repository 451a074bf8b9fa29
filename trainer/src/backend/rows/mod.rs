//! Row-wise kernels on slices, shared by the backends that run on the host. Threads take whole rows of the output.

pub mod adamw;
pub mod dropout;
pub mod norm;
pub mod rope;
pub mod softmax;
pub mod swiglu;

use std::ops::Range;

use rayon::prelude::*;

use super::real::Real;

/// Values that a thread takes at a time: large enough to pay for the hand-over. Less than twice as much stays on the
/// calling thread, since waking another would take longer than the work.
const GRAIN: usize = 1 << 14;

/// Calls `f(row, values)` for each row of a matrix.
pub fn for_rows<T: Real>(out: &mut [T], cols: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let rows = rows_at_a_time(out.len(), cols);
    let block = |(chunk, block): (usize, &mut [T])| {
        for (index, row) in block.chunks_exact_mut(cols).enumerate() {
            f(chunk * rows + index, row);
        }
    };
    if out.len() < 2 * GRAIN {
        out.chunks_mut(rows * cols).enumerate().for_each(block);
    } else {
        out.par_chunks_mut(rows * cols).enumerate().for_each(block);
    }
}

/// Calls `f(row, left, right)` for each row of two matrices of one shape.
pub fn for_row_pairs<T: Real>(
    left: &mut [T],
    right: &mut [T],
    cols: usize,
    f: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    let rows = rows_at_a_time(left.len(), cols);
    let block = |(chunk, (left, right)): (usize, (&mut [T], &mut [T]))| {
        for (index, (left, right)) in left.chunks_exact_mut(cols).zip(right.chunks_exact_mut(cols)).enumerate() {
            f(chunk * rows + index, left, right);
        }
    };
    if left.len() < 2 * GRAIN {
        left.chunks_mut(rows * cols).zip(right.chunks_mut(rows * cols)).enumerate().for_each(block);
    } else {
        left.par_chunks_mut(rows * cols).zip(right.par_chunks_mut(rows * cols)).enumerate().for_each(block);
    }
}

/// Calls `f(row, values, result)` for each row of a matrix and its place in a list.
pub fn for_rows_and<T: Real, R: Send>(
    out: &mut [T],
    cols: usize,
    results: &mut [R],
    f: impl Fn(usize, &mut [T], &mut R) + Sync,
) {
    let one = |(row, (values, result)): (usize, (&mut [T], &mut R))| f(row, values, result);
    if out.len() < 2 * GRAIN {
        out.chunks_exact_mut(cols).zip(results).enumerate().for_each(one);
    } else {
        out.par_chunks_exact_mut(cols).zip(results).enumerate().for_each(one);
    }
}

fn rows_at_a_time(len: usize, cols: usize) -> usize {
    if len < 2 * GRAIN { (len / cols.max(1)).max(1) } else { (GRAIN / cols.max(1)).max(1) }
}

/// Calls `f(range, values)` for chunks of a slice, with the range that each has in it.
pub fn for_chunks<T: Real>(out: &mut [T], f: impl Fn(Range<usize>, &mut [T]) + Sync) {
    let chunk = |(index, chunk): (usize, &mut [T])| f(index * GRAIN..index * GRAIN + chunk.len(), chunk);
    if out.len() < 2 * GRAIN {
        out.chunks_mut(GRAIN).enumerate().for_each(chunk);
    } else {
        out.par_chunks_mut(GRAIN).enumerate().for_each(chunk);
    }
}

/// `f(0), f(1), ..` of `count` tasks that touch about `work` values together.
pub fn map<R: Send, E: Send>(
    count: usize,
    work: usize,
    f: impl Fn(usize) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    if work < 2 * GRAIN { (0..count).map(f).collect() } else { (0..count).into_par_iter().map(f).collect() }
}

/// `x += scale * y`.
pub fn add_scaled<T: Real>(x: &mut [T], y: &[T], scale: T) {
    for_chunks(x, |range, x| axpy(x, scale, &y[range]));
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
    if x.len() < 2 * GRAIN {
        return x.chunks(GRAIN).map(partial).sum();
    }
    let partials: Vec<f64> = x.par_chunks(GRAIN).map(partial).collect();
    partials.iter().sum()
}
