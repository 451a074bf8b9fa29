//! The end of the rule: `g + d` in f32, rounded once to the result's type, minus zero as zero.

use half::{bf16, f16};
use potluck_protocol::tensor::DType;
use rayon::prelude::*;

use super::folded::Float;
use crate::backend::cpu::instructions::Instructions;
use crate::tensor::dequantise;

/// Rows that a thread takes at a time.
const TASK: usize = 16;

/// Some rows of the parent as they are stored, and what is added to them.
pub struct Rows<'a> {
    pub dtype: DType,
    pub columns: usize,
    pub source: &'a [u8],
    /// As many values as the rows have, or none for nothing to add.
    pub delta: &'a [f32],
}

impl Rows<'_> {
    /// The result's bytes. `false` if a value in them is not finite. // I10
    pub fn finish(&self, instructions: Instructions, float: Float, out: &mut Vec<u8>) -> bool {
        let source_len = self.source_len();
        let (task, out_len) = (TASK * self.columns, self.columns * float.dtype().block().1);
        out.resize(self.source.len() / source_len.max(1) * out_len, 0);
        let work = out.par_chunks_mut(TASK * out_len).zip(self.source.par_chunks(TASK * source_len)).enumerate();
        work.map_init(Vec::new, |values: &mut Vec<f32>, (index, (out, source))| {
            values.resize(source.len() / source_len * self.columns, 0.0);
            dequantise::sequential(self.dtype, source, values);
            let delta = if self.delta.is_empty() { &[] } else { &self.delta[index * task..][..values.len()] };
            instructions.vectorise(Finish { values, delta, float, out })
        })
        // Not `all`, which may leave out what comes after a failure: the bytes are looked at then.
        .reduce(|| true, |one, two| one & two)
    }

    fn source_len(&self) -> usize {
        let (elements, size) = self.dtype.block();
        self.columns / elements * size
    }

    /// The first element that is not finite in the parent.
    pub fn first_wrong(&self) -> Option<usize> {
        let mut values = vec![0.0; self.source.len() / self.source_len().max(1) * self.columns];
        dequantise::sequential(self.dtype, self.source, &mut values);
        values.iter().position(|value| !value.is_finite())
    }
}

/// The first element of a result that is not finite.
pub fn first_wrong(float: Float, bytes: &[u8]) -> Option<usize> {
    match float {
        Float::F32 => bytes.as_chunks().0.iter().position(|value| !f32::from_le_bytes(*value).is_finite()),
        Float::F16 => bytes.as_chunks().0.iter().position(|value| !f16::from_le_bytes(*value).is_finite()),
        Float::Bf16 => bytes.as_chunks().0.iter().position(|value| !bf16::from_le_bytes(*value).is_finite()),
    }
}

struct Finish<'a> {
    values: &'a mut [f32],
    delta: &'a [f32],
    float: Float,
    out: &'a mut [u8],
}

impl pulp::NullaryFnOnce for Finish<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        self.values.iter_mut().zip(self.delta).for_each(|(value, delta)| *value += delta);
        // Adding plus zero turns minus zero into it and changes no other value. A small negative value may round to
        // minus zero, so that narrow types need it after the rounding.
        match self.float {
            Float::F32 => store(self.values, self.out, |value| (value + 0.0).to_bits().to_le_bytes(), f32_finite),
            Float::F16 => store(self.values, self.out, |value| plus(f16::from_f32(value).to_bits()), f16_finite),
            Float::Bf16 => store(self.values, self.out, |value| plus(bf16::from_f32(value).to_bits()), bf16_finite),
        }
    }
}

/// The bits of a narrow float, minus zero as zero.
#[inline(always)]
fn plus(bits: u16) -> [u8; 2] {
    if bits == 0x8000 { [0; 2] } else { bits.to_le_bytes() }
}

#[inline(always)]
fn f32_finite(bytes: [u8; 4]) -> bool {
    f32::from_le_bytes(bytes).is_finite()
}

#[inline(always)]
fn f16_finite(bytes: [u8; 2]) -> bool {
    f16::from_le_bytes(bytes).is_finite()
}

#[inline(always)]
fn bf16_finite(bytes: [u8; 2]) -> bool {
    bf16::from_le_bytes(bytes).is_finite()
}

#[inline(always)]
fn store<const N: usize>(
    values: &[f32],
    out: &mut [u8],
    turn: impl Fn(f32) -> [u8; N],
    finite: impl Fn([u8; N]) -> bool,
) -> bool {
    let mut all = true;
    for (out, &value) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
        *out = turn(value);
        all &= finite(*out);
    }
    all
}
