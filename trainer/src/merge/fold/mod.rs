//! Rule `fold-f32/1`: weighted adapters into the base they belong to, to the same bytes on any machine.
//!
//! For each tensor of the architecture, in the order of names, and each of its elements:
//! 1. `g` = the parent's value as f32 (`tensor::dequantise`; exact for floats);
//! 2. for the adapters in the order of their manifest ids, for `k` from 0 to the rank: `c = f32(weight * scale *
//!    B[row][k])`, where weight is `i32 / 65536`, scale is `lora_alpha / r`, and both products are taken in f64 from
//!    left to right; `d = d + c * A[k][column]` in f32, from `d = 0`: multiply, round, add, round, no fused multiply-add;
//! 3. `w = g + d` in f32, rounded to the recipe's type, ties to even; minus zero becomes plus zero, also where the
//!    rounding made it. A value that is not finite is an error.
//!
//! The sum `d` is taken apart from `g`, so that a small update is not lost against a large weight term by term.
//! Threads split rows only, and SIMD runs across columns: neither changes the order of any sum.
//!
//! The digest is BLAKE3 in key-derivation mode, context `potluck 2026 fold/1`, over every tensor: the name's length
//! (u32), the name, the type (u32: 0 F32, 1 F16, 2 BF16), the number of dimensions (u32), each dimension (u64), the
//! bytes row-major; all little-endian.
//!
//! Everything streams: a piece of a tensor and the factors of one module are held (`limits`), read from where they lie
//! and handed to the sink, whatever the size of the base.

mod error;
mod folded;
mod limits;
mod round;
mod sum;
mod terms;

use std::ops::Range;

pub use error::FoldError;
pub use folded::Folded;
use folded::{Float, Naming};
use limits::{Bounds, runs};
use potluck_protocol::base::Architecture;
use potluck_protocol::id::ManifestId;
use potluck_protocol::recipe::Weight;
use potluck_protocol::tensor::DType;
use terms::Terms;

use crate::backend::cpu::instructions::Instructions;
use crate::base::Base;
use crate::base::safetensors::Entry;
use crate::base::sink::{TensorSink, entries};
use crate::base::stored::Stored;
use crate::lora::factors::Factors;

/// One adapter of a recipe.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Decides the place in the sum.
    pub id: ManifestId,
    /// In 1/65536.
    pub weight: Weight,
    /// Its factors, module by module.
    pub adapter: &'a dyn Factors,
}

/// Folds `inputs`, in any order, into `parent`, and hands the result to `sink` piece by piece.
pub fn fold(parent: &Base, inputs: &[Input], dtype: DType, sink: &mut dyn TensorSink) -> Result<Folded, FoldError> {
    fold_on(Instructions::best(), parent, inputs, dtype, sink)
}

/// The same on instructions of the caller's choice (as far as the machine has them), which change no bit.
pub fn fold_on(
    instructions: Instructions,
    parent: &Base,
    inputs: &[Input],
    dtype: DType,
    sink: &mut dyn TensorSink,
) -> Result<Folded, FoldError> {
    fold_within(Bounds::default(), instructions, parent, inputs, dtype, sink)
}

fn fold_within(
    bounds: Bounds,
    instructions: Instructions,
    parent: &Base,
    inputs: &[Input],
    dtype: DType,
    sink: &mut dyn TensorSink,
) -> Result<Folded, FoldError> {
    let float = Float::new(dtype)?;
    // The order of the sum follows from the ids alone. // I10
    let inputs = sorted(inputs, parent.architecture())?;
    let mut folding = Folding { bounds, instructions, float, inputs: &inputs, scratch: Scratch::default() };
    let mut naming = Naming::new(float);
    for entry in entries(parent.architecture(), dtype) {
        naming.begin(&entry);
        sink.begin(&entry)?;
        folding.tensor(parent, &entry, &mut |bytes| {
            naming.rows(bytes);
            Ok(sink.rows(bytes)?)
        })?;
    }
    Ok(naming.finish(parent)?)
}

/// By id, each once, each fitting the base. // I6
fn sorted<'a>(inputs: &[Input<'a>], architecture: &Architecture) -> Result<Vec<Input<'a>>, FoldError> {
    let mut inputs = inputs.to_vec();
    inputs.sort_by_key(|input| input.id);
    if let Some(pair) = inputs.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(FoldError::Twice(pair[0].id));
    }
    for input in &inputs {
        if let Some(module) = input.adapter.misfit(architecture) {
            return Err(FoldError::Module { id: input.id, module: module.to_owned() });
        }
    }
    Ok(inputs)
}

/// A fold under way.
struct Folding<'a, 'i> {
    bounds: Bounds,
    instructions: Instructions,
    float: Float,
    inputs: &'i [Input<'a>],
    scratch: Scratch,
}

/// Buffers that all tensors share.
#[derive(Default)]
struct Scratch {
    delta: Vec<f32>,
    source: Vec<u8>,
    out: Vec<u8>,
}

type Emit<'e> = &'e mut dyn FnMut(&[u8]) -> Result<(), FoldError>;

impl Folding<'_, '_> {
    fn tensor(&mut self, parent: &Base, entry: &Entry, emit: Emit) -> Result<(), FoldError> {
        let stored = parent
            .stored(&entry.name)
            .map_err(|error| FoldError::Parent { tensor: entry.name.clone(), error: error.into() })?;
        let columns = entry.shape.last().copied().unwrap_or(1).max(1);
        let rows = entry.shape.iter().product::<usize>() / columns;
        let module = entry.name.strip_suffix(".weight").unwrap_or(&entry.name);
        let mut terms = Terms::new(self.inputs, module, self.bounds.factors);
        // Sums are kept over a long way only where the factors cannot be.
        let strip = if terms.batches() > 1 { self.bounds.strip } else { self.bounds.piece };
        for strip in runs(0..rows, columns, strip) {
            self.sum(&mut terms, strip.clone(), columns)?;
            for piece in runs(strip.clone(), columns, self.bounds.piece) {
                self.piece(stored, entry, columns, strip.start, piece, emit)?;
            }
        }
        Ok(())
    }

    /// The sums `d` of some rows; none if no adapter has the module.
    fn sum(&mut self, terms: &mut Terms, rows: Range<usize>, columns: usize) -> Result<(), FoldError> {
        let delta = &mut self.scratch.delta;
        delta.clear();
        if terms.batches() > 0 {
            delta.resize(rows.len() * columns, 0.0);
        }
        for batch in 0..terms.batches() {
            sum::accumulate(self.instructions, terms.batch(batch)?, rows.start, columns, delta);
        }
        Ok(())
    }

    /// Some rows of the result. `first` is the row that the sums begin with.
    fn piece(
        &mut self,
        stored: &Stored,
        entry: &Entry,
        columns: usize,
        first: usize,
        rows: Range<usize>,
        emit: Emit,
    ) -> Result<(), FoldError> {
        let Scratch { delta, source, out } = &mut self.scratch;
        stored
            .read_rows(rows.clone(), source)
            .map_err(|error| FoldError::Parent { tensor: entry.name.clone(), error: error.into() })?;
        let own = (rows.start - first) * columns..(rows.end - first) * columns;
        let delta = if delta.is_empty() { &[] } else { &delta[own] };
        let work = round::Rows { dtype: stored.dtype(), columns, source, delta };
        if work.finish(self.instructions, self.float, out) {
            return emit(out);
        }
        let place = |element: usize| (rows.start + element / columns, element % columns);
        let tensor = entry.name.clone();
        Err(match work.first_wrong().map(place) {
            Some((row, column)) => FoldError::ParentNotFinite { tensor, row, column },
            None => {
                let (row, column) = place(round::first_wrong(self.float, out).unwrap_or(0));
                FoldError::NotFinite { tensor, row, column, dtype: entry.dtype }
            }
        })
    }
}

#[cfg(test)]
mod tests;
