//! What a task of the backward pass works on: how it is packed, and how its sums are written.

use std::f32::consts::LOG2_E;

use super::backward::Queries;
use super::gradient::{Pass, block};
use super::pack::Head;
use super::scale;
use super::scratch::Scratch;
use crate::backend::cpu::element::Element;
use crate::backend::cpu::kernel::scores::Attend;

/// The task's keys, packed, and their gradients.
pub struct Keys<'s, T: Attend> {
    /// Panels with keys and values as columns.
    pub k: &'s [T::Element],
    pub v: &'s [T::Element],
    /// Panels with keys as steps, and the steps of one.
    pub steps: &'s [T::Element],
    pub depth: usize,
    /// Tiles of sums: for each tile of keys one for each panel of columns.
    pub dk: &'s mut [f32],
    pub dv: &'s mut [f32],
}

/// A block of queries.
pub struct Block<'s, T: Attend> {
    /// Within the span.
    pub first: usize,
    pub rows: usize,
    /// Rows, `[queries, head_dim]`; zero beyond the last.
    pub q: &'s mut [T::Element],
    pub dout: &'s mut [T::Element],
    /// Panels with queries as steps.
    pub q_steps: &'s mut [T::Element],
    pub dout_steps: &'s mut [T::Element],
    /// The log-sum-exp in the exponent of two; infinite beyond the last query.
    pub lse: &'s mut [f32],
    /// `D`
    pub inner: &'s mut [f32],
    /// Tiles of sums: for each tile of queries one for each panel of columns.
    pub dq: &'s mut [f32],
}

/// Weights and their gradients, for a block of queries and one of keys.
pub struct Weights<'s, T: Attend> {
    /// `P` and `dS`, `[queries / GROUP, keys, GROUP]`
    pub p: &'s mut [T::Element],
    pub ds: &'s mut [T::Element],
    /// `dS` of one tile of queries, `[ROWS, keys]`
    pub row: &'s mut [T::Element],
    /// Of one tile, as products leave them.
    pub scores: &'s mut [f32],
    pub slopes: &'s mut [f32],
}

impl<T: Attend, S: Element> Pass<'_, '_, T, S> {
    /// Queries of a block.
    #[inline(always)]
    pub fn width(&self) -> usize {
        self.limits.queries.next_multiple_of(T::ROWS)
    }

    /// Keys of a block.
    #[inline(always)]
    pub fn reach(&self) -> usize {
        block::<T>(self.limits)
    }

    /// Panels of a head's columns.
    #[inline(always)]
    pub fn panels(&self) -> usize {
        self.inputs.shape.head_dim.div_ceil(T::COLS)
    }

    /// Sums of a tile of rows over all columns of a head.
    #[inline(always)]
    pub fn tile_sums(&self) -> usize {
        self.panels() * T::ROWS * T::COLS
    }

    /// Memory, with the task's keys packed.
    #[inline(always)]
    pub fn memory<'s>(&self, scratch: &'s mut Scratch) -> (Keys<'s, T>, Block<'s, T>, Weights<'s, T>) {
        let (dim, count, width, reach) = (self.inputs.shape.head_dim, self.task.dk.len(), self.width(), self.reach());
        let (depth, sums) = (count.next_multiple_of(T::GROUP), self.tile_sums());
        let row = self.task.span.key + self.task.first;
        let head = |of| Head { of, row, rows: count, col: self.task.kv_head * dim, dim };
        let mut buffers = scratch.buffers();
        let columns = count.next_multiple_of(T::COLS) * dim;
        let (k, v) = (buffers.take(columns), buffers.take(columns));
        let steps = buffers.take(self.panels() * depth * T::COLS);
        head(self.inputs.saved.k).columns(self.tile, k);
        head(self.inputs.saved.v).columns(self.tile, v);
        head(self.inputs.saved.k).steps(self.tile, depth, steps);
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
        let weights = Weights {
            p: buffers.take(width * reach),
            ds: buffers.take(width * reach),
            row: buffers.take(T::ROWS * reach),
            scores: buffers.take(T::ROWS * T::COLS),
            slopes: buffers.take(T::ROWS * T::COLS),
        };
        (keys, queries, weights)
    }

    /// Reads and packs a block of queries of one head.
    #[inline(always)]
    pub fn load(&self, block: &mut Block<'_, T>, head: usize) {
        let (shape, saved, dout) = (self.inputs.shape, &self.inputs.saved, self.inputs.dout);
        let (dim, rows) = (shape.head_dim, block.rows);
        let row = self.task.span.query + block.first;
        let head = self.task.kv_head * shape.group() + head;
        let of = |of| Head { of, row, rows, col: head * dim, dim };
        let (whole, depth) = (rows.next_multiple_of(T::ROWS), rows.next_multiple_of(T::GROUP));
        of(saved.q).rows(&mut block.q[..whole * dim]);
        of(dout).rows(&mut block.dout[..whole * dim]);
        of(saved.q).steps(self.tile, depth, block.q_steps);
        of(dout).steps(self.tile, depth, block.dout_steps);
        for (i, lse) in block.lse[..rows].iter_mut().enumerate() {
            *lse = saved.lse[(row + i) * shape.heads + head] * LOG2_E;
        }
        let (inner, rest) = block.inner[..whole].split_at_mut(rows);
        let values = [dout, saved.out].map(|of| (of.from(row, head * dim), of.stride));
        self.tile.dots(values, dim, inner);
        block.lse[rows..whole].fill(f32::INFINITY);
        rest.fill(0.0);
    }

    /// Writes the gradient in a block of queries.
    #[inline(always)]
    pub fn finish_queries(&mut self, block: &Block<'_, T>, head: usize) {
        let (dim, scale, sums) = (self.inputs.shape.head_dim, scale(self.inputs.shape), self.tile_sums());
        let (length, first) = (self.task.span.length, self.task.first);
        for row in 0..block.rows {
            let query = block.first + row;
            let sums = &block.dq[row / T::ROWS * sums + row % T::ROWS * T::COLS..];
            match &mut self.task.dq {
                Queries::Whole(out) => self.tile.finish(sums, scale, &mut out[query][head * dim..][..dim]),
                Queries::Share(out) => {
                    let at = (head * (length - first) + query - first) * dim;
                    self.tile.finish(sums, scale, &mut out[at..at + dim]);
                }
            }
        }
    }

    /// Writes the gradients in the task's keys and values.
    #[inline(always)]
    pub fn finish_keys(&mut self, keys: &Keys<'_, T>) {
        let (scale, sums) = (scale(self.inputs.shape), self.tile_sums());
        for (row, (dk, dv)) in self.task.dk.iter_mut().zip(&mut self.task.dv).enumerate() {
            let at = row / T::ROWS * sums + row % T::ROWS * T::COLS;
            self.tile.finish(&keys.dk[at..], scale, dk);
            self.tile.finish(&keys.dv[at..], 1.0, dv);
        }
    }
}
