//! One module's factors, as the sum wants them: in panels, so many adapters at a time as fit.

use std::borrow::Cow;
use std::ops::Range;

use super::{FoldError, Input};
use crate::lora::factors::Pair;

/// Columns of a panel: what the innermost loop keeps in registers.
pub const TILE: usize = 32;

/// One adapter's part in one tensor.
pub struct Term<'a> {
    /// `weight * scale`, in full precision.
    factor: f64,
    pub rank: usize,
    /// `[out, rank]`.
    b: Cow<'a, [f32]>,
    /// A, [`TILE`] columns after [`TILE`] columns, of each the rows one below the other. The last is filled up with
    /// zeros.
    panels: Vec<f32>,
}

impl<'a> Term<'a> {
    fn new(input: &Input<'a>, module: &str, pair: Pair<'a>) -> Result<Self, FoldError> {
        let (rank, inner) = (pair.shape.rank, pair.shape.inner);
        let factor = input.weight.get() * pair.shape.scale;
        let term = Self { factor, rank, panels: panels(&pair.a, rank, inner), b: pair.b };
        let largest = term.b.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        if term.scaled(largest).is_finite() {
            return Ok(term);
        }
        Err(FoldError::Overflow { id: input.id, weight: input.weight, module: module.to_owned() })
    }

    /// `c` of the rule. // I10
    #[inline(always)]
    pub fn c(&self, row: usize, k: usize) -> f32 {
        self.scaled(self.b[row * self.rank + k])
    }

    #[inline(always)]
    fn scaled(&self, b: f32) -> f32 {
        (self.factor * f64::from(b)) as f32
    }

    /// The rows of A within a panel.
    #[inline(always)]
    pub fn panel(&self, index: usize) -> &[[f32; TILE]] {
        &self.panels.as_chunks().0[index * self.rank..(index + 1) * self.rank]
    }
}

fn panels(a: &[f32], rank: usize, inner: usize) -> Vec<f32> {
    let mut panels = vec![0.0; inner.next_multiple_of(TILE) * rank];
    for (index, panel) in panels.chunks_exact_mut(TILE * rank).enumerate() {
        let (first, end) = (index * TILE, inner.min((index + 1) * TILE));
        for (out, a) in panel.chunks_exact_mut(TILE).zip(a.chunks_exact(inner)) {
            out[..end - first].copy_from_slice(&a[first..end]);
        }
    }
    panels
}

/// The adapters that have a module, in the order of the sum, in batches of which one is held at a time.
pub struct Terms<'a, 'i> {
    module: &'i str,
    inputs: Vec<&'i Input<'a>>,
    batches: Vec<Range<usize>>,
    /// Which batch is held.
    held: Option<usize>,
    terms: Vec<Term<'a>>,
}

impl<'a, 'i> Terms<'a, 'i> {
    /// Nothing is read yet. A batch has at most so many values, or one adapter.
    pub fn new(inputs: &'i [Input<'a>], module: &'i str, values: usize) -> Self {
        let (mut having, mut batches, mut room) = (Vec::new(), Vec::<Range<usize>>::new(), 0);
        for input in inputs {
            let Some(shape) = input.adapter.shape(module) else { continue };
            let size = shape.rank * (shape.out + shape.inner);
            match batches.last_mut().filter(|_| size <= room) {
                Some(batch) => {
                    batch.end += 1;
                    room -= size;
                }
                None => {
                    batches.push(having.len()..having.len() + 1);
                    room = values.saturating_sub(size);
                }
            }
            having.push(input);
        }
        Self { module, inputs: having, batches, held: None, terms: Vec::new() }
    }

    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// The terms of a batch; they are read unless they are those held.
    pub fn batch(&mut self, index: usize) -> Result<&[Term<'a>], FoldError> {
        if self.held != Some(index) {
            self.held = None;
            self.terms.clear();
            for input in &self.inputs[self.batches[index].clone()] {
                let unreadable = |error| FoldError::Factors { id: input.id, error };
                let pair = input.adapter.pair(self.module).map_err(unreadable)?;
                // It had the module a moment ago.
                let missing = || FoldError::Module { id: input.id, module: self.module.to_owned() };
                self.terms.push(Term::new(input, self.module, pair.ok_or_else(missing)?)?);
            }
            self.held = Some(index);
        }
        Ok(&self.terms)
    }
}
