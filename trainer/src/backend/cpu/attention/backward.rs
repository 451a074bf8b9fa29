//! The backward pass: who computes what, and the gradients in the queries of long spans.
//!
//! A task has one key head and some keys (a part of a span); it goes through all query heads and queries that see them,
//! so the gradients in its keys and values are its own. The gradient in a query is the sum over the parts that it sees:
//! where there are several, each leaves its share in shared memory, and they are added in order at the end.

use rayon::prelude::*;

use super::gradient::{Compiled, Pass};
use super::scratch;
use super::view::{Rectangle, View, ViewMut};
use super::{Limits, alone, check, queue};
use crate::backend::cpu::element::Element;
use crate::backend::cpu::instructions::Instructions;
use crate::backend::cpu::kernel::scores::Attend;
use crate::backend::{AttentionShape, Span};

/// The forward pass's inputs and results.
#[derive(Clone, Copy)]
pub struct Saved<'a, S> {
    /// `[rows, heads * head_dim]`
    pub q: View<'a, S>,
    /// `[rows, kv_heads * head_dim]`
    pub k: View<'a, S>,
    pub v: View<'a, S>,
    /// `[rows, heads * head_dim]`
    pub out: View<'a, S>,
    /// `[rows, heads]`
    pub lse: &'a [f32],
}

/// Where the gradients go; shapes as in [`Saved`].
pub struct Gradients<'a, S> {
    pub q: ViewMut<'a, S>,
    pub k: ViewMut<'a, S>,
    pub v: ViewMut<'a, S>,
}

/// What the pass reads.
pub struct Inputs<'a, S> {
    pub dout: View<'a, S>,
    pub saved: Saved<'a, S>,
    pub shape: &'a AttentionShape,
}

/// Some keys of one span and key head, with all that attend to them.
pub struct Task<'a, S> {
    pub span: Span,
    pub kv_head: usize,
    /// The first key within the span.
    pub first: usize,
    pub dq: Queries<'a, S>,
    /// `[keys, head_dim]`
    pub dk: Rectangle<'a, S>,
    pub dv: Rectangle<'a, S>,
}

/// Where a task's share of the gradient in the queries goes.
pub enum Queries<'a, S> {
    /// All of it: `[queries, group * head_dim]`.
    Whole(Rectangle<'a, S>),
    /// `[group, queries from the first that sees a key of the part, head_dim]`
    Share(&'a mut [f32]),
}

/// Gradients in queries, keys and values that are the same rows. `tile` belongs to `instructions`.
///
/// # Panics
/// If a matrix is smaller than the shape, the shape contradicts itself, or keys and queries are not the same rows.
pub fn backward<T: Attend, S: Element>(
    tile: T,
    instructions: Instructions,
    dout: View<'_, S>,
    saved: Saved<'_, S>,
    shape: &AttentionShape,
    gradients: Gradients<'_, S>,
) {
    within(tile, instructions, &Inputs { dout, saved, shape }, gradients, Limits::default());
}

pub(super) fn within<T: Attend, S: Element>(
    tile: T,
    instructions: Instructions,
    inputs: &Inputs<'_, S>,
    gradients: Gradients<'_, S>,
    limits: Limits,
) {
    let shape = inputs.shape;
    check::<T>(shape);
    let same = shape.spans.iter().all(|span| span.start == 0 && span.key == span.query);
    assert!(same, "gradients are for keys and queries that are the same rows");
    let plans: Vec<Plan> = shape.spans.iter().map(|&span| Plan::new::<T>(span, shape, limits)).collect();
    let len = plans.iter().map(|plan| plan.shared(shape)).sum();
    scratch::with_shared(len, |shared| {
        let (tasks, sums) = tasks(&plans, shape, gradients, shared);
        let work = |task: &Task<'_, S>| task.dk.len() * (2 * (task.span.length - task.first) - task.dk.len());
        queue::run(tasks, alone(shape), work, |task| {
            scratch::with(|scratch| {
                let pass = Pass { tile, inputs, task, limits };
                instructions.vectorise(Compiled(pass, scratch));
            });
        });
        add(instructions, shape, sums, shared);
    });
}

/// How a span's keys are cut: a matter of the span alone.
struct Plan {
    span: Span,
    /// Keys of each part but the last.
    part: usize,
}

impl Plan {
    fn new<T: Attend>(span: Span, shape: &AttentionShape, limits: Limits) -> Self {
        let parts = limits.parts.div_ceil(shape.kv_heads);
        let even = span.length.div_ceil(parts).clamp(limits.part, limits.part_max.max(limits.part));
        Self { span, part: even.next_multiple_of(super::gradient::block::<T>(limits)) }
    }

    fn parts(&self) -> impl Iterator<Item = usize> {
        (0..self.span.length).step_by(self.part)
    }

    fn whole(&self) -> bool {
        self.span.length <= self.part
    }

    /// Values of a key head's share of the part from `first`.
    fn share(&self, first: usize, shape: &AttentionShape) -> usize {
        (self.span.length - first) * shape.group() * shape.head_dim
    }

    /// Values of all shares.
    fn shared(&self, shape: &AttentionShape) -> usize {
        if self.whole() { 0 } else { self.parts().map(|first| self.share(first, shape) * shape.kv_heads).sum() }
    }
}

/// The gradient in the queries of one span and key head, as shares to be added.
struct Sum<'a, S> {
    /// `[queries, group * head_dim]`
    out: Rectangle<'a, S>,
    /// For each part its first key and where its share begins.
    shares: Vec<(usize, usize)>,
}

fn tasks<'a: 's, 's, S: Element>(
    plans: &[Plan],
    shape: &AttentionShape,
    gradients: Gradients<'a, S>,
    mut shared: &'s mut [f32],
) -> (Vec<Task<'s, S>>, Vec<Sum<'a, S>>) {
    let (heads, dim, width) = (shape.kv_heads, shape.head_dim, shape.group() * shape.head_dim);
    let heights = || plans.iter().flat_map(|plan| plan.parts().map(|first| plan.part.min(plan.span.length - first)));
    let mut dk = gradients.k.split(heights(), heads, dim).into_iter();
    let mut dv = gradients.v.split(heights(), heads, dim).into_iter();
    let mut dq = gradients.q.split(plans.iter().map(|plan| plan.span.length), heads, width).into_iter();
    let (mut tasks, mut sums, mut offset) = (Vec::new(), Vec::new(), 0);
    for plan in plans {
        let mut outs: Vec<_> = dq.by_ref().take(heads).map(|out| Sum { out, shares: Vec::new() }).collect();
        for first in plan.parts() {
            for ((kv_head, sum), (dk, dv)) in outs.iter_mut().enumerate().zip(dk.by_ref().zip(dv.by_ref())) {
                let dq = if plan.whole() {
                    Queries::Whole(std::mem::take(&mut sum.out))
                } else {
                    let (share, rest) = std::mem::take(&mut shared).split_at_mut(plan.share(first, shape));
                    sum.shares.push((first, offset));
                    (offset, shared) = (offset + share.len(), rest);
                    Queries::Share(share)
                };
                tasks.push(Task { span: plan.span, kv_head, first, dq, dk, dv });
            }
        }
        sums.extend(outs.into_iter().filter(|sum| !sum.shares.is_empty()));
    }
    (tasks, sums)
}

/// Rows that a thread adds at a time.
const ROWS: usize = 64;
/// Columns whose sums stay in registers.
const WIDTH: usize = 64;

fn add<S: Element>(instructions: Instructions, shape: &AttentionShape, sums: Vec<Sum<'_, S>>, shared: &[f32]) {
    let dim = shape.head_dim;
    sums.into_par_iter().for_each(|Sum { mut out, shares }| {
        let length = out.len();
        out.par_chunks_mut(ROWS).enumerate().for_each(|(block, rows)| {
            instructions.vectorise(Adding { rows, from: block * ROWS, length, dim, shares: &shares, shared });
        });
    });
}

/// Some rows of a [`Sum`].
struct Adding<'t, 'a, S> {
    rows: &'t mut [&'a mut [S]],
    from: usize,
    length: usize,
    dim: usize,
    shares: &'t [(usize, usize)],
    shared: &'t [f32],
}

impl<S: Element> pulp::NullaryFnOnce for Adding<'_, '_, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (query, row) in (self.from..).zip(self.rows) {
            for (head, out) in row.chunks_exact_mut(self.dim).enumerate() {
                for (part, out) in out.chunks_mut(WIDTH).enumerate() {
                    let mut sums = [0.0f32; WIDTH];
                    for &(first, offset) in self.shares.iter().take_while(|(first, _)| *first <= query) {
                        let row = head * (self.length - first) + query - first;
                        let share = &self.shared[offset + row * self.dim + part * WIDTH..];
                        sums.iter_mut().zip(share).take(out.len()).for_each(|(sum, share)| *sum += share);
                    }
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = S::narrow(sum));
                }
            }
        }
    }
}
