//! The backend for processors: fused, threaded, on the instructions that the machine has.
//!
//! Reading order: [`instructions`] (what the machine has), `kernel` (register tiles, packing, products),
//! `matrix` and `pool` (memory), `weight` (frozen matrices as their file has them), `linear` (layers with their LoRA
//! pairs), `attention`, `head`, and the row loops.
//!
//! In [`Precision::Bf16`] matrix products multiply bf16 and add in `f32`, and what the backward pass needs is kept in
//! bf16; the residual stream, its gradient, all sums and the trained factors stay `f32`. Every operation gives the same
//! bits on any number of threads. Row loops give the same bits on all instructions; products do not, since a fused
//! multiply-add rounds once.

mod attend;
mod attention;
mod element;
mod elementwise;
mod head;
pub mod instructions;
mod kernel;
mod linear;
mod matrix;
mod norm;
mod optimise;
mod pool;
mod precision;
mod rows;
mod weight;

use std::sync::Arc;

use half::bf16;
use instructions::Instructions;
use kernel::product::{Product, Values, ValuesMut};
use kernel::{F32Portable, product};
use matrix::Matrix;
use pool::Pool;
pub use precision::Precision;
pub use weight::Weight;

use super::{
    AdamWState, AdamWStep, AttentionSaved, AttentionShape, Backend, BackendError, HeadLoss, Linear, Projected,
    ProjectedGrad, Residency, Result, Target,
};
use crate::tensor::HostTensor;
use crate::tensor::dequantise;
use kernel::factor::{Factor, Orientation};
use rows::RowLoop;

/// The processor.
#[derive(Clone)]
pub struct CpuBackend {
    instructions: Instructions,
    precision: Precision,
    pool: Arc<Pool>,
}

fn same(what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(BackendError::Size { what, got, expected }) }
}

fn in_range(what: &'static str, index: usize, len: usize) -> Result<()> {
    if index < len { Ok(()) } else { Err(BackendError::Range { what, index, last: len.saturating_sub(1) }) }
}

/// Runs an expression with the kernel of a backend bound to a name.
macro_rules! with_tile {
    ($backend:expr, $tile:ident => $body:expr) => {{
        #[cfg(target_arch = "x86_64")]
        {
            use kernel::{Bf16Avx512, F32Avx2, F32Avx512};
            let (instructions, precision) = ($backend.instructions, $backend.precision);
            if precision == Precision::Bf16
                && instructions >= Instructions::Avx512Bf16
                && let Some($tile) = Bf16Avx512::new()
            {
                $body
            } else if instructions >= Instructions::Avx512
                && let Some($tile) = F32Avx512::new()
            {
                $body
            } else if instructions >= Instructions::Avx2
                && let Some($tile) = F32Avx2::new()
            {
                $body
            } else {
                let $tile = F32Portable;
                $body
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        if let Some($tile) = kernel::F32Neon::new().filter(|_| $backend.instructions >= Instructions::Neon) {
            $body
        } else {
            let $tile = F32Portable;
            $body
        }
    }};
}
pub(super) use with_tile;

impl CpuBackend {
    /// `None` if the machine lacks the instructions.
    pub fn new(instructions: Instructions, precision: Precision) -> Option<Self> {
        instructions.available().then(|| Self { instructions, precision, pool: Pool::new(false) })
    }

    /// The most that the machine has.
    pub fn best(precision: Precision) -> Self {
        Self { instructions: Instructions::best(), precision, pool: Pool::new(false) }
    }

    /// The same backend on paper: operations allocate and do nothing else, so that a dry run tells a run's need.
    pub fn dry(&self) -> Self {
        Self { pool: Pool::new(true), ..self.clone() }
    }

    /// Which kernels it runs.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// What its matrix products multiply.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The most bytes that buffers have held at once.
    pub fn peak_bytes(&self) -> usize {
        self.pool.peak()
    }

    /// Operations a second that the backend's kernel reaches on the current threads when nothing slows it: measured now.
    pub fn peak_flops(&self) -> f64 {
        with_tile!(self, tile => kernel::peak::peak(tile))
    }

    /// How activations are kept.
    fn activations(&self) -> Precision {
        self.precision
    }

    fn run(&self, rows: usize, products: &mut [Product<'_>]) {
        if !self.pool.is_dry() && rows > 0 {
            with_tile!(self, tile => product::run(tile, self.instructions, rows, products));
        }
    }

    /// Columns of the kernel's panels.
    fn panel_cols(&self) -> usize {
        fn cols<T: kernel::Tile>(_: T) -> usize {
            T::COLS
        }
        with_tile!(self, tile => cols(tile))
    }

    fn new_matrix(&self, rows: usize, cols: usize, storage: Precision) -> Result<Matrix> {
        Matrix::new(&self.pool, rows, cols, storage)
    }

    fn new_zeroed(&self, rows: usize, cols: usize, storage: Precision) -> Result<Matrix> {
        let mut matrix = self.new_matrix(rows, cols, storage)?;
        self.fill_zero(&mut matrix)?;
        Ok(matrix)
    }

    fn gather_rows(&self, x: &Matrix, rows: &[usize]) -> Result<Matrix> {
        let cols = x.cols();
        let mut out = self.new_matrix(rows.len(), cols, x.storage())?;
        for (to, &row) in rows.iter().enumerate() {
            in_range("row", row, x.rows())?;
            if !self.pool.is_dry() {
                out.write(to * cols, x.values().part(row * cols, cols))?;
            }
        }
        Ok(out)
    }
}

/// The rows of a matrix that ids name.
struct Embed<'a> {
    rows: &'a Factor<'a>,
    ids: &'a [u32],
}

impl RowLoop<&mut [f32]> for Embed<'_> {
    #[inline(always)]
    fn row(&self, index: usize, out: &mut [f32]) {
        self.rows.widen(self.ids[index] as usize, 0, out);
    }
}

impl Backend for CpuBackend {
    type Real = f32;
    type Buf = Matrix;
    type Weight = Weight;

    /// Weights stay as their file has them, whatever the residency: single tokens read them as they lie too.
    fn upload(&self, tensor: &HostTensor, _residency: Residency) -> Result<Weight> {
        Weight::load(tensor, self.activations(), self.pool.is_dry())
    }

    fn buffer(&self, values: Vec<f32>, rows: usize, cols: usize) -> Result<Matrix> {
        same("values of a matrix", values.len(), rows * cols)?;
        let mut matrix = self.new_matrix(rows, cols, Precision::F32)?;
        if !self.pool.is_dry() {
            matrix.write(0, Values::F32(&values))?;
        }
        Ok(matrix)
    }

    fn vector(&self, tensor: &HostTensor) -> Result<Matrix> {
        if !tensor.dtype.is_float() {
            return Err(BackendError::Quantised { what: "a vector", dtype: tensor.dtype });
        }
        let values = dequantise::tensor(tensor);
        let len = values.len();
        self.buffer(values, 1, len)
    }

    fn read(&self, x: &Matrix) -> Result<Vec<f32>> {
        Ok(if self.pool.is_dry() { vec![0.0; x.len()] } else { x.read() })
    }

    fn project(&self, x: &Matrix, layers: &[Linear<'_, Self>], onto: Option<&Matrix>) -> Result<Projected<Matrix>> {
        if onto.is_some() {
            same("linear layers onto the residual stream", layers.len(), 1)?;
        }
        for layer in layers {
            same("columns of a linear layer's input", x.cols(), layer.weight.inner)?;
            for pair in layer.pairs {
                same("columns of lora_A", pair.a.cols(), layer.weight.inner)?;
                same("rows of lora_B", pair.b.rows(), layer.weight.out)?;
                same("columns of lora_B", pair.b.cols(), pair.a.rows())?;
            }
            if let Some(onto) = onto {
                same("elements to add to", onto.len(), x.rows() * layer.weight.out)?;
            }
        }
        self.project_group(x, layers, onto)
    }

    fn project_grad(
        &self,
        dys: &[&Matrix],
        x: &Matrix,
        h: &[Matrix],
        layers: &[Linear<'_, Self>],
        wants_dx: bool,
    ) -> Result<ProjectedGrad<Matrix>> {
        same("gradients of linear layers", dys.len(), layers.len())?;
        if layers.iter().any(|layer| !layer.pairs.is_empty()) {
            same("saved `h`", h.len(), 1)?;
        }
        for (dy, layer) in dys.iter().zip(layers) {
            same("elements of a linear layer's gradient", dy.len(), x.rows() * layer.weight.out)?;
        }
        self.project_group_grad(dys, x, h, layers, wants_dx)
    }

    fn rms_norm(&self, x: &Matrix, w: &Matrix, eps: f64) -> Result<Matrix> {
        same("weights of a norm", w.len(), x.cols())?;
        let mut out = self.new_matrix(x.rows(), x.cols(), self.activations())?;
        let (x, w) = (x.f32("the input of a norm")?, w.f32("the weight of a norm")?);
        match out.values_mut()? {
            ValuesMut::F32(out) => norm::forward(self.instructions, x, w, eps as f32, out),
            ValuesMut::Bf16(out) => norm::forward(self.instructions, x, w, eps as f32, out),
        }
        Ok(out)
    }

    fn rms_norm_grad(&self, dy: &Matrix, x: &Matrix, w: &Matrix, eps: f64, onto: Option<Matrix>) -> Result<Matrix> {
        same("weights of a norm", w.len(), x.cols())?;
        same("gradients of a norm", dy.len(), x.len())?;
        let add = onto.is_some();
        let mut out = onto.map_or_else(|| self.new_matrix(x.rows(), x.cols(), Precision::F32), Ok)?;
        same("elements to add to", out.len(), x.len())?;
        let dx = out.f32_mut("a gradient")?;
        let (x, w) = (x.f32("the input of a norm")?, w.f32("the weight of a norm")?);
        match dy.values() {
            Values::F32(dy) => norm::backward(self.instructions, (dy, x, w), eps as f32, add, dx),
            Values::Bf16(dy) => norm::backward(self.instructions, (dy, x, w), eps as f32, add, dx),
        }
        Ok(out)
    }

    fn rope(&self, x: &mut Matrix, cos: &Matrix, sin: &Matrix, inverse: bool) -> Result<()> {
        let (cols, half) = (x.cols(), cos.cols());
        same("rows of angles", cos.rows(), x.rows())?;
        same("columns left over by the heads", cols % (2 * half).max(1), 0)?;
        let angles = (cos.f32("cosines")?, sin.f32("sines")?);
        match x.values_mut()? {
            ValuesMut::F32(x) => elementwise::rotate(self.instructions, x, cols, half, angles, inverse),
            ValuesMut::Bf16(x) => elementwise::rotate(self.instructions, x, cols, half, angles, inverse),
        }
        Ok(())
    }

    fn attention(&self, q: &Matrix, k: &Matrix, v: &Matrix, shape: &AttentionShape) -> Result<(Matrix, Matrix)> {
        self.attend(q, k, v, shape)
    }

    fn attention_grad(
        &self,
        dout: &Matrix,
        saved: &AttentionSaved<'_, Matrix>,
        shape: &AttentionShape,
    ) -> Result<[Matrix; 3]> {
        self.attend_grad(dout, saved, shape)
    }

    fn write_rows(&self, dst: &mut Matrix, src: &Matrix, rows: &[Option<usize>]) -> Result<()> {
        let cols = dst.cols();
        same("columns of rows to write", src.cols(), cols)?;
        same("rows to write", src.rows(), rows.len())?;
        for (from, row) in rows.iter().enumerate() {
            let Some(row) = *row else { continue };
            in_range("row", row, dst.rows())?;
            if !self.pool.is_dry() {
                dst.write(row * cols, src.values().part(from * cols, cols))?;
            }
        }
        Ok(())
    }

    fn swiglu(&self, gate: &Matrix, up: &Matrix) -> Result<Matrix> {
        same("elements of `up`", up.len(), gate.len())?;
        let mut out = self.new_matrix(gate.rows(), gate.cols(), gate.storage())?;
        let cols = gate.cols();
        match (gate.values(), up.values(), out.values_mut()?) {
            (Values::F32(gate), Values::F32(up), ValuesMut::F32(out)) => {
                elementwise::swiglu(self.instructions, gate, up, cols, out);
            }
            (Values::Bf16(gate), Values::Bf16(up), ValuesMut::Bf16(out)) => {
                elementwise::swiglu(self.instructions, gate, up, cols, out);
            }
            _ => return Err(BackendError::Storage { what: "`up`" }),
        }
        Ok(out)
    }

    fn swiglu_grad(&self, dy: &Matrix, mut gate: Matrix, mut up: Matrix) -> Result<[Matrix; 2]> {
        same("elements of `up`", up.len(), gate.len())?;
        same("gradients of the product", dy.len(), gate.len())?;
        let (cols, on) = (gate.cols(), self.instructions);
        match (dy.values(), gate.values_mut()?, up.values_mut()?) {
            (Values::F32(dy), ValuesMut::F32(g), ValuesMut::F32(u)) => elementwise::swiglu_grad(on, dy, g, u, cols),
            (Values::F32(dy), ValuesMut::Bf16(g), ValuesMut::Bf16(u)) => elementwise::swiglu_grad(on, dy, g, u, cols),
            (Values::Bf16(dy), ValuesMut::F32(g), ValuesMut::F32(u)) => elementwise::swiglu_grad(on, dy, g, u, cols),
            (Values::Bf16(dy), ValuesMut::Bf16(g), ValuesMut::Bf16(u)) => elementwise::swiglu_grad(on, dy, g, u, cols),
            _ => return Err(BackendError::Storage { what: "`up`" }),
        }
        Ok([gate, up])
    }

    fn embed(&self, w: &Weight, ids: &[u32]) -> Result<Matrix> {
        let mut out = self.new_matrix(ids.len(), w.inner, Precision::F32)?;
        let rows = w.factor(Orientation::RowsAreColumns);
        ids.iter().try_for_each(|&id| in_range("row", id as usize, w.out))?;
        let values = out.f32_mut("embeddings")?;
        rows::each(self.instructions, values, w.inner, &Embed { rows: &rows, ids });
        Ok(out)
    }

    fn gather(&self, x: &Matrix, rows: &[usize]) -> Result<Matrix> {
        self.gather_rows(x, rows)
    }

    fn head_loss(
        &self,
        hidden: &Matrix,
        w: &Weight,
        targets: &[Target],
        scale: Option<f64>,
    ) -> Result<HeadLoss<Matrix>> {
        same("columns of the hidden states", hidden.cols(), w.inner)?;
        for target in targets {
            in_range("row", target.row, hidden.rows())?;
            in_range("token", target.id as usize, w.out)?;
        }
        self.loss(hidden, w, targets, scale)
    }

    fn head_argmax(&self, hidden: &Matrix, w: &Weight) -> Result<Vec<u32>> {
        same("columns of the hidden states", hidden.cols(), w.inner)?;
        self.argmax(hidden, w)
    }

    fn view(&self, flat: &Matrix, offset: usize, rows: usize, cols: usize) -> Result<Matrix> {
        flat.part(offset, rows, cols)
    }

    fn accumulate(&self, flat: &mut Matrix, offset: usize, part: &Matrix) -> Result<()> {
        in_range("element", offset + part.len().saturating_sub(1), flat.len())?;
        let part = part.f32("a gradient")?;
        let flat = flat.f32_mut("gradients")?;
        let sums = flat.get_mut(offset..).unwrap_or_default();
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        Ok(())
    }

    fn fill_zero(&self, x: &mut Matrix) -> Result<()> {
        match x.values_mut()? {
            ValuesMut::F32(x) => x.fill(0.0),
            ValuesMut::Bf16(x) => x.fill(bf16::ZERO),
        }
        Ok(())
    }

    fn sum_squares(&self, x: &Matrix) -> Result<f64> {
        Ok(optimise::sum_squares(self.instructions, x.f32("values to square")?))
    }

    fn adamw(&self, state: AdamWState<'_, Matrix>, grads: &Matrix, step: &AdamWStep) -> Result<()> {
        let AdamWState { params, first, second } = state;
        let len = params.len();
        for other in [first.len(), second.len(), grads.len()] {
            same("values of the optimiser", other, len)?;
        }
        let moments = (first.f32_mut("the first moment")?, second.f32_mut("the second moment")?);
        let params = params.f32_mut("parameters")?;
        optimise::adamw(self.instructions, params, moments, grads.f32("gradients")?, step);
        Ok(())
    }
}
