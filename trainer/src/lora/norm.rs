//! How large an adapter's update is beside the weights that it changes.
//!
//! `||s B A||_F^2 = s^2 tr((B^T B) (A A^T))`: two Gram matrices of the rank's size for each module, in f64; the product
//! `B A` is never formed.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::factors::{Factors, FactorsError, Pair};
use crate::tensor::dequantise;
use crate::weights::{SourceError, Weights};

/// Partial sums of a dot product: independent of each other, so that the processor adds them side by side.
const LANES: usize = 8;

/// Why a norm is not known.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant says what it is")]
pub enum NormError {
    #[error(transparent)]
    Factors(#[from] FactorsError),
    #[error("`{module}` lacks a factor")]
    Unpaired { module: String },
    #[error("`{tensor}` of the base cannot be read: {error}")]
    Weights { tensor: String, error: SourceError },
}

/// Norms beside one base, whose matrices are each read once.
pub struct Norms<'a> {
    weights: &'a dyn Weights,
    /// Squared, by module.
    known: BTreeMap<String, f64>,
}

impl<'a> Norms<'a> {
    /// Nothing is read before the first norm is asked for.
    pub fn new(weights: &'a dyn Weights) -> Self {
        Self { weights, known: BTreeMap::new() }
    }

    /// The Frobenius norm of `weight` times an adapter's update over that of all the matrices that it changes together.
    /// Not finite where those are zero and the update is not.
    pub fn relative(&mut self, adapter: &dyn Factors, weight: f64) -> Result<f64, NormError> {
        let (mut update, mut changed) = (0.0, 0.0);
        for module in adapter.modules() {
            let unpaired = || NormError::Unpaired { module: module.to_owned() };
            update += squared(&adapter.pair(module)?.ok_or_else(unpaired)?);
            changed += self.of(module)?;
        }
        let norm = weight.abs() * update.sqrt();
        Ok(if norm == 0.0 { 0.0 } else { norm / changed.sqrt() })
    }

    /// The squared norm of a module's matrix.
    fn of(&mut self, module: &str) -> Result<f64, NormError> {
        if let Some(known) = self.known.get(module) {
            return Ok(*known);
        }
        let tensor = format!("{module}.weight");
        let matrix = self.weights.tensor(&tensor).map_err(|error| NormError::Weights { tensor, error })?;
        let values = dequantise::tensor(&matrix);
        let squared = dot(&values, &values);
        self.known.insert(module.to_owned(), squared);
        Ok(squared)
    }
}

/// `||s B A||_F^2`
fn squared(pair: &Pair<'_>) -> f64 {
    let (rank, inner, out) = (pair.shape.rank, pair.shape.inner, pair.shape.out);
    // Columns of B as rows, so that both Gram matrices are dot products of rows.
    let columns: Vec<f32> = (0..rank * out).map(|index| pair.b[index % out * rank + index / out]).collect();
    let row = |i: usize| {
        let product = |j: usize| {
            let a = dot(&pair.a[i * inner..(i + 1) * inner], &pair.a[j * inner..(j + 1) * inner]);
            a * dot(&columns[i * out..(i + 1) * out], &columns[j * out..(j + 1) * out])
        };
        // Both are symmetric: what lies beside the diagonal counts twice.
        product(i) + 2.0 * (i + 1..rank).map(product).sum::<f64>()
    };
    let rows: Vec<f64> = (0..rank).into_par_iter().map(row).collect();
    // Rounding may take a sum that is nothing just below it.
    pair.shape.scale.powi(2) * rows.iter().sum::<f64>().max(0.0)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += f64::from(a) * f64::from(b);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lora::adapter::Factor;
    use crate::merge::testing::{adapter, dense};

    /// Against the dense product, and the base's matrices summed one by one.
    #[test]
    fn the_norm_is_that_of_the_dense_update() {
        let base = crate::tiny::base().expect("embedded");
        let mut one = crate::lora::adapter::Adapter { tensors: BTreeMap::new(), ..adapter(7, 3, 6.0, 1) };
        let module = "model.layers.0.mlp.up_proj";
        let (out, inner) = base.architecture().module_shape(module).expect("there");
        let (out, inner) = (out as usize, inner as usize);
        let values = |len: usize, step: f32| (0..len).map(|n| (n as f32 * step).sin()).collect::<Vec<_>>();
        let tensor = |shape: [usize; 2], step| crate::lora::adapter::AdapterTensor {
            shape,
            values: values(shape[0] * shape[1], step),
        };
        one.tensors.insert(Factor::A.peft_name(module), tensor([3, inner], 0.37));
        one.tensors.insert(Factor::B.peft_name(module), tensor([out, 3], 0.91));
        let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let matrix = dequantise::tensor(&base.tensor(&format!("{module}.weight")).expect("there"));
        let matrix: Vec<f64> = matrix.into_iter().map(f64::from).collect();
        let wanted = 1.5 * norm(&dense(&one, module)) / norm(&matrix);
        let got = Norms::new(&base).relative(&one, -1.5).expect("finite");
        assert!((got / wanted - 1.0).abs() < 1e-9, "{got} {wanted}");
        one.tensors.values_mut().for_each(|tensor| tensor.values.fill(0.0));
        assert_eq!(Norms::new(&base).relative(&one, 1.0).expect("finite"), 0.0);
        one.tensors.values_mut().for_each(|tensor| tensor.values.fill(f32::NAN));
        assert!(matches!(Norms::new(&base).relative(&one, 1.0), Err(NormError::Factors(_))));
    }
}
