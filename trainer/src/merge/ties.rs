//! TIES (Yadav et al. 2023, arXiv 2306.01708): of each adapter's update only the largest elements are kept, each element
//! of the result takes the sign that has more mass, and is the mean of those that agree with it, times lambda.
//!
//! Trimming is by module (as in PEFT and mergekit; the paper trims the whole model's vector at once). Weights, which the
//! paper does not have, count in mass and mean: `lambda * sum w t / sum |w|` over the updates that agree, so that equal
//! weights are the paper's method. Where the masses cancel, nothing is left.

use std::ops::Range;

use super::delta::Delta;
use super::limits::BLOCK;
use super::method::Density;
use super::select::{Largest, largest};
use super::truncate::Rows;

/// One module.
pub struct Ties {
    deltas: Vec<(Delta, Largest)>,
    lambda: f64,
    wide: Vec<f64>,
    /// Weighted, trimmed rows of each update.
    trimmed: Vec<Vec<f64>>,
    narrow: Vec<f32>,
}

impl Ties {
    pub fn new(deltas: Vec<Delta>, density: Density, lambda: f64) -> Self {
        let (mut wide, mut narrow) = (Vec::new(), Vec::new());
        let mut trim = |delta: &Delta| {
            let (out, inner) = delta.shape();
            let step = (BLOCK / inner).max(1);
            largest(density.of((out * inner) as u64), |each| {
                for first in (0..out).step_by(step) {
                    delta.rows(first..out.min(first + step), &mut wide, &mut narrow);
                    each(&narrow);
                }
            })
        };
        let deltas: Vec<_> = deltas
            .into_iter()
            .map(|delta| {
                let kept = trim(&delta);
                (delta, kept)
            })
            .collect();
        let trimmed = vec![Vec::new(); deltas.len()];
        Self { deltas, lambda, wide, trimmed, narrow }
    }
}

impl Rows for Ties {
    fn shape(&self) -> (usize, usize) {
        self.deltas.first().map_or((0, 0), |(delta, _)| delta.shape())
    }

    fn rows(&mut self, rows: Range<usize>, to: &mut [f64]) {
        let first = (rows.start * self.shape().1) as u64;
        // The mass of each element, in the order of the adapters.
        to.fill(0.0);
        for ((delta, kept), trimmed) in self.deltas.iter().zip(&mut self.trimmed) {
            delta.rows(rows.clone(), &mut self.wide, &mut self.narrow);
            let weigh = |(index, &value): (u64, &f32)| {
                if kept.takes(value, index) { delta.weight * f64::from(value) } else { 0.0 }
            };
            trimmed.clear();
            trimmed.extend((first..).zip(&self.narrow).map(weigh));
            to.iter_mut().zip(trimmed.iter()).for_each(|(mass, value)| *mass += value);
        }
        for (element, mass) in to.iter_mut().enumerate() {
            let (mut sum, mut weights) = (0.0, 0.0);
            for ((delta, _), trimmed) in self.deltas.iter().zip(&self.trimmed) {
                let value = trimmed[element];
                if (value > 0.0 && *mass > 0.0) || (value < 0.0 && *mass < 0.0) {
                    sum += value;
                    weights += delta.weight.abs();
                }
            }
            *mass = if weights > 0.0 { self.lambda * sum / weights } else { 0.0 };
        }
    }
}
