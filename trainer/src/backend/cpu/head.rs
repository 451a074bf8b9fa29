//! The output projection: cross-entropy of labelled rows, a chunk of rows at a time, and the most likely token.
//!
//! A chunk is two products. The first leaves `e^(logit - shift)` in the kernels' own type (see `kernel::exponentials`),
//! the second takes them as they lie to the gradient in the hidden states, and each of its rows is divided by the row's
//! total at the end. Logits themselves exist nowhere but in the tiles.

use super::CpuBackend;
use super::element::{Element, convert};
use super::kernel::exponentials::Exponentials;
use super::kernel::factor::{Factor, Orientation};
use super::kernel::output::Out;
use super::kernel::product::{Product, Rows, Term, Values, ValuesMut};
use super::matrix::Matrix;
use super::precision::Precision;
use super::rows::{RowLoop, each, sum};
use super::weight::Weight;
use crate::backend::real::Real;
use crate::backend::{HeadLoss, Result, Target};

/// Bytes of a chunk's exponentials or logits, and the fewest and most rows that they may be.
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
        let chunk = even(targets.len(), chunk_rows(w.out, self.activations()));
        let mut d_hidden = match scale {
            Some(_) => Some(self.new_zeroed(hidden.rows(), hidden.cols(), self.activations())?),
            None => None,
        };
        let mut softmax = Softmax::new(self, chunk, w, scale.is_some())?;
        let mut sums = Matrix::new(&self.pool, chunk, hidden.cols(), Precision::F32)?;
        let mut d_rows = Matrix::new(&self.pool, chunk, hidden.cols(), self.activations())?;
        let mut losses = Vec::with_capacity(targets.len());
        for targets in targets.chunks(chunk) {
            let rows = self.gather_rows(hidden, &targets.iter().map(|target| target.row).collect::<Vec<_>>())?;
            if self.pool.is_dry() {
                losses.resize(losses.len() + targets.len(), 0.0);
                continue;
            }
            self.exponentials(&rows, w, targets, &mut softmax)?;
            losses.extend((0..targets.len()).map(|row| softmax.loss(row)));
            let (Some(scale), Some(d_hidden)) = (scale, d_hidden.as_mut()) else { continue };
            self.hidden_grad((&softmax, targets), w, scale as f32, (&mut sums, &mut d_rows))?;
            for (index, target) in targets.iter().enumerate() {
                let row = d_rows.values().part(index * hidden.cols(), hidden.cols());
                d_hidden.write(target.row * hidden.cols(), row)?;
            }
        }
        Ok(HeadLoss { losses, d_hidden })
    }

    /// The exponentials of a chunk's logits and all that belongs to them.
    fn exponentials(&self, rows: &Matrix, w: &Weight, targets: &[Target], softmax: &mut Softmax) -> Result<()> {
        softmax.targets.clear();
        softmax.targets.extend(targets.iter().map(|target| target.id));
        self.target_logits(rows, w, softmax);
        self.run_exponentials(rows, w, softmax)?;
        let too_large: Vec<usize> = (0..targets.len()).filter(|&row| softmax.totals[row] >= TOO_LARGE).collect();
        if too_large.is_empty() {
            return Ok(());
        }
        let mut logits = Matrix::new(&self.pool, 1, w.out, Precision::F32)?;
        for row in too_large {
            let one = rows.part(row * rows.cols(), 1, rows.cols())?;
            let values = logits.f32_mut("logits")?;
            self.logits(&one, w, values);
            softmax.shifts[row] = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        }
        self.run_exponentials(rows, w, softmax)
    }

    fn run_exponentials(&self, rows: &Matrix, w: &Weight, softmax: &mut Softmax) -> Result<()> {
        let (count, panels) = (softmax.targets.len(), softmax.panels);
        let out = Exponentials {
            shifts: &softmax.shifts[..count],
            targets: &softmax.targets,
            values: softmax.values.as_mut().map(Matrix::values_mut).transpose()?,
            stride: pad(w.out),
            totals: &mut softmax.parts[..count * panels],
            own: &mut softmax.own[..count],
        };
        let term = Term { x: rows.columns(0), factor: w.factor(Orientation::RowsAreColumns) };
        let out = Out::Exponentials(out);
        self.run(count, &mut [Product { terms: vec![term], cols: w.out, scale: 1.0, onto: None, out }]);
        each(self.instructions, &mut softmax.totals[..count], 1, &Totals { parts: &softmax.parts, panels });
        Ok(())
    }

    /// Each row's shift: its target's logit, but for the order of additions. No total can vanish then, and one grows too
    /// large only where the loss is nearly a hundred; such rows get their greatest logit instead.
    fn target_logits(&self, rows: &Matrix, w: &Weight, softmax: &mut Softmax) {
        let factor = w.factor(Orientation::RowsAreColumns);
        let work = TargetLogits { x: rows.values(), factor, targets: &softmax.targets };
        each(self.instructions, &mut softmax.shifts[..softmax.targets.len()], 1, &work);
    }

    /// The gradient in the hidden states of a chunk's rows: of all columns but the target's by a product, of that one
    /// in `f32`, as what it adds is nearly the negative of the rest.
    fn hidden_grad(
        &self,
        (softmax, targets): (&Softmax, &[Target]),
        w: &Weight,
        scale: f32,
        (sums, out): (&mut Matrix, &mut Matrix),
    ) -> Result<()> {
        let Some(values) = &softmax.values else { return Ok(()) };
        let x = Rows { values: values.values(), stride: pad(w.out) };
        let term = Term { x, factor: w.factor(Orientation::RowsAreSteps) };
        let product = Product { terms: vec![term], cols: w.inner, scale: 1.0, onto: None, out: sums.out()? };
        self.run(targets.len(), &mut [product]);
        let sums = &sums.f32("gradients of a chunk")?[..targets.len() * w.inner];
        let work = Divide { softmax, scale, sums, factor: w.factor(Orientation::RowsAreColumns) };
        match out.values_mut()? {
            ValuesMut::F32(out) => each(self.instructions, &mut out[..sums.len()], w.inner, &work),
            ValuesMut::Bf16(out) => each(self.instructions, &mut out[..sums.len()], w.inner, &work),
        }
        Ok(())
    }

    /// The index of the greatest logit of each row, the lowest among equals.
    pub(super) fn argmax(&self, hidden: &Matrix, w: &Weight) -> Result<Vec<u32>> {
        let chunk = even(hidden.rows(), chunk_rows(w.out, Precision::F32));
        let mut logits = Matrix::new(&self.pool, chunk, w.out, Precision::F32)?;
        let mut found = Vec::with_capacity(hidden.rows());
        for first in (0..hidden.rows()).step_by(chunk) {
            let rows: Vec<usize> = (first..(first + chunk).min(hidden.rows())).collect();
            let gathered = self.gather_rows(hidden, &rows)?;
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
}

fn chunk_rows(vocabulary: usize, storage: Precision) -> usize {
    (LOGIT_BYTES / storage.size() / vocabulary.max(1)).clamp(ROWS.0, ROWS.1)
}

/// Rows of a chunk where all chunks have about the same.
fn even(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
}

/// Elements from one row of exponentials to the next. A vocabulary is often a multiple of what the caches are sorted by,
/// and then the rows of a tile would push each other out.
fn pad(vocabulary: usize) -> usize {
    const LINE: usize = 32;
    vocabulary.next_multiple_of(LINE) + LINE
}

/// A total that no logits near the shift can make: the exponential stops at `e^88`.
const TOO_LARGE: f32 = 1e37;

/// A chunk's logits as the output projection leaves them.
struct Softmax {
    panels: usize,
    /// `e^(logit - shift)`, zero for the target; none if no gradient is wanted.
    values: Option<Matrix>,
    targets: Vec<u32>,
    shifts: Vec<f32>,
    /// The sum of each row's exponentials, by panels and in all.
    parts: Vec<f32>,
    totals: Vec<f32>,
    own: Vec<f32>,
}

impl Softmax {
    fn new(backend: &CpuBackend, rows: usize, w: &Weight, wants_values: bool) -> Result<Self> {
        let panels = w.out.div_ceil(backend.panel_cols());
        let values = if wants_values {
            Some(Matrix::new(&backend.pool, rows, pad(w.out), backend.activations())?)
        } else {
            None
        };
        let zeros = |len| vec![0.0; len];
        let targets = Vec::with_capacity(rows);
        let (shifts, parts, totals) = (zeros(rows), zeros(rows * panels), zeros(rows));
        Ok(Self { panels, values, targets, shifts, parts, totals, own: zeros(rows) })
    }

    fn loss(&self, row: usize) -> f64 {
        f64::from(self.totals[row]).ln() + f64::from(self.shifts[row]) - f64::from(self.own[row])
    }
}

/// The sums of the panels' sums.
struct Totals<'a> {
    parts: &'a [f32],
    panels: usize,
}

impl RowLoop<&mut [f32]> for Totals<'_> {
    #[inline(always)]
    fn row(&self, index: usize, total: &mut [f32]) {
        let parts = &self.parts[index * self.panels..][..self.panels];
        total[0] = sum(parts, parts, |part, _| part);
    }
}

struct TargetLogits<'a> {
    x: Values<'a>,
    factor: Factor<'a>,
    targets: &'a [u32],
}

impl RowLoop<&mut [f32]> for TargetLogits<'_> {
    #[inline(always)]
    fn row(&self, index: usize, out: &mut [f32]) {
        let inner = self.factor.depth;
        let mut w = [0.0; STRETCH];
        let mut x = [0.0; STRETCH];
        out[0] = 0.0;
        for from in (0..inner).step_by(STRETCH) {
            let count = STRETCH.min(inner - from);
            self.factor.widen(self.targets[index] as usize, from, &mut w[..count]);
            match self.x.part(index * inner + from, count) {
                Values::F32(values) => x[..count].copy_from_slice(values),
                Values::Bf16(values) => convert(values, &mut x[..count]),
            }
            out[0] += sum(&w[..count], &x[..count], |w, x| w * x);
        }
    }
}

/// Elements of a row of weights that are widened at a time: whole blocks of any quantised type.
const STRETCH: usize = 256;

/// Divides the sums by the totals and adds the target's share.
struct Divide<'a> {
    softmax: &'a Softmax,
    scale: f32,
    sums: &'a [f32],
    factor: Factor<'a>,
}

impl<E: Element> RowLoop<&mut [E]> for Divide<'_> {
    #[inline(always)]
    fn row(&self, index: usize, out: &mut [E]) {
        let softmax = self.softmax;
        let total = softmax.totals[index];
        let each = self.scale / total;
        let own = (softmax.own[index] - softmax.shifts[index]).exponential() / total;
        let own = self.scale * (own - 1.0);
        let sums = &self.sums[index * out.len()..][..out.len()];
        let mut w = [0.0; STRETCH];
        for (part, (out, sums)) in out.chunks_mut(STRETCH).zip(sums.chunks(STRETCH)).enumerate() {
            let w = &mut w[..out.len()];
            self.factor.widen(softmax.targets[index] as usize, part * STRETCH, w);
            for ((out, sum), w) in out.iter_mut().zip(sums).zip(w) {
                *out = E::narrow(sum * each + *w * own);
            }
        }
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
