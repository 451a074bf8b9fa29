//! One adapter's dense update of one module, a few rows at a time.

use std::ops::Range;

use faer::{Mat, MatMut};

use super::decompose::product;
use super::input::Part;

/// `scale B A`. Its elements are what TIES and DARE choose among: f64 products, each rounded once to f32, so that they
/// have an exact order.
pub struct Delta {
    pub weight: f64,
    /// `[out, rank]`, with the scale.
    b: Mat<f64>,
    /// `[rank, inner]`.
    a: Mat<f64>,
}

impl Delta {
    pub fn new(part: &Part) -> Self {
        let shape = part.pair.shape;
        let (a, b) = (&part.pair.a, &part.pair.b);
        Self {
            weight: part.weight,
            b: Mat::from_fn(shape.out, shape.rank, |row, k| shape.scale * f64::from(b[row * shape.rank + k])),
            a: Mat::from_fn(shape.rank, shape.inner, |k, column| f64::from(a[k * shape.inner + column])),
        }
    }

    pub fn shape(&self) -> (usize, usize) {
        (self.b.nrows(), self.a.ncols())
    }

    /// Some rows, row-major; `wide` is scratch.
    pub fn rows(&self, rows: Range<usize>, wide: &mut Vec<f64>, to: &mut Vec<f32>) {
        let (count, inner) = (rows.len(), self.a.ncols());
        wide.resize(count * inner, 0.0);
        let left = self.b.as_ref().subrows(rows.start, count);
        product(MatMut::from_row_major_slice_mut(wide, count, inner), left, self.a.as_ref());
        to.clear();
        to.extend(wide.iter().map(|&value| value as f32));
    }
}
