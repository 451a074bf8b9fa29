//! The sum over adapters: `d = d + c * A[k][column]`, multiplied, rounded, added, rounded.
//!
//! Threads split rows and SIMD runs across columns, so that neither changes the order of an element's sum; and nothing
//! here is a fused multiply-add, which Rust never makes of a product and a sum by itself.

use rayon::prelude::*;

use super::terms::{TILE, Term};
use crate::backend::cpu::instructions::Instructions;

/// Rows that share a load of A.
const ROWS: usize = 2;

/// Rows that a thread takes at a time.
const TASK: usize = 16;

/// Adds the terms to `delta`, which holds whole rows from `first` on. // I10
pub fn accumulate(instructions: Instructions, terms: &[Term], first: usize, columns: usize, delta: &mut [f32]) {
    delta.par_chunks_mut(TASK * columns).enumerate().for_each(|(task, delta)| {
        instructions.vectorise(Rows { terms, first: first + task * TASK, columns, delta });
    });
}

struct Rows<'a, 't> {
    terms: &'a [Term<'t>],
    first: usize,
    columns: usize,
    delta: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Rows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Rows { terms, mut first, columns, delta } = self;
        let (mut pairs, mut c) = (delta.chunks_exact_mut(ROWS * columns), Vec::new());
        for rows in &mut pairs {
            block::<ROWS>(terms, first, columns, &mut c, rows);
            first += ROWS;
        }
        for row in pairs.into_remainder().chunks_exact_mut(columns) {
            block::<1>(terms, first, columns, &mut c, row);
            first += 1;
        }
    }
}

/// `R` rows, a panel's columns at a time. `c` is scratch.
#[inline(always)]
fn block<const R: usize>(terms: &[Term], first: usize, columns: usize, c: &mut Vec<f32>, delta: &mut [f32]) {
    c.clear();
    for term in terms {
        for k in 0..term.rank {
            for row in first..first + R {
                c.push(term.c(row, k));
            }
        }
    }
    let c = c.as_chunks::<R>().0;
    for panel in 0..columns.div_ceil(TILE) {
        let at = panel * TILE;
        if columns - at >= TILE {
            // The same with a width that the compiler knows.
            tile::<R>(terms, c, panel, columns, TILE, &mut delta[at..]);
        } else {
            tile::<R>(terms, c, panel, columns, columns - at, &mut delta[at..]);
        }
    }
}

/// `width` columns of `R` rows that lie `columns` apart.
#[inline(always)]
fn tile<const R: usize>(
    terms: &[Term],
    mut c: &[[f32; R]],
    panel: usize,
    columns: usize,
    width: usize,
    delta: &mut [f32],
) {
    let mut sums = [[0.0f32; TILE]; R];
    for (row, sums) in sums.iter_mut().enumerate() {
        sums[..width].copy_from_slice(&delta[row * columns..][..width]);
    }
    for term in terms {
        let (own, rest) = c.split_at(term.rank);
        c = rest;
        for (c, a) in own.iter().zip(term.panel(panel)) {
            for (sums, c) in sums.iter_mut().zip(c) {
                for (sum, a) in sums.iter_mut().zip(a) {
                    *sum += c * a;
                }
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        delta[row * columns..][..width].copy_from_slice(&sums[..width]);
    }
}
