//! Seeded values, buffers of any backend, and a small model of noise.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use potluck_protocol::base::{Architecture, F32Bits, Family};
use potluck_trainer::backend::candle::{CandleBackend, Element};
use potluck_trainer::backend::cpu::instructions::Instructions;
use potluck_trainer::backend::cpu::{CpuBackend, Precision};
use potluck_trainer::backend::real::Real;
use potluck_trainer::backend::{Backend, Residency};
use potluck_trainer::random::splitmix64;
use potluck_trainer::tensor::HostTensor;
use potluck_trainer::weights::{SourceError, Weights};

/// What must hold in `f32` and in `f64`, relative to the norm of the expected values.
pub const SINGLE: f64 = 1e-4;
pub const DOUBLE: f64 = 1e-6;
/// And where products multiply bf16, whose eight bits are rounded several times on the way through a model.
pub const HALF: f64 = 3e-2;

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

/// A matrix for candle's own operations.
pub fn tensor(values: &[f64], rows: usize, cols: usize) -> Tensor {
    Tensor::from_slice(values, (rows, cols), &Device::Cpu).unwrap()
}

pub fn buffer<B: Backend>(b: &B, values: &[f64], rows: usize, cols: usize) -> B::Buf {
    b.buffer(cast(values), rows, cols).unwrap()
}

pub fn read<B: Backend>(b: &B, x: &B::Buf) -> Vec<f64> {
    wide(b.read(x).unwrap())
}

pub fn weight<B: Backend>(b: &B, values: &[f64], out: usize, inner: usize) -> B::Weight {
    b.upload(&frozen(values, out, inner), Residency::Quantised).unwrap()
}

/// A frozen matrix in `f64`, so that both float types start from the same values.
pub fn frozen(values: &[f64], rows: usize, cols: usize) -> HostTensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let range = 0..bytes.len();
    HostTensor::new(potluck_protocol::tensor::DType::F64, vec![rows, cols], std::sync::Arc::new(bytes), range).unwrap()
}

/// The distance of two gradients over the norm of the second.
pub fn distance(got: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(expected).map(|(a, b)| a - b));
    difference / norm(&mut expected.iter().copied()).max(1e-30)
}

pub fn backend<T: Element>() -> CandleBackend<T> {
    CandleBackend::new()
}

/// The cpu backend on every instruction set that this machine has.
pub fn cpu(precision: Precision) -> Vec<CpuBackend> {
    Instructions::ALL.into_iter().filter_map(|instructions| CpuBackend::new(instructions, precision)).collect()
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
        let mut values = potluck_trainer::tensor::dequantise::tensor(tensor);
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
