//! The output projection: cross-entropy of labelled rows, a chunk of rows at a time, and the most likely token.
//!
//! The logits of a chunk are made in `f32`; the gradient in them is written where they were, narrowed to the kernels'
//! own type, and goes straight into the gradient of the hidden states: two products a chunk, nothing is made twice.

use super::CpuBackend;
use super::element::{LANES, convert};
use super::factor::Orientation;
use super::kernel::product::{Out, Product, Rows, Term, Values};
use super::matrix::{Matrix, Storage};
use super::rows::{RowLoop, each_pair, fold, sum};
use super::weight::Weight;
use crate::backend::real::Real;
use crate::backend::{HeadLoss, Result, Target};

/// Bytes of logits that exist at once, and the fewest and most rows that they may be.
const LOGIT_BYTES: usize = 50 << 20;
const ROWS: (usize, usize) = (48, 4096);

impl CpuBackend {
    pub(super) fn loss(
        &self,
        hidden: &Matrix,
        w: &Weight,
        targets: &[Target],
        scale: Option<f64>,
    ) -> Result<HeadLoss<Matrix>> {
        let chunk = chunk_rows(w.out).min(targets.len().max(1));
        let mut losses = vec![0.0; targets.len()];
        let mut d_hidden = match scale {
            Some(_) => Some(self.zeroed(hidden.rows(), hidden.cols(), self.activations())?),
            None => None,
        };
        let mut logits = Matrix::new(&self.pool, chunk, w.out, Storage::F32)?;
        let mut d_rows = Matrix::new(&self.pool, chunk, hidden.cols(), self.activations())?;
        for (targets, losses) in targets.chunks(chunk).zip(losses.chunks_mut(chunk)) {
            let rows = self.gathered(hidden, &targets.iter().map(|target| target.row).collect::<Vec<_>>())?;
            if self.pool.is_dry() {
                continue;
            }
            let values = &mut logits.f32_mut("logits")?[..targets.len() * w.out];
            self.logits(&rows, w, values);
            self.softmax(values, targets, losses, scale);
            let (Some(_), Some(d_hidden)) = (scale, d_hidden.as_mut()) else { continue };
            self.hidden_grad(values, targets.len(), w, &mut d_rows)?;
            for (index, target) in targets.iter().enumerate() {
                let row = d_rows.values().part(index * hidden.cols(), hidden.cols());
                d_hidden.write(target.row * hidden.cols(), row)?;
            }
        }
        Ok(HeadLoss { losses, d_hidden })
    }

    /// The index of the greatest logit of each row, the lowest among equals.
    pub(super) fn argmax(&self, hidden: &Matrix, w: &Weight) -> Result<Vec<u32>> {
        let chunk = chunk_rows(w.out).min(hidden.rows().max(1));
        let mut logits = Matrix::new(&self.pool, chunk, w.out, Storage::F32)?;
        let mut found = Vec::with_capacity(hidden.rows());
        for first in (0..hidden.rows()).step_by(chunk) {
            let rows: Vec<usize> = (first..(first + chunk).min(hidden.rows())).collect();
            let gathered = self.gathered(hidden, &rows)?;
            if self.pool.is_dry() {
                found.resize(found.len() + rows.len(), 0);
                continue;
            }
            let values = &mut logits.f32_mut("logits")?[..rows.len() * w.out];
            self.logits(&gathered, w, values);
            found.extend(values.chunks_exact(w.out).map(greatest));
        }
        Ok(found)
    }

    fn logits(&self, rows: &Matrix, w: &Weight, out: &mut [f32]) {
        let term = Term { x: rows.columns(0), factor: w.factor(Orientation::RowsAreColumns) };
        let out = Out::F32 { values: out, stride: w.out };
        self.run(rows.rows(), &mut [Product { terms: vec![term], cols: w.out, scale: 1.0, onto: None, out }]);
    }

    /// Losses of a chunk; with `scale`, logits become the gradient in them, narrowed in place.
    fn softmax(&self, logits: &mut [f32], targets: &[Target], losses: &mut [f64], scale: Option<f64>) {
        let cols = logits.len() / targets.len().max(1);
        let work = Softmax { targets, scale: scale.map(|scale| scale as f32), narrow: self.activations() };
        each_pair(self.instructions, (logits, cols), (losses, 1), &work);
    }

    /// The gradient in the hidden states of a chunk's rows, from the gradient in its logits.
    fn hidden_grad(&self, d_logits: &[f32], rows: usize, w: &Weight, out: &mut Matrix) -> Result<()> {
        let x = match self.activations() {
            Storage::F32 => Rows { values: Values::F32(d_logits), stride: w.out },
            Storage::Bf16 => Rows { values: Values::Bf16(bytemuck::cast_slice(d_logits)), stride: 2 * w.out },
        };
        let term = Term { x, factor: w.factor(Orientation::RowsAreSteps) };
        let out = out.out()?;
        self.run(rows, &mut [Product { terms: vec![term], cols: w.inner, scale: 1.0, onto: None, out }]);
        Ok(())
    }
}

fn chunk_rows(vocabulary: usize) -> usize {
    (LOGIT_BYTES / 4 / vocabulary.max(1)).clamp(ROWS.0, ROWS.1)
}

struct Softmax<'a> {
    targets: &'a [Target],
    scale: Option<f32>,
    narrow: Storage,
}

impl RowLoop<(&mut [f32], &mut [f64])> for Softmax<'_> {
    #[inline(always)]
    fn row(&self, index: usize, (logits, loss): (&mut [f32], &mut [f64])) {
        let target = self.targets[index].id as usize;
        let largest = largest(logits);
        let own = logits[target];
        let total = match self.scale {
            Some(_) => exponentials(logits, largest),
            None => sum(logits, logits, |x, _| (x - largest).exponential()),
        };
        loss[0] = f64::from(total).ln() + f64::from(largest) - f64::from(own);
        let Some(scale) = self.scale else { return };
        let each = scale / total;
        // What the target's own element has to become, as the others' formula alone would leave out the label.
        let d_target = (own - largest).exponential() * each - scale;
        match self.narrow {
            Storage::F32 => {
                logits.iter_mut().for_each(|x| *x *= each);
                logits[target] = d_target;
            }
            Storage::Bf16 => narrow_in_place(logits, each, (target, d_target)),
        }
    }
}

/// The largest value; NaN counts as nothing here and shows itself in the sum.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 32];
    let (chunks, rest) = values.as_chunks::<32>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// Turns a row into `e^(x - largest)` and gives their sum.
#[inline(always)]
fn exponentials(row: &mut [f32], largest: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = (*value - largest).exponential();
            *lane += *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *value = (*value - largest).exponential();
        *lane += *value;
    }
    fold(lanes)
}

/// Writes the row times `each` as bf16 over the front half of the row, reading ahead of where it writes.
#[inline(always)]
fn narrow_in_place(row: &mut [f32], each: f32, (target, d_target): (usize, f32)) {
    const STRETCH: usize = 64;
    let len = row.len();
    for start in (0..len).step_by(STRETCH) {
        let count = STRETCH.min(len - start);
        let mut wide = [0.0f32; STRETCH];
        wide[..count].copy_from_slice(&row[start..start + count]);
        for value in &mut wide {
            *value *= each;
        }
        if (start..start + count).contains(&target) {
            wide[target - start] = d_target;
        }
        let narrow: &mut [half::bf16] = bytemuck::cast_slice_mut(row);
        convert(&wide[..count], &mut narrow[start..start + count]);
    }
}

fn greatest(row: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &value) in row.iter().enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0 as u32
}
