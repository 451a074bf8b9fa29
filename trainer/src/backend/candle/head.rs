//! The output projection with its cross-entropy, in chunks: logits of [`CHUNK`] rows exist at a time.

use candle_core::Tensor;
use rayon::prelude::*;

use super::gather;
use super::host::{Element, View, matrix, update};
use super::weight::Weight;
use crate::backend::rows::{axpy, softmax};
use crate::backend::{HeadLoss, Result, Target};

/// Rows whose logits exist at once.
const CHUNK: usize = 256;

pub fn loss<T: Element>(
    hidden: &Tensor,
    weight: &Weight,
    targets: &[Target],
    scale: Option<f64>,
) -> Result<HeadLoss<Tensor>> {
    let (rows, cols) = hidden.dims2()?;
    let weight = weight.dense::<T>()?;
    let transposed = weight.t()?;
    let mut losses = Vec::with_capacity(targets.len());
    let mut d_hidden = scale.map(|_| vec![T::ZERO; rows * cols]);
    for chunk in targets.chunks(CHUNK) {
        let labelled: Vec<usize> = chunk.iter().map(|target| target.row).collect();
        let logits = gather::<T>(hidden, &labelled)?.matmul(&transposed)?;
        losses.extend(cross_entropy::<T>(&logits, chunk, scale.unwrap_or_default())?);
        if let Some(d_hidden) = &mut d_hidden {
            let part = logits.matmul(&weight)?;
            for (row, part) in labelled.iter().zip(View::<T>::new(&part)?.slice().chunks_exact(cols)) {
                axpy(&mut d_hidden[row * cols..][..cols], T::ONE, part);
            }
        }
    }
    let d_hidden = d_hidden.map(|values| matrix(values, rows, cols)).transpose()?;
    Ok(HeadLoss { losses, d_hidden })
}

/// Turns logits into their gradients in place; returns the losses.
fn cross_entropy<T: Element>(logits: &Tensor, targets: &[Target], scale: f64) -> Result<Vec<f64>> {
    let vocabulary = logits.dim(1)?;
    for target in targets {
        super::in_range("label", target.id as usize, vocabulary)?;
    }
    let mut losses = vec![0.0; targets.len()];
    update(logits, |logits| {
        let rows = logits.par_chunks_exact_mut(vocabulary).zip(targets).zip(&mut losses);
        rows.for_each(|((logits, target), loss): ((&mut [T], _), _)| {
            *loss = softmax::cross_entropy(logits, target.id as usize, scale);
        });
    })?;
    Ok(losses)
}

pub fn argmax<T: Element>(hidden: &Tensor, weight: &Weight) -> Result<Vec<u32>> {
    let rows = hidden.dim(0)?;
    let transposed = weight.dense::<T>()?.t()?;
    let mut best = Vec::with_capacity(rows);
    for start in (0..rows).step_by(CHUNK) {
        let logits = hidden.narrow(0, start, CHUNK.min(rows - start))?.matmul(&transposed)?;
        let vocabulary = logits.dim(1)?;
        let logits = View::<T>::new(&logits)?;
        let chunk: Vec<u32> =
            logits.slice().par_chunks_exact(vocabulary).map(|row| softmax::argmax(row) as u32).collect();
        best.extend(chunk);
    }
    Ok(best)
}
