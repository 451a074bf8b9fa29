//! The best adapter of a smaller rank for an exact sum, in core space: the dense update is never made.
//!
//! With the stacked factors as `B = Q_B R_B` and `A^T = Q_A R_A`, the sum is `Q_B (R_B R_A^T) Q_A^T`. Its singular
//! values are those of the core `R_B R_A^T`, as small as the ranks together, and cutting them off after the `k`-th gives
//! the nearest matrix of rank `k` (Eckart and Young 1936). Householder QR, not Gram matrices and their eigenvectors:
//! 6 against 5 ms for a layer of 576 by 576 with eight adapters of rank 16, of which the core's decomposition is 2, and it
//! does not square the condition.

use faer::Mat;

use super::decompose::{Qr, energy, product, svd};
use super::input::Part;
use super::stack::{Merged, stack};
use super::truncate::{Truncated, factors};

/// The sum cut to `rank`. `None` if the decomposition does not converge.
pub fn refit(parts: &[Part], (out, inner): (usize, usize), rank: usize) -> Option<Truncated> {
    let stacked = parts.iter().map(Part::rank).sum::<usize>();
    let (right, left) = (Qr::of(right_factor(parts, inner, stacked)), Qr::of(left_factor(parts, out, stacked)));
    let (r_left, r_right) = (left.r(), right.r());
    let mut core = Mat::zeros(r_left.nrows(), r_right.nrows());
    product(core.as_mut(), r_left.as_ref(), r_right.transpose());
    let total = energy(core.as_ref());
    if stacked <= rank {
        return Some(Truncated { merged: stack(parts, (out, inner), rank), total, kept: total });
    }
    let largest = svd(core.as_ref(), rank)?;
    let kept = largest.s.iter().map(|s| s * s).sum();
    let (u, v) = (left.times(largest.u.as_ref()), right.times(largest.v.as_ref()));
    let (a, b) = factors(&u, &largest.s, &v, rank);
    Some(Truncated { merged: Merged { a, b }, total, kept })
}

/// The stacked `w s B`, `[out, stacked]`.
fn left_factor(parts: &[Part], out: usize, stacked: usize) -> Mat<f64> {
    let (mut left, mut first) = (Mat::zeros(out, stacked), 0);
    for part in parts {
        let (own, factor, b) = (part.rank(), part.factor(), &part.pair.b);
        for k in 0..own {
            for (row, value) in left.col_mut(first + k).iter_mut().enumerate() {
                *value = factor * f64::from(b[row * own + k]);
            }
        }
        first += own;
    }
    left
}

/// The stacked A, turned: `[inner, stacked]`.
fn right_factor(parts: &[Part], inner: usize, stacked: usize) -> Mat<f64> {
    let (mut right, mut first) = (Mat::zeros(inner, stacked), 0);
    for part in parts {
        for (k, row) in part.pair.a.chunks_exact(inner).enumerate() {
            for (value, &a) in right.col_mut(first + k).iter_mut().zip(row) {
                *value = f64::from(a);
            }
        }
        first += part.rank();
    }
    right
}
