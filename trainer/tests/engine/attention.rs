//! Attention: grouped heads, sequences of unequal length one behind another, blocks of queries, keys in a cache.

use candle_core::{D, Device, Tensor};
use potluck_trainer::backend::{AttentionSaved, AttentionShape, Backend, Span};

use crate::operation::{Input, Operation, assert_close, check, on_every_backend};
use crate::support::{backend, buffer, noise, read, tensor};

on_every_backend!(
    grouped_heads_and_unequal_lengths,
    more_than_one_block_of_queries,
    packed_sequences_equal_each_alone,
    queries_behind_cached_keys,
    large_scores_stay_finite,
);

/// Sequences that attend to themselves.
pub fn own_shape(heads: usize, kv_heads: usize, head_dim: usize, lengths: &[usize]) -> AttentionShape {
    let mut query = 0;
    let spans = lengths.iter().map(|&length| {
        let span = Span { query, key: query, start: 0, length };
        query += length;
        span
    });
    AttentionShape { heads, kv_heads, head_dim, spans: spans.collect() }
}

/// The textbook formula, sequence by sequence.
pub fn attention_auto(q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape) -> Tensor {
    let parts = shape.spans.iter().map(|span| {
        let [q, k, v] = [q, k, v].map(|x| x.narrow(0, span.query, span.length).unwrap());
        sequence_auto(&q, &k, &v, shape)
    });
    Tensor::cat(&parts.collect::<Vec<_>>(), 0).unwrap()
}

fn sequence_auto(q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape) -> Tensor {
    let (length, dim) = (q.dim(0).unwrap(), shape.head_dim);
    let heads = |x: &Tensor, heads: usize| {
        let x = x.reshape((length, heads, dim)).unwrap().transpose(0, 1).unwrap();
        let group = shape.heads / heads;
        let x = x.unsqueeze(1).unwrap().broadcast_as((heads, group, length, dim)).unwrap();
        x.reshape((shape.heads, length, dim)).unwrap()
    };
    let (q, k, v) = (heads(q, shape.heads), heads(k, shape.kv_heads), heads(v, shape.kv_heads));
    let scores = (q.matmul(&k.t().unwrap()).unwrap() / (dim as f64).sqrt()).unwrap();
    let mask: Vec<f64> = (0..length * length).map(|i| if i % length > i / length { -1e9 } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (1, length, length), &Device::Cpu).unwrap();
    let scores = scores.broadcast_add(&mask).unwrap();
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1).unwrap().detach()).unwrap().exp().unwrap();
    let softmax = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1).unwrap()).unwrap();
    let out = softmax.matmul(&v).unwrap();
    out.transpose(0, 1).unwrap().reshape((length, shape.heads * dim)).unwrap()
}

struct Attention {
    seed: u64,
    shape: AttentionShape,
    amount: f64,
    differences: bool,
}

impl Attention {
    fn new(seed: u64, shape: AttentionShape) -> Self {
        Self { seed, shape, amount: 2.0, differences: true }
    }

    fn columns(&self) -> [usize; 3] {
        [self.shape.heads, self.shape.kv_heads, self.shape.kv_heads].map(|heads| heads * self.shape.head_dim)
    }

    fn load<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> [B::Buf; 3] {
        let cols = self.columns();
        [0, 1, 2].map(|i| buffer(b, &inputs[i], self.shape.rows(), cols[i]))
    }
}

impl Operation for Attention {
    const NAME: &'static str = "attention";

    fn inputs(&self) -> Vec<Input> {
        let cols = self.columns();
        (0..3).map(|i| Input::noise(self.seed + 1 + i as u64, self.shape.rows(), cols[i], self.amount)).collect()
    }

    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64> {
        let [q, k, v] = self.load(b, inputs);
        let (out, lse) = b.attention(&q, &k, &v, &self.shape).unwrap();
        let lse = read(b, &lse);
        assert_eq!(lse.len(), self.shape.rows() * self.shape.heads);
        assert!(lse.iter().all(|x| x.is_finite()));
        read(b, &out)
    }

    fn backward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>> {
        let [q, k, v] = self.load(b, inputs);
        let (out, lse) = b.attention(&q, &k, &v, &self.shape).unwrap();
        let saved = AttentionSaved { q: &q, k: &k, v: &v, out: &out, lse: &lse };
        let dout = buffer(b, r, self.shape.rows(), self.columns()[0]);
        let grads = b.attention_grad(&dout, &saved, &self.shape).unwrap();
        grads.iter().map(|x| Some(read(b, x))).collect()
    }

    fn auto(&self, inputs: &[Tensor]) -> Tensor {
        attention_auto(&inputs[0], &inputs[1], &inputs[2], &self.shape)
    }

    fn differences(&self) -> bool {
        self.differences
    }
}

fn grouped_heads_and_unequal_lengths(b: &impl Backend, tolerance: f64) {
    check(&Attention::new(1, own_shape(6, 2, 4, &[7, 3])), b, tolerance);
    check(&Attention::new(2, own_shape(3, 3, 2, &[1, 5, 4])), b, tolerance);
    check(&Attention::new(3, own_shape(4, 1, 6, &[2])), b, tolerance);
}

fn more_than_one_block_of_queries(b: &impl Backend, tolerance: f64) {
    let shape = own_shape(4, 2, 6, &[150, 131]);
    check(&Attention { differences: false, ..Attention::new(4, shape) }, b, tolerance);
}

/// Scores far apart: the greatest must be taken out before the exponential.
fn large_scores_stay_finite(b: &impl Backend, tolerance: f64) {
    let attention = Attention { amount: 60.0, ..Attention::new(5, own_shape(2, 1, 4, &[9])) };
    let inputs: Vec<Vec<f64>> = attention.inputs().into_iter().map(|input| input.values).collect();
    let expected = attention.auto(&[0, 1, 2].map(|i| tensor(&inputs[i], 9, attention.columns()[i])));
    let expected = expected.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_close(&attention.forward(b, &inputs), &expected, 10.0 * tolerance, "large scores");
}

fn packed_sequences_equal_each_alone(b: &impl Backend, tolerance: f64) {
    let lengths = [7, 1, 140, 3, 33];
    let packed = Attention::new(6, own_shape(4, 2, 6, &lengths));
    let inputs: Vec<Vec<f64>> = packed.inputs().into_iter().map(|input| input.values).collect();
    let cols = packed.columns();
    let r = noise(7, packed.shape.rows() * cols[0]);
    let (outputs, grads) = (packed.forward(b, &inputs), packed.backward(b, &inputs, &r));
    for span in &packed.shape.spans {
        let part = |x: &[f64], cols: usize| x[span.query * cols..][..span.length * cols].to_vec();
        let alone = Attention::new(6, own_shape(4, 2, 6, &[span.length]));
        let own: Vec<Vec<f64>> = inputs.iter().zip(cols).map(|(x, cols)| part(x, cols)).collect();
        let what = format!("a sequence of {} rows from row {}", span.length, span.query);
        assert_close(&part(&outputs, cols[0]), &alone.forward(b, &own), tolerance, &what);
        let own_grads = alone.backward(b, &own, &part(&r, cols[0]));
        for ((grad, own), cols) in grads.iter().zip(own_grads).zip(cols) {
            let (grad, own) = (part(grad.as_ref().unwrap(), cols), own.unwrap());
            // Not relative: the only key of a sequence of one has the probability 1, and its score no gradient.
            let error = grad.iter().zip(&own).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error < tolerance, "{what}: {error:e}");
        }
    }
}

/// Rows of a cache that no span names hold numbers that nothing may read.
fn queries_behind_cached_keys(b: &impl Backend, tolerance: f64) {
    const CAPACITY: usize = 12;
    let span = |query, slot, start, length| Span { query, key: slot * CAPACITY, start, length };
    let prefill = vec![span(0, 1, 5, 3), span(3, 0, 0, 4), span(7, 2, 9, 1)];
    let decode = vec![span(0, 2, 10, 1), span(1, 0, 0, 1), span(2, 1, 3, 1)];
    for spans in [prefill, decode] {
        let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 6, spans };
        let (rows, [q_cols, kv_cols, _]) = (shape.rows(), Attention::new(0, shape.clone()).columns());
        let (q, k, v) = (noise(1, rows * q_cols), noise(2, 36 * kv_cols), noise(3, 36 * kv_cols));
        let [q_buf, k_buf, v_buf] =
            [(&q, rows, q_cols), (&k, 36, kv_cols), (&v, 36, kv_cols)].map(|(x, rows, cols)| buffer(b, x, rows, cols));
        let out = read(b, &b.attention(&q_buf, &k_buf, &v_buf, &shape).unwrap().0);
        for span in &shape.spans {
            let seen = span.start + span.length;
            // The same sequence whole, with any queries before those that are asked for.
            let mut queries = noise(4, span.start * q_cols);
            queries.extend(&q[span.query * q_cols..][..span.length * q_cols]);
            let keys = |x: &[f64]| x[span.key * kv_cols..][..seen * kv_cols].to_vec();
            let whole = Attention::new(0, own_shape(4, 2, 6, &[seen]));
            let expected = whole.forward(&backend::<f64>(), &[queries, keys(&k), keys(&v)]);
            let got = &out[span.query * q_cols..][..span.length * q_cols];
            assert_close(got, &expected[span.start * q_cols..], tolerance, "cached keys");
        }
    }
}

#[test]
fn spans_that_are_not_the_rows_are_errors() {
    let b = backend::<f32>();
    let [q, k, v] = [8, 4, 4].map(|cols| buffer(&b, &noise(0, 5 * cols), 5, cols));
    let with = |change: &dyn Fn(&mut Vec<Span>)| {
        let mut shape = own_shape(2, 1, 4, &[3, 2]);
        change(&mut shape.spans);
        b.attention(&q, &k, &v, &shape).is_err()
    };
    assert!(!with(&|_| ()));
    assert!(with(&|spans| spans.truncate(1)), "rows without a span");
    assert!(with(&|spans| spans[1].query = 2), "spans over each other");
    assert!(with(&|spans| spans[1].key = 4), "keys beyond the last");
}
