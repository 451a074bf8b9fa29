//! The forward pass of some queries: a block of them goes through the keys a block at a time, with a running maximum and
//! sum.
//!
//! For each tile of queries and each block of keys `S = Q K^T`, `m' = max(m, S)`, `P = e^(S - m')`, and then
//! `l = e^(m - m') l + rowsum(P)`, `O = e^(m - m') O + P V`; at the end `O / l` and `m + ln l`. A span of no more keys
//! than [`Limits::keys`] is one block: its softmax is exact in one pass. Exponentials are powers of two throughout.

use std::f32::consts::LOG2_E;
use std::f64::consts::LN_2;

use super::forward::{Inputs, Task};
use super::pack::Head;
use super::scratch::Scratch;
use super::{Limits, scale};
use crate::backend::cpu::element::Element;
use crate::backend::cpu::kernel::power::power_of_two;
use crate::backend::cpu::kernel::scores::{Attend, Scores, Sight};

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

/// Rows of the largest tile.
const ROWS_MAX: usize = 12;

/// What a thread works on: the keys and values of the task, and one block of queries.
struct Block<'s, T: Attend> {
    /// Panels with keys as columns, and with values as steps.
    keys: &'s [T::Element],
    values: &'s [T::Element],
    /// Steps of a panel of values.
    depth: usize,
    /// `[queries, head_dim]`
    queries: &'s mut [T::Element],
    /// Tiles of scores, one for each panel of keys.
    scores: &'s mut [f32],
    /// `[ROWS, keys]`
    weights: &'s mut [T::Element],
    /// Tiles of sums: for each tile of queries one for each panel of columns.
    sums: &'s mut [f32],
    /// For each query the maximum so far (in the exponent of two) and the sum of its weights.
    most: &'s mut [f32],
    total: &'s mut [f32],
}

impl<T: Attend, S: Element> Pass<'_, '_, T, S> {
    #[inline(always)]
    fn run(&mut self, scratch: &mut Scratch) {
        let shape = self.inputs.shape;
        let (queries, width) = (self.task.out.len(), self.width());
        let mut block = self.block(scratch);
        for head in 0..shape.group() {
            for from in (0..queries).step_by(width) {
                let rows = width.min(queries - from);
                let whole = rows.next_multiple_of(T::ROWS);
                let col = (self.task.kv_head * shape.group() + head) * shape.head_dim;
                let row = self.task.span.query + self.task.first + from;
                Head { of: self.inputs.q, row, rows, col, dim: shape.head_dim }
                    .rows(&mut block.queries[..whole * shape.head_dim]);
                block.most.fill(f32::NEG_INFINITY);
                self.attend(&mut block, from, rows);
                self.finish(&block, head, from, rows);
            }
        }
    }

    /// Queries of a block.
    #[inline(always)]
    fn width(&self) -> usize {
        self.limits.queries.next_multiple_of(T::ROWS)
    }

    /// Keys of a block.
    #[inline(always)]
    fn reach(&self) -> usize {
        self.limits.keys.next_multiple_of(T::COLS)
    }

    /// Panels of a head's columns.
    #[inline(always)]
    fn panels(&self) -> usize {
        self.inputs.shape.head_dim.div_ceil(T::COLS)
    }

    /// Memory, with keys and values packed.
    #[inline(always)]
    fn block<'s>(&self, scratch: &'s mut Scratch) -> Block<'s, T> {
        let (width, reach, panels) = (self.width(), self.reach(), self.panels());
        let (row, dim) = (self.task.span.key, self.inputs.shape.head_dim);
        let seen = self.task.span.start + self.task.first + self.task.out.len();
        let depth = seen.next_multiple_of(T::GROUP);
        let head = |of| Head { of, row, rows: seen, col: self.task.kv_head * dim, dim };
        let mut buffers = scratch.buffers();
        let keys = buffers.take(seen.next_multiple_of(T::COLS) * dim);
        let values = buffers.take(panels * depth * T::COLS);
        head(self.inputs.k).columns(self.tile, keys);
        head(self.inputs.v).steps(self.tile, depth, values);
        Block {
            keys,
            values,
            depth,
            queries: buffers.take(width * dim),
            scores: buffers.take(T::ROWS * reach),
            weights: buffers.take(T::ROWS * reach),
            sums: buffers.take(width * panels * T::COLS),
            most: buffers.take(width),
            total: buffers.take(width),
        }
    }

    /// A block of queries against all keys that they see.
    #[inline(always)]
    fn attend(&self, block: &mut Block<'_, T>, from: usize, rows: usize) {
        let before = self.task.span.start + self.task.first + from;
        let seen = before + rows;
        for key in (0..seen).step_by(self.reach()) {
            for first in (0..rows).step_by(T::ROWS) {
                let last = before + (first + T::ROWS).min(rows);
                if last > key {
                    let keys = self.reach().min(last - key);
                    self.scores(block, key, first, keys);
                    self.weigh(block, before + first, key, first, keys);
                    self.sum(block, key, first, keys);
                }
            }
        }
    }

    /// A tile of queries with the panels of some keys.
    #[inline(always)]
    fn scores(&self, block: &mut Block<'_, T>, key: usize, first: usize, keys: usize) {
        let dim = self.inputs.shape.head_dim;
        let queries = &block.queries[first * dim..][..T::ROWS * dim];
        let scores = &mut block.scores[..keys.next_multiple_of(T::COLS) * T::ROWS];
        let panels = block.keys[key * dim..].chunks_exact(T::COLS * dim);
        let scores = scores.chunks_exact_mut(T::ROWS * T::COLS).enumerate();
        for ((index, scores), panel) in scores.zip(panels) {
            self.tile.product(keys - index * T::COLS, dim, queries, dim, panel, scores);
        }
    }

    /// Scores to weights; earlier sums are brought to the new maximum. The tile's first query sees `before` keys and
    /// its own, each other one more; the block begins with `key`.
    #[inline(always)]
    fn weigh(&self, block: &mut Block<'_, T>, before: usize, key: usize, first: usize, keys: usize) {
        let (factor, width) = (scale(self.inputs.shape) * LOG2_E, self.panels() * T::COLS);
        let values = &mut block.scores[..keys.next_multiple_of(T::COLS) * T::ROWS];
        let most = &mut block.most[first..first + T::ROWS];
        let (mut earlier, mut totals) = ([0.0; ROWS_MAX], [0.0; ROWS_MAX]);
        let (earlier, totals) = (&mut earlier[..T::ROWS], &mut totals[..T::ROWS]);
        earlier.copy_from_slice(most);
        let sight = Sight { query: before, key, keys };
        self.tile.weigh(Scores { values, sight, factor }, most, (block.weights, self.reach()), totals);
        if key == 0 {
            return block.total[first..first + T::ROWS].copy_from_slice(totals);
        }
        let sums = &mut block.sums[first * width..][..T::ROWS * width];
        for (i, (earlier, now)) in earlier.iter().zip(most).enumerate() {
            let kept = power_of_two::<T>(earlier - *now);
            block.total[first + i] = block.total[first + i] * kept + totals[i];
            if kept != 1.0 {
                for sums in sums.chunks_exact_mut(T::ROWS * T::COLS) {
                    sums[i * T::COLS..][..T::COLS].iter_mut().for_each(|sum| *sum *= kept);
                }
            }
        }
    }

    /// Adds the weighted values.
    #[inline(always)]
    fn sum(&self, block: &mut Block<'_, T>, key: usize, first: usize, keys: usize) {
        let tile = self.panels() * T::ROWS * T::COLS;
        let sums = block.sums[first / T::ROWS * tile..][..tile].chunks_exact_mut(T::ROWS * T::COLS);
        for (sums, values) in sums.zip(block.values.chunks_exact(block.depth * T::COLS)) {
            let (depth, values) = (keys.next_multiple_of(T::GROUP), &values[key * T::COLS..]);
            if key == 0 {
                self.tile.product(T::COLS, depth, block.weights, self.reach(), values, sums);
            } else {
                self.tile.run(depth, block.weights, self.reach(), values, sums);
            }
        }
    }

    #[inline(always)]
    fn finish(&mut self, block: &Block<'_, T>, head: usize, from: usize, rows: usize) {
        let (dim, panels) = (self.inputs.shape.head_dim, self.panels());
        for row in 0..rows {
            let (most, total) = (block.most[row], block.total[row]);
            let inverse = 1.0 / total;
            let out = &mut self.task.out[from + row][head * dim..][..dim];
            let at = (row / T::ROWS * panels * T::ROWS + row % T::ROWS) * T::COLS;
            self.tile.finish(&block.sums[at..], inverse, out);
            self.task.lse[from + row][head] = natural(most, total);
        }
    }
}

/// `ln(2^most * total)`.
#[inline(always)]
pub fn natural(most: f32, total: f32) -> f32 {
    (f64::from(most) * LN_2 + f64::from(total).ln()) as f32
}
