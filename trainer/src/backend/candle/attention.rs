//! Causal grouped-query attention on the host: small matrix products for each head and block of queries.
//!
//! Scores exist for one head and [`BLOCK`] queries at a time, and only for the keys that the block may see. Threads
//! take whole sequences and key heads, so no sum is split.

use candle_core::Tensor;

use super::host::{Element, View, matrix, update};
use super::product::product;
use super::{in_range, same};
use crate::backend::real::dot;
use crate::backend::rows::{self, axpy, softmax};
use crate::backend::{AttentionSaved, AttentionShape, Result, Span};

/// Queries whose scores exist at once.
const BLOCK: usize = 128;

/// Output and log-sum-exp of one head over one span.
struct HeadOutput<T> {
    /// `[length, head_dim]`
    out: Vec<T>,
    /// `[length]`
    lse: Vec<T>,
}

/// One head of one sequence: `[length, head_dim]`, a strided view of the rows' matrix.
fn head(x: &Tensor, first_row: usize, length: usize, head: usize, head_dim: usize) -> Result<Tensor> {
    Ok(x.narrow(0, first_row, length)?.narrow(1, head * head_dim, head_dim)?)
}

pub fn forward<T: Element>(q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape) -> Result<(Tensor, Tensor)> {
    check(shape, q.dim(0)?, k.dim(0)?.min(v.dim(0)?))?;
    let decoding = shape.spans.iter().all(|span| span.length <= 1);
    let one = |sequence: usize, head: usize| {
        if decoding {
            decode_head::<T>(q, k, v, shape, sequence, head)
        } else {
            forward_head(q, k, v, shape, sequence, head)
        }
    };
    let heads = shape.heads;
    let parts = rows::map(shape.spans.len() * heads, work(shape), |index| one(index / heads, index % heads))?;
    let out = join(heads, shape, shape.head_dim, |index| &parts[index].out)?;
    let lse = join(heads, shape, 1, |index| &parts[index].lse)?;
    Ok((out, lse))
}

/// That the spans are all rows of queries, in order, and that their keys exist.
fn check(shape: &AttentionShape, queries: usize, keys: usize) -> Result<()> {
    let mut next = 0;
    for span in &shape.spans {
        same("rows before a span", span.query, next)?;
        next += span.length;
        in_range("key", (span.key + span.start + span.length).saturating_sub(1), keys)?;
    }
    same("rows of queries", queries, next)
}

/// Values that attention touches, roughly: scores and what they weigh.
fn work(shape: &AttentionShape) -> usize {
    let seen: usize = shape.spans.iter().map(|span| span.length * (span.start + span.length)).sum();
    seen * shape.heads * shape.head_dim / 8
}

/// Puts parts (one for each sequence and head, `[length, width]`) beside each other: `[rows, heads * width]`.
fn join<'a, T: Element>(
    heads: usize,
    shape: &AttentionShape,
    width: usize,
    part: impl Fn(usize) -> &'a [T] + Sync,
) -> Result<Tensor> {
    let spans = shape.spans.iter().enumerate();
    let places: Vec<(usize, usize)> =
        spans.flat_map(|(sequence, span)| (0..span.length).map(move |position| (sequence, position))).collect();
    let mut out = vec![T::ZERO; places.len() * heads * width];
    rows::for_rows(&mut out, heads * width, |row, out| {
        let (sequence, position) = places[row];
        for (head, out) in out.chunks_exact_mut(width).enumerate() {
            out.copy_from_slice(&part(sequence * heads + head)[position * width..][..width]);
        }
    });
    matrix(out, places.len(), heads * width)
}

fn scale<T: Element>(shape: &AttentionShape) -> T {
    T::of(1.0 / (shape.head_dim as f64).sqrt())
}

fn forward_head<T: Element>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    sequence: usize,
    index: usize,
) -> Result<HeadOutput<T>> {
    let span = shape.spans[sequence];
    let (dim, key_head) = (shape.head_dim, index / shape.group());
    let mut out = Vec::with_capacity(span.length * dim);
    let mut lse = Vec::with_capacity(span.length);
    for block in blocks(span) {
        let keys = span.start + block.end;
        let q = head(q, span.query + block.start, block.len(), index, dim)?;
        let k = head(k, span.key, keys, key_head, dim)?;
        let v = head(v, span.key, keys, key_head, dim)?;
        let scores = product::<T>(&q, &k.t()?)?;
        update(&scores, |scores| {
            for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
                let (seen, hidden) = scores.split_at_mut(span.start + block.start + row + 1);
                lse.push(softmax::normalise(seen, scale::<T>(shape)));
                hidden.fill(T::ZERO);
            }
        })?;
        out.extend_from_slice(View::new(&product::<T>(&scores, &v)?)?.slice());
    }
    Ok(HeadOutput { out, lse })
}

/// The same for a single query, where a matrix product would cost more to set up than to do.
fn decode_head<T: Element>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: &AttentionShape,
    sequence: usize,
    index: usize,
) -> Result<HeadOutput<T>> {
    let span = shape.spans[sequence];
    if span.length == 0 {
        return Ok(HeadOutput { out: Vec::new(), lse: Vec::new() });
    }
    let (dim, key_head) = (shape.head_dim, index / shape.group());
    let (q, k, v) = (View::<T>::new(q)?, View::<T>::new(k)?, View::<T>::new(v)?);
    let query = &q.slice()[(span.query * shape.heads + index) * dim..][..dim];
    let row = |position: usize| ((span.key + position) * shape.kv_heads + key_head) * dim;
    let mut scores: Vec<T> = (0..=span.start).map(|position| dot(query, &k.slice()[row(position)..][..dim])).collect();
    let lse = softmax::normalise(&mut scores, scale(shape));
    let mut out = vec![T::ZERO; dim];
    for (position, &weight) in scores.iter().enumerate() {
        axpy(&mut out, weight, &v.slice()[row(position)..][..dim]);
    }
    Ok(HeadOutput { out, lse: vec![lse] })
}

fn blocks(span: Span) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..span.length).step_by(BLOCK).map(move |start| start..(start + BLOCK).min(span.length))
}

/// Gradients of one key head and the query heads that read it, over one span.
struct GroupGrad<T> {
    /// One `[length, head_dim]` for each query head.
    q: Vec<Vec<T>>,
    /// `[length, head_dim]`
    k: Vec<T>,
    v: Vec<T>,
}

/// With `P = softmax(s Q K^T)` and `D = rowsum(dO * O)`: `dV = P^T dO`, `dS = P * (dO V^T - D) * s`, `dQ = dS K`,
/// `dK = dS^T Q` (Dao et al. 2022, algorithm 4). `P` is made again from the saved log-sum-exp.
pub fn backward<T: Element>(
    dout: &Tensor,
    saved: &AttentionSaved<'_, Tensor>,
    shape: &AttentionShape,
) -> Result<[Tensor; 3]> {
    check(shape, dout.dim(0)?, saved.k.dim(0)?)?;
    for span in &shape.spans {
        same("first key of a span that attends to itself", span.key + span.start, span.query)?;
    }
    let kv_heads = shape.kv_heads;
    let group_grad = |index: usize| backward_group::<T>(dout, saved, shape, index / kv_heads, index % kv_heads);
    let parts = rows::map(shape.spans.len() * kv_heads, work(shape), group_grad)?;
    let (dim, group) = (shape.head_dim, shape.group());
    let dq = join(shape.heads, shape, dim, |index| &parts[index / group].q[index % group])?;
    let dk = join(kv_heads, shape, dim, |index| &parts[index].k)?;
    let dv = join(kv_heads, shape, dim, |index| &parts[index].v)?;
    Ok([dq, dk, dv])
}

fn backward_group<T: Element>(
    dout: &Tensor,
    saved: &AttentionSaved<'_, Tensor>,
    shape: &AttentionShape,
    sequence: usize,
    key_head: usize,
) -> Result<GroupGrad<T>> {
    let (span, dim) = (shape.spans[sequence], shape.head_dim);
    let empty = || vec![T::ZERO; span.length * dim];
    let mut grad = GroupGrad { q: Vec::with_capacity(shape.group()), k: empty(), v: empty() };
    for index in key_head * shape.group()..(key_head + 1) * shape.group() {
        let mut dq = Vec::with_capacity(span.length * dim);
        for block in blocks(span) {
            let first = span.query;
            let rows = |x: &Tensor| head(x, first + block.start, block.len(), index, dim);
            let seen = |x: &Tensor| head(x, first, block.end, key_head, dim);
            let (q, k, v, dout) = (rows(saved.q)?, seen(saved.k)?, seen(saved.v)?, rows(dout)?);
            let scores = product::<T>(&q, &k.t()?)?;
            let d_scores = product::<T>(&dout, &v.t()?)?;
            let inner =
                Inner { out: &rows(saved.out)?, dout: &dout, lse: saved.lse, first: first + block.start, index };
            score_gradients::<T>(&scores, &d_scores, inner, shape, block.start)?;
            dq.extend_from_slice(View::new(&product::<T>(&d_scores, &k)?)?.slice());
            let (dk, dv) = (product::<T>(&d_scores.t()?, &q)?, product::<T>(&scores.t()?, &dout)?);
            axpy(&mut grad.k, T::ONE, View::new(&dk)?.slice());
            axpy(&mut grad.v, T::ONE, View::new(&dv)?.slice());
        }
        grad.q.push(dq);
    }
    Ok(grad)
}

/// What a block's score gradients need beside the scores.
struct Inner<'a> {
    out: &'a Tensor,
    dout: &'a Tensor,
    lse: &'a Tensor,
    /// The block's first row in the batch.
    first: usize,
    index: usize,
}

/// Turns raw scores into probabilities, and `dO V^T` into the gradient of the raw scores, both in place.
fn score_gradients<T: Element>(
    scores: &Tensor,
    d_scores: &Tensor,
    inner: Inner<'_>,
    shape: &AttentionShape,
    start: usize,
) -> Result<()> {
    let factor = scale::<T>(shape);
    let (keys, dim) = (scores.dim(1)?, shape.head_dim);
    let (out, dout) = (inner.out.contiguous()?, inner.dout.contiguous()?);
    let (out, dout, lse) = (View::<T>::new(&out)?, View::<T>::new(&dout)?, View::<T>::new(inner.lse)?);
    update(scores, |scores| {
        for (row, scores) in scores.chunks_exact_mut(keys).enumerate() {
            let (seen, hidden) = scores.split_at_mut(start + row + 1);
            let lse = lse.slice()[(inner.first + row) * shape.heads + inner.index];
            softmax::probabilities(seen, factor, lse);
            hidden.fill(T::ZERO);
        }
    })?;
    let scores = View::<T>::new(scores)?;
    update(d_scores, |d_scores| {
        let rows = d_scores.chunks_exact_mut(keys).zip(scores.slice().chunks_exact(keys));
        for (row, (d_scores, probabilities)) in rows.enumerate() {
            let mean = dot(&out.slice()[row * dim..][..dim], &dout.slice()[row * dim..][..dim]);
            for (d, &p) in d_scores.iter_mut().zip(probabilities) {
                *d = p * (*d - mean) * factor;
            }
        }
    })
}
