//! Stored numbers to 32-bit floats, by the definition of each format, in one place.
//!
//! The arithmetic is part of the fold rule (`fold-f32/1` dequantises its genesis): the operations stand in the order
//! of ggml's reference (`ggml-quants.c`, `dequantize_row_*`), each rounded once, without fused multiply-add, and never
//! change. One block depends on its own bytes alone, so that threads cannot change a bit.

mod blocks;
mod super_blocks;

use half::{bf16, f16};
use potluck_protocol::tensor::DType;
use rayon::prelude::*;

use crate::tensor::HostTensor;

/// Elements that one task turns, so that short tensors are not spread over threads. A multiple of every block.
const TASK: usize = 1 << 16;

/// All elements, row-major.
pub fn tensor(tensor: &HostTensor) -> Vec<f32> {
    let mut out = vec![0.0; tensor.shape.iter().product()];
    whole(tensor.dtype, tensor.bytes(), &mut out);
    out
}

/// Elements of consecutive whole rows. `bytes` holds exactly as many blocks as `out` has room for.
pub fn whole(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    let (elements, size) = dtype.block();
    out.par_chunks_mut(TASK).zip(bytes.par_chunks(TASK / elements * size)).for_each(|(out, bytes)| {
        sequential(dtype, bytes, out);
    });
}

/// The same on this thread alone.
pub fn sequential(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DType::F32 => each(bytes, out, f32::from_le_bytes),
        DType::F64 => each(bytes, out, |bytes| f64::from_le_bytes(bytes) as f32),
        DType::F16 => each(bytes, out, |bytes| f16::from_le_bytes(bytes).to_f32()),
        DType::BF16 => each(bytes, out, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        DType::Q4_0 => blocks::<18, 32>(bytes, out, blocks::q4_0),
        DType::Q4_1 => blocks::<20, 32>(bytes, out, blocks::q4_1),
        DType::Q5_0 => blocks::<22, 32>(bytes, out, blocks::q5_0),
        DType::Q5_1 => blocks::<24, 32>(bytes, out, blocks::q5_1),
        DType::Q8_0 => blocks::<34, 32>(bytes, out, blocks::q8_0),
        DType::Q2K => blocks::<84, 256>(bytes, out, super_blocks::q2_k),
        DType::Q3K => blocks::<110, 256>(bytes, out, super_blocks::q3_k),
        DType::Q4K => blocks::<144, 256>(bytes, out, super_blocks::q4_k),
        DType::Q5K => blocks::<176, 256>(bytes, out, super_blocks::q5_k),
        DType::Q6K => blocks::<210, 256>(bytes, out, super_blocks::q6_k),
        DType::Q8K => blocks::<292, 256>(bytes, out, super_blocks::q8_k),
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    for (value, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *value = read(*bytes);
    }
}

/// `BYTES` bytes of a block give `ELEMENTS` values.
fn blocks<const BYTES: usize, const ELEMENTS: usize>(
    bytes: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    for (out, bytes) in out.as_chunks_mut::<ELEMENTS>().0.iter_mut().zip(bytes.as_chunks::<BYTES>().0) {
        block(bytes, out);
    }
}

/// The f16 at a place of a block.
fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use candle_core::Device;
    use candle_core::quantized::{GgmlDType, QStorage, QTensor};
    use proptest::prelude::*;

    use super::*;

    const TYPES: [(DType, GgmlDType); 14] = [
        (DType::F32, GgmlDType::F32),
        (DType::F16, GgmlDType::F16),
        (DType::BF16, GgmlDType::BF16),
        (DType::Q4_0, GgmlDType::Q4_0),
        (DType::Q4_1, GgmlDType::Q4_1),
        (DType::Q5_0, GgmlDType::Q5_0),
        (DType::Q5_1, GgmlDType::Q5_1),
        (DType::Q8_0, GgmlDType::Q8_0),
        (DType::Q2K, GgmlDType::Q2K),
        (DType::Q3K, GgmlDType::Q3K),
        (DType::Q4K, GgmlDType::Q4K),
        (DType::Q5K, GgmlDType::Q5K),
        (DType::Q6K, GgmlDType::Q6K),
        (DType::Q8K, GgmlDType::Q8K),
    ];

    proptest! {
        /// candle's reader is the oracle: random bytes give the same bits (NaN as NaN).
        #[test]
        fn every_type_gives_the_bits_of_candle(seed in any::<u64>()) {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            };
            for (dtype, ggml) in TYPES {
                let bytes: Vec<u8> = (0..dtype.bytes(&[2, 512]).unwrap()).map(|_| next()).collect();
                let mut ours = vec![0.0; 1024];
                whole(dtype, &bytes, &mut ours);
                let storage = QStorage::from_data(Cow::Borrowed(&bytes), &Device::Cpu, ggml).unwrap();
                let theirs = QTensor::new(storage, (2, 512)).unwrap().dequantize(&Device::Cpu).unwrap();
                let theirs: Vec<f32> = theirs.flatten_all().unwrap().to_vec1().unwrap();
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
                    prop_assert!(same, "{dtype:?}: {ours} and {theirs}");
                }
            }
        }
    }

    #[test]
    fn tasks_end_at_blocks() {
        for (dtype, _) in TYPES {
            let (elements, _) = dtype.block();
            assert_eq!(TASK % elements, 0);
            let len = TASK + 512;
            let bytes: Vec<u8> = (0..dtype.bytes(&[len]).unwrap()).map(|i| (i * 7 % 47) as u8).collect();
            let (mut one, mut two) = (vec![0.0; len], vec![0.0; len]);
            whole(dtype, &bytes, &mut one);
            sequential(dtype, &bytes, &mut two);
            assert!(one.iter().zip(&two).all(|(a, b)| a.to_bits() == b.to_bits()), "{dtype:?}");
        }
    }
}
