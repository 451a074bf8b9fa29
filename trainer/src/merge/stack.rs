//! The exact sum of weighted adapters as one of their ranks together.
//!
//! `sum_i w_i s_i B_i A_i = [w_1 s_1 B_1, w_2 s_2 B_2, ...] [A_1; A_2; ...]`: stacked, not averaged, so that no cross
//! terms `B_i A_j` appear (PEFT calls this combination `cat`). The only rounding is that of `w s B` to f32.

use super::input::Part;

/// A module of the result.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// `[rank, inner]`, row-major.
    pub a: Vec<f32>,
    /// `[out, rank]`, row-major.
    pub b: Vec<f32>,
}

/// A's rows one below the other, B's columns one beside the other, both in the order of the parts; zeros up to `rank`.
pub fn stack(parts: &[Part], (out, inner): (usize, usize), rank: usize) -> Merged {
    let (mut a, mut b, mut first) = (vec![0.0; rank * inner], vec![0.0; out * rank], 0);
    for part in parts {
        let (own, factor) = (part.rank(), part.factor());
        a[first * inner..][..own * inner].copy_from_slice(&part.pair.a);
        for (row, own_row) in b.chunks_exact_mut(rank).zip(part.pair.b.chunks_exact(own)) {
            for (value, &unscaled) in row[first..].iter_mut().zip(own_row) {
                *value = (factor * f64::from(unscaled)) as f32;
            }
        }
        first += own;
    }
    Merged { a, b }
}
