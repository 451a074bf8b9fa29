//! Gradients of attention: grouped heads, padding, more than one block of queries.

use candle_core::{D, DType, Device, Tensor};
use potluck_trainer::backend::candle::Element;
use potluck_trainer::backend::{AttentionSaved, AttentionShape, Backend, Span};

use crate::support::{Case, backend, noise, tensor, weighed, weighed_tensor, wide};

/// Padded sequences that attend to themselves.
pub fn own_shape(heads: usize, kv_heads: usize, head_dim: usize, width: usize, lengths: &[usize]) -> AttentionShape {
    let spans = lengths.iter().enumerate().map(|(slot, &length)| Span { slot, start: 0, length }).collect();
    AttentionShape { heads, kv_heads, head_dim, queries: width, keys: width, spans }
}

/// The textbook formula; rows of padding hold numbers that nothing may read.
pub fn attention_auto(q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape) -> Tensor {
    let (batch, width, dim) = (shape.spans.len(), shape.queries, shape.head_dim);
    let heads = |x: &Tensor, heads: usize| {
        let x = x.reshape((batch, width, heads, dim)).unwrap().transpose(1, 2).unwrap();
        let group = shape.heads / heads;
        let x = x.unsqueeze(2).unwrap().broadcast_as((batch, heads, group, width, dim)).unwrap();
        x.reshape((batch * shape.heads, width, dim)).unwrap()
    };
    let (q, k, v) = (heads(q, shape.heads), heads(k, shape.kv_heads), heads(v, shape.kv_heads));
    let scores = (q.matmul(&k.t().unwrap()).unwrap() / (dim as f64).sqrt()).unwrap();
    let mask: Vec<f64> = (0..width * width).map(|i| if i % width > i / width { -1e9 } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (1, width, width), &Device::Cpu).unwrap().to_dtype(q.dtype()).unwrap();
    let scores = scores.broadcast_add(&mask).unwrap();
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1).unwrap().detach()).unwrap().exp().unwrap();
    let softmax = shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1).unwrap()).unwrap();
    let out = softmax.matmul(&v).unwrap().reshape((batch, shape.heads, width, dim)).unwrap();
    out.transpose(1, 2).unwrap().reshape((batch * width, shape.heads * dim)).unwrap()
}

fn columns(shape: &AttentionShape) -> [usize; 3] {
    [shape.heads, shape.kv_heads, shape.kv_heads].map(|heads| heads * shape.head_dim)
}

fn run<T: Element>(inputs: &[Vec<f64>], grad: &[f64], shape: &AttentionShape) -> (Tensor, Vec<Vec<f64>>) {
    let b = backend::<T>();
    let rows = shape.spans.len() * shape.queries;
    let cols = columns(shape);
    let [q, k, v] = [0, 1, 2].map(|i| tensor::<T>(&inputs[i], rows, cols[i]));
    let (out, lse) = b.attention(&q, &k, &v, shape).unwrap();
    let saved = AttentionSaved { q: &q, k: &k, v: &v, out: &out, lse: &lse };
    let grads = b.attention_grad(&tensor::<T>(grad, rows, cols[0]), &saved, shape).unwrap();
    let grads = grads.iter().map(|x| wide(b.read(x).unwrap())).collect();
    (out, grads)
}

fn check(seed: u64, shape: AttentionShape, differences: bool) {
    let rows = shape.spans.len() * shape.queries;
    let cols = columns(&shape);
    let mut r = noise(seed, rows * cols[0]);
    for (row, r) in r.chunks_exact_mut(cols[0]).enumerate() {
        if row % shape.queries >= shape.spans[row / shape.queries].length {
            r.fill(0.0);
        }
    }
    let case = Case {
        name: "attention",
        inputs: (0..3).map(|i| noise(seed + 1 + i as u64, rows * cols[i]).iter().map(|x| 2.0 * x).collect()).collect(),
        shapes: cols.map(|cols| (rows, cols)).to_vec(),
        loss: &|x| weighed(&run::<f64>(x, &r, &shape).0, &r),
        single: &|x| run::<f32>(x, &r, &shape).1,
        double: &|x| run::<f64>(x, &r, &shape).1,
        auto_single: &|x| weighed_tensor::<f32>(&attention_auto(&x[0], &x[1], &x[2], &shape), &r),
        auto_double: &|x| weighed_tensor::<f64>(&attention_auto(&x[0], &x[1], &x[2], &shape), &r),
    };
    if differences { case.check() } else { case.check_autograd() }
}

#[test]
fn grouped_heads_and_padding() {
    check(1, own_shape(6, 2, 4, 7, &[7, 3]), true);
    check(2, own_shape(3, 3, 2, 5, &[1, 5, 4]), true);
    check(3, own_shape(4, 1, 6, 3, &[2]), true);
}

#[test]
fn more_than_one_block_of_queries() {
    check(4, own_shape(4, 2, 6, 150, &[150, 131]), false);
}

/// Scores far apart: the greatest must be taken out before the exponential.
#[test]
fn large_scores_stay_finite() {
    let shape = own_shape(2, 1, 4, 9, &[9]);
    let [q, k, v] = [8, 4, 4].map(|cols| {
        let values: Vec<f64> = noise(cols as u64, 9 * cols).iter().map(|x| 60.0 * x).collect();
        tensor::<f32>(&values, 9, cols)
    });
    let (out, lse) = backend::<f32>().attention(&q, &k, &v, &shape).unwrap();
    let auto = attention_auto(&q, &k, &v, &shape);
    let difference = (out - auto).unwrap().abs().unwrap().max_all().unwrap().to_dtype(DType::F64).unwrap();
    assert!(difference.to_scalar::<f64>().unwrap() < 1e-3);
    assert!(backend::<f32>().read(&lse).unwrap().iter().all(|x| x.is_finite()));
}
