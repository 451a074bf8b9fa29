//! Rule `fold-f32/1`: weighted adapters into the base they belong to, to the same bytes on any machine.
//!
//! For each tensor of the architecture, in the order of names, and each of its elements:
//! 1. `g` = the parent's value as f32 (`base::dequantise`; exact for floats);
//! 2. for the adapters in the order of their manifest ids, for `k` from 0 to the rank: `c = f32(weight * scale *
//!    B[row][k])`, where weight is `i32 / 65536`, scale is `lora_alpha / r`, and both products are taken in f64 from
//!    left to right; `d = d + c * A[k][column]` in f32, from `d = 0`: multiply, round, add, round, no fused multiply-add;
//! 3. `w = g + d` in f32, rounded to the recipe's type, ties to even; minus zero becomes plus zero. A value that is not
//!    finite is an error.
//!
//! The sum `d` is taken apart from `g`, so that a small update is not lost against a large weight term by term.
//! Threads split rows only, and SIMD runs across columns: neither changes the order of any sum.
//!
//! The digest is BLAKE3 in key-derivation mode, context `potluck 2026 fold/1`, over every tensor: the name's length
//! (u32), the name, the type (u32: 0 F32, 1 F16, 2 BF16), the number of dimensions (u32), each dimension (u64), the
//! bytes row-major; all little-endian.

use std::io;

use half::{bf16, f16};
use potluck_protocol::base::Architecture;
use potluck_protocol::id::{Digest, FoldDigest, ManifestId};
use potluck_protocol::recipe::Weight;
use potluck_protocol::tensor::DType;
use rayon::prelude::*;

use super::scale;
use super::sum::fits;
use crate::base::dequantise;
use crate::base::safetensors::Entry;
use crate::base::sink::{TensorSink, entries};
use crate::lora::adapter::{Adapter, Factor};
use crate::model::weights::{SourceError, Weights};
use crate::tensor::HostTensor;

/// Elements of one piece: what is held beside the base and the adapters.
const PIECE: usize = 1 << 20;

/// One adapter of a recipe.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub id: ManifestId,
    pub weight: Weight,
    pub adapter: &'a Adapter,
}

/// Why a recipe has no result.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    #[error("the result's type is {0:?}: F32, F16 and BF16 are possible")]
    Type(DType),
    #[error("the adapter {0} is there twice: add the weights first")]
    Twice(ManifestId),
    #[error("the adapter {id}: `{module}` does not fit the base, or lacks a factor")]
    Module { id: ManifestId, module: String },
    #[error("`{tensor}` of the parent cannot be read: {error}")]
    Parent { tensor: String, error: SourceError },
    #[error("`{tensor}` has a value that is not finite in the result")]
    NotFinite { tensor: String },
    #[error("the result cannot be written: {0}")]
    Sink(#[from] io::Error),
}

/// Folds `inputs`, in any order, into `parent`, and hands the result to `sink` piece by piece.
pub fn fold(
    parent: &dyn Weights,
    inputs: &[Input],
    dtype: DType,
    sink: &mut dyn TensorSink,
) -> Result<FoldDigest, FoldError> {
    let code: u32 = match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::BF16 => 2,
        other => return Err(FoldError::Type(other)),
    };
    // The order of the sum follows from the ids alone. // I10
    let inputs = sorted(inputs, parent.architecture())?;
    let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 fold/1");
    for entry in entries(parent.architecture(), dtype) {
        frame(&mut hasher, &entry, code);
        sink.begin(&entry)?;
        fold_tensor(parent, &inputs, &entry, &mut |bytes| {
            hasher.update(bytes);
            sink.rows(bytes)
        })?;
    }
    Ok(FoldDigest(Digest(*hasher.finalize().as_bytes())))
}

/// By id, each once, each fitting the base.
fn sorted<'a>(inputs: &[Input<'a>], architecture: &Architecture) -> Result<Vec<Input<'a>>, FoldError> {
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(|input| input.id);
    if let Some(pair) = inputs.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(FoldError::Twice(pair[0].id));
    }
    for input in &inputs {
        for name in input.adapter.tensors.keys() {
            let module = Factor::parse(name).map_or(name.as_str(), |(module, _)| module);
            if !fits(input.adapter, module, architecture) {
                return Err(FoldError::Module { id: input.id, module: module.to_owned() });
            }
        }
    }
    Ok(inputs)
}

fn frame(hasher: &mut blake3::Hasher, entry: &Entry, code: u32) {
    hasher.update(&(entry.name.len() as u32).to_le_bytes());
    hasher.update(entry.name.as_bytes());
    hasher.update(&code.to_le_bytes());
    hasher.update(&(entry.shape.len() as u32).to_le_bytes());
    for &dimension in &entry.shape {
        hasher.update(&(dimension as u64).to_le_bytes());
    }
}

/// One adapter's part in one tensor.
struct Term<'a> {
    factor: f64,
    rank: usize,
    a: &'a [f32],
    b: &'a [f32],
}

fn terms<'a>(inputs: &[Input<'a>], tensor: &str) -> Vec<Term<'a>> {
    let Some(module) = tensor.strip_suffix(".weight") else { return Vec::new() };
    let term = |input: &Input<'a>| {
        let adapter = input.adapter;
        let (a, b) = (adapter.factor(module, Factor::A)?, adapter.factor(module, Factor::B)?);
        Some(Term { factor: input.weight.get() * scale(adapter), rank: a.shape[0], a: &a.values, b: &b.values })
    };
    inputs.iter().filter_map(term).collect()
}

fn fold_tensor(
    parent: &dyn Weights,
    inputs: &[Input],
    entry: &Entry,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), FoldError> {
    let unreadable = |error| FoldError::Parent { tensor: entry.name.clone(), error };
    let genesis = parent.tensor(&entry.name).map_err(unreadable)?;
    if genesis.shape != entry.shape {
        return Err(unreadable("its shape is not the architecture's".into()));
    }
    let columns = entry.shape.last().copied().unwrap_or(1).max(1);
    let rows = entry.shape.iter().product::<usize>() / columns;
    let terms = terms(inputs, &entry.name);
    let step = (PIECE / columns).max(1);
    let mut bytes = Vec::new();
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        fold_rows(&genesis, &terms, first..first + count, columns, entry.dtype, &mut bytes)
            .then_some(())
            .ok_or_else(|| FoldError::NotFinite { tensor: entry.name.clone() })?;
        out(&bytes)?;
    }
    Ok(())
}

/// The result's bytes of some rows. `false` if a value is not finite.
fn fold_rows(
    genesis: &HostTensor,
    terms: &[Term],
    rows: std::ops::Range<usize>,
    columns: usize,
    dtype: DType,
    out: &mut Vec<u8>,
) -> bool {
    let (elements, size) = genesis.dtype.block();
    let source_row = columns / elements * size;
    let row_len = columns * dtype.block().1;
    out.resize(rows.len() * row_len, 0);
    let source = &genesis.bytes()[rows.start * source_row..rows.end * source_row];
    let work = out.par_chunks_exact_mut(row_len).zip(source.par_chunks_exact(source_row)).zip(rows);
    work.map_init(
        || (vec![0.0f32; columns], vec![0.0f32; columns]),
        |(weights, delta), ((out, source), row)| {
            dequantise::sequential(genesis.dtype, source, weights);
            if !terms.is_empty() {
                accumulate(terms, row, delta);
                weights.iter_mut().zip(delta.iter()).for_each(|(weight, delta)| *weight += delta);
            }
            round(weights, dtype, out)
        },
    )
    .all(|finite| finite)
}

/// `delta = sum of c * A[k]`, in the order of the rule.
fn accumulate(terms: &[Term], row: usize, delta: &mut [f32]) {
    delta.fill(0.0);
    for term in terms {
        let b = &term.b[row * term.rank..(row + 1) * term.rank];
        for (&b, a) in b.iter().zip(term.a.chunks_exact(delta.len())) {
            let c = (term.factor * f64::from(b)) as f32;
            delta.iter_mut().zip(a).for_each(|(delta, &a)| *delta += c * a);
        }
    }
}

/// Rounds to the result's type. `false` if a value is not finite in it.
fn round(values: &[f32], dtype: DType, out: &mut [u8]) -> bool {
    // Adding plus zero turns minus zero into it and changes no other value.
    match dtype {
        DType::F16 => store(values, out, |value| f16::from_f32(value + 0.0).to_le_bytes(), f16_finite),
        DType::BF16 => store(values, out, |value| bf16::from_f32(value + 0.0).to_le_bytes(), bf16_finite),
        _ => store(values, out, |value| (value + 0.0).to_le_bytes(), |bytes| f32::from_le_bytes(bytes).is_finite()),
    }
}

fn f16_finite(bytes: [u8; 2]) -> bool {
    f16::from_le_bytes(bytes).is_finite()
}

fn bf16_finite(bytes: [u8; 2]) -> bool {
    bf16::from_le_bytes(bytes).is_finite()
}

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

#[cfg(test)]
mod tests;
