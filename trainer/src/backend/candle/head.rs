//! The output projection with its cross-entropy, in chunks: logits of [`CHUNK`] rows exist at a time.

use candle_core::Tensor;

use super::gather;
use super::host::{Element, View, matrix, update};
use super::product::product;
use super::weight::Weight;
use crate::backend::rows::{self, axpy, softmax};
use crate::backend::{BackendError, HeadLoss, Result, Target};

/// Rows whose logits exist at once.
const CHUNK: usize = 256;

pub fn loss<T: Element>(
    hidden: &Tensor,
    weight: &Weight,
    targets: &[Target],
    scale: Option<f64>,
) -> Result<HeadLoss<Tensor>> {
    let (row_count, cols) = hidden.dims2()?;
    let weight = weight.dense::<T>()?;
    let transposed = weight.t()?;
    let mut losses = Vec::with_capacity(targets.len());
    let mut d_hidden = scale.map(|_| vec![T::ZERO; row_count * cols]);
    for chunk in targets.chunks(CHUNK) {
        let labelled: Vec<usize> = chunk.iter().map(|target| target.row).collect();
        let logits = product::<T>(&gather::<T>(hidden, &labelled)?, &transposed)?;
        losses.extend(cross_entropy::<T>(&logits, chunk, scale.unwrap_or_default())?);
        if let Some(d_hidden) = &mut d_hidden {
            let part = product::<T>(&logits, &weight)?;
            for (row, part) in labelled.iter().zip(View::<T>::new(&part)?.slice().chunks_exact(cols)) {
                axpy(&mut d_hidden[row * cols..][..cols], T::ONE, part);
            }
        }
    }
    let d_hidden = d_hidden.map(|values| matrix(values, row_count, cols)).transpose()?;
    Ok(HeadLoss { losses, d_hidden })
}

/// Turns logits into their gradients in place; returns the losses.
fn cross_entropy<T: Element>(logits: &Tensor, targets: &[Target], scale: f64) -> Result<Vec<f64>> {
    let vocabulary = logits.dim(1)?;
    for target in targets {
        super::in_range("label", target.id as usize, vocabulary)?;
    }
    let mut losses = vec![0.0; targets.len()];
    update(logits, |logits: &mut [T]| {
        rows::for_rows_and(logits, vocabulary, &mut losses, |row, logits, loss| {
            *loss = softmax::cross_entropy(logits, targets[row].id as usize, scale);
        });
    })?;
    Ok(losses)
}

pub fn argmax<T: Element>(hidden: &Tensor, weight: &Weight) -> Result<Vec<u32>> {
    let row_count = hidden.dim(0)?;
    let transposed = weight.dense::<T>()?.t()?;
    let mut best = Vec::with_capacity(row_count);
    for start in (0..row_count).step_by(CHUNK) {
        let logits = product::<T>(&hidden.narrow(0, start, CHUNK.min(row_count - start))?, &transposed)?;
        let vocabulary = logits.dim(1)?;
        let logits = View::<T>::new(&logits)?;
        let logits = logits.slice();
        let one = |row: usize| Ok::<_, BackendError>(softmax::argmax(&logits[row * vocabulary..][..vocabulary]) as u32);
        best.extend(rows::map(logits.len() / vocabulary, logits.len(), one)?);
    }
    Ok(best)
}
