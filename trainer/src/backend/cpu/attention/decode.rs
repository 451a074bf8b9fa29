//! The forward pass for single queries against long runs of keys, as in generation: dot products along the keys as they
//! lie. The heads that share a key read it once.

use std::f32::consts::LOG2_E;
use std::marker::PhantomData;

use super::forward::{Inputs, Task};
use super::output::natural;
use super::scale;
use super::scratch::Scratch;
use crate::backend::cpu::element::{Element, convert};
use crate::backend::cpu::kernel::Tile;
use crate::backend::cpu::kernel::power::{multiply_add, power_of_two};
use crate::backend::cpu::kernel::scores::fold;

pub struct Pass<'t, 'a, S> {
    pub inputs: &'t Inputs<'a, S>,
    pub task: Task<'t, S>,
}

/// A task as something that can be compiled for given instructions.
pub struct Compiled<'t, 'a, T, S>(pub Pass<'t, 'a, S>, pub &'t mut Scratch, pub PhantomData<T>);

impl<T: Tile, S: Element> pulp::NullaryFnOnce for Compiled<'_, '_, T, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(mut pass, scratch, _) = self;
        for row in 0..pass.task.out.len() {
            pass.query::<T>(row, scratch);
        }
    }
}

/// Keys whose scores are made at a time: what the group's first head reads, the others find in the nearest cache.
const KEYS: usize = 16;
/// Independent sums of a dot product.
const LANES: usize = 16;
/// Columns of the output whose sums stay in registers.
const WIDTH: usize = 64;

impl<S: Element> Pass<'_, '_, S> {
    /// One query of each head of the group.
    #[inline(always)]
    fn query<T: Tile>(&mut self, row: usize, scratch: &mut Scratch) {
        let shape = self.inputs.shape;
        let (dim, group) = (shape.head_dim, shape.group());
        let at = self.task.first + row;
        let (keys, col) = (self.task.span.start + at + 1, self.task.kv_head * dim);
        let mut buffers = scratch.buffers();
        let queries = buffers.take::<f32>(group * dim);
        let weights = buffers.take::<f32>(group * keys);
        convert(self.inputs.q.row(self.task.span.query + at, col * group, group * dim), queries);
        for from in (0..keys).step_by(KEYS) {
            let key = |i| self.inputs.k.row(self.task.span.key + from + i, col, dim);
            for (query, scores) in queries.chunks_exact(dim).zip(weights.chunks_exact_mut(keys)) {
                dots::<T, S>(query, key, &mut scores[from..keys.min(from + KEYS)]);
            }
        }
        for (head, weights) in weights.chunks_exact_mut(keys).enumerate() {
            let (most, total) = exponentials::<T>(weights, scale(shape) * LOG2_E);
            self.task.lse[row][head] = natural(most, total);
            let out = &mut self.task.out[row][head * dim..][..dim];
            for (part, out) in out.chunks_mut(WIDTH).enumerate() {
                let values = |position| self.inputs.v.from(self.task.span.key + position, col + part * WIDTH);
                sum::<T, S>(weights, values, 1.0 / total, out);
            }
        }
    }
}

/// `scores[i] = query . key(i)`. Lanes go through memory, so that the compiler keeps them in whole vectors.
#[inline(always)]
fn dots<'k, T: Tile, S: Element>(query: &[f32], key: impl Fn(usize) -> &'k [S], scores: &mut [f32]) {
    let mut lanes = [[0.0f32; LANES]; KEYS];
    for (i, sums) in lanes.iter_mut().enumerate().take(scores.len()) {
        let ((query, query_rest), (key, key_rest)) = (query.as_chunks::<LANES>(), key(i).as_chunks::<LANES>());
        for (query, key) in query.iter().zip(key) {
            for ((sum, &query), key) in sums.iter_mut().zip(query).zip(key) {
                *sum = multiply_add::<T>(query, key.widen(), *sum);
            }
        }
        for ((sum, &query), key) in sums.iter_mut().zip(query_rest).zip(key_rest) {
            *sum = multiply_add::<T>(query, key.widen(), *sum);
        }
    }
    for (score, lanes) in scores.iter_mut().zip(lanes) {
        let sums: [f32; LANES / 2] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + LANES / 2]);
        let sums: [f32; LANES / 4] = std::array::from_fn(|lane| sums[lane] + sums[lane + LANES / 4]);
        *score = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    }
}

/// Scores to weights that are yet to be divided by their sum; returns the maximum (in the exponent of two) and the sum.
#[inline(always)]
fn exponentials<T: Tile>(scores: &mut [f32], factor: f32) -> (f32, f32) {
    let pick = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [f32::NEG_INFINITY; LANES];
    for scores in scores.chunks(LANES) {
        most.iter_mut().zip(scores).for_each(|(most, &score)| *most = pick(*most, score));
    }
    let most = fold(most, pick) * factor;
    let mut sums = [0.0f32; LANES];
    for scores in scores.chunks_mut(LANES) {
        for (sum, score) in sums.iter_mut().zip(scores) {
            *score = power_of_two::<T>(multiply_add::<T>(*score, factor, -most));
            *sum += *score;
        }
    }
    (most, fold(sums, |a, b| a + b))
}

/// `out = inverse * sum of weights[i] * values(i)`.
#[inline(always)]
fn sum<'v, T: Tile, S: Element>(weights: &[f32], values: impl Fn(usize) -> &'v [S], inverse: f32, out: &mut [S]) {
    let mut sums = [0.0f32; WIDTH];
    for (position, &weight) in weights.iter().enumerate() {
        let values = &values(position)[..out.len()];
        match values.first_chunk::<WIDTH>() {
            Some(values) => add::<T, S>(&mut sums, weight, values),
            None => add::<T, S>(&mut sums[..out.len()], weight, values),
        }
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = S::narrow(sum * inverse));
}

#[inline(always)]
fn add<T: Tile, S: Element>(sums: &mut [f32], weight: f32, values: &[S]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = multiply_add::<T>(weight, value.widen(), *sum);
    }
}
