//! The sum over adapters: `d = d + c * A[k][column]`, multiplied, rounded, added, rounded.
//!
//! Threads split rows and SIMD runs across columns, so that neither changes the order of an element's sum; and nothing
//! here is a fused multiply-add, which Rust never makes of a product and a sum by itself.

use rayon::prelude::*;

use super::terms::{TILE, Term};
use crate::backend::cpu::instructions::Instructions;

/// Rows that a thread takes at a time: they share a panel of A while it is in the first-level cache.
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
        let Rows { terms, first, columns, delta } = self;
        let ranks: usize = terms.iter().map(|term| term.rank).sum();
        let rows = delta.len() / columns;
        let mut c = Vec::with_capacity(rows * ranks);
        for row in first..first + rows {
            for term in terms {
                c.extend((0..term.rank).map(|k| term.c(row, k)));
            }
        }
        for panel in 0..columns.div_ceil(TILE) {
            let at = panel * TILE;
            for (delta, c) in delta.chunks_exact_mut(columns).zip(c.chunks_exact(ranks)) {
                match delta[at..].first_chunk_mut::<TILE>() {
                    Some(whole) => tile(terms, c, panel, whole),
                    None => {
                        let (mut padded, rest) = ([0.0; TILE], &mut delta[at..]);
                        padded[..rest.len()].copy_from_slice(rest);
                        tile(terms, c, panel, &mut padded);
                        rest.copy_from_slice(&padded[..rest.len()]);
                    }
                }
            }
        }
    }
}

/// A panel's columns of one row. One row, not two that share the loads of A: the compiler makes vectors of this, and
/// keeps them in registers.
#[inline(always)]
fn tile(terms: &[Term], mut c: &[f32], panel: usize, delta: &mut [f32; TILE]) {
    let mut sums = *delta;
    for term in terms {
        let (own, rest) = c.split_at(term.rank);
        c = rest;
        for (c, a) in own.iter().zip(term.panel(panel)) {
            for (sum, a) in sums.iter_mut().zip(a) {
                *sum += c * a;
            }
        }
    }
    *delta = sums;
}
