//! The first backend: candle's tensors and matrix products, with the row-wise kernels on the host's memory.
//!
//! Matrix products run in candle (its `gemm`, AVX-512 where the processor has it) on rayon's current pool, so
//! `rayon::ThreadPool::install` sets the number of threads. Goals: readable, both float types, any processor.
//! Non-goals: candle's autograd, candle-nn, candle-transformers (their fast norms and rotations cut the gradient).

mod attention;
mod head;
mod host;
mod linear;
mod product;
mod weight;

use std::marker::PhantomData;

use candle_core::Tensor;
pub use host::Element;
use host::{View, matrix, update};
pub use weight::Weight;

use super::rows::{self, adamw, norm, rope, swiglu};
use super::{
    AdamWState, AdamWStep, AttentionSaved, AttentionShape, Backend, BackendError, HeadLoss, Linear, Projected,
    ProjectedGrad, Residency, Result, Target,
};
use crate::tensor::HostTensor;

/// candle on the host, in `f32` or `f64`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CandleBackend<T>(PhantomData<T>);

impl<T> CandleBackend<T> {
    /// The backend has no state: two of them are the same.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

fn same(what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(BackendError::Size { what, got, expected }) }
}

fn in_range(what: &'static str, index: usize, len: usize) -> Result<()> {
    if index < len { Ok(()) } else { Err(BackendError::Range { what, index, last: len.saturating_sub(1) }) }
}

fn gather<T: Element>(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let (all, cols) = x.dims2()?;
    let view = View::<T>::new(x)?;
    let mut values = Vec::with_capacity(rows.len() * cols);
    for &row in rows {
        in_range("row", row, all)?;
        values.extend_from_slice(&view.slice()[row * cols..][..cols]);
    }
    matrix(values, rows.len(), cols)
}

fn add<T: Element>(x: &Tensor, y: &Tensor) -> Result<()> {
    same("elements of a sum", y.elem_count(), x.elem_count())?;
    let y = View::<T>::new(y)?;
    update(x, |x| rows::add_scaled(x, y.slice(), T::ONE))
}

impl<T: Element> Backend for CandleBackend<T> {
    type Real = T;
    type Buf = Tensor;
    type Weight = Weight;

    fn upload(&self, tensor: &HostTensor, residency: Residency) -> Result<Weight> {
        let weight = Weight::load::<T>(tensor)?;
        match residency {
            Residency::Quantised => Ok(weight),
            Residency::Widened => Ok(Weight::Plain(weight.dense::<T>()?)),
        }
    }

    fn buffer(&self, values: Vec<T>, rows: usize, cols: usize) -> Result<Tensor> {
        same("values of a matrix", values.len(), rows * cols)?;
        matrix(values, rows, cols)
    }

    fn vector(&self, tensor: &HostTensor) -> Result<Tensor> {
        weight::vector::<T>(tensor)
    }

    fn read(&self, x: &Tensor) -> Result<Vec<T>> {
        Ok(View::new(x)?.slice().to_vec())
    }

    fn project(&self, x: &Tensor, layers: &[Linear<'_, Self>], onto: Option<&Tensor>) -> Result<Projected<Tensor>> {
        linear::project(x, layers, onto)
    }

    fn project_grad(
        &self,
        dys: &[&Tensor],
        x: &Tensor,
        h: &[Tensor],
        layers: &[Linear<'_, Self>],
        wants_dx: bool,
    ) -> Result<ProjectedGrad<Tensor>> {
        linear::project_grad(dys, x, h, layers, wants_dx)
    }

    fn rms_norm(&self, x: &Tensor, w: &Tensor, eps: f64) -> Result<Tensor> {
        let (rows, cols) = x.dims2()?;
        same("weights of a norm", w.elem_count(), cols)?;
        matrix(norm::forward::<T>(View::new(x)?.slice(), View::new(w)?.slice(), eps), rows, cols)
    }

    fn rms_norm_grad(&self, dy: &Tensor, x: &Tensor, w: &Tensor, eps: f64, onto: Option<Tensor>) -> Result<Tensor> {
        let (rows, cols) = x.dims2()?;
        same("weights of a norm", w.elem_count(), cols)?;
        let (dy, x, w) = (View::new(dy)?, View::new(x)?, View::new(w)?);
        same("gradients of a norm", dy.slice().len(), x.slice().len())?;
        let dx = matrix(norm::backward::<T>(dy.slice(), x.slice(), w.slice(), eps), rows, cols)?;
        onto.map_or(Ok(()), |onto| add::<T>(&dx, &onto))?;
        Ok(dx)
    }

    fn rope(&self, x: &mut Tensor, cos: &Tensor, sin: &Tensor, inverse: bool) -> Result<()> {
        let ((rows, cols), (angle_rows, half)) = (x.dims2()?, cos.dims2()?);
        same("rows of angles", angle_rows, rows)?;
        same("columns left over by the heads", cols % (2 * half), 0)?;
        let (cos, sin) = (View::<T>::new(cos)?, View::<T>::new(sin)?);
        update(x, |x| rope::rotate(x, cols, half, cos.slice(), sin.slice(), inverse))
    }

    fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape) -> Result<(Tensor, Tensor)> {
        attention::forward::<T>(q, k, v, shape)
    }

    fn attention_grad(
        &self,
        dout: &Tensor,
        saved: &AttentionSaved<'_, Tensor>,
        shape: &AttentionShape,
    ) -> Result<[Tensor; 3]> {
        attention::backward::<T>(dout, saved, shape)
    }

    fn write_rows(&self, dst: &mut Tensor, src: &Tensor, rows: &[Option<usize>]) -> Result<()> {
        let (all, cols) = dst.dims2()?;
        same("columns of rows to write", src.dim(1)?, cols)?;
        same("rows to write", src.dim(0)?, rows.len())?;
        rows.iter().flatten().try_for_each(|&row| in_range("row", row, all))?;
        let src = View::<T>::new(src)?;
        update(dst, |dst| {
            for (src, row) in src.slice().chunks_exact(cols).zip(rows) {
                if let Some(row) = row {
                    dst[row * cols..][..cols].copy_from_slice(src);
                }
            }
        })
    }

    fn swiglu(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        let (rows, cols) = gate.dims2()?;
        same("elements of `up`", up.elem_count(), gate.elem_count())?;
        matrix(swiglu::forward::<T>(View::new(gate)?.slice(), View::new(up)?.slice(), cols), rows, cols)
    }

    fn swiglu_grad(&self, dy: &Tensor, gate: Tensor, up: Tensor) -> Result<[Tensor; 2]> {
        let (rows, cols) = gate.dims2()?;
        same("elements of `up`", up.elem_count(), gate.elem_count())?;
        same("gradients of the product", dy.elem_count(), gate.elem_count())?;
        let (dy, gate, up) = (View::<T>::new(dy)?, View::new(&gate)?, View::new(&up)?);
        let [d_gate, d_up] = swiglu::backward(dy.slice(), gate.slice(), up.slice(), cols);
        Ok([matrix(d_gate, rows, cols)?, matrix(d_up, rows, cols)?])
    }

    fn embed(&self, w: &Weight, ids: &[u32]) -> Result<Tensor> {
        w.rows::<T>(ids)
    }

    fn gather(&self, x: &Tensor, rows: &[usize]) -> Result<Tensor> {
        gather::<T>(x, rows)
    }

    fn head_loss(
        &self,
        hidden: &Tensor,
        w: &Weight,
        targets: &[Target],
        scale: Option<f64>,
    ) -> Result<HeadLoss<Tensor>> {
        head::loss::<T>(hidden, w, targets, scale)
    }

    fn head_argmax(&self, hidden: &Tensor, w: &Weight) -> Result<Vec<u32>> {
        head::argmax::<T>(hidden, w)
    }

    fn view(&self, flat: &Tensor, offset: usize, rows: usize, cols: usize) -> Result<Tensor> {
        Ok(flat.flatten_all()?.narrow(0, offset, rows * cols)?.reshape((rows, cols))?)
    }

    fn accumulate(&self, flat: &mut Tensor, offset: usize, part: &Tensor) -> Result<()> {
        let part = View::<T>::new(part)?;
        let target = flat.flatten_all()?.narrow(0, offset, part.slice().len())?;
        update(&target, |target| rows::add_scaled(target, part.slice(), T::ONE))
    }

    fn fill_zero(&self, x: &mut Tensor) -> Result<()> {
        update(x, |x: &mut [T]| x.fill(T::ZERO))
    }

    fn sum_squares(&self, x: &Tensor) -> Result<f64> {
        Ok(rows::sum_squares::<T>(View::new(x)?.slice()))
    }

    fn adamw(&self, state: AdamWState<'_, Tensor>, grads: &Tensor, step: &AdamWStep) -> Result<()> {
        same("gradients", grads.elem_count(), state.params.elem_count())?;
        let grads = View::<T>::new(grads)?;
        update(state.first, |first| adamw::first_moment(first, grads.slice(), step))?;
        update(state.second, |second| adamw::second_moment(second, grads.slice(), step))?;
        let (first, second) = (View::<T>::new(state.first)?, View::<T>::new(state.second)?);
        update(state.params, |params| adamw::update(params, first.slice(), second.slice(), step))
    }
}
