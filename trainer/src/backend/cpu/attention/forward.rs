//! The forward pass: who computes what.
//!
//! A task has some queries of one span, and the heads that share one key head.

use std::marker::PhantomData;

use super::output::{Compiled, Pass};
use super::view::{Rectangle, View, ViewMut};
use super::{Limits, alone, check, decode, queue, scratch};
use crate::backend::cpu::element::Element;
use crate::backend::cpu::instructions::Instructions;
use crate::backend::cpu::kernel::scores::Attend;
use crate::backend::{AttentionShape, Span};

/// What the pass reads: queries `[rows, heads * head_dim]`, keys and values `[key rows, kv_heads * head_dim]`.
pub struct Inputs<'a, S> {
    pub q: View<'a, S>,
    pub k: View<'a, S>,
    pub v: View<'a, S>,
    pub shape: &'a AttentionShape,
}

/// Some queries of one span for the heads that share one key head.
pub struct Task<'a, S> {
    pub span: Span,
    pub kv_head: usize,
    /// The first query within the span.
    pub first: usize,
    /// `[queries, group * head_dim]`
    pub out: Rectangle<'a, S>,
    /// `[queries, group]`
    pub lse: Rectangle<'a, f32>,
}

/// Attention and the log-sum-exp (natural, of the scaled scores) of each query: `out` is `[rows, heads * head_dim]`,
/// `lse` is `[rows, heads]`. `tile` belongs to `instructions`.
///
/// # Panics
/// If a matrix is smaller than the shape, or the shape contradicts itself.
pub fn forward<T: Attend, S: Element>(
    tile: T,
    instructions: Instructions,
    [q, k, v]: [View<'_, S>; 3],
    shape: &AttentionShape,
    out: ViewMut<'_, S>,
    lse: &mut [f32],
) {
    within(tile, instructions, &Inputs { q, k, v, shape }, out, lse, Limits::default());
}

pub(super) fn within<T: Attend, S: Element>(
    tile: T,
    instructions: Instructions,
    inputs: &Inputs<'_, S>,
    out: ViewMut<'_, S>,
    lse: &mut [f32],
    limits: Limits,
) {
    let shape = inputs.shape;
    check::<T>(shape);
    let lse = ViewMut { values: lse, stride: shape.heads };
    let work = |task: &Task<'_, S>| task.out.len() * (task.span.start + task.first + task.out.len());
    queue::run(tasks::<T, S>(shape, out, lse, limits), alone(shape), work, |task| {
        scratch::with(|scratch| {
            if task.span.length < limits.few {
                instructions.vectorise(decode::Compiled::<T, S>(decode::Pass { inputs, task }, scratch, PhantomData));
            } else {
                instructions.vectorise(Compiled(Pass { tile, inputs, task, limits }, scratch));
            }
        });
    });
}

/// Whole spans, if they are enough for the threads; or else parts that are worth packing their keys for. Parts are whole
/// tiles, so where they are cut does not show in the numbers.
fn tasks<'a, T: Attend, S: Element>(
    shape: &AttentionShape,
    out: ViewMut<'a, S>,
    lse: ViewMut<'a, f32>,
    limits: Limits,
) -> Vec<Task<'a, S>> {
    let enough = shape.spans.len() * shape.kv_heads >= 4 * rayon::current_num_threads();
    let worth = limits.worth_packing.div_ceil(shape.group()).next_multiple_of(T::ROWS);
    let mut parts = Vec::new();
    for &span in &shape.spans {
        let each = if enough { span.length } else { worth };
        parts.extend((0..span.length).step_by(each.max(1)).map(|first| (span, first, each.min(span.length - first))));
    }
    let heights = || parts.iter().map(|&(_, _, length)| length);
    let out = out.split(heights(), shape.kv_heads, shape.group() * shape.head_dim);
    let lse = lse.split(heights(), shape.kv_heads, shape.group());
    let owners = parts.iter().flat_map(|&(span, first, _)| (0..shape.kv_heads).map(move |head| (span, first, head)));
    let task = |(((span, first, kv_head), out), lse)| Task { span, kv_head, first, out, lse };
    owners.zip(out).zip(lse).map(task).collect()
}
