//! The backward pass of some keys and one key head: five products for each block of queries and keys.
//!
//! With `P = e^(S - lse)` and `D = rowsum(dO * O)`: `dV = P^T dO`, `dS = P * (dO V^T - D)`, `dQ = s dS K`,
//! `dK = s dS^T Q`, with `s = 1 / sqrt(head_dim)`.
//!
//! ```text
//! S, dO V^T   tiles of queries, panels of keys    K and V as columns, packed once for all queries and heads
//! dQ          tiles of queries, panels of columns  dS as rows;       K as steps, packed once too
//! dV, dK      tiles of keys,    panels of columns  P, dS transposed; dO and Q as steps, packed for each block
//! ```
//! Scores come as tiles of `[queries, keys]`. What is kept of them is `P` and `dS` with groups of queries side by side,
//! which is how a tile takes a transposed operand; so nothing is ever transposed.

use std::f32::consts::LOG2_E;

use super::backward::{Inputs, Task};
use super::operands::{Block, Keys, Weights};
use super::scratch::Scratch;
use super::{Limits, scale};
use crate::backend::cpu::element::Element;
use crate::backend::cpu::kernel::scores::{self, Attend, Sight, Slopes};

pub struct Pass<'t, 'a, T, S> {
    pub tile: T,
    pub inputs: &'t Inputs<'a, S>,
    pub task: Task<'t, S>,
    pub limits: Limits,
}

/// A task as something that can be compiled for given instructions.
pub struct Compiled<'t, 'a, T, S>(pub Pass<'t, 'a, T, S>, pub &'t mut Scratch);

impl<T: Attend, S: Element> pulp::NullaryFnOnce for Compiled<'_, '_, T, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(mut pass, scratch) = self;
        pass.run(scratch);
    }
}

/// Keys of a block: whole tiles and whole panels.
pub fn block<T: Attend>(limits: Limits) -> usize {
    let both = (1..=T::ROWS).map(|n| n * T::COLS).find(|n| n.is_multiple_of(T::ROWS)).unwrap_or(T::ROWS * T::COLS);
    limits.block.next_multiple_of(both)
}

impl<T: Attend, S: Element> Pass<'_, '_, T, S> {
    #[inline(always)]
    fn run(&mut self, scratch: &mut Scratch) {
        let (shape, length, width) = (self.inputs.shape, self.task.span.length, self.width());
        let (keys, mut queries, mut weights) = self.memory(scratch);
        for head in 0..shape.group() {
            for first in (self.task.first..length).step_by(width) {
                (queries.first, queries.rows) = (first, width.min(length - first));
                self.load(&mut queries, head);
                let seen = self.task.dk.len().min(first + queries.rows - self.task.first);
                for from in (0..seen).step_by(self.reach()) {
                    let count = self.reach().min(self.task.dk.len() - from);
                    self.weigh(&mut weights, &keys, &mut queries, (from, count));
                    self.sum(weights.p, &queries, queries.dout_steps, (from, count), keys.dv);
                    self.sum(weights.ds, &queries, queries.q_steps, (from, count), keys.dk);
                }
                self.finish_queries(&queries, head);
            }
        }
        self.finish_keys(&keys);
    }

    /// Keys that a query sees of a block of keys (from the task's key `from` on).
    #[inline(always)]
    fn seen(&self, query: usize, from: usize) -> usize {
        (query + 1).saturating_sub(self.task.first + from)
    }

    /// Weights and their gradients for a block of keys, and its share of the gradient in the queries.
    #[inline(always)]
    fn weigh(
        &self,
        weights: &mut Weights<'_, T>,
        keys: &Keys<'_, T>,
        block: &mut Block<'_, T>,
        (from, count): (usize, usize),
    ) {
        let (reach, sums) = (self.reach(), self.tile_sums());
        for first in (0..block.rows).step_by(T::ROWS) {
            let seen = self.seen(block.first + first + T::ROWS - 1, from).min(count);
            if seen == 0 {
                continue;
            }
            for panel in (0..seen).step_by(T::COLS) {
                self.panel(weights, keys, block, first, (from, panel));
            }
            // The last tile of keys may reach into a panel that none of these queries sees.
            let hidden =
                seen.next_multiple_of(T::COLS).min(reach)..(seen.next_multiple_of(T::COLS) + T::ROWS).min(reach);
            for group in first / T::GROUP..(first + T::ROWS) / T::GROUP {
                let hidden = (group * reach + hidden.start) * T::GROUP..(group * reach + hidden.end) * T::GROUP;
                weights.p[hidden.clone()].fill(T::Element::ZERO);
                weights.ds[hidden].fill(T::Element::ZERO);
            }
            let panels = keys.steps.chunks_exact(keys.depth * T::COLS);
            let dq = block.dq[first / T::ROWS * sums..][..sums].chunks_exact_mut(T::ROWS * T::COLS);
            for (dq, steps) in dq.zip(panels) {
                let (depth, steps) = (seen.next_multiple_of(T::GROUP), &steps[from * T::COLS..]);
                if from == 0 {
                    self.tile.product(T::COLS, depth, weights.row, reach, steps, dq);
                } else {
                    self.tile.run(depth, weights.row, reach, steps, dq);
                }
            }
        }
    }

    /// A tile of queries with a panel of keys, the one from key `panel` of the block.
    #[inline(always)]
    fn panel(
        &self,
        weights: &mut Weights<'_, T>,
        keys: &Keys<'_, T>,
        block: &Block<'_, T>,
        first: usize,
        (from, panel): (usize, usize),
    ) {
        let (dim, reach) = (self.inputs.shape.head_dim, self.reach());
        let (at, to) = ((from + panel) * dim, first * reach + panel * T::GROUP);
        let (scores, slopes) = (&mut *weights.scores, &mut *weights.slopes);
        let sight = Sight { query: block.first + first, key: self.task.first + from + panel, keys: T::COLS };
        let cols = sight.of(T::ROWS - 1);
        self.tile.product(cols, dim, &block.q[first * dim..], dim, &keys.k[at..], scores);
        self.tile.product(cols, dim, &block.dout[first * dim..], dim, &keys.v[at..], slopes);
        let factor = scale(self.inputs.shape) * LOG2_E;
        let (lse, inner) = (&block.lse[first..], &block.inner[first..]);
        let (p, ds, rows) = (&mut weights.p[to..], &mut weights.ds[to..], &mut weights.row[panel..]);
        self.tile.gradients(
            Slopes { scores, slopes, sight, factor, lse, inner },
            scores::Weights { p, ds, rows, stride: reach },
        );
    }

    /// Adds the products of transposed weights with rows of queries to the sums of the keys.
    #[inline(always)]
    fn sum(
        &self,
        weights: &[T::Element],
        block: &Block<'_, T>,
        steps: &[T::Element],
        (from, count): (usize, usize),
        sums: &mut [f32],
    ) {
        let (depth, reach) = (block.rows.next_multiple_of(T::GROUP), self.reach());
        let tiles = sums.chunks_exact_mut(self.tile_sums()).skip(from / T::ROWS);
        for (key, sums) in (0..count).step_by(T::ROWS).zip(tiles) {
            // Queries before this one see none of the tile's keys.
            let first = (self.task.first + from + key).saturating_sub(block.first) / T::GROUP * T::GROUP;
            if first >= depth {
                break;
            }
            let weights = &weights[first * reach + key * T::GROUP..];
            let panels = steps.chunks_exact(depth * T::COLS);
            for (sums, steps) in sums.chunks_exact_mut(T::ROWS * T::COLS).zip(panels) {
                self.tile.run_transposed(depth - first, weights, reach * T::GROUP, &steps[first * T::COLS..], sums);
            }
        }
    }
}
