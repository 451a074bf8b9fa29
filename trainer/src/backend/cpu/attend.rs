//! Attention of the backend's matrices: storage and kernel are chosen here, the work is in `attention`.

use std::borrow::Cow;

use super::attention::{self, Gradients, Saved, View, ViewMut};
use super::element::{Element, convert};
use super::instructions::Instructions;
use super::kernel::product::{Values, ValuesMut};
use super::kernel::{self, F32Portable};
use super::matrix::Matrix;
use super::precision::Precision;
use super::{CpuBackend, same, with_tile};
use crate::backend::{AttentionSaved, AttentionShape, BackendError, Result};

fn view<S>(values: &[S], stride: usize) -> View<'_, S> {
    View { values, stride }
}

/// A shape that does not contradict itself or its matrices.
fn check(q: &Matrix, k: &Matrix, v: &Matrix, shape: &AttentionShape) -> Result<()> {
    same("key heads", shape.heads % shape.kv_heads.max(1), 0)?;
    same("elements left over by pairs in a head", shape.head_dim % 2, 0)?;
    same("columns of queries", q.cols(), shape.heads * shape.head_dim)?;
    same("columns of keys", k.cols(), shape.kv_heads * shape.head_dim)?;
    same("columns of values", v.cols(), k.cols())?;
    same("rows of values", v.rows(), k.rows())?;
    same("rows of queries", q.rows(), shape.rows())?;
    let mut row = 0;
    for span in &shape.spans {
        same("the first row of a span", span.query, row)?;
        row += span.length;
        let end = span.key + span.start + span.length;
        if end > k.rows() {
            return Err(BackendError::Range { what: "key", index: end, last: k.rows() });
        }
    }
    Ok(())
}

impl CpuBackend {
    pub(super) fn attend(
        &self,
        q: &Matrix,
        k: &Matrix,
        v: &Matrix,
        shape: &AttentionShape,
    ) -> Result<(Matrix, Matrix)> {
        check(q, k, v, shape)?;
        let mut lse = self.new_matrix(q.rows(), shape.heads, Precision::F32)?;
        let mut out = self.new_matrix(q.rows(), q.cols(), self.activations())?;
        if self.pool.is_dry() {
            return Ok((out, lse));
        }
        let sums = lse.f32_mut("the log-sum-exp")?;
        match (q.values(), k.values(), v.values(), out.values_mut()?) {
            (Values::Bf16(q), Values::Bf16(k), Values::Bf16(v), ValuesMut::Bf16(out)) => {
                self.forward([q, k, v], shape, out, sums);
            }
            (q, k, v, ValuesMut::F32(out)) => self.forward([&*wide(q), &*wide(k), &*wide(v)], shape, out, sums),
            (q, k, v, ValuesMut::Bf16(narrow)) => {
                // A cache of keys is kept in f32: single queries, or a prompt.
                let mut out = vec![0.0; narrow.len()];
                self.forward([&*wide(q), &*wide(k), &*wide(v)], shape, &mut out, sums);
                convert(&out, narrow);
            }
        }
        Ok((out, lse))
    }

    fn forward<S: Element>(&self, [q, k, v]: [&[S]; 3], shape: &AttentionShape, out: &mut [S], lse: &mut [f32]) {
        let (wide, narrow) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let inputs = [view(q, wide), view(k, narrow), view(v, narrow)];
        let out = ViewMut { values: out, stride: wide };
        with_tile!(self, tile => attention::forward(tile, self.instructions, inputs, shape, out, lse));
    }

    pub(super) fn attend_grad(
        &self,
        dout: &Matrix,
        saved: &AttentionSaved<'_, Matrix>,
        shape: &AttentionShape,
    ) -> Result<[Matrix; 3]> {
        let AttentionSaved { q, k, v, out, lse } = *saved;
        check(q, k, v, shape)?;
        same("gradients of attention", dout.len(), q.len())?;
        same("outputs of attention", out.len(), q.len())?;
        same("log-sum-exps", lse.len(), q.rows() * shape.heads)?;
        let like = |x: &Matrix| self.new_matrix(x.rows(), x.cols(), self.activations());
        let (mut dq, mut dk, mut dv) = (like(q)?, like(k)?, like(v)?);
        if self.pool.is_dry() {
            return Ok([dq, dk, dv]);
        }
        let lse = lse.f32("the log-sum-exp")?;
        let inputs = [dout.values(), q.values(), k.values(), v.values(), out.values()];
        match (inputs, dq.values_mut()?, dk.values_mut()?, dv.values_mut()?) {
            (inputs, ValuesMut::F32(q), ValuesMut::F32(k), ValuesMut::F32(v)) => {
                let inputs = inputs.map(wide);
                self.backward(inputs.each_ref().map(|x| &**x), lse, shape, [q, k, v]);
            }
            (
                [Values::Bf16(dout), Values::Bf16(q), Values::Bf16(k), Values::Bf16(v), Values::Bf16(out)],
                ValuesMut::Bf16(dq),
                ValuesMut::Bf16(dk),
                ValuesMut::Bf16(dv),
            ) => self.backward([dout, q, k, v, out], lse, shape, [dq, dk, dv]),
            (inputs, ValuesMut::Bf16(q), ValuesMut::Bf16(k), ValuesMut::Bf16(v)) => {
                let inputs = inputs.map(|x| narrow(wide(x)));
                self.backward(inputs.each_ref().map(|x| &x[..]), lse, shape, [q, k, v]);
            }
            _ => return Err(BackendError::Storage { what: "a gradient of attention" }),
        }
        Ok([dq, dk, dv])
    }

    fn backward<S: Element>(
        &self,
        [dout, q, k, v, out]: [&[S]; 5],
        lse: &[f32],
        shape: &AttentionShape,
        [dq, dk, dv]: [&mut [S]; 3],
    ) {
        let (wide, narrow) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
        let saved = Saved { q: view(q, wide), k: view(k, narrow), v: view(v, narrow), out: view(out, wide), lse };
        let gradients = Gradients {
            q: ViewMut { values: dq, stride: wide },
            k: ViewMut { values: dk, stride: narrow },
            v: ViewMut { values: dv, stride: narrow },
        };
        with_tile!(self, tile => {
            attention::backward(tile, self.instructions, view(dout, wide), saved, shape, gradients);
        });
    }
}

fn wide(values: Values<'_>) -> Cow<'_, [f32]> {
    match values {
        Values::F32(values) => Cow::Borrowed(values),
        Values::Bf16(values) => Cow::Owned(values.iter().map(|value| value.widen()).collect()),
    }
}

fn narrow(values: Cow<'_, [f32]>) -> Vec<half::bf16> {
    values.iter().map(|&value| Element::narrow(value)).collect()
}
