//! Frozen matrices that stay quantised: widened on the fly, read by rows, from any address.

use std::sync::Arc;

use potluck_protocol::tensor::DType;
use potluck_trainer::backend::{Backend, BackendError, Linear, Residency};
use potluck_trainer::tensor::HostTensor;

use crate::operation::{assert_close, on_every_f32_backend};
use crate::support::{backend, buffer, noise, read, size};

on_every_f32_backend!(operations_see_the_values_that_the_format_defines, sixteen_bit_floats_are_widened);

const INNER: usize = 64;

/// A Q4_1 matrix and its values by ggml's definition: `d * q + m`, 32 to a block, low nibbles first.
fn q4_1(rows: usize, seed: u64) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for block in 0..rows * INNER / 32 {
        let numbers = noise(seed + block as u64, 2);
        let (d, m) = (half::f16::from_f64(numbers[0] * 0.1), half::f16::from_f64(numbers[1]));
        let quants: Vec<u8> = (0..16).map(|i| size(seed + (block * 16 + i) as u64, 0, 255) as u8).collect();
        bytes.extend(d.to_le_bytes().into_iter().chain(m.to_le_bytes()).chain(quants.iter().copied()));
        let value = |q: u8| d.to_f32() * f32::from(q) + m.to_f32();
        values.extend(quants.iter().map(|q| value(q & 15)).chain(quants.iter().map(|q| value(q >> 4))));
    }
    (bytes, values)
}

/// The bytes, `shift` bytes into a larger piece of memory.
fn tensor(dtype: DType, shape: Vec<usize>, bytes: &[u8], shift: usize) -> HostTensor {
    let mut memory = vec![0; shift];
    memory.extend_from_slice(bytes);
    HostTensor::new(dtype, shape, Arc::new(memory), shift..shift + bytes.len()).unwrap()
}

fn operations_see_the_values_that_the_format_defines<B: Backend>(b: &B, tolerance: f64) {
    // Rows in more than one panel; addresses that a mapped file may give.
    for (rows, shift) in [(1, 0), (64, 1), (130, 3), (130, 8)] {
        let (bytes, values) = q4_1(rows, 40);
        let plain = b.upload(&HostTensor::from_f32(vec![rows, INNER], &values).unwrap(), Residency::Quantised).unwrap();
        let source = tensor(DType::Q4_1, vec![rows, INNER], &bytes, shift);
        let x = buffer(b, &noise(3, 2 * INNER), 2, INNER);
        let linear = |weight: &B::Weight| b.project(&x, &[Linear { weight, pairs: &[] }], None).unwrap().ys.remove(0);
        let ids = [0, rows as u32 - 1, rows as u32 / 2, 0];
        for residency in [Residency::Quantised, Residency::Widened] {
            let quantised = b.upload(&source, residency).unwrap();
            for (got, expected) in [
                (linear(&quantised), linear(&plain)),
                (b.embed(&quantised, &ids).unwrap(), b.embed(&plain, &ids).unwrap()),
            ] {
                assert_close(&read(b, &got), &read(b, &expected), tolerance, &format!("{rows} {shift}"));
            }
            assert!(b.embed(&quantised, &[rows as u32]).is_err());
        }
    }
}

fn sixteen_bit_floats_are_widened(b: &impl Backend, _: f64) {
    let values = [1.0f32, -2.5, 0.125, 3.0];
    let bf16: Vec<u8> = values.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect();
    let f16: Vec<u8> = values.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
    for (dtype, bytes) in [(DType::BF16, bf16), (DType::F16, f16)] {
        let weight = b.upload(&tensor(dtype, vec![2, 2], &bytes, 2), Residency::Quantised).unwrap();
        assert_eq!(read(b, &b.embed(&weight, &[0, 1]).unwrap()), values.map(f64::from));
    }
}

#[test]
fn a_quantised_norm_is_refused() {
    let (bytes, _) = q4_1(1, 1);
    let error = backend::<f32>().vector(&tensor(DType::Q4_1, vec![INNER], &bytes, 0)).unwrap_err();
    assert!(matches!(error, BackendError::Quantised { .. }));
}
