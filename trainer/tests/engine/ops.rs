//! Gradients of the row-wise and linear operations.

use candle_core::{D, Tensor};
use potluck_trainer::backend::candle::Element;
use potluck_trainer::backend::{Backend, LoraPair, Residency, Target};

use crate::support::{Case, backend, cast, frozen, noise, size, tensor, weighed, weighed_tensor, wide};

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

#[test]
fn rms_norm() {
    for seed in 0..4 {
        let (rows, cols) = (size(seed, 1, 5), size(seed + 50, 1, 37));
        let (w, r) = (noise(seed + 1, cols), noise(seed + 2, rows * cols));
        fn grad<T: Element>(inputs: &[Vec<f64>], w: &[f64], r: &[f64], rows: usize, cols: usize) -> Vec<Vec<f64>> {
            let (x, w, r) = (tensor::<T>(&inputs[0], rows, cols), tensor::<T>(w, 1, cols), tensor::<T>(r, rows, cols));
            let b = backend::<T>();
            vec![wide(b.read(&b.rms_norm_grad(&r, &x, &w, 1e-3).unwrap()).unwrap())]
        }
        Case {
            name: "rms_norm",
            inputs: vec![noise(seed, rows * cols)],
            shapes: vec![(rows, cols)],
            loss: &|x| {
                let x = tensor::<f64>(&x[0], rows, cols);
                weighed(&backend::<f64>().rms_norm(&x, &tensor::<f64>(&w, 1, cols), 1e-3).unwrap(), &r)
            },
            single: &|x| grad::<f32>(x, &w, &r, rows, cols),
            double: &|x| grad::<f64>(x, &w, &r, rows, cols),
            auto_single: &|x| weighed_tensor::<f32>(&rms_norm_auto(&x[0], &tensor::<f32>(&w, 1, cols), 1e-3), &r),
            auto_double: &|x| weighed_tensor::<f64>(&rms_norm_auto(&x[0], &tensor::<f64>(&w, 1, cols), 1e-3), &r),
        }
        .check();
    }
}

#[test]
fn swiglu() {
    for seed in 0..4 {
        let (rows, cols) = (size(seed, 1, 5), size(seed + 50, 1, 37));
        let r = noise(seed + 2, rows * cols);
        fn grad<T: Element>(inputs: &[Vec<f64>], r: &[f64], rows: usize, cols: usize) -> Vec<Vec<f64>> {
            let [gate, up, r] = [&inputs[0], &inputs[1], r].map(|x| tensor::<T>(x, rows, cols));
            let b = backend::<T>();
            b.swiglu_grad(&r, &gate, &up).unwrap().map(|x| wide(b.read(&x).unwrap())).to_vec()
        }
        let gate = noise(seed, rows * cols).iter().map(|x| 6.0 * x).collect();
        Case {
            name: "swiglu",
            inputs: vec![gate, noise(seed + 1, rows * cols)],
            shapes: vec![(rows, cols); 2],
            loss: &|x| {
                let [gate, up] = [0, 1].map(|i| tensor::<f64>(&x[i], rows, cols));
                weighed(&backend::<f64>().swiglu(&gate, &up).unwrap(), &r)
            },
            single: &|x| grad::<f32>(x, &r, rows, cols),
            double: &|x| grad::<f64>(x, &r, rows, cols),
            auto_single: &|x| weighed_tensor::<f32>(&swiglu_auto(&x[0], &x[1]), &r),
            auto_double: &|x| weighed_tensor::<f64>(&swiglu_auto(&x[0], &x[1]), &r),
        }
        .check();
    }
}

#[test]
fn rope() {
    for seed in 0..4 {
        let (rows, heads, half) = (size(seed, 1, 6), size(seed + 50, 1, 4), size(seed + 60, 1, 5));
        let cols = heads * 2 * half;
        let angles: Vec<f64> = noise(seed + 1, rows * half).iter().map(|x| 20.0 * x).collect();
        let cos: Vec<f64> = angles.iter().map(|a| a.cos()).collect();
        let sin: Vec<f64> = angles.iter().map(|a| a.sin()).collect();
        let r = noise(seed + 2, rows * cols);
        let turned = |x: &[f64], inverse: bool| {
            let mut x = tensor::<f64>(x, rows, cols);
            let [cos, sin] = [&cos, &sin].map(|x| tensor::<f64>(x, rows, half));
            backend::<f64>().rope(&mut x, &cos, &sin, inverse).unwrap();
            x
        };
        let single = |_: &[Vec<f64>]| {
            let mut x = tensor::<f32>(&r, rows, cols);
            let [cos, sin] = [&cos, &sin].map(|x| tensor::<f32>(x, rows, half));
            backend::<f32>().rope(&mut x, &cos, &sin, true).unwrap();
            vec![wide(backend::<f32>().read(&x).unwrap())]
        };
        let double = |_: &[Vec<f64>]| vec![backend::<f64>().read(&turned(&r, true)).unwrap()];
        Case {
            name: "rope",
            inputs: vec![noise(seed, rows * cols)],
            shapes: vec![(rows, cols)],
            loss: &|x| weighed(&turned(&x[0], false), &r),
            single: &single,
            double: &double,
            auto_single: &|x| {
                let [cos, sin] = [&cos, &sin].map(|x| tensor::<f32>(x, rows, half));
                weighed_tensor::<f32>(&rope_auto(&x[0], &cos, &sin), &r)
            },
            auto_double: &|x| {
                let [cos, sin] = [&cos, &sin].map(|x| tensor::<f64>(x, rows, half));
                weighed_tensor::<f64>(&rope_auto(&x[0], &cos, &sin), &r)
            },
        }
        .check();
    }
}

/// Sizes of a linear layer with its adapter.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    inner: usize,
    out: usize,
    r: usize,
}

const SCALE: f64 = 1.75;

/// `x W^T + scale x A^T B^T` and its gradients in `x`, `A` and `B`.
fn linear_with_lora<T: Element>(inputs: &[Vec<f64>], w: &[f64], grad: &[f64], s: Sizes) -> (Tensor, Vec<Vec<f64>>) {
    let b = backend::<T>();
    let (x, grad) = (tensor::<T>(&inputs[0], s.rows, s.inner), tensor::<T>(grad, s.rows, s.out));
    let (factor_a, factor_b) = (tensor::<T>(&inputs[1], s.r, s.inner), tensor::<T>(&inputs[2], s.out, s.r));
    let pair = LoraPair { a: factor_a, b: factor_b, scale: SCALE };
    let w = b.upload(&frozen(w, s.out, s.inner), Residency::Quantised).unwrap();
    let mut y = b.linear(&x, &w).unwrap();
    let h = b.lora(&mut y, &x, &pair).unwrap();
    let mut dx = b.linear_grad(&grad, &w).unwrap();
    let d = b.lora_grad(&mut dx, &grad, &x, &h, &pair).unwrap();
    (y, [dx, d.a, d.b].iter().map(|x| wide(b.read(x).unwrap())).collect())
}

#[test]
fn linear_and_lora() {
    for seed in 0..4 {
        let s = Sizes {
            rows: size(seed, 1, 9),
            inner: size(seed + 50, 1, 11),
            out: size(seed + 60, 1, 11),
            r: size(seed + 70, 1, 4),
        };
        let (w, r) = (noise(seed + 3, s.out * s.inner), noise(seed + 4, s.rows * s.out));
        let auto = |x: &[Tensor], w: Tensor| {
            let h = (x[0].matmul(&x[1].t().unwrap()).unwrap() * SCALE).unwrap();
            (x[0].matmul(&w.t().unwrap()).unwrap() + h.matmul(&x[2].t().unwrap()).unwrap()).unwrap()
        };
        Case {
            name: "linear and lora",
            inputs: vec![noise(seed, s.rows * s.inner), noise(seed + 1, s.r * s.inner), noise(seed + 2, s.out * s.r)],
            shapes: vec![(s.rows, s.inner), (s.r, s.inner), (s.out, s.r)],
            loss: &|x| weighed(&linear_with_lora::<f64>(x, &w, &r, s).0, &r),
            single: &|x| linear_with_lora::<f32>(x, &w, &r, s).1,
            double: &|x| linear_with_lora::<f64>(x, &w, &r, s).1,
            auto_single: &|x| weighed_tensor::<f32>(&auto(x, tensor::<f32>(&w, s.out, s.inner)), &r),
            auto_double: &|x| weighed_tensor::<f64>(&auto(x, tensor::<f64>(&w, s.out, s.inner)), &r),
        }
        .check();
    }
}

/// Labelled rows only, in more than one chunk, with a scale.
#[test]
fn head_loss() {
    for (seed, rows) in [(0, 5), (1, 1), (2, 13)] {
        let (cols, vocabulary) = (size(seed, 2, 7), size(seed + 50, 2, 23));
        check_head(seed, rows, cols, vocabulary, true);
    }
    check_head(9, 600, 3, 5, false);
}

fn check_head(seed: u64, rows: usize, cols: usize, vocabulary: usize, differences: bool) {
    let w = noise(seed + 1, vocabulary * cols);
    let labelled = (0..rows).filter(|row| row % 3 != 1);
    let targets: Vec<Target> =
        labelled.map(|row| Target { row, id: size(seed + row as u64, 0, vocabulary - 1) as u32 }).collect();
    let scale = 0.3;
    fn run<T: Element>(x: &[f64], w: &[f64], shape: (usize, usize), targets: &[Target]) -> (f64, Vec<f64>) {
        let b = backend::<T>();
        let w = b.upload(&frozen(w, w.len() / shape.1, shape.1), Residency::Quantised).unwrap();
        let head = b.head_loss(&tensor::<T>(x, shape.0, shape.1), &w, targets, Some(0.3)).unwrap();
        (head.losses.iter().sum(), wide(b.read(&head.d_hidden.unwrap()).unwrap()))
    }
    let auto = |x: &Tensor, w: Tensor| {
        let ids: Vec<u32> = targets.iter().map(|target| target.id).collect();
        let labelled: Vec<u32> = targets.iter().map(|target| target.row as u32).collect();
        let count = ids.len();
        let index = |ids: Vec<u32>| Tensor::from_vec(ids, count, x.device()).unwrap();
        let logits = x.index_select(&index(labelled), 0).unwrap().matmul(&w.t().unwrap()).unwrap();
        let sums = logits.exp().unwrap().sum(1).unwrap().log().unwrap().sum_all().unwrap();
        let picked = logits.gather(&index(ids).unsqueeze(1).unwrap(), 1).unwrap().sum_all().unwrap();
        ((sums - picked).unwrap() * scale).unwrap()
    };
    let shape = (rows, cols);
    let case = Case {
        name: "head_loss",
        inputs: vec![noise(seed, rows * cols)],
        shapes: vec![shape],
        loss: &|x| scale * run::<f64>(&x[0], &w, shape, &targets).0,
        single: &|x| vec![run::<f32>(&x[0], &w, shape, &targets).1],
        double: &|x| vec![run::<f64>(&x[0], &w, shape, &targets).1],
        auto_single: &|x| auto(&x[0], tensor::<f32>(&w, vocabulary, cols)),
        auto_double: &|x| auto(&x[0], tensor::<f64>(&w, vocabulary, cols)),
    };
    if differences { case.check() } else { case.check_autograd() }
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
