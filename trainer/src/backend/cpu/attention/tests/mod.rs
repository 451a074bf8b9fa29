//! Every kernel of this machine against the formulas in `f64`, and results bit for bit against each other.

mod bits;
mod reference;

use half::bf16;
use reference::Tensors;

use super::backward::{self, Gradients, Saved};
use super::forward::{self, Inputs};
use super::{Limits, View, ViewMut};
use crate::backend::cpu::element::Element;
use crate::backend::cpu::instructions::Instructions;
use crate::backend::cpu::kernel::scores::Attend;
#[cfg(target_arch = "x86_64")]
use crate::backend::cpu::kernel::{Bf16Avx512, F32Avx2, F32Avx512};
use crate::backend::cpu::kernel::{F32Neon, F32Portable};
use crate::backend::{AttentionShape, Span};
use crate::random::splitmix64;

/// So small that every way through the loops is taken by short spans.
const SMALL: Limits =
    Limits { keys: 32, queries: 12, worth_packing: 24, few: 2, block: 1, part: 48, part_max: 96, parts: 4 };

/// Spans that are queries and keys at once. `sizes` are heads, key heads, head size.
fn shape(sizes: (usize, usize, usize), lengths: &[usize]) -> AttentionShape {
    let starts = lengths.iter().map(|&length| (0, length));
    continued(sizes, &starts.collect::<Vec<_>>())
}

/// Spans of `(start, length)`, with their keys one behind another.
fn continued((heads, kv_heads, head_dim): (usize, usize, usize), spans: &[(usize, usize)]) -> AttentionShape {
    let (mut query, mut key) = (0, 0);
    let mut place = |&(start, length): &(usize, usize)| {
        let span = Span { query, key, start, length };
        (query, key) = (query + length, key + start + length);
        span
    };
    AttentionShape { heads, kv_heads, head_dim, spans: spans.iter().map(&mut place).collect() }
}

/// Values in `-2 .. 2`, as `round` leaves them.
fn noise(len: usize, seed: u64, round: impl Fn(f64) -> f64) -> Vec<f64> {
    let at = |i: u64| splitmix64((seed << 32) + i) >> 40;
    (0..len as u64).map(|i| round(at(i) as f64 / f64::from(1 << 22) - 2.0)).collect()
}

fn tensors(shape: &AttentionShape, seed: u64, round: impl Fn(f64) -> f64) -> Tensors {
    let keys = shape.spans.iter().map(|span| span.key + span.start + span.length).max().unwrap_or(0);
    let (queries, keys) = (shape.rows() * shape.heads * shape.head_dim, keys * shape.kv_heads * shape.head_dim);
    Tensors { q: noise(queries, seed, &round), k: noise(keys, seed + 1, &round), v: noise(keys, seed + 2, &round) }
}

/// As stored.
fn stored<S: Element>(values: &[f64]) -> Vec<S> {
    values.iter().map(|&value| S::narrow(value as f32)).collect()
}

fn rounded<S: Element>(value: f64) -> f64 {
    S::narrow(value as f32).widen().into()
}

/// Inputs and results, in a storage type.
#[derive(Clone, Debug, PartialEq)]
struct Run<S> {
    q: Vec<S>,
    k: Vec<S>,
    v: Vec<S>,
    dout: Vec<S>,
    out: Vec<S>,
    lse: Vec<f32>,
    dq: Vec<S>,
    dk: Vec<S>,
    dv: Vec<S>,
}

impl<S: Element> Run<S> {
    fn new(shape: &AttentionShape, seed: u64) -> Self {
        let Tensors { q, k, v } = tensors(shape, seed, |value| value);
        let dout = stored(&noise(q.len(), seed + 3, |value| value));
        let (lse, q, k, v) = (vec![f32::NAN; q.len() / shape.head_dim], stored(&q), stored(&k), stored(&v));
        let none = |like: &[S]| vec![S::narrow(f32::NAN); like.len()];
        Self { out: none(&q), dq: none(&q), dk: none(&k), dv: none(&v), lse, q, k, v, dout }
    }

    fn forward<T: Attend>(&mut self, (tile, instructions): (T, Instructions), shape: &AttentionShape, limits: Limits) {
        let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let q = View { values: &self.q, stride: width };
        let k = View { values: &self.k, stride: kv_width };
        let v = View { values: &self.v, stride: kv_width };
        let out = ViewMut { values: &mut self.out, stride: width };
        forward::within(tile, instructions, &Inputs { q, k, v, shape }, out, &mut self.lse, limits);
    }

    fn backward<T: Attend>(&mut self, (tile, instructions): (T, Instructions), shape: &AttentionShape, limits: Limits) {
        let (width, kv_width) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let dout = View { values: &self.dout, stride: width };
        let saved = Saved {
            q: View { values: &self.q, stride: width },
            k: View { values: &self.k, stride: kv_width },
            v: View { values: &self.v, stride: kv_width },
            out: View { values: &self.out, stride: width },
            lse: &self.lse,
        };
        let gradients = Gradients {
            q: ViewMut { values: &mut self.dq, stride: width },
            k: ViewMut { values: &mut self.dk, stride: kv_width },
            v: ViewMut { values: &mut self.dv, stride: kv_width },
        };
        backward::within(tile, instructions, &backward::Inputs { dout, saved, shape }, gradients, limits);
    }
}

/// Something that is so with every kernel and storage.
trait Claim {
    fn check<T: Attend, S: Element>(&self, kernel: (T, Instructions));
}

fn on_every_kernel(claim: &impl Claim) {
    claim.check::<_, f32>((F32Portable, Instructions::Portable));
    claim.check::<_, bf16>((F32Portable, Instructions::Portable));
    if let Some(tile) = F32Neon::new() {
        claim.check::<_, f32>((tile, Instructions::Neon));
        claim.check::<_, bf16>((tile, Instructions::Neon));
    }
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(tile) = F32Avx2::new() {
            claim.check::<_, f32>((tile, Instructions::Avx2));
            claim.check::<_, bf16>((tile, Instructions::Avx2));
        }
        if let Some(tile) = F32Avx512::new() {
            claim.check::<_, f32>((tile, Instructions::Avx512));
            claim.check::<_, bf16>((tile, Instructions::Avx512));
        }
        if let Some(tile) = Bf16Avx512::new() {
            claim.check::<_, f32>((tile, Instructions::Avx512Bf16));
            claim.check::<_, bf16>((tile, Instructions::Avx512Bf16));
        }
    }
}

/// Largest error, in units of the largest value.
fn error<S: Element>(got: &[S], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(1e-3, |most: f64, value| most.max(value.abs()));
    let errors = got.iter().zip(expected).map(|(got, expected)| (f64::from(got.widen()) - expected).abs());
    errors.fold(0.0, |most, error| if error > most || error.is_nan() { error } else { most }) / largest
}

/// Results are the formulas' to the accuracy of the types.
struct IsTheReference<'a>(&'a AttentionShape, Limits);

impl Claim for IsTheReference<'_> {
    fn check<T: Attend, S: Element>(&self, kernel: (T, Instructions)) {
        let Self(shape, limits) = *self;
        let x = tensors(shape, 5, rounded::<S>);
        let mut run = Run::<S>::new(shape, 5);
        let rough = size_of::<S>() == 2 || size_of::<T::Element>() == 2;
        let close = |what: &str, error: f64| {
            let (instructions, least) = (kernel.1, if rough { 2e-2 } else { 1e-4 });
            assert!(
                error < least,
                "{what} in {}-byte floats with {instructions:?}: {error}, {shape:?}",
                size_of::<S>()
            );
        };
        run.forward(kernel, shape, limits);
        let (out, lse) = reference::forward(&x, shape);
        close("out", error(&run.out, &out));
        close("lse", error(&run.lse, &lse));
        if shape.spans.iter().all(|span| span.start == 0) {
            run.backward(kernel, shape, limits);
            let dout: Vec<f64> = run.dout.iter().map(|value| value.widen().into()).collect();
            let grad = reference::backward(&dout, &x, shape);
            close("dq", error(&run.dq, &grad.q));
            close("dk", error(&run.dk, &grad.k));
            close("dv", error(&run.dv, &grad.v));
        }
    }
}

#[test]
fn training_is_the_reference() {
    for (sizes, lengths) in [
        ((1, 1, 16), &[5][..]),
        ((3, 1, 34), &[33, 0, 1, 12]),
        ((4, 2, 64), &[97, 2]),
        ((2, 2, 80), &[1, 1, 3, 131]),
        ((2, 1, 256), &[40]),
        ((9, 3, 18), &[0, 13, 50]),
    ] {
        let shape = shape(sizes, lengths);
        for limits in [Limits::default(), SMALL] {
            on_every_kernel(&IsTheReference(&shape, limits));
        }
    }
}

#[test]
fn long_spans_are_the_reference() {
    on_every_kernel(&IsTheReference(&shape((2, 1, 16), &[700, 3]), Limits::default()));
    on_every_kernel(&IsTheReference(&shape((2, 1, 16), &[401]), SMALL));
}

#[test]
fn generation_is_the_reference() {
    for (sizes, spans) in [
        ((9, 3, 64), &[(200, 1)][..]),
        ((4, 1, 34), &[(0, 1), (17, 3), (1, 0), (5, 4)]),
        ((2, 2, 130), &[(530, 2), (40, 13), (1, 30), (600, 5)]),
    ] {
        let shape = continued(sizes, spans);
        for limits in [Limits::default(), SMALL] {
            on_every_kernel(&IsTheReference(&shape, limits));
        }
    }
}

#[test]
fn random_shapes_are_the_reference() {
    let pick = noise(400, 77, |value| (value + 2.0) / 4.0);
    let mut pick = pick.into_iter();
    let mut below = |n: usize| (pick.next().expect("there are numbers enough") * n as f64) as usize;
    for _ in 0..25 {
        let kv_heads = 1 + below(3);
        let sizes = (kv_heads * (1 + below(3)), kv_heads, 2 + 2 * below(40));
        let lengths: Vec<usize> = (0..1 + below(4)).map(|_| below(70)).collect();
        on_every_kernel(&IsTheReference(&shape(sizes, &lengths), SMALL));
    }
}
