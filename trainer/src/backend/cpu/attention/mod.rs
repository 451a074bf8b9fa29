//! Causal grouped-query attention, forward and backward, fused: scores exist for some queries and some keys at a time.
//!
//! Formulas: Dao et al. 2022 (FlashAttention), algorithms 2 and 4; Dao 2023 for what is kept between the passes.
//!
//! Reading order: [`view`] (what is read and written); [`forward`] (tasks) with `output` (what one does) and `decode`
//! (single queries); [`backward`] with `gradient` and `operands`; below them `pack` (operands of the register tiles),
//! `queue` (threads), `scratch`, and the kernels' [`scores`](super::kernel::scores) (exponentials).
//!
//! Threads own whole rows of whole key heads, and how a sum is cut depends on its own span alone. So a result has the
//! same bits on any number of threads, and a span the same bits in any company.

mod backward;
mod decode;
mod forward;
mod gradient;
mod operands;
mod output;
mod pack;
mod queue;
mod scratch;
#[cfg(test)]
mod tests;
mod view;

pub use backward::{Gradients, Saved, backward};
pub use forward::forward;
pub use view::{View, ViewMut};

use super::kernel::Tile;
use crate::backend::AttentionShape;

/// How work is cut. Part of the numbers (another cut adds in another order), so the same everywhere.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Keys whose scores exist at once in the forward pass.
    keys: usize,
    /// Queries that use a block of keys before it leaves the cache.
    queries: usize,
    /// Rows of queries (times heads that share keys) that are worth packing the keys for.
    worth_packing: usize,
    /// Fewer queries than this are taken one at a time, without packing.
    few: usize,
    /// Keys whose scores exist at once in the backward pass.
    block: usize,
    /// Keys of a backward task, at least.
    part: usize,
    /// And at most: what a thread holds of them is some hundred bytes for each column of a key.
    part_max: usize,
    /// Tasks that a long span's key heads are cut into, roughly. Each of a key head's parts holds a sum of its own for
    /// the gradient in the queries.
    parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keys: 512, queries: 96, worth_packing: 1024, few: 4, block: 288, part: 576, part_max: 8192, parts: 16 }
    }
}

/// `1 / sqrt(head_dim)`.
fn scale(shape: &AttentionShape) -> f32 {
    (1.0 / (shape.head_dim as f64).sqrt()) as f32
}

/// Multiplications below which waking threads costs more than it gives.
const ALONE: usize = 1 << 18;

/// Whether a pass is too small for threads.
fn alone(shape: &AttentionShape) -> bool {
    let seen: usize = shape.spans.iter().map(|span| span.length * (span.start + span.length)).sum();
    seen * shape.heads * shape.head_dim < ALONE
}

/// # Panics
/// If the shape contradicts itself: its caller's mistake.
fn check<T: Tile>(shape: &AttentionShape) {
    assert!(shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads), "key heads divide the query heads");
    assert!(shape.head_dim > 0 && shape.head_dim.is_multiple_of(T::GROUP), "a head is whole groups of the kernel");
    let mut row = 0;
    for span in &shape.spans {
        assert_eq!(span.query, row, "the queries of each span follow those of the one before");
        row += span.length;
    }
}
