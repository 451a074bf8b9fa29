//! How far a merged adapter is from the exact sum, in f64, from the dense updates a few rows at a time. For figures: a
//! merge itself never needs it.

use faer::{Mat, MatMut};
use potluck_protocol::base::Architecture;
use rayon::prelude::*;

use super::MergeError;
use super::decompose::{add_product, product};
use super::input::{Input, Part, parts};
use super::limits::BLOCK;
use crate::lora::factors::Factors;

/// `||result - sum|| / ||sum||`, Frobenius, over all modules.
pub fn relative_error(inputs: &[Input], result: &dyn Factors, architecture: &Architecture) -> Result<f64, MergeError> {
    let modules = result.modules();
    let whole = inputs.iter().all(|input| input.factors.modules().iter().all(|module| modules.contains(module)));
    if let Some(module) = result.misfit(architecture) {
        return Err(MergeError::Module { index: inputs.len() + 1, module: module.to_owned() });
    }
    if !whole {
        return Err(MergeError::Nothing);
    }
    let squares = modules.par_iter().with_max_len(1).map(|module| {
        let own = result.pair(module).map_err(|error| MergeError::Factors { index: inputs.len() + 1, error })?;
        let parts = parts(inputs, module)?;
        Ok(own.map_or((0.0, 0.0), |pair| compare(&Part { weight: 1.0, pair }, &parts)))
    });
    let squares = squares.collect::<Result<Vec<_>, MergeError>>()?;
    let (difference, sum) = squares.iter().fold((0.0, 0.0), |(d, s), one| (d + one.0, s + one.1));
    Ok(if sum > 0.0 { (difference / sum).sqrt() } else { f64::from(u8::from(difference > 0.0)) })
}

/// The squares of the difference, and of the sum.
fn compare(result: &Part, parts: &[Part]) -> (f64, f64) {
    let (out, inner) = (result.pair.shape.out, result.pair.shape.inner);
    let wide = |part: &Part| {
        let (rank, a) = (part.rank(), &part.pair.a);
        Mat::from_fn(rank, inner, |k, column| f64::from(a[k * inner + column]))
    };
    let (own, others): (_, Vec<_>) = (wide(result), parts.iter().map(wide).collect());
    let step = (BLOCK / inner.max(1)).max(1);
    let (mut sum, mut merged) = (vec![0.0; step * inner], vec![0.0; step * inner]);
    let mut squares = (0.0, 0.0);
    for first in (0..out).step_by(step) {
        let count = step.min(out - first);
        let left = |part: &Part| {
            let (rank, factor, b) = (part.rank(), part.factor(), &part.pair.b);
            Mat::from_fn(count, rank, |row, k| factor * f64::from(b[(first + row) * rank + k]))
        };
        let (sum, merged) = (&mut sum[..count * inner], &mut merged[..count * inner]);
        sum.fill(0.0);
        for (part, a) in parts.iter().zip(&others) {
            add_product(MatMut::from_row_major_slice_mut(sum, count, inner), left(part).as_ref(), a.as_ref());
        }
        product(MatMut::from_row_major_slice_mut(merged, count, inner), left(result).as_ref(), own.as_ref());
        for (sum, merged) in sum.iter().zip(merged.iter()) {
            squares.0 += (merged - sum) * (merged - sum);
            squares.1 += sum * sum;
        }
    }
    squares
}
