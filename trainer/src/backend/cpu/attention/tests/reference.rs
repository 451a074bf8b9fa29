//! Attention as the formulas have it, in `f64`, one query at a time.

use crate::backend::AttentionShape;

/// Queries, keys and values; the gradients' shapes are the same.
pub struct Tensors {
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
}

/// For each head and row: keys it sees, its row of queries, its first key and value.
fn queries(shape: &AttentionShape) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    let each = |span: crate::backend::Span| (0..span.length).map(move |i| (span, i));
    let rows: Vec<_> = shape.spans.iter().copied().flat_map(each).collect();
    let (heads, group) = (shape.heads, shape.group());
    rows.into_iter().flat_map(move |(span, i)| {
        (0..heads).map(move |head| (span.start + i + 1, span.query + i, span.key, head / group * heads + head))
    })
}

/// Output and log-sum-exp.
pub fn forward(x: &Tensors, shape: &AttentionShape) -> (Vec<f64>, Vec<f64>) {
    let (dim, heads) = (shape.head_dim, shape.heads);
    let (mut out, mut lse) = (vec![0.0; x.q.len()], vec![0.0; x.q.len() / dim]);
    for (seen, row, first, head) in queries(shape) {
        let (kv_head, head) = (head / heads, head % heads);
        let key = |j: usize| ((first + j) * shape.kv_heads + kv_head) * dim;
        let weights = weights(x, shape, (row * heads + head) * dim, (0..seen).map(key));
        lse[row * heads + head] = weights.1;
        for (j, weight) in weights.0.iter().enumerate() {
            for c in 0..dim {
                out[(row * heads + head) * dim + c] += weight * x.v[key(j) + c];
            }
        }
    }
    (out, lse)
}

fn weights(x: &Tensors, shape: &AttentionShape, query: usize, keys: impl Iterator<Item = usize>) -> (Vec<f64>, f64) {
    let dot = |key: usize| (0..shape.head_dim).map(|c| x.q[query + c] * x.k[key + c]).sum::<f64>();
    let scores: Vec<f64> = keys.map(|key| dot(key) / (shape.head_dim as f64).sqrt()).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = most + scores.iter().map(|score| (score - most).exp()).sum::<f64>().ln();
    (scores.iter().map(|score| (score - lse).exp()).collect(), lse)
}

/// Gradients of `sum(dout * out)`.
pub fn backward(dout: &[f64], x: &Tensors, shape: &AttentionShape) -> Tensors {
    let (dim, heads, scale) = (shape.head_dim, shape.heads, 1.0 / (shape.head_dim as f64).sqrt());
    let zeros = |like: &[f64]| vec![0.0; like.len()];
    let mut grad = Tensors { q: zeros(&x.q), k: zeros(&x.k), v: zeros(&x.v) };
    for (seen, row, first, head) in queries(shape) {
        let (kv_head, head) = (head / heads, head % heads);
        let key = |j: usize| ((first + j) * shape.kv_heads + kv_head) * dim;
        let query = (row * heads + head) * dim;
        let (weights, _) = weights(x, shape, query, (0..seen).map(key));
        let slopes: Vec<f64> = (0..seen).map(|j| (0..dim).map(|c| dout[query + c] * x.v[key(j) + c]).sum()).collect();
        let mean: f64 = weights.iter().zip(&slopes).map(|(weight, slope)| weight * slope).sum();
        for j in 0..seen {
            let slope = weights[j] * (slopes[j] - mean) * scale;
            for c in 0..dim {
                grad.q[query + c] += slope * x.k[key(j) + c];
                grad.k[key(j) + c] += slope * x.q[query + c];
                grad.v[key(j) + c] += weights[j] * dout[query + c];
            }
        }
    }
    grad
}

#[test]
fn gradients_are_finite_differences() {
    let shape = super::shape((4, 2, 6), &[3, 1, 4]);
    let mut x = super::tensors(&shape, 1, |value| value);
    let dout = super::noise(x.q.len(), 9, |value| value);
    let grad = backward(&dout, &x, &shape);
    let loss = |x: &Tensors| forward(x, &shape).0.iter().zip(&dout).map(|(out, dout)| out * dout).sum::<f64>();
    let step = 1e-5;
    for (part, grad) in [grad.q, grad.k, grad.v].into_iter().enumerate() {
        for (i, grad) in grad.into_iter().enumerate() {
            let mut at = |step: f64| {
                [&mut x.q, &mut x.k, &mut x.v][part][i] += step;
                loss(&x)
            };
            let (up, down) = (at(step), at(-2.0 * step));
            at(step);
            assert!(((up - down) / (2.0 * step) - grad).abs() < 1e-8, "{part} {i}");
        }
    }
}
