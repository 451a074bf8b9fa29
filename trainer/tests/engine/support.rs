//! Seeded values, finite differences, candle's autograd, and a small model.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use potluck_protocol::base::{Architecture, F32Bits, Family};
use potluck_trainer::backend::candle::{CandleBackend, Element};
use potluck_trainer::backend::real::Real;
use potluck_trainer::lora::init::splitmix64;
use potluck_trainer::model::weights::{SourceError, Weights};
use potluck_trainer::tensor::HostTensor;

/// What must hold in `f32` and in `f64`, relative to the norm of the gradient.
pub const SINGLE: f64 = 1e-4;
pub const DOUBLE: f64 = 1e-6;

/// Values in -1 .. 1.
pub fn noise(seed: u64, len: usize) -> Vec<f64> {
    let key = splitmix64(seed);
    (0..len as u64).map(|i| (splitmix64(key ^ i) >> 11) as f64 / (1u64 << 52) as f64 - 1.0).collect()
}

/// A size in `low ..= high`.
pub fn size(seed: u64, low: usize, high: usize) -> usize {
    low + (splitmix64(splitmix64(seed)) % (high - low + 1) as u64) as usize
}

pub fn cast<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::of(value)).collect()
}

pub fn wide<T: Real>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Real::wide).collect()
}

pub fn tensor<T: Element>(values: &[f64], rows: usize, cols: usize) -> Tensor {
    Tensor::from_vec(cast::<T>(values), (rows, cols), &Device::Cpu).unwrap()
}

pub fn host<T: Element>(x: &Tensor) -> Vec<f64> {
    wide(x.flatten_all().unwrap().to_vec1::<T>().unwrap())
}

/// A frozen matrix in `f64`, so that both float types start from the same values.
pub fn frozen(values: &[f64], rows: usize, cols: usize) -> HostTensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let range = 0..bytes.len();
    HostTensor::new(potluck_protocol::tensor::DType::F64, vec![rows, cols], std::sync::Arc::new(bytes), range).unwrap()
}

/// `sum(x * r)`: a scalar whose gradient in `x` is `r`.
pub fn weighed(x: &Tensor, r: &[f64]) -> f64 {
    host::<f64>(x).iter().zip(r).map(|(x, r)| x * r).sum()
}

/// The same as a tensor, for autograd.
pub fn weighed_tensor<T: Element>(x: &Tensor, r: &[f64]) -> Tensor {
    let r = Tensor::from_vec(cast::<T>(r), x.shape(), &Device::Cpu).unwrap();
    (x * r).unwrap().sum_all().unwrap()
}

/// The distance of two gradients over the norm of the second.
pub fn distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(expected).map(|(a, b)| a - b));
    difference / norm(&mut expected.iter().copied()).max(1e-30)
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

/// candle's own gradients of a scalar function of several matrices.
pub fn autograd<T: Element>(
    loss: &dyn Fn(&[Tensor]) -> Tensor,
    inputs: &[Vec<f64>],
    shapes: &[(usize, usize)],
) -> Vec<Vec<f64>> {
    let vars: Vec<Var> = inputs
        .iter()
        .zip(shapes)
        .map(|(values, &(rows, cols))| Var::from_tensor(&tensor::<T>(values, rows, cols)).unwrap())
        .collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let gradients = loss(&tensors).backward().unwrap();
    vars.iter().map(|var| host::<T>(gradients.get(var).unwrap())).collect()
}

/// From the inputs to a gradient in each.
type Gradients<'a> = &'a dyn Fn(&[Vec<f64>]) -> Vec<Vec<f64>>;

/// An operation under test: a scalar of its inputs, and three ways to its gradients.
pub struct Case<'a> {
    pub name: &'a str,
    pub inputs: Vec<Vec<f64>>,
    pub shapes: Vec<(usize, usize)>,
    /// The scalar by the backend's forward operation in `f64`.
    pub loss: &'a dyn Fn(&[Vec<f64>]) -> f64,
    /// The backend's backward operation.
    pub single: Gradients<'a>,
    pub double: Gradients<'a>,
    /// The scalar in plain candle operations of either type.
    pub auto_single: &'a dyn Fn(&[Tensor]) -> Tensor,
    pub auto_double: &'a dyn Fn(&[Tensor]) -> Tensor,
}

impl Case<'_> {
    /// Backward against finite differences and against autograd, in both types.
    pub fn check(&self) {
        self.check_autograd();
        let differences = finite_differences(self.loss, &self.inputs);
        self.compare("differences, f32", &(self.single)(&self.inputs), &differences, SINGLE);
        self.compare("differences, f64", &(self.double)(&self.inputs), &differences, DOUBLE);
    }

    /// Against autograd only, for shapes where differences take too long.
    pub fn check_autograd(&self) {
        let auto = autograd::<f32>(self.auto_single, &self.inputs, &self.shapes);
        self.compare("autograd, f32", &(self.single)(&self.inputs), &auto, SINGLE);
        let auto = autograd::<f64>(self.auto_double, &self.inputs, &self.shapes);
        self.compare("autograd, f64", &(self.double)(&self.inputs), &auto, DOUBLE);
    }

    fn compare(&self, against: &str, got: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64) {
        assert_eq!(got.len(), expected.len());
        for (input, (got, expected)) in got.iter().zip(expected).enumerate() {
            let distance = distance(got, expected);
            assert!(distance <= tolerance, "{} input {input} against {against}: {distance:e}", self.name);
        }
    }
}

pub fn backend<T: Element>() -> CandleBackend<T> {
    CandleBackend::new()
}

/// A model of noise.
pub struct Noise {
    architecture: Architecture,
    tensors: BTreeMap<String, HostTensor>,
}

impl Noise {
    pub fn zero(&mut self, name: &str) {
        let tensor = self.tensors.get_mut(name).unwrap();
        let zeros = vec![0.0; tensor.shape.iter().product()];
        *tensor = HostTensor::from_f32(tensor.shape.clone(), &zeros).unwrap();
    }
}

impl Noise {
    /// One value in a whole row of a matrix.
    pub fn fill_row(&mut self, name: &str, row: usize, value: f32) {
        let tensor = self.tensors.get_mut(name).unwrap();
        let mut values = potluck_trainer::base::dequantise::tensor(tensor);
        values[row * tensor.shape[1]..][..tensor.shape[1]].fill(value);
        *tensor = HostTensor::from_f32(tensor.shape.clone(), &values).unwrap();
    }
}

impl Weights for Noise {
    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn tensor(&self, hf_name: &str) -> Result<HostTensor, SourceError> {
        self.tensors.get(hf_name).cloned().ok_or_else(|| "no such tensor".into())
    }
}

pub fn architecture(tied: bool) -> Architecture {
    Architecture {
        family: Family::Llama,
        vocab_size: 37,
        hidden_size: 20,
        intermediate_size: 26,
        num_hidden_layers: 2,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 4,
        rms_norm_eps: F32Bits::new(1e-5).unwrap(),
        rope_theta: F32Bits::new(10_000.0).unwrap(),
        tie_word_embeddings: tied,
    }
}

/// Weights of noise for an architecture, norms near 1.
pub fn noise_model(architecture: Architecture, seed: u64) -> Noise {
    let tensors = architecture.tensors().into_iter().enumerate().map(|(index, (name, shape))| {
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        let values = noise(seed + index as u64, shape.iter().product());
        let values: Vec<f32> = match shape.len() {
            1 => values.iter().map(|x| (1.0 + 0.2 * x) as f32).collect(),
            _ => values.iter().map(|x| (x * (3.0 / shape[1] as f64).sqrt()) as f32).collect(),
        };
        (name, HostTensor::from_f32(shape, &values).unwrap())
    });
    let tensors = tensors.collect();
    Noise { architecture, tensors }
}
