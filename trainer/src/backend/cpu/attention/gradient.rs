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

use super::backward::{Inputs, Queries, Task};
use super::pack::Head;
use super::scratch::Scratch;
use super::weights::{Lanes, fold, multiply_add, power_of_two};
use super::{Limits, scale};
use crate::backend::cpu::element::{Element, convert};
use crate::backend::cpu::kernel::Tile;

pub struct Pass<'t, 'a, T, S> {
    pub tile: T,
    pub inputs: &'t Inputs<'a, S>,
    pub task: Task<'t, S>,
    pub limits: Limits,
}

/// A task as something that can be compiled for given instructions.
pub struct Compiled<'t, 'a, T, S>(pub Pass<'t, 'a, T, S>, pub &'t mut Scratch);

impl<T: Tile, S: Element> pulp::NullaryFnOnce for Compiled<'_, '_, T, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(mut pass, scratch) = self;
        pass.run(scratch);
    }
}

/// Keys of a block: whole tiles and whole panels.
pub fn block<T: Tile>(limits: Limits) -> usize {
    let both = (1..=T::ROWS).map(|n| n * T::COLS).find(|n| n.is_multiple_of(T::ROWS)).unwrap_or(T::ROWS * T::COLS);
    limits.block.next_multiple_of(both)
}

/// The task's keys, packed, and their gradients.
struct Keys<'s, T: Tile> {
    /// Panels with keys and values as columns.
    k: &'s [T::Element],
    v: &'s [T::Element],
    /// Panels with keys as steps, and the steps of one.
    steps: &'s [T::Element],
    depth: usize,
    /// Tiles of sums: for each tile of keys one for each panel of columns.
    dk: &'s mut [f32],
    dv: &'s mut [f32],
}

/// A block of queries.
struct Block<'s, T: Tile> {
    /// Within the span.
    first: usize,
    rows: usize,
    /// Rows, `[queries, head_dim]`; zero beyond the last.
    q: &'s mut [T::Element],
    dout: &'s mut [T::Element],
    /// Panels with queries as steps.
    q_steps: &'s mut [T::Element],
    dout_steps: &'s mut [T::Element],
    /// The log-sum-exp in the exponent of two; infinite beyond the last query.
    lse: &'s mut [f32],
    /// `D`
    inner: &'s mut [f32],
    /// Tiles of sums: for each tile of queries one for each panel of columns.
    dq: &'s mut [f32],
}

/// Weights and their gradients, for a block of queries and one of keys.
struct Weights<'s, T: Tile> {
    /// `P` and `dS`, `[queries / GROUP, keys, GROUP]`
    p: &'s mut [T::Element],
    ds: &'s mut [T::Element],
    /// `dS` of one tile of queries, `[ROWS, keys]`
    row: &'s mut [T::Element],
}

impl<T: Tile, S: Element> Pass<'_, '_, T, S> {
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
                    self.sum(&weights.p, &queries, queries.dout_steps, (from, count), keys.dv);
                    self.sum(&weights.ds, &queries, queries.q_steps, (from, count), keys.dk);
                }
                self.finish_queries(&queries, head);
            }
        }
        self.finish_keys(&keys);
    }

    /// Queries of a block.
    #[inline(always)]
    fn width(&self) -> usize {
        self.limits.queries.next_multiple_of(T::ROWS)
    }

    /// Keys of a block.
    #[inline(always)]
    fn reach(&self) -> usize {
        block::<T>(self.limits)
    }

    /// Panels of a head's columns.
    #[inline(always)]
    fn panels(&self) -> usize {
        self.inputs.shape.head_dim.div_ceil(T::COLS)
    }

    /// Sums of a tile of rows over all columns of a head.
    #[inline(always)]
    fn tile_sums(&self) -> usize {
        self.panels() * T::ROWS * T::COLS
    }

    /// Keys that a query sees of a block of keys (from the task's key `from` on).
    #[inline(always)]
    fn seen(&self, query: usize, from: usize) -> usize {
        (query + 1).saturating_sub(self.task.first + from)
    }

    #[inline(always)]
    fn memory<'s>(&self, scratch: &'s mut Scratch) -> (Keys<'s, T>, Block<'s, T>, Weights<'s, T>) {
        let (dim, count, width, reach) = (self.inputs.shape.head_dim, self.task.dk.len(), self.width(), self.reach());
        let (depth, sums) = (count.next_multiple_of(T::GROUP), self.tile_sums());
        let row = self.task.span.key + self.task.first;
        let head = |of| Head { of, row, rows: count, col: self.task.kv_head * dim, dim };
        let mut buffers = scratch.buffers();
        let columns = count.next_multiple_of(T::COLS) * dim;
        let (k, v) = (buffers.take(columns), buffers.take(columns));
        let steps = buffers.take(self.panels() * depth * T::COLS);
        head(self.inputs.saved.k).columns::<T>(k);
        head(self.inputs.saved.v).columns::<T>(v);
        head(self.inputs.saved.k).steps::<T>(depth, steps);
        let tiles = count.div_ceil(T::ROWS) * sums;
        let keys = Keys { k, v, steps, depth, dk: buffers.zeros(tiles), dv: buffers.zeros(tiles) };
        let packed = self.panels() * width * T::COLS;
        let queries = Block {
            first: 0,
            rows: 0,
            q: buffers.take(width * dim),
            dout: buffers.take(width * dim),
            q_steps: buffers.take(packed),
            dout_steps: buffers.take(packed),
            lse: buffers.take(width),
            inner: buffers.take(width),
            dq: buffers.take(width / T::ROWS * sums),
        };
        let p = buffers.take(width * reach);
        let weights = Weights { p, ds: buffers.take(width * reach), row: buffers.take(T::ROWS * reach) };
        (keys, queries, weights)
    }

    /// Reads and packs a block of queries of one head.
    #[inline(always)]
    fn load(&self, block: &mut Block<'_, T>, head: usize) {
        let (shape, saved) = (self.inputs.shape, &self.inputs.saved);
        let (dim, rows) = (shape.head_dim, block.rows);
        let row = self.task.span.query + block.first;
        let head = self.task.kv_head * shape.group() + head;
        let of = |of| Head { of, row, rows, col: head * dim, dim };
        let (whole, depth) = (rows.next_multiple_of(T::ROWS), rows.next_multiple_of(T::GROUP));
        of(saved.q).rows(&mut block.q[..whole * dim]);
        of(self.inputs.dout).rows(&mut block.dout[..whole * dim]);
        of(saved.q).steps::<T>(depth, block.q_steps);
        of(self.inputs.dout).steps::<T>(depth, block.dout_steps);
        block.lse[rows..whole].fill(f32::INFINITY);
        block.inner[rows..whole].fill(0.0);
        block.dq[..whole / T::ROWS * self.tile_sums()].fill(0.0);
        for i in 0..rows {
            block.lse[i] = saved.lse[(row + i) * shape.heads + head] * LOG2_E;
            let (dout, out) = (self.inputs.dout.row(row + i, head * dim, dim), saved.out.row(row + i, head * dim, dim));
            block.inner[i] = dot(dout, out);
        }
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
        let (dim, reach) = (self.inputs.shape.head_dim, self.reach());
        let tiles = block.dq.chunks_exact_mut(self.tile_sums());
        for (first, dq) in (0..block.rows).step_by(T::ROWS).zip(tiles) {
            let query = block.first + first;
            let seen = self.seen(query + T::ROWS - 1, from).min(count);
            if seen == 0 {
                continue;
            }
            let q = &block.q[first * dim..][..T::ROWS * dim];
            let dout = &block.dout[first * dim..][..T::ROWS * dim];
            let groups = first * reach..(first + T::ROWS) * reach;
            let (p, ds) = (&mut weights.p[groups.clone()], &mut weights.ds[groups]);
            for panel in 0..seen.div_ceil(T::COLS) {
                let at = (from + panel * T::COLS) * dim;
                let (mut scores, mut slopes) = (Lanes::new(0.0), Lanes::new(0.0));
                let (scores, slopes) = (scores.of::<T>(), slopes.of::<T>());
                self.tile.run(dim, q, dim, &keys.k[at..], scores);
                self.tile.run(dim, dout, dim, &keys.v[at..], slopes);
                let (lse, inner) = (&block.lse[first..], &block.inner[first..]);
                self.gradients(scores, slopes, (lse, inner), query, from + panel * T::COLS);
                groups_of::<T>(scores, &mut p[panel * T::COLS * T::GROUP..], reach);
                groups_of::<T>(slopes, &mut ds[panel * T::COLS * T::GROUP..], reach);
                for (i, slopes) in slopes.chunks_exact(T::COLS).enumerate() {
                    convert(slopes, &mut weights.row[i * reach + panel * T::COLS..][..T::COLS]);
                }
            }
            // The last tile of keys may reach into a panel that none of these queries sees.
            let written = seen.next_multiple_of(T::COLS) * T::GROUP;
            for group in (0..T::ROWS / T::GROUP).map(|group| group * reach * T::GROUP) {
                let end = (written + T::ROWS * T::GROUP).min(reach * T::GROUP);
                p[group + written..group + end].fill(T::Element::ZERO);
                ds[group + written..group + end].fill(T::Element::ZERO);
            }
            let panels = keys.steps.chunks_exact(keys.depth * T::COLS);
            for (dq, steps) in dq.chunks_exact_mut(T::ROWS * T::COLS).zip(panels) {
                let depth = seen.next_multiple_of(T::GROUP);
                self.tile.run(depth, weights.row, reach, &steps[from * T::COLS..], dq);
            }
        }
    }

    /// Scores to weights and, from `dO V^T`, their gradients, both in place. `query` is the tile's first, `from` the
    /// panel's first key.
    #[inline(always)]
    fn gradients(
        &self,
        scores: &mut [f32],
        slopes: &mut [f32],
        (lse, inner): (&[f32], &[f32]),
        query: usize,
        from: usize,
    ) {
        let factor = scale(self.inputs.shape) * LOG2_E;
        let rows = scores.chunks_exact_mut(T::COLS).zip(slopes.chunks_exact_mut(T::COLS));
        for (i, (scores, slopes)) in rows.enumerate() {
            let (lse, inner) = (lse[i], inner[i]);
            for (score, slope) in scores.iter_mut().zip(&mut *slopes) {
                *score = power_of_two::<T>(multiply_add::<T>(*score, factor, -lse));
                *slope = *score * (*slope - inner);
            }
            let seen = self.seen(query + i, from);
            if seen < T::COLS {
                scores[seen..].fill(0.0);
                slopes[seen..].fill(0.0);
            }
        }
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

    #[inline(always)]
    fn finish_queries(&mut self, block: &Block<'_, T>, head: usize) {
        let (dim, scale, sums) = (self.inputs.shape.head_dim, scale(self.inputs.shape), self.tile_sums());
        let (length, first) = (self.task.span.length, self.task.first);
        for row in 0..block.rows {
            let query = block.first + row;
            let sums = &block.dq[row / T::ROWS * sums..];
            match &mut self.task.dq {
                Queries::Whole(out) => finish::<T, S>(sums, row, scale, &mut out[query][head * dim..][..dim]),
                Queries::Share(out) => {
                    let at = (head * (length - first) + query - first) * dim;
                    finish::<T, f32>(sums, row, scale, &mut out[at..at + dim]);
                }
            }
        }
    }

    #[inline(always)]
    fn finish_keys(&mut self, keys: &Keys<'_, T>) {
        let (scale, sums) = (scale(self.inputs.shape), self.tile_sums());
        for (row, (dk, dv)) in self.task.dk.iter_mut().zip(&mut self.task.dv).enumerate() {
            let at = row / T::ROWS * sums;
            finish::<T, S>(&keys.dk[at..], row, scale, dk);
            finish::<T, S>(&keys.dv[at..], row, 1.0, dv);
        }
    }
}

/// Independent sums of a dot product.
const LANES: usize = 16;

#[inline(always)]
fn dot<S: Element>(a: &[S], b: &[S]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a.widen() * b.widen();
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        *sum += a.widen() * b.widen();
    }
    fold(sums, |a, b| a + b)
}

/// A row of a tile's sums, scaled.
#[inline(always)]
fn finish<T: Tile, S: Element>(sums: &[f32], row: usize, scale: f32, out: &mut [S]) {
    for (panel, out) in out.chunks_mut(T::COLS).enumerate() {
        let sums = &sums[(panel * T::ROWS + row % T::ROWS) * T::COLS..];
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = S::narrow(sum * scale));
    }
}

/// A tile's rows with groups of them side by side; `stride` columns from one group to the next.
#[inline(always)]
fn groups_of<T: Tile>(tile: &[f32], out: &mut [T::Element], stride: usize) {
    for (group, rows) in tile.chunks_exact(T::COLS * T::GROUP).enumerate() {
        let out = &mut out[group * stride * T::GROUP..][..T::COLS * T::GROUP];
        if T::GROUP == 1 {
            convert(rows, out);
            continue;
        }
        let (even, odd) = rows.split_at(T::COLS);
        for ((out, &even), &odd) in out.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
            *out = [T::Element::narrow(even), T::Element::narrow(odd)];
        }
    }
}
