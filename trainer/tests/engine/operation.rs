//! What every backend must get right: an operation's output and its gradients, held against candle in `f64`, central
//! differences, and candle's autograd.
//!
//! A check is a function of a backend and a tolerance. [`on_every_backend`] makes a test of it for each backend, so a
//! new backend is one line in [`on_f32_backends`].

use candle_core::{Tensor, Var};
use potluck_trainer::backend::Backend;

use crate::support::{backend, distance, noise, tensor};

/// Tests of a check on each backend that computes in `f32`.
macro_rules! on_f32_backends {
    ($check:ident) => {
        #[test]
        fn candle_f32() {
            super::$check(&crate::support::backend::<f32>(), crate::support::SINGLE);
        }

        /// On every instruction set that this machine has.
        #[test]
        fn cpu_f32() {
            for backend in crate::support::cpu(potluck_trainer::backend::cpu::Precision::F32) {
                super::$check(&backend, crate::support::SINGLE);
            }
        }
    };
}

/// For each check a module of tests, one for each backend.
macro_rules! on_every_backend {
    ($($check:ident),+ $(,)?) => {
        $(mod $check {
            crate::operation::on_f32_backends!($check);
            #[test]
            fn candle_f64() {
                super::$check(&crate::support::backend::<f64>(), crate::support::DOUBLE);
            }
            #[test]
            fn cpu_bf16() {
                for backend in crate::support::cpu(potluck_trainer::backend::cpu::Precision::Bf16) {
                    super::$check(&backend, crate::support::HALF);
                }
            }
        })+
    };
}

/// The same without `f64`: for what is kept in `f32` outside the backend.
macro_rules! on_every_f32_backend {
    ($($check:ident),+ $(,)?) => {
        $(mod $check {
            crate::operation::on_f32_backends!($check);
        })+
    };
}

pub(crate) use {on_every_backend, on_every_f32_backend, on_f32_backends};

/// A matrix that an operation is a function of.
pub struct Input {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f64>,
}

impl Input {
    pub fn noise(seed: u64, rows: usize, cols: usize, amount: f64) -> Self {
        Self { rows, cols, values: noise(seed, rows * cols).iter().map(|x| amount * x).collect() }
    }
}

/// An operation under test.
pub trait Operation {
    const NAME: &'static str;
    fn inputs(&self) -> Vec<Input>;
    /// All outputs, one behind another.
    fn forward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>]) -> Vec<f64>;
    /// Gradients of `sum(r * outputs)` in each input; `None` for those that were not asked for.
    fn backward<B: Backend>(&self, b: &B, inputs: &[Vec<f64>], r: &[f64]) -> Vec<Option<Vec<f64>>>;
    /// The outputs by candle's own operations in `f64`, for its autograd.
    fn auto(&self, inputs: &[Tensor]) -> Tensor;
    /// Whether it is small enough for differences.
    fn differences(&self) -> bool {
        true
    }
}

pub fn check<O: Operation>(operation: &O, b: &impl Backend, tolerance: f64) {
    let oracle = backend::<f64>();
    let inputs = operation.inputs();
    let values: Vec<Vec<f64>> = inputs.iter().map(|input| input.values.clone()).collect();
    let expected = operation.forward(&oracle, &values);
    assert_close(&operation.forward(b, &values), &expected, tolerance, &format!("{}, output", O::NAME));
    let r = noise(9_999, expected.len());
    let got = operation.backward(b, &values, &r);
    compare::<O>("autograd", &got, &autograd(operation, &inputs, &r), tolerance);
    if operation.differences() {
        let loss = |x: &[Vec<f64>]| operation.forward(&oracle, x).iter().zip(&r).map(|(y, r)| y * r).sum();
        compare::<O>("differences", &got, &finite_differences(&loss, &values), tolerance);
    }
}

fn compare<O: Operation>(against: &str, got: &[Option<Vec<f64>>], expected: &[Vec<f64>], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        if let Some(got) = got {
            assert_close(got, expected, tolerance, &format!("{}, gradient {index} against {against}", O::NAME));
        }
    }
}

pub fn assert_close(got: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let distance = distance(got, expected);
    assert!(distance <= tolerance, "{what}: {distance:e}");
}

/// Central differences of a scalar function of several vectors.
pub fn finite_differences(loss: &dyn Fn(&[Vec<f64>]) -> f64, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-5;
    let mut moved = inputs.to_vec();
    let mut gradients = Vec::new();
    for which in 0..inputs.len() {
        let gradient = (0..inputs[which].len()).map(|i| {
            moved[which][i] = inputs[which][i] + STEP;
            let above = loss(&moved);
            moved[which][i] = inputs[which][i] - STEP;
            let below = loss(&moved);
            moved[which][i] = inputs[which][i];
            (above - below) / (2.0 * STEP)
        });
        let gradient = gradient.collect();
        gradients.push(gradient);
    }
    gradients
}

fn autograd(operation: &impl Operation, inputs: &[Input], r: &[f64]) -> Vec<Vec<f64>> {
    let var = |input: &Input| Var::from_tensor(&tensor(&input.values, input.rows, input.cols)).unwrap();
    let vars: Vec<Var> = inputs.iter().map(var).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let outputs = operation.auto(&tensors).flatten_all().unwrap();
    let weighed = (outputs * Tensor::from_slice(r, r.len(), &candle_core::Device::Cpu).unwrap()).unwrap();
    let gradients = weighed.sum_all().unwrap().backward().unwrap();
    let host = |var: &Var| gradients.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    vars.iter().map(host).collect()
}
