//! What is merged: adapters with their weights, and one module's part of each.

use potluck_protocol::recipe::Weight;

use super::MergeError;
use crate::lora::factors::{Factors, Pair};

/// One adapter of a merge.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// What its update is multiplied with, in 1/65536.
    pub weight: Weight,
    /// Its factors, module by module.
    pub factors: &'a dyn Factors,
}

/// One adapter's part in one module.
pub struct Part<'a> {
    pub weight: f64,
    pub pair: Pair<'a>,
}

impl Part<'_> {
    /// What the product `B A` is multiplied with in a weighted sum.
    pub fn factor(&self) -> f64 {
        self.weight * self.pair.shape.scale
    }

    pub fn rank(&self) -> usize {
        self.pair.shape.rank
    }
}

/// The parts of those adapters that have the module, in the order of the inputs.
pub fn parts<'a>(inputs: &[Input<'a>], module: &str) -> Result<Vec<Part<'a>>, MergeError> {
    let mut parts = Vec::with_capacity(inputs.len());
    for (index, input) in (1..).zip(inputs) {
        let pair = input.factors.pair(module).map_err(|error| MergeError::Factors { index, error })?;
        parts.extend(pair.map(|pair| Part { weight: input.weight.get(), pair }));
    }
    Ok(parts)
}

/// The rank that the parts have together.
pub fn stacked_rank(inputs: &[Input], module: &str) -> usize {
    inputs.iter().filter_map(|input| input.factors.shape(module)).map(|shape| shape.rank).sum()
}
