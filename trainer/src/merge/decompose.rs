//! Decompositions in f64, on the calling thread alone: threads share modules out, so that their number changes no bit.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj,
};
use faer::linalg::matmul::matmul;
use faer::linalg::qr::no_pivoting::factor;
use faer::linalg::solvers::Svd;
use faer::{Accum, Conj, Mat, MatMut, MatRef, Par};

/// A tall matrix as `Q R`, Q kept as the reflections that make it (Householder): that costs half the memory of Q.
pub struct Qr {
    /// R above the diagonal, reflections below.
    packed: Mat<f64>,
    coefficients: Mat<f64>,
}

impl Qr {
    pub fn of(mut matrix: Mat<f64>) -> Self {
        let (rows, columns) = matrix.shape();
        let block = factor::recommended_block_size::<f64>(rows, columns);
        let mut coefficients = Mat::zeros(block, rows.min(columns));
        let scratch = factor::qr_in_place_scratch::<f64>(rows, columns, block, Par::Seq, Default::default());
        let mut memory = MemBuffer::new(scratch);
        let stack = MemStack::new(&mut memory);
        factor::qr_in_place(matrix.as_mut(), coefficients.as_mut(), Par::Seq, stack, Default::default());
        Self { packed: matrix, coefficients }
    }

    /// As many rows as the thin Q has columns.
    pub fn r(&self) -> Mat<f64> {
        let (rows, columns) = self.packed.shape();
        Mat::from_fn(
            rows.min(columns),
            columns,
            |row, column| {
                if row <= column { self.packed[(row, column)] } else { 0.0 }
            },
        )
    }

    /// The thin Q times a matrix.
    pub fn times(&self, right: MatRef<f64>) -> Mat<f64> {
        let (rows, thin) = (self.packed.nrows(), self.coefficients.ncols());
        let mut product = Mat::zeros(rows, right.ncols());
        product.as_mut().subrows_mut(0, thin).copy_from(right);
        let (block, columns) = (self.coefficients.nrows(), right.ncols());
        let scratch = apply_block_householder_sequence_on_the_left_in_place_scratch::<f64>(rows, block, columns);
        let mut memory = MemBuffer::new(scratch);
        apply_block_householder_sequence_on_the_left_in_place_with_conj(
            self.packed.as_ref().subcols(0, thin),
            self.coefficients.as_ref(),
            Conj::No,
            product.as_mut(),
            Par::Seq,
            MemStack::new(&mut memory),
        );
        product
    }

    /// The thin Q.
    pub fn basis(&self) -> Mat<f64> {
        let thin = self.coefficients.ncols();
        self.times(Mat::identity(thin, thin).as_ref())
    }
}

/// The largest singular triplets.
pub struct Triplets {
    /// A column for each.
    pub u: Mat<f64>,
    /// Descending.
    pub s: Vec<f64>,
    /// A column for each.
    pub v: Mat<f64>,
}

/// The `count` largest triplets of a small matrix, or all if there are fewer; `None` if the iteration does not converge.
pub fn svd(matrix: MatRef<f64>, count: usize) -> Option<Triplets> {
    let svd = Svd::new_thin(matrix).ok()?;
    let count = count.min(matrix.nrows()).min(matrix.ncols());
    let s = (0..count).map(|index| svd.S()[index]).collect();
    Some(Triplets { u: svd.U().subcols(0, count).to_owned(), s, v: svd.V().subcols(0, count).to_owned() })
}

/// `to = left right`.
pub fn product(to: MatMut<f64>, left: MatRef<f64>, right: MatRef<f64>) {
    matmul(to, Accum::Replace, left, right, 1.0, Par::Seq);
}

/// `to = to + left right`.
pub fn add_product(to: MatMut<f64>, left: MatRef<f64>, right: MatRef<f64>) {
    matmul(to, Accum::Add, left, right, 1.0, Par::Seq);
}

/// The sum of the squares, column by column.
pub fn energy(matrix: MatRef<f64>) -> f64 {
    matrix.col_iter().map(|column| column.iter().map(|value| value * value).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::small;

    fn matrix(rows: usize, columns: usize) -> Mat<f64> {
        let values = small::values((rows * 31 + columns) as u64, rows * columns);
        Mat::from_fn(rows, columns, |row, column| f64::from(values[row * columns + column]))
    }

    #[test]
    fn q_and_r_make_the_matrix_whatever_its_shape() {
        for (rows, columns) in [(40, 7), (7, 7), (5, 9), (1, 1), (300, 129)] {
            let whole = matrix(rows, columns);
            let qr = Qr::of(whole.clone());
            let q = qr.basis();
            let difference = &q * qr.r() - &whole;
            assert!(energy(difference.as_ref()) <= 1e-26 * energy(whole.as_ref()), "{rows} x {columns}");
            let thin = rows.min(columns);
            let orthogonal = q.transpose() * &q - Mat::<f64>::identity(thin, thin);
            assert!(energy(orthogonal.as_ref()) < 1e-24, "{rows} x {columns}");
        }
    }
}
