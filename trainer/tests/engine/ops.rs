//! Gradients of the row-wise operations and of the output projection with its loss.

use candle_core::{D, Tensor};
use potluck_trainer::backend::{Backend, Residency, Target};

use crate::operation::{Input, Operation, check, on_every_backend};
use crate::support::{backend, buffer, cast, frozen, noise, read, size, tensor, weight};

on_every_backend!(rms_norm, swiglu, rope, head_loss, unlikely_targets);

pub fn rms_norm_auto(x: &Tensor, w: &Tensor, eps: f64) -> Tensor {
    let mean = x.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
    let normed = x.broadcast_div(&(mean + eps).unwrap().sqrt().unwrap()).unwrap();
    normed.broadcast_mul(w).unwrap()
}

pub fn swiglu_auto(gate: &Tensor, up: &Tensor) -> Tensor {
    let denominator = (gate.neg().unwrap().exp().unwrap() + 1.0).unwrap();
    ((gate / denominator).unwrap() * up).unwrap()
}

/// Rotates heads laid beside each other; `cos` and `sin` are `[rows, half]`.
pub fn rope_auto(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    let ((rows, cols), half) = (x.dims2().unwrap(), cos.dim(1).unwrap());
    let x = x.reshape((rows, cols / (2 * half), 2 * half)).unwrap();
    let (a, b) = (x.narrow(2, 0, half).unwrap(), x.narrow(2, half, half).unwrap());
    let (cos, sin) = (cos.unsqueeze(1).unwrap(), sin.unsqueeze(1).unwrap());
    let by = |x: &Tensor, y: &Tensor| x.broadcast_mul(y).unwrap();
    let first = (by(&a, &cos) - by(&b, &sin)).unwrap();
    let second = (by(&b, &cos) + by(&a, &sin)).unwrap();
    Tensor::cat(&[first, second], 2).unwrap().reshape((rows, cols)).unwrap()
}

/// A norm beside a residual stream: the outputs are the normalised rows and, if `onto`, the rows themselves.
struct RmsNorm {
    seed: u64,
    rows: usize,
    cols: usize,
    onto: bool,
}

const EPS: f64 = 1e-3;

impl RmsNorm {
    fn weight(&self) -> Vec<f64> {
        noise(self.seed + 1, self.cols)
    }
}

impl Operation for RmsNorm {
    const NAME: &'static str = "rms_norm";

    fn inputs(&self) -> Vec<Input> {
        vec![Input::noise(self.seed, self.rows, self.cols, 1.0)]
    }

    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64> {
        let x = buffer(b, &inputs[0], self.rows, self.cols);
        let w = buffer(b, &self.weight(), 1, self.cols);
        let mut outputs = read(b, &b.rms_norm(&x, &w, EPS).unwrap());
        if self.onto {
            outputs.extend(&inputs[0]);
        }
        outputs
    }

    fn backward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>> {
        let matrix = |values: &[f64]| buffer(b, values, self.rows, self.cols);
        let (r, onto) = r.split_at(self.rows * self.cols);
        let onto = self.onto.then(|| matrix(onto));
        let w = buffer(b, &self.weight(), 1, self.cols);
        let dx = b.rms_norm_grad(&matrix(r), &matrix(&inputs[0]), &w, EPS, onto).unwrap();
        vec![Some(read(b, &dx))]
    }

    fn auto(&self, inputs: &[Tensor]) -> Tensor {
        let normed = rms_norm_auto(&inputs[0], &tensor(&self.weight(), 1, self.cols), EPS);
        if self.onto { Tensor::cat(&[&normed, &inputs[0]], 0).unwrap() } else { normed }
    }
}

fn rms_norm(b: &impl Backend, tolerance: f64) {
    for seed in 0..6 {
        let (rows, cols) = (size(seed, 1, 5), size(seed + 50, 1, 37));
        check(&RmsNorm { seed, rows, cols, onto: seed % 2 == 1 }, b, tolerance);
    }
}

struct Swiglu {
    seed: u64,
    rows: usize,
    cols: usize,
}

impl Operation for Swiglu {
    const NAME: &'static str = "swiglu";

    fn inputs(&self) -> Vec<Input> {
        vec![Input::noise(self.seed, self.rows, self.cols, 6.0), Input::noise(self.seed + 1, self.rows, self.cols, 1.0)]
    }

    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64> {
        let [gate, up] = [0, 1].map(|i| buffer(b, &inputs[i], self.rows, self.cols));
        read(b, &b.swiglu(&gate, &up).unwrap())
    }

    fn backward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>> {
        let [gate, up, r] = [&inputs[0], &inputs[1], r].map(|x| buffer(b, x, self.rows, self.cols));
        b.swiglu_grad(&r, gate, up).unwrap().map(|x| Some(read(b, &x))).to_vec()
    }

    fn auto(&self, inputs: &[Tensor]) -> Tensor {
        swiglu_auto(&inputs[0], &inputs[1])
    }
}

fn swiglu(b: &impl Backend, tolerance: f64) {
    for seed in 0..4 {
        check(&Swiglu { seed, rows: size(seed, 1, 5), cols: size(seed + 50, 1, 37) }, b, tolerance);
    }
}

struct Rope {
    seed: u64,
    rows: usize,
    cols: usize,
    half: usize,
}

impl Rope {
    fn angles(&self) -> [Vec<f64>; 2] {
        let angles = noise(self.seed + 1, self.rows * self.half);
        [f64::cos, f64::sin].map(|f| angles.iter().map(|x| f(20.0 * x)).collect())
    }

    fn turned<B: Backend>(&self, b: &B, x: &[f64], inverse: bool) -> Vec<f64> {
        let mut x = buffer(b, x, self.rows, self.cols);
        let [cos, sin] = self.angles().map(|angles| buffer(b, &angles, self.rows, self.half));
        b.rope(&mut x, &cos, &sin, inverse).unwrap();
        read(b, &x)
    }
}

impl Operation for Rope {
    const NAME: &'static str = "rope";

    fn inputs(&self) -> Vec<Input> {
        vec![Input::noise(self.seed, self.rows, self.cols, 1.0)]
    }

    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64> {
        self.turned(b, &inputs[0], false)
    }

    fn backward<B: Backend>(&self, b: &B, _: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>> {
        vec![Some(self.turned(b, r, true))]
    }

    fn auto(&self, inputs: &[Tensor]) -> Tensor {
        let [cos, sin] = self.angles().map(|angles| tensor(&angles, self.rows, self.half));
        rope_auto(&inputs[0], &cos, &sin)
    }
}

fn rope(b: &impl Backend, tolerance: f64) {
    for seed in 0..4 {
        let (rows, heads, half) = (size(seed, 1, 6), size(seed + 50, 1, 4), size(seed + 60, 1, 5));
        check(&Rope { seed, rows, cols: heads * 2 * half, half }, b, tolerance);
    }
}

/// The output is the sum of the losses of the labelled rows.
struct HeadLoss {
    seed: u64,
    rows: usize,
    cols: usize,
    vocabulary: usize,
    differences: bool,
}

impl HeadLoss {
    fn weight(&self) -> Vec<f64> {
        noise(self.seed + 1, self.vocabulary * self.cols)
    }

    fn targets(&self) -> Vec<Target> {
        let labelled = (0..self.rows).filter(|row| row % 3 != 1);
        let id = |row: usize| size(self.seed + row as u64, 0, self.vocabulary - 1) as u32;
        labelled.map(|row| Target { row, id: id(row) }).collect()
    }
}

impl Operation for HeadLoss {
    const NAME: &'static str = "head_loss";

    fn inputs(&self) -> Vec<Input> {
        vec![Input::noise(self.seed, self.rows, self.cols, 1.0)]
    }

    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64> {
        let w = weight(b, &self.weight(), self.vocabulary, self.cols);
        let head = b.head_loss(&buffer(b, &inputs[0], self.rows, self.cols), &w, &self.targets(), None).unwrap();
        assert!(head.d_hidden.is_none());
        vec![head.losses.iter().sum()]
    }

    fn backward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>> {
        let w = weight(b, &self.weight(), self.vocabulary, self.cols);
        let hidden = buffer(b, &inputs[0], self.rows, self.cols);
        let head = b.head_loss(&hidden, &w, &self.targets(), Some(r[0])).unwrap();
        vec![Some(read(b, &head.d_hidden.unwrap()))]
    }

    fn auto(&self, inputs: &[Tensor]) -> Tensor {
        let (x, w) = (&inputs[0], tensor(&self.weight(), self.vocabulary, self.cols));
        let ids: Vec<u32> = self.targets().iter().map(|target| target.id).collect();
        let labelled: Vec<u32> = self.targets().iter().map(|target| target.row as u32).collect();
        let count = ids.len();
        let index = |ids: Vec<u32>| Tensor::from_vec(ids, count, x.device()).unwrap();
        let logits = x.index_select(&index(labelled), 0).unwrap().matmul(&w.t().unwrap()).unwrap();
        let sums = logits.exp().unwrap().sum(1).unwrap().log().unwrap().sum_all().unwrap();
        let picked = logits.gather(&index(ids).unsqueeze(1).unwrap(), 1).unwrap().sum_all().unwrap();
        (sums - picked).unwrap()
    }

    fn differences(&self) -> bool {
        self.differences
    }
}

/// Labelled rows only, in more than one chunk, with a scale.
fn head_loss(b: &impl Backend, tolerance: f64) {
    for (seed, rows) in [(0, 5), (1, 1), (2, 13)] {
        let (cols, vocabulary) = (size(seed, 2, 7), size(seed + 50, 2, 23));
        check(&HeadLoss { seed, rows, cols, vocabulary, differences: true }, b, tolerance);
    }
    check(&HeadLoss { seed: 9, rows: 600, cols: 3, vocabulary: 5, differences: false }, b, tolerance);
}

/// Logits whose exponentials are no `f32` numbers, beside the target's or beyond all others.
fn unlikely_targets(b: &impl Backend, tolerance: f64) {
    let mut logits = [0.0; 40];
    (logits[3], logits[36], logits[37]) = (-200.0, 300.0, 300.0);
    let w = weight(b, &logits, 40, 1);
    let targets: Vec<Target> = [3, 5, 36].into_iter().enumerate().map(|(row, id)| Target { row, id }).collect();
    let head = b.head_loss(&buffer(b, &[1.0, 1.0, 1.0], 3, 1), &w, &targets, Some(1.0)).unwrap();
    let two = 2.0f64.ln();
    let close = |got: f64, expected: f64| assert!((got - expected).abs() < tolerance * 500.0, "{got} for {expected}");
    head.losses.iter().zip([500.0 + two, 300.0 + two, two]).for_each(|(&got, expected)| close(got, expected));
    read(b, &head.d_hidden.unwrap())
        .into_iter()
        .zip([500.0, 300.0, 0.0])
        .for_each(|(got, expected)| close(got, expected));
    assert!((head.losses[2] - two).abs() < tolerance);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let b = backend::<f32>();
    let x = b.buffer(cast(&noise(0, 6)), 2, 3).unwrap();
    let w = b.buffer(cast(&noise(0, 2)), 1, 2).unwrap();
    assert!(b.buffer(vec![0.0; 5], 2, 3).is_err());
    assert!(b.rms_norm(&x, &w, 1e-5).is_err());
    assert!(b.rope(&mut x.clone(), &w, &w, false).is_err());
    assert!(b.swiglu(&x, &w).is_err());
    assert!(b.gather(&x, &[2]).is_err());
    let weight = b.upload(&frozen(&noise(1, 12), 4, 3), Residency::Quantised).unwrap();
    assert!(b.embed(&weight, &[4]).is_err());
    assert!(b.head_loss(&x, &weight, &[Target { row: 0, id: 4 }], None).is_err());
    assert!(b.head_loss(&x, &weight, &[Target { row: 2, id: 0 }], None).is_err());
}
