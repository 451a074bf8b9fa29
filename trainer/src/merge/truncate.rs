//! Bringing a dense matrix that is made row block by row block to a small rank, by a randomised range finder (Halko,
//! Martinsson and Tropp 2011, arXiv 0909.4061).
//!
//! A random start `V` is driven to the leading right singular vectors by `V <- orth(M^T (M V))`, one pass over the rows
//! each time; then `M V = U S W^T`, and the result is `U S (V W)^T`. What is kept is exactly `sum S^2` of `||M||^2`, as
//! `V` is orthonormal. The start is drawn by a counter: the same seed, the same bits.

use std::ops::Range;

use faer::{Mat, MatRef};

use super::decompose::{Qr, add_product, energy, product, svd};
use super::limits::{BLOCK, DENSE, OVERSAMPLING, POWER_ITERATIONS};
use super::stack::Merged;
use crate::random::splitmix64;

/// A matrix whose rows can be made again and again.
pub trait Rows {
    /// Rows and columns.
    fn shape(&self) -> (usize, usize);

    /// Makes some rows, row-major.
    fn rows(&mut self, rows: Range<usize>, to: &mut [f64]);
}

/// A module of the result with the energy (sum of squares) that was there and that is left.
pub struct Truncated {
    pub merged: Merged,
    pub total: f64,
    pub kept: f64,
}

/// A matrix whose rows were made once, row-major.
struct Dense {
    shape: (usize, usize),
    values: Vec<f64>,
}

impl Dense {
    fn of(matrix: &mut dyn Rows) -> Self {
        let (shape, mut values) = (matrix.shape(), Vec::with_capacity(matrix.shape().0 * matrix.shape().1));
        blocks(matrix, |_, block| block.row_iter().for_each(|row| values.extend(row.iter())));
        Self { shape, values }
    }
}

impl Rows for Dense {
    fn shape(&self) -> (usize, usize) {
        self.shape
    }

    fn rows(&mut self, rows: Range<usize>, to: &mut [f64]) {
        to.copy_from_slice(&self.values[rows.start * self.shape.1..rows.end * self.shape.1]);
    }
}

/// Cuts to a rank. `None` if the decomposition does not converge.
pub fn truncate(matrix: &mut dyn Rows, rank: usize, seed: u64) -> Option<Truncated> {
    let (rows, columns) = matrix.shape();
    if rows * columns <= DENSE {
        truncate_rows(&mut Dense::of(matrix), rank, seed)
    } else {
        truncate_rows(matrix, rank, seed)
    }
}

fn truncate_rows(matrix: &mut dyn Rows, rank: usize, seed: u64) -> Option<Truncated> {
    let (rows, columns) = matrix.shape();
    let width = (rank + OVERSAMPLING).min(rows).min(columns);
    let mut basis = start(columns, width, seed);
    // All columns: there is nothing to find.
    let iterations = if width == columns { 0 } else { POWER_ITERATIONS };
    for _ in 0..iterations {
        let mut next = Mat::zeros(columns, width);
        let mut image = Mat::zeros(0, 0);
        blocks(matrix, |_, block| {
            image.resize_with(block.nrows(), width, |_, _| 0.0);
            product(image.as_mut(), block, basis.as_ref());
            add_product(next.as_mut(), block.transpose(), image.as_ref());
        });
        basis = Qr::of(next).basis();
    }
    let (mut image, mut total) = (Mat::zeros(rows, width), 0.0);
    blocks(matrix, |first, block| {
        total += energy(block.transpose());
        product(image.as_mut().subrows_mut(first, block.nrows()), block, basis.as_ref());
    });
    let largest = svd(image.as_ref(), rank)?;
    let kept = largest.s.iter().map(|s| s * s).sum::<f64>().min(total);
    let mut v = Mat::zeros(columns, largest.s.len());
    product(v.as_mut(), basis.as_ref(), largest.v.as_ref());
    let (a, b) = factors(&largest.u, &largest.s, &v, rank);
    Some(Truncated { merged: Merged { a, b }, total, kept })
}

/// Orthonormal columns to start with.
fn start(rows: usize, width: usize, seed: u64) -> Mat<f64> {
    if width == rows {
        return Mat::identity(rows, rows);
    }
    let key = splitmix64(seed);
    let draw = |row: usize, column: usize| {
        let bits = splitmix64(key.wrapping_add((row * width + column) as u64));
        // Uniform from -1 to 1 by 53 bits.
        (bits >> 11) as f64 / 2f64.powi(52) - 1.0
    };
    Qr::of(Mat::from_fn(rows, width, draw)).basis()
}

/// Goes through the rows once, a block at a time.
fn blocks(matrix: &mut dyn Rows, mut each: impl FnMut(usize, MatRef<f64>)) {
    let (rows, columns) = matrix.shape();
    let step = (BLOCK / columns.max(1)).max(1);
    let mut values = vec![0.0; step.min(rows) * columns];
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        let values = &mut values[..count * columns];
        matrix.rows(first..first + count, values);
        each(first, MatRef::from_row_major_slice(values, count, columns));
    }
}

/// `U S V^T` as A and B of a rank, zeros behind the triplets there are. Each gets the root of the singular values, so
/// that neither is lost in a narrow float type.
pub fn factors(u: &Mat<f64>, s: &[f64], v: &Mat<f64>, rank: usize) -> (Vec<f32>, Vec<f32>) {
    let (out, inner) = (u.nrows(), v.nrows());
    let (mut a, mut b) = (vec![0.0; rank * inner], vec![0.0; out * rank]);
    for (k, root) in s.iter().map(|s| s.sqrt()).enumerate() {
        for (value, v) in a[k * inner..][..inner].iter_mut().zip(v.col(k).iter()) {
            *value = (root * v) as f32;
        }
        for (row, u) in b.chunks_exact_mut(rank).zip(u.col(k).iter()) {
            row[k] = (root * u) as f32;
        }
    }
    (a, b)
}
